import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { visibleWithin } from '../../foreign-text.ts';
import { certificateTypes, secretId } from '../../ibm-cloud/secrets.ts';
import { limits } from '../../limits.ts';
import { tokenInData } from '../../sender/data-token.ts';
import type { LifecycleEvent, LifecycleKind } from '../../sender/event.ts';
import { isJsonObject, parseJsonObject } from '../../sender/json.ts';
import { verifyCompactJws } from '../../sender/jws.ts';
import type { Sender } from '../../sender/sender.ts';
import { withAnyKey } from '../../sender/verification-keys.ts';
import { addressOf } from './address.ts';
import type { EventNotificationsConfig } from './settings.ts';
import { typePrefix } from './types.ts';

type Fields = Readonly<Record<string, unknown>>;

interface EventKind {
  readonly kind: LifecycleKind;
  readonly changes: boolean;
}

const informs = (kind: LifecycleKind): EventKind => ({ kind, changes: false });
const changes = (kind: LifecycleKind): EventKind => ({ kind, changes: true });

/** What each lifecycle event of Secrets Manager means (its documentation, "Event types"). */
const eventKinds: ReadonlyMap<string, EventKind> = new Map([
  ['secret_created', changes('imported')],
  ['secret_rotated', changes('reimported')],
  ['secret_deleted', changes('deleted')],
  // A private certificate that was revoked is no longer what it was.
  ['secret_revoked', changes('other')],
  ['secret_about_to_expire', informs('about-to-expire')],
  // Its data is gone from then on, so that there is nothing to copy.
  ['secret_expired', informs('expired')],
  ['secret_creation_failed', informs('failed')],
  ['secret_rotation_failed', informs('failed')],
  ['secret_deletion_failed', informs('failed')],
  ['secret_rotation_blocked', informs('other')],
  ['secret_deletion_blocked', informs('other')],
  ['secret_revocation_blocked', informs('other')],
  ['secret_expiration_blocked', informs('other')],
  ['secret_data_removed', informs('other')],
  ['secret_version_data_deleted', informs('other')],
  ['secret_task_created', informs('other')],
  ['secret_task_succeeded', informs('other')],
  ['secret_task_failed', informs('other')],
  ['secret_task_deleted', informs('other')],
  ['test_event', informs('test')],
]);

/** What events of Secrets Manager have: what has none of it is a word of the destination itself. */
const memberNames = ['event_type', 'secrets', 'source_instance_crn'];
const headerMembers: ReadonlySet<string> = new Set(['alg', 'typ', 'kid']);

/** A webhook destination of Event Notifications, by a subscription that has it signed. */
export function senderOf(config: EventNotificationsConfig): Sender {
  return {
    store: config.store,
    keysFrom: addressOf(config).keyFrom,
    // Which statuses make it try again, nobody says; `Retry-After` is honoured.
    tryAgain: 503,
    anyMediaType: true,
    receive({ body }, keys, now) {
      const token = readToken(body);
      const payload = withAnyKey(keys, (key) => verifyCompactJws(token, key, { onlyMembers: headerMembers }));
      return { events: [readEvent(payload, config, now)] };
    },
  };
}

const whiteSpace = /^[ \t\r\n]+|[ \t\r\n]+$/g;
/** Three parts of base64url, and nothing else. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * The token in a body. Which of three forms is sent, nobody says for sure, and each has one rule:
 * `{"data": "<token>"}`; a JSON string; the token itself.
 */
function readToken(body: Uint8Array): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const text = isUtf8(bytes) ? bytes.toString('utf8').replace(whiteSpace, '') : '';
  if (text.startsWith('{')) {
    if (isJsonObject(parseJsonObject(text)?.data)) throw unsigned();
    return tokenInData(body);
  }
  const token = text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
  if (!compact.test(token)) throw malformed('the body is neither a token nor a JSON object with one');
  return token;
}

/** What the payload of a proven token says. */
function readEvent(bytes: Buffer, { name, store, source }: EventNotificationsConfig, now: number): LifecycleEvent {
  const claims = isUtf8(bytes) ? parseJsonObject(bytes.toString('utf8')) : undefined;
  if (claims === undefined) throw malformed('the payload of the token is no JSON object in UTF-8');
  checkTimes(claims, now);
  const { notification, payload } = payloadIn(claims);
  const id = textIn(notification?.notification_id) || textIn(notification?.id);
  const seenAs = {
    ...(id !== '' && { eventId: visibleWithin(id, limits.notificationTextCharacters) }),
    // Of what was signed, not of the token: a try may be signed anew.
    digest: hash('sha256', `event-notifications\n${name}\n${JSON.stringify([id, payload])}`),
  };
  if (!memberNames.some((member) => Object.hasOwn(payload, member)))
    return { ...seenAs, ...informs('unknown'), type: 'of the destination itself', version: 1, store, certificates: [] };
  if (typeof payload.source_instance_crn !== 'string') throw malformed('the payload has no source_instance_crn');
  // A topic may have several sources. What is around the payload differs by who made it: it is
  // compared only where it is a CRN.
  const named = [payload.source_instance_crn, notification?.source, notification?.ibmensourceid];
  for (const crn of named) {
    if (typeof crn === 'string' && (crn === payload.source_instance_crn || crn.startsWith('crn:')) && crn !== source)
      throw foreign('the notification is of another instance');
  }
  const type = typeIn(payload);
  // Events of other secrets are noted.
  const isCertificates = typeof payload.secret_type !== 'string' || certificateTypes.has(payload.secret_type);
  const known = eventKinds.get(type) ?? informs('unknown');
  const { kind, changes } = isCertificates ? known : informs(known.kind === 'test' ? 'test' : 'other');
  return {
    ...seenAs,
    kind,
    changes,
    type: visibleWithin(type, limits.notificationTextCharacters),
    version: 1,
    store,
    ...readSecrets(payload.secrets, source, changes),
  };
}

/**
 * The payload of Secrets Manager in the claims. Three forms are known, of three years, and exactly
 * one of them must be there: `data.data`, `data`, `dat`.
 */
function payloadIn(claims: Fields): { readonly notification?: Fields; readonly payload: Fields } {
  const { data, dat } = claims;
  if (data !== undefined && dat !== undefined) throw malformed('the payload has both data and dat');
  if (isJsonObject(data) && isJsonObject(data.data)) return { notification: data, payload: data.data };
  const [payload] = [data, dat].filter((one) => isJsonObject(one) && typeof one.event_type === 'string');
  if (isJsonObject(payload)) return { payload };
  // What the test of a destination carries, nobody says.
  const isBare = isJsonObject(data) && !memberNames.some((member) => Object.hasOwn(data, member));
  if (!isBare) throw malformed('the payload has no event of Secrets Manager');
  return { notification: data, payload: {} };
}

/** The name of an event, without what is before it and without its subtype. */
function typeIn({ event_type: type }: Fields): string {
  if (typeof type !== 'string' || type === '') throw malformed('the payload has no event_type');
  const bare = type.startsWith(typePrefix) ? type.slice(typePrefix.length) : type;
  return bare.split(':', 1)[0] ?? '';
}

/** Whether the claims say times, nobody says; where they do, these are held to. */
function checkTimes({ exp, iat }: Fields, now: number): void {
  const skew = limits.notificationSkewMs;
  const isPast = typeof exp === 'number' && exp * 1_000 < now - skew;
  const isFuture = typeof iat === 'number' && iat * 1_000 > now + skew;
  if (isPast || isFuture)
    throw new CodedError(
      'notification_untimely',
      `the notification ${isPast ? 'had expired' : 'is signed for later'} by the clock of this receiver; ${skew / 60_000} minutes are allowed`,
    );
}

/**
 * Every secret of a batch. One whose id cannot be read hides no other: everything is compared then,
 * as where a change names none.
 */
function readSecrets(
  list: unknown,
  source: string,
  changes: boolean,
): Pick<LifecycleEvent, 'certificates' | 'something' | 'occurredAt'> {
  const items: readonly unknown[] = Array.isArray(list) ? list : [];
  if (items.length > limits.notificationCertificates)
    throw malformed(`the notification names ${items.length} secrets, at most ${limits.notificationCertificates}`);
  const found = new Map<string, string>();
  let occurredAt = Number.NaN;
  let isUnclear = items.length === 0;
  for (const item of items) {
    const fields: Fields = isJsonObject(item) ? item : {};
    const id = idIn(fields.secret_id, source);
    if (id === undefined) isUnclear = true;
    else if (!found.has(id)) found.set(id, textIn(fields.secret_name));
    const at = Date.parse(textIn(fields.event_time));
    if (at >= 0 && !(at < occurredAt)) occurredAt = at;
  }
  const name = (given: string) => visibleWithin(given, limits.notificationTextCharacters);
  return {
    certificates: [...found].map(([id, given]) => ({ id, name: name(given) })),
    ...(changes && isUnclear && { something: true }),
    ...(occurredAt >= 0 && { occurredAt }),
  };
}

/** A UUID, or the CRN of a secret of this instance. Throws `notification_foreign`. */
function idIn(given: unknown, source: string): string | undefined {
  if (typeof given !== 'string') return undefined;
  const start = `${source.slice(0, -1)}secret:`;
  if (given.startsWith('crn:') && !given.startsWith(start))
    throw foreign('the notification names a secret that is not of this instance');
  const id = given.startsWith(start) ? given.slice(start.length) : given;
  return secretId.test(id) ? id.toLowerCase() : undefined;
}

const textIn = (value: unknown): string => (typeof value === 'string' ? value : '');

function malformed(message: string): CodedError {
  return new CodedError('notification_malformed', message, {
    fields: { expected: 'a notification of Event Notifications, signed, without a template' },
  });
}

function unsigned(): CodedError {
  return new CodedError('notification_malformed', 'the notification is not signed', {
    fields: { reason: 'unsigned' },
    remedies: {
      unsigned: 'Set signing_enabled on the subscription of this destination: what is not signed is not believed.',
    },
  });
}

function foreign(message: string): CodedError {
  return new CodedError('notification_foreign', message);
}
