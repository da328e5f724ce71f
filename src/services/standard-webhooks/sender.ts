import { isUtf8 } from 'node:buffer';
import { hash, type KeyObject } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { visibleWithin } from '../../foreign-text.ts';
import { limits } from '../../limits.ts';
import { Secret } from '../../secret.ts';
import type { Hint, LifecycleEvent } from '../../sender/event.ts';
import { isJsonObject, parseJsonObject } from '../../sender/json.ts';
import { type BodySignature, isSignedByAny } from '../../sender/proofs/signed-body.ts';
import type { Sender, SenderRequest, VerificationKeys } from '../../sender/sender.ts';
import { publicKey, sharedSecret } from '../../sender/standard-webhook-keys.ts';
import { changedType, signedContent, testType } from '../../sender/standard-webhook-message.ts';
import type { StandardWebhooksConfig } from './settings.ts';

/** Ids are what stays the same over tries. Without full stops: what is signed has them between its parts. */
const messageId = /^[!-\-/-~]{1,256}$/;
const seconds = /^\d{1,12}$/;
const oneSignature = /^([a-z0-9]{1,8}),([A-Za-z0-9+/]{1,512}={0,2})$/;
const mostSignatures = 16;
const schemes: ReadonlyMap<string, BodySignature['scheme']> = new Map([
  ['v1', 'hmac-sha256'],
  ['v1a', 'ed25519'],
]);

/** Anything that posts as the Standard Webhooks specification (1.0.0) says, and shares a secret or a public key with us. */
export function senderOf(config: StandardWebhooksConfig): Sender {
  const { name, store } = config;
  return {
    store,
    keys: keysOf(config),
    // Whatever is not 2xx is a failure, and tried again ("Delivery success and failure").
    tryAgain: 503,
    receive(request, pinned, now) {
      const { id, sentAt } = readProof(request, pinned.values());
      if (Math.abs(now - sentAt) > limits.notificationSkewMs) throw untimely(sentAt - now);
      return { events: [readEvent(request.body, { id, sender: name, store })] };
    },
  };
}

/** The keys of a sender, by the settings that hold them. */
function keysOf({ secret, nextSecret, publicKey: first, nextPublicKey }: StandardWebhooksConfig): VerificationKeys {
  const secrets = Object.entries({ secret, nextSecret }).map(([setting, held]) => {
    return [setting, held instanceof Secret ? sharedSecret(held.reveal()) : undefined] as const;
  });
  const pinned = Object.entries({ publicKey: first, nextPublicKey }).map(([setting, text = '']) => {
    return [setting, publicKey(text)] as const;
  });
  return new Map([...secrets, ...pinned].flatMap(([setting, key]) => (key === undefined ? [] : [[setting, key]])));
}

/** What the headers say of a message that one of these keys has signed. `sentAt` is epoch milliseconds. */
function readProof(
  request: SenderRequest,
  keys: Iterable<KeyObject>,
): { readonly id: string; readonly sentAt: number } {
  const id = request.header('webhook-id') ?? '';
  if (!messageId.test(id)) throw malformed('webhook-id is no id of 1 to 256 characters, once, without full stops');
  const timestamp = request.header('webhook-timestamp') ?? '';
  if (!seconds.test(timestamp)) throw malformed('webhook-timestamp is no number of seconds, once');
  const signatures = readSignatures(request.header('webhook-signature') ?? '');
  if (!isSignedByAny(signedContent(id, timestamp, request.body), signatures, keys)) {
    throw new CodedError('notification_not_genuine', 'the notification is signed by none of the keys of this sender', {
      fields: { signs: 'with a secret or a key of this sender' },
    });
  }
  return { id, sentAt: Number(timestamp) * 1_000 };
}

/** The signatures of a message that are of a kind known here: while keys are changed there are several. */
function readSignatures(header: string): readonly BodySignature[] {
  const parts = header.split(' ');
  if (parts.length > mostSignatures) throw malformed(`webhook-signature has more than ${mostSignatures} signatures`);
  return parts.flatMap((part) => {
    const [, version = '', encoded = ''] = oneSignature.exec(part) ?? [];
    if (version === '') throw malformed('webhook-signature is no list of signatures such as v1,<base64>, once');
    const bytes = Buffer.from(encoded, 'base64');
    const scheme = schemes.get(version);
    return scheme === undefined || bytes.toString('base64') !== encoded ? [] : [{ scheme, bytes }];
  });
}

function readEvent(
  body: Uint8Array,
  { id, sender, store }: { readonly id: string; readonly sender: string; readonly store: string },
): LifecycleEvent {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const message = isUtf8(bytes) ? parseJsonObject(bytes.toString('utf8')) : undefined;
  if (message === undefined) throw malformed('the body is no JSON object in UTF-8');
  const { type, timestamp } = message;
  if (typeof type !== 'string') throw malformed('the body has no type');
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
    eventId: visibleWithin(id, limits.notificationTextCharacters),
    ...(occurredAt >= 0 && { occurredAt }),
    // A try is signed anew, under the same id. A sender that gives every message one id must not lose all but the first.
    digest: hash('sha256', `standard-webhooks\n${sender}\n${id}\n${hash('sha256', bytes)}`),
  };
}

/** The certificates that a message of a change names; without any it says that something has changed. */
function readNamed(list: unknown): Pick<LifecycleEvent, 'certificates' | 'hints' | 'something'> {
  if (list === undefined) return { certificates: [], something: true };
  if (!Array.isArray(list)) throw malformed('data.certificates is no list');
  if (list.length === 0) return { certificates: [], something: true };
  if (list.length > limits.notificationCertificates) {
    throw malformed(`it names ${list.length} certificates, at most ${limits.notificationCertificates} are allowed`);
  }
  const ids = new Set<string>();
  const names = new Set<string>();
  for (const item of list) {
    const { id, name } = isJsonObject(item) ? item : {};
    if (typeof id === 'string' && id !== '') ids.add(id);
    else if (typeof name === 'string' && name !== '') names.add(name);
    else throw malformed('an item of data.certificates has neither an id nor a name');
  }
  const hints = [...names].map((text): Hint => ({ by: 'name', text }));
  return { certificates: [...ids].map((id) => ({ id, name: '' })), ...(hints.length > 0 && { hints }) };
}

const malformed = (message: string): CodedError =>
  new CodedError('notification_malformed', message, {
    fields: {
      expected: 'a message of the Standard Webhooks specification, with the body that certstandby notify makes',
    },
  });

function untimely(aheadMs: number): CodedError {
  const apart = `${Math.round(Math.abs(aheadMs) / 1_000)} seconds ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
  return new CodedError(
    'notification_untimely',
    `the notification was sent ${apart} the clock of this receiver; ${limits.notificationSkewMs / 60_000} minutes are allowed`,
  );
}
