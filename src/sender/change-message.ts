import { isUtf8 } from 'node:buffer';
import { CodedError } from '../errors.ts';
import { visibleWithin } from '../foreign-text.ts';
import { limits } from '../limits.ts';
import type { Hint, LifecycleEvent } from './event.ts';
import { isJsonObject, parseJsonObject } from './json.ts';

/**
 * What a certificate is called in a message: its id in the store, or its name there, which is
 * looked up.
 */
export type Named = { readonly id: string } | { readonly name: string };

/** The type of a message that something has changed, and of one that only tries the way. */
export const changedType = 'certificate.changed';
export const testType = 'certificate.test';

/**
 * The body of a message that tells of changes, whatever proves it: `change-message.schema.json`
 * describes it. Without certificates it says that something has changed, and everything is
 * compared.
 */
export function changeMessage(given: {
  readonly type: string;
  /** When it happened, epoch milliseconds. */
  readonly at: number;
  readonly certificates?: readonly Named[];
}): string {
  const { type, at, certificates } = given;
  const data = certificates === undefined ? {} : { certificates };
  return JSON.stringify({ type, timestamp: new Date(at).toISOString(), data });
}

/**
 * What such a message says of the certificates of this store. Throws `notification_malformed`, and
 * `notification_foreign` where it names another store.
 */
export function readChangeMessage(body: Uint8Array, store: string): Omit<LifecycleEvent, 'digest'> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const message = isUtf8(bytes) ? parseJsonObject(bytes.toString('utf8')) : undefined;
  if (message === undefined) throw malformedMessage('the body is no JSON object in UTF-8');
  const { type, timestamp } = message;
  if (typeof type !== 'string') throw malformedMessage('the body has no type');
  const data = isJsonObject(message.data) ? message.data : {};
  if (typeof data.store === 'string' && data.store !== store) {
    throw new CodedError('notification_foreign', `the notification is of another store than ${store}`);
  }
  const changes = type === changedType;
  const occurredAt = typeof timestamp === 'string' ? Date.parse(timestamp) : Number.NaN;
  return {
    kind: changes ? 'other' : type === testType ? 'test' : 'unknown',
    changes,
    type: visibleWithin(type, limits.notificationTextCharacters),
    version: 1,
    store,
    ...(changes ? readNamed(data.certificates) : { certificates: [] }),
    ...(occurredAt >= 0 && { occurredAt }),
  };
}

/**
 * The certificates that a message of a change names; without any it says that something has
 * changed.
 */
function readNamed(list: unknown): Pick<LifecycleEvent, 'certificates' | 'hints' | 'something'> {
  if (list === undefined) return { certificates: [], something: true };
  if (!Array.isArray(list)) throw malformedMessage('data.certificates is no list');
  if (list.length === 0) return { certificates: [], something: true };
  if (list.length > limits.notificationCertificates) {
    throw malformedMessage(
      `it names ${list.length} certificates, at most ${limits.notificationCertificates} are allowed`,
    );
  }
  const ids = new Set<string>();
  const names = new Set<string>();
  for (const item of list) {
    const { id, name } = isJsonObject(item) ? item : {};
    if (typeof id === 'string' && id !== '') ids.add(id);
    else if (typeof name === 'string' && name !== '') names.add(name);
    else throw malformedMessage('an item of data.certificates has neither an id nor a name');
  }
  const hints = [...names].map((text): Hint => ({ by: 'name', text }));
  return { certificates: [...ids].map((id) => ({ id, name: '' })), ...(hints.length > 0 && { hints }) };
}

/** A message, or what stands beside it, that is not as it should be. */
export const malformedMessage = (message: string): CodedError =>
  new CodedError('notification_malformed', message, {
    fields: { expected: 'the message that the page of this sender describes' },
  });
