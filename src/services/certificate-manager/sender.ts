import { isUtf8 } from 'node:buffer';
import { hash, type KeyObject } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { visibleWithin } from '../../foreign-text.ts';
import { limits } from '../../limits.ts';
import { tokenInData } from '../../sender/data-token.ts';
import type { LifecycleEvent, LifecycleKind } from '../../sender/event.ts';
import { isJsonObject, parseJsonObject } from '../../sender/json.ts';
import { verifyCompactJws } from '../../sender/jws.ts';
import type { Sender } from '../../sender/sender.ts';
import { withAnyKey } from '../../sender/verification-keys.ts';
import type { CertificateManagerConfig } from './settings.ts';

/**
 * Which instance a callback URL is bound to, and the key that proves it. Both come from
 * configuration or the table, never from a token.
 */
export interface PinnedInstance {
  /** CRN of the instance; ends in `::`. */
  readonly instance: string;
  /** From `pinVerificationKey`. */
  readonly publicKey: KeyObject;
}

interface EventKind {
  readonly kind: LifecycleKind;
  readonly changes: boolean;
}

const informs = (kind: LifecycleKind): EventKind => ({ kind, changes: false });
const changes = (kind: LifecycleKind): EventKind => ({ kind, changes: true });
const unknownKind = informs('unknown');

/**
 * What each event type of Certificate Manager means; the last two are our own instance's, in
 * version 5.
 */
const eventKinds: ReadonlyMap<string, EventKind> = new Map([
  ['test_notification_channel', informs('test')],
  // Version 1 knew only expiry and had no `event_type`: the name of its list stands for it.
  ['expiring_certificates', informs('about-to-expire')],
  ['cert_about_to_expire_reimport_required', informs('about-to-expire')],
  ['cert_about_to_expire_renew_required', informs('about-to-expire')],
  ['cert_expired_reimport_required', informs('expired')],
  ['cert_expired_renew_required', informs('expired')],
  ['cert_order_failed', informs('failed')],
  ['cert_renew_failed', informs('failed')],
  ['cert_domain_validation_required', informs('other')],
  ['cert_domain_validation_completed', informs('other')],
  ['cert_issued_not_downloaded', informs('other')],
  ['cert_renewed_not_downloaded', informs('other')],
  ['cert_reimported', changes('reimported')],
  ['cert_issued', changes('issued')],
  ['cert_renewed', changes('renewed')],
  ['cert_imported', changes('imported')],
  ['cert_deleted', changes('deleted')],
]);

const newestVersion = 5;
const lastMillisecond = 8_640_000_000_000_000;

/** Printable ASCII without the separators of CRNs and paths. */
const certificateId = new RegExp(`^[!-.0-9;-~]{1,${limits.certificateIdCharacters}}$`);

/** Who signs what comes to the callback of a primary that is this instance. */
export function senderOf({ instance }: Pick<CertificateManagerConfig, 'instance'>): Sender {
  return {
    store: instance,
    // Notifications are tried again after any 5xx, and dropped after what refuses them.
    tryAgain: 503,
    receive: ({ body }, keys) => ({
      events: [withAnyKey(keys, (publicKey) => verifyCallback(body, { instance, publicKey }))],
    }),
  };
}

/**
 * What a notification of Certificate Manager says: the body of the request, bytes as they arrived,
 * checked against the pinned instance. Payload versions 1 to 4 as IBM documents and sends them, and
 * 5, our own. Only which certificates are concerned is taken from it, never what it says about
 * their content.
 *
 * Throws `notification_malformed`, `notification_not_genuine` or `notification_foreign` (it names
 * another instance, or a certificate of one). A genuine event of a type or version that is not
 * known yet is an event of kind `unknown`.
 */
export function verifyCallback(body: Uint8Array, pinned: PinnedInstance): LifecycleEvent {
  const payload = verifyCompactJws(tokenInData(body), pinned.publicKey);
  const claims = isUtf8(payload) ? parseJsonObject(payload.toString('utf8')) : undefined;
  if (claims === undefined) throw malformed('the payload of the token is no JSON object in UTF-8');
  return readEvent(claims, pinned.instance, hash('sha256', payload));
}

function readEvent(claims: Record<string, unknown>, instance: string, digest: string): LifecycleEvent {
  if (typeof claims.instance_crn !== 'string') throw malformed('the payload has no instance_crn');
  if (claims.instance_crn !== instance) throw foreign('the notification is of another instance');
  const version = readVersion(claims.version);
  const type = readType(claims.event_type, version);
  const { kind, changes } = (version <= newestVersion ? eventKinds.get(type) : undefined) ?? unknownKind;
  const certificates = readCertificates(claims, { instance, version, lenient: kind === 'unknown' });
  if (changes && certificates.length === 0) throw malformed('the notification of a change names no certificate');
  return {
    kind,
    changes,
    type: visibleWithin(type, limits.notificationTextCharacters),
    version,
    store: instance,
    certificates,
    ...(version === newestVersion ? readOccasion(claims) : undefined),
    digest,
  };
}

/** The payload version; 0 for the earliest beta, which gave none. */
function readVersion(version: unknown): number {
  if (version === undefined) return 0;
  if (typeof version === 'number' && Number.isSafeInteger(version) && version >= 0) return version;
  throw malformed('the version of the payload is no whole number');
}

function readType(type: unknown, version: number): string {
  if (typeof type === 'string') return type;
  if (type === undefined && version <= 1) return 'expiring_certificates';
  if (version > newestVersion) return '';
  throw malformed('the payload has no event_type');
}

/**
 * Of a kind not known yet (`lenient`), what has the known shape is held to the same rules, and
 * other shapes are passed over.
 */
function readCertificates(
  claims: Record<string, unknown>,
  { instance, version, lenient }: { readonly instance: string; readonly version: number; readonly lenient: boolean },
): LifecycleEvent['certificates'] {
  const list = claims.certificates ?? (version <= 1 ? claims.expiring_certificates : undefined) ?? [];
  if (!Array.isArray(list) && !lenient) throw malformed('the list of certificates is no list');
  const items: unknown[] = Array.isArray(list) ? list : [];
  // Domain validation names its one certificate this way, and has no list.
  if (claims.certificateCRN !== undefined) items.push({ cert_crn: claims.certificateCRN });
  if (items.length > limits.notificationCertificates) {
    throw malformed(
      `the notification names ${items.length} certificates, at most ${limits.notificationCertificates} are allowed`,
    );
  }
  const prefix = `${instance.slice(0, -1)}certificate:`;
  const seen = new Set<string>();
  const certificates: { readonly id: string; readonly name: string }[] = [];
  for (const item of items) {
    if (!isJsonObject(item) || typeof item.cert_crn !== 'string') {
      if (lenient) continue;
      throw malformed('an item of the list of certificates has no cert_crn');
    }
    const id = item.cert_crn.slice(prefix.length);
    if (!item.cert_crn.startsWith(prefix) || !certificateId.test(id)) {
      throw foreign('the notification names a certificate that is not of this instance');
    }
    if (seen.has(id)) continue;
    seen.add(id);
    const name = typeof item.name === 'string' ? visibleWithin(item.name, limits.notificationTextCharacters) : '';
    certificates.push({ id, name });
  }
  return certificates;
}

/** Which event it was, and when, by the sender's clock: version 5. */
function readOccasion(claims: Record<string, unknown>): { readonly eventId: string; readonly occurredAt: number } {
  const { event_id: id, event_time: time } = claims;
  const eventId = typeof id === 'string' ? visibleWithin(id, limits.notificationTextCharacters) : '';
  if (eventId === '') throw malformed('the payload has no event_id');
  if (typeof time !== 'number' || !Number.isInteger(time) || time < 0 || time > lastMillisecond) {
    throw malformed('the event_time of the payload is no time in milliseconds');
  }
  return { eventId, occurredAt: time };
}

function malformed(message: string): CodedError {
  return new CodedError('notification_malformed', message);
}

function foreign(message: string): CodedError {
  return new CodedError('notification_foreign', message);
}
