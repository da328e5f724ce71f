import { hash, type KeyObject } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { visibleWithin } from '../../foreign-text.ts';
import { limits } from '../../limits.ts';
import { Secret } from '../../secret.ts';
import { malformedMessage, readChangeMessage } from '../../sender/change-message.ts';
import type { LifecycleEvent } from '../../sender/event.ts';
import { type BodySignature, isSignedByAny } from '../../sender/proofs/signed-body.ts';
import type { Sender, SenderRequest, VerificationKeys } from '../../sender/sender.ts';
import { publicKey, sharedSecret } from '../../sender/standard-webhook-keys.ts';
import { signedContent } from '../../sender/standard-webhook-message.ts';
import type { StandardWebhooksConfig } from './settings.ts';

/**
 * Ids are what stays the same over tries. Without full stops: what is signed has them between its
 * parts.
 */
const messageId = /^[!-\-/-~]{1,256}$/;
const seconds = /^\d{1,12}$/;
const oneSignature = /^([a-z0-9]{1,8}),([A-Za-z0-9+/]{1,512}={0,2})$/;
const mostSignatures = 16;
/**
 * Each of these hashes the whole body anew for each key, before anything is proven: two keys, and
 * room.
 */
const mostEd25519 = 4;
const schemes: ReadonlyMap<string, BodySignature['scheme']> = new Map([
  ['v1', 'hmac-sha256'],
  ['v1a', 'ed25519'],
]);

/**
 * Anything that posts as the Standard Webhooks specification (1.0.0) says, and shares a secret or a
 * public key with us.
 */
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

/**
 * What the headers say of a message that one of these keys has signed. `sentAt` is epoch
 * milliseconds.
 */
function readProof(
  request: SenderRequest,
  keys: Iterable<KeyObject>,
): { readonly id: string; readonly sentAt: number } {
  const id = request.header('webhook-id') ?? '';
  if (!messageId.test(id))
    throw malformedMessage('webhook-id is no id of 1 to 256 characters, once, without full stops');
  const timestamp = request.header('webhook-timestamp') ?? '';
  if (!seconds.test(timestamp)) throw malformedMessage('webhook-timestamp is no number of seconds, once');
  const signatures = readSignatures(request.header('webhook-signature') ?? '');
  if (!isSignedByAny(signedContent(id, timestamp, request.body), signatures, keys)) {
    throw new CodedError('notification_not_genuine', 'the notification is signed by none of the keys of this sender', {
      fields: { signs: 'with a secret or a key of this sender' },
    });
  }
  return { id, sentAt: Number(timestamp) * 1_000 };
}

/**
 * The signatures of a message that are of a kind known here: while keys are changed there are
 * several.
 */
function readSignatures(header: string): readonly BodySignature[] {
  const parts = header.split(' ');
  if (parts.length > mostSignatures)
    throw malformedMessage(`webhook-signature has more than ${mostSignatures} signatures`);
  const signatures = parts.flatMap((part): readonly BodySignature[] => {
    const [, version = '', encoded = ''] = oneSignature.exec(part) ?? [];
    if (version === '') throw malformedMessage('webhook-signature is no list of signatures such as v1,<base64>, once');
    const bytes = Buffer.from(encoded, 'base64');
    const scheme = schemes.get(version);
    return scheme === undefined || bytes.toString('base64') !== encoded ? [] : [{ scheme, bytes }];
  });
  if (signatures.filter(({ scheme }) => scheme === 'ed25519').length > mostEd25519)
    throw malformedMessage(`webhook-signature has more than ${mostEd25519} signatures of Ed25519`);
  return signatures;
}

function readEvent(
  body: Uint8Array,
  { id, sender, store }: { readonly id: string; readonly sender: string; readonly store: string },
): LifecycleEvent {
  return {
    ...readChangeMessage(body, store),
    eventId: visibleWithin(id, limits.notificationTextCharacters),
    // A try is signed anew, under the same id. A sender that gives every message one id must not
    // lose all but the first.
    digest: hash('sha256', `standard-webhooks\n${sender}\n${id}\n${hash('sha256', body)}`),
  };
}

function untimely(aheadMs: number): CodedError {
  const apart = `${Math.round(Math.abs(aheadMs) / 1_000)} seconds ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
  return new CodedError(
    'notification_untimely',
    `the notification was sent ${apart} the clock of this receiver; ${limits.notificationSkewMs / 60_000} minutes are allowed`,
  );
}
