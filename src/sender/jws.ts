import { isUtf8 } from 'node:buffer';
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { PublicKey } from '../certificate/public-key.ts';
import { readPublicKeyPem } from '../certificate/public-key-pem.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { jsonMembers, parseJsonObject } from './json.ts';

/** The header that Certificate Manager sends, `{"alg":"RS256"}`, as it stands in a token. */
const usualHeader = 'eyJhbGciOiJSUzI1NiJ9';

/**
 * Header parameters that bring a key (RFC 7515, 4.1) or change what the bytes mean (`crit`, `b64`
 * of RFC 7797, `zip` and `enc` of RFC 7516).
 */
const refusedParameters = new Set(['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc']);

/**
 * The payload bytes of a compact JWS that this key signed with RS256. A strict gate in front of the
 * platform's own check: each token has exactly one spelling that passes, and nothing that it says
 * about algorithm or keys is believed.
 *
 * Throws `notification_malformed` for what is not a token at all, and `notification_not_genuine`,
 * always with the same words, for what this key did not sign this way. The key must come from
 * `pinVerificationKey`.
 */
export function verifyCompactJws(
  token: string,
  publicKey: KeyObject,
  {
    onlyMembers,
  }: {
    /** The members that its header may have. Absent: whatever brings no key and means nothing. */
    readonly onlyMembers?: ReadonlySet<string>;
  } = {},
): Buffer {
  const headerEnd = token.indexOf('.');
  const payloadEnd = token.indexOf('.', headerEnd + 1);
  if (headerEnd < 0 || payloadEnd < 0 || token.includes('.', payloadEnd + 1)) {
    throw new CodedError('notification_malformed', 'a token has three parts with a dot between them; this one has not');
  }
  const headerGood =
    (headerEnd === usualHeader.length && token.startsWith(usualHeader)) ||
    isGoodHeader(token.slice(0, headerEnd), onlyMembers);
  const payload = decodeBase64url(token.slice(headerEnd + 1, payloadEnd));
  const signature = decodeBase64url(token.slice(payloadEnd + 1));
  if (!headerGood || signature.length !== modulusBytes.get(publicKey)) throw notGenuine();
  if (!verify('RSA-SHA256', Buffer.from(token.slice(0, payloadEnd), 'latin1'), publicKey, signature))
    throw notGenuine();
  return payload;
}

/**
 * The `kid` in the header of a token (RFC 7515, 4.1.4), before anything is proven: it chooses among
 * pinned keys, and nothing else. `undefined`: it names none. Throws `notification_malformed`.
 */
export function tokenKeyId(token: string): string | undefined {
  const header = readHeader(token.slice(0, Math.max(0, token.indexOf('.'))));
  const id = header?.values.kid;
  return typeof id === 'string' && id !== '' && id.length <= limits.notificationTextCharacters ? id : undefined;
}

/**
 * What base64url text (RFC 4648, 5) encodes, if it is the one canonical spelling: `Buffer` alone
 * would skip what it does not know.
 */
function decodeBase64url(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.toString('base64url') !== text) {
    throw new CodedError('notification_malformed', 'a part of the token is not canonical base64url');
  }
  return bytes;
}

/** Whether the header asks for RS256 and for nothing else that matters. */
function isGoodHeader(part: string, onlyMembers: ReadonlySet<string> | undefined): boolean {
  const header = readHeader(part);
  if (header?.values.alg !== 'RS256') return false;
  return !header.names.some((name) => refusedParameters.has(name) || onlyMembers?.has(name) === false);
}

/** The header of a token; `undefined` if its names are not unique (RFC 7515, 4). */
function readHeader(
  part: string,
): { readonly values: Readonly<Record<string, unknown>>; readonly names: readonly string[] } | undefined {
  const bytes = decodeBase64url(part);
  const text = isUtf8(bytes) ? bytes.toString('utf8') : '';
  const values = parseJsonObject(text);
  if (values === undefined) throw new CodedError('notification_malformed', 'the header of the token is no JSON object');
  const names = jsonMembers(text).map(({ name }) => name);
  return new Set(names).size === names.length ? { values, names } : undefined;
}

/** How long the signatures of a pinned key are. */
const modulusBytes = new WeakMap<KeyObject, number>();

/** One text for every cause, so that an answer does not teach which check failed. */
function notGenuine(): CodedError {
  return new CodedError('notification_not_genuine', 'the notification is not signed by the instance of this link');
}

/**
 * The key that verifies a link's notifications, from PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`): RSA of
 * at least 2048 bits. Throws `configuration_invalid` for anything else, a private key and a
 * certificate included.
 */
export function pinVerificationKey(pem: string): KeyObject {
  const label = /^\s*-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(pem)?.[1];
  if (label !== 'PUBLIC KEY' && label !== 'RSA PUBLIC KEY') {
    throw unusableKey(label === undefined ? 'it is not PEM' : `it is PEM of a ${label}, not of a public key`);
  }
  const { kind, bits = 0, der, algorithm } = readKey(pem);
  if (kind !== 'rsa') throw unusableKey(`its type is ${kind === 'other' ? algorithm : kind}, not rsa`);
  if (bits < limits.verificationKeyBits)
    throw unusableKey(`it has ${bits} bits, at least ${limits.verificationKeyBits} are needed`);
  const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  modulusBytes.set(key, Math.ceil(bits / 8));
  return key;
}

function readKey(pem: string): PublicKey {
  try {
    return readPublicKeyPem(pem);
  } catch (cause) {
    if (cause instanceof CodedError && cause.code === 'certificate_key_unsupported')
      throw unusableKey(cause.message, cause);
    throw unusableKey('it cannot be decoded', cause);
  }
}

function unusableKey(found: string, cause?: unknown): CodedError {
  return new CodedError('configuration_invalid', `this key cannot verify notifications: ${found}`, { cause });
}
