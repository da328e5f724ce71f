import type { KeyContext } from './root-key.ts';

/**
 * What kinds write that wrap by AES-256-GCM themselves (NIST SP 800-38D): `1.`, and in base64url a
 * nonce of 96 bits, the 32 bytes of the data key encrypted, and the tag of 128 bits.
 */
export const ivBytes = 12;
export const tagBytes = 16;

const text = /^1\.([\w-]{80})$/;

export const wrappedText = (iv: Uint8Array, encrypted: Uint8Array): string =>
  `1.${Buffer.concat([iv, encrypted]).toString('base64url')}`;

/** Its parts; `undefined` if it is no such text. */
export function wrappedParts(wrapped: string): { readonly iv: Buffer; readonly encrypted: Buffer } | undefined {
  const [, body] = text.exec(wrapped) ?? [];
  if (body === undefined) return undefined;
  const bytes = Buffer.from(body, 'base64url');
  return { iv: bytes.subarray(0, ivBytes), encrypted: bytes.subarray(ivBytes) };
}

/** The context as bytes, the same in whatever order it was given: additional authenticated data. */
export function boundTo(context: KeyContext): Buffer {
  const entries = Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.from(JSON.stringify(['certstandby-wrapped-key.1', ...entries]));
}
