import type { X509Certificate } from 'node:crypto';
import { commonNameOf, readName } from './names.ts';
import { readingCertificate, structureOf } from './structure.ts';

/**
 * What cert-manager calls the authority of a temporary certificate, and the serial number that it
 * gives the subject.
 */
const temporaryIssuer = 'cert-manager.local';
const temporarySubjectNumber = '1234567890';
/**
 * The attribute `serialNumber` of a name (RFC 4519 section 2.31): nothing to do with the serial
 * number of a certificate.
 */
const serialNumber = '2.5.4.5';

/** What is said of a temporary certificate, and what a person does about it. */
export const temporaryWords = {
  message: 'it is the temporary certificate that cert-manager puts there until the real one is issued',
  remedy:
    'Nothing, if cert-manager is about to issue it: kubectl describe certificate says what it waits for. To have such ones copied: standIns: true in the policy of the link.',
} as const;

const known = new WeakMap<X509Certificate, boolean>();

/**
 * Whether a leaf is the temporary certificate that cert-manager puts into a secret until the real
 * one is issued (`GenerateLocallySignedTemporaryCertificate` in its package `pki`): no client
 * trusts it. Throws `certificate_malformed`.
 */
export function isTemporary(leaf: X509Certificate): boolean {
  const answer = known.get(leaf) ?? readTemporary(leaf);
  known.set(leaf, answer);
  return answer;
}

function readTemporary(leaf: X509Certificate): boolean {
  const structure = structureOf(leaf);
  return readingCertificate(() => {
    if (commonNameOf(readName(structure.issuer)) === temporaryIssuer) return true;
    const attributes = readName(structure.subject).flat();
    return attributes.some(({ type, text }) => type === serialNumber && text === temporarySubjectNumber);
  });
}
