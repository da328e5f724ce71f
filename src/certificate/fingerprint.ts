import { createHash, type Hash } from 'node:crypto';
import type { CertificateContent } from './certificate.ts';

/**
 * Lower-case hex SHA-256 over the DER of the leaf, of each chain certificate in issuing order, and of the public key of the
 * private key (empty if there is none), each after its length as 4 bytes, big-endian. Equal fingerprint = equal content.
 */
export function fingerprintOf({ leaf, chain, privateKey }: CertificateContent): string {
  const hash = createHash('sha256');
  for (const { raw } of [leaf, ...chain]) addWithLength(hash, raw);
  addWithLength(hash, privateKey?.publicKeyDer ?? new Uint8Array());
  return hash.digest('hex');
}

/**
 * Lower-case hex SHA-256 over name, description and sorted tags as UTF-8, each after its length as 4 bytes, big-endian; the
 * number of tags, as 4 bytes too, stands before them. The order of tags makes no difference.
 */
export function metadataDigestOf(metadata: {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
}): string {
  const hash = createHash('sha256');
  addWithLength(hash, Buffer.from(metadata.name));
  addWithLength(hash, Buffer.from(metadata.description));
  hash.update(fourBytes(metadata.tags.length));
  for (const tag of metadata.tags.toSorted()) addWithLength(hash, Buffer.from(tag));
  return hash.digest('hex');
}

function addWithLength(hash: Hash, bytes: Uint8Array): void {
  hash.update(fourBytes(bytes.length)).update(bytes);
}

function fourBytes(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
