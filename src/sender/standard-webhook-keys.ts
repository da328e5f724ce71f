import { createPublicKey, createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { privateKeyObject } from '../private-key-object.ts';

/** Least and most bytes of a shared secret (Standard Webhooks, "Signature scheme"). */
const secretBytes = { least: 24, most: 64 };
const keyBytes = 32;
/** What stands before the 32 bytes of an Ed25519 key in DER (RFC 8410, 7 and 4). */
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * The bytes of a text with this prefix, if what follows is base64 in its one canonical spelling.
 */
function bytesAfter(prefix: string, text: string): Buffer | undefined {
  if (!text.startsWith(prefix)) return undefined;
  const encoded = text.slice(prefix.length);
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.toString('base64') === encoded ? bytes : undefined;
}

/** A shared secret, `whsec_` and base64 of 24 to 64 bytes; `undefined` for anything else. */
export function sharedSecret(text: string): KeyObject | undefined {
  const bytes = bytesAfter('whsec_', text);
  if (bytes === undefined || bytes.length < secretBytes.least || bytes.length > secretBytes.most) return undefined;
  return createSecretKey(bytes);
}

/**
 * Ed25519 public keys of small order, in hex without the bit of the sign, spelled as usual and not
 * (OpenSSL takes them): anybody can sign for them.
 */
const keysOfSmallOrder: ReadonlySet<string> = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  ...['ec', 'ed', 'ee'].map((first) => `${first}${'ff'.repeat(30)}7f`),
]);

/**
 * An Ed25519 public key, `whpk_` and base64 of its 32 bytes; `undefined` for anything else, and for
 * a key of small order.
 */
export function publicKey(text: string): KeyObject | undefined {
  const bytes = bytesAfter('whpk_', text);
  if (bytes?.length !== keyBytes) return undefined;
  const unsigned = Buffer.from(bytes);
  unsigned[keyBytes - 1] = (bytes[keyBytes - 1] ?? 0) & 0x7f;
  if (keysOfSmallOrder.has(unsigned.toString('hex'))) return undefined;
  return createPublicKey({ key: Buffer.concat([publicPrefix, bytes]), format: 'der', type: 'spki' });
}

/**
 * A key that signs: a shared secret, or an Ed25519 private key, `whsk_` and base64 of its 32 bytes
 * (or of 64: the public key behind them). `undefined` for anything else.
 */
export function signingKey(text: string): KeyObject | undefined {
  const bytes = bytesAfter('whsk_', text);
  if (bytes === undefined) return sharedSecret(text);
  if (bytes.length !== keyBytes && bytes.length !== 2 * keyBytes) return undefined;
  const seed = bytes.subarray(0, keyBytes);
  const key = privateKeyObject({ key: Buffer.concat([privatePrefix, seed]), format: 'der', type: 'pkcs8' });
  const theirs = bytes.subarray(keyBytes);
  return theirs.length === 0 || theirs.equals(rawPublicKey(createPublicKey(key))) ? key : undefined;
}

/** A new Ed25519 key pair as text: what signs, and what verifies. */
export function newKeyPair(): { readonly privateKey: string; readonly publicKey: string } {
  const pair = generateKeyPairSync('ed25519');
  const seed = pair.privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(privatePrefix.length);
  return {
    privateKey: `whsk_${seed.toString('base64')}`,
    publicKey: `whpk_${rawPublicKey(pair.publicKey).toString('base64')}`,
  };
}

const rawPublicKey = (key: KeyObject): Buffer =>
  key.export({ format: 'der', type: 'spki' }).subarray(publicPrefix.length);
