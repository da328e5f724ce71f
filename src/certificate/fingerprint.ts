import { createHash } from 'node:crypto';
import type { CertificateContent } from './certificate.ts';

/**
 * Lower-case hex SHA-256 over the DER of the leaf, of each chain certificate in issuing order, and
 * of the public key of the private key (empty if there is none), each after its length as 4 bytes,
 * big-endian. Equal fingerprint = equal content.
 */
export function fingerprintOf({ leaf, chain, privateKey }: CertificateContent): string {
  const certificates = [leaf, ...chain].flatMap(({ raw }) => withLength(raw));
  return sha256([...certificates, ...withLength(privateKey?.publicKeyDer ?? new Uint8Array())]);
}

/**
 * Lower-case hex SHA-256 over name, description and sorted tags as UTF-8, each after its length as
 * 4 bytes, big-endian; the number of tags, as 4 bytes too, stands before them. The order of tags
 * makes no difference.
 */
export function metadataDigestOf(metadata: {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
}): string {
  const { name, description, tags } = metadata;
  const sorted = tags.toSorted().flatMap((tag) => withLength(Buffer.from(tag)));
  const texts = [name, description].flatMap((text) => withLength(Buffer.from(text)));
  return sha256([...texts, fourBytes(tags.length), ...sorted]);
}

function withLength(bytes: Uint8Array): readonly Uint8Array[] {
  return [fourBytes(bytes.length), bytes];
}

/** Of the parts one after the other. */
function sha256(parts: readonly Uint8Array[]): string {
  return createHash('sha256').update(Buffer.concat(parts)).digest('hex');
}

function fourBytes(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
