import { generateKeyPair, type KeyObject, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';

/** The kinds of key that the development CA makes. */
export type KeyKind = 'rsa-2048' | 'rsa-4096' | 'rsa-pss-2048' | 'p-256' | 'p-384' | 'p-521' | 'ed25519';

/** A key pair as `node:crypto` knows it. */
interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** What WebCrypto must be told to import a key of this kind and to sign a certificate with it. */
interface SigningAlgorithm {
  readonly name: string;
  readonly hash?: string;
  readonly namedCurve?: string;
  readonly saltLength?: number;
}

interface KeyKindEntry {
  readonly generate: () => Promise<KeyPair>;
  readonly signing: SigningAlgorithm;
}

/** A key that signs certificates. */
export interface Signer {
  readonly publicKey: KeyObject;
  readonly signingKey: webcrypto.CryptoKey;
  readonly algorithm: SigningAlgorithm;
}

// The callback form works in the thread pool: several keys are made at the same time, and faster
// than by WebCrypto.
const generate = promisify(generateKeyPair);
const generateRsa = (modulusLength: number) => generate('rsa', { modulusLength });
const generateEc = (namedCurve: string) => generate('ec', { namedCurve });

/** Everything known about a kind of key. */
const keyKinds: Readonly<Record<KeyKind, KeyKindEntry>> = {
  'rsa-2048': { generate: () => generateRsa(2048), signing: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } },
  'rsa-4096': { generate: () => generateRsa(4096), signing: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } },
  'rsa-pss-2048': {
    generate: () => generate('rsa-pss', { modulusLength: 2048 }),
    signing: { name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 },
  },
  'p-256': { generate: () => generateEc('P-256'), signing: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } },
  'p-384': { generate: () => generateEc('P-384'), signing: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' } },
  'p-521': { generate: () => generateEc('P-521'), signing: { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' } },
  ed25519: { generate: () => generate('ed25519', {}), signing: { name: 'Ed25519' } },
};

/** A new private key of this kind. */
export async function newPrivateKey(kind: KeyKind): Promise<KeyObject> {
  return (await keyKinds[kind].generate()).privateKey;
}

/**
 * A new key of this kind for a certificate authority. WebCrypto reads no keys that are bound to
 * RSA-PSS, so an `rsa-pss-2048` authority has an ordinary RSA key and signs with PSS, as public
 * ones do.
 */
export async function newSigner(kind: KeyKind): Promise<Signer> {
  const { publicKey, privateKey } = await keyKinds[kind === 'rsa-pss-2048' ? 'rsa-2048' : kind].generate();
  const algorithm = keyKinds[kind].signing;
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
  der.fill(0);
  return { publicKey, signingKey, algorithm };
}
