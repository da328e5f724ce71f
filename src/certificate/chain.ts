import type { X509Certificate } from 'node:crypto';

/** Whether `issuer` signed `certificate`: the names and key identifiers agree, and the signature holds. */
export function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    // The platform cannot read the issuer's key or this kind of signature: nobody vouches for it.
    return false;
  }
}

export const isSelfSigned = (certificate: X509Certificate): boolean => isSignedBy(certificate, certificate);

/**
 * The chain of a leaf in issuing order from the leaf upwards; what does not link comes last, in the order given. Where several
 * certificates signed the same one (a key with a self-signed and a cross-signed certificate), the self-signed one comes first,
 * since the other one links to it, else the one whose DER is smaller, so that the order given makes no difference.
 */
export function inIssuingOrder(leaf: X509Certificate, others: readonly X509Certificate[]): readonly X509Certificate[] {
  const rest = [...others];
  const chain: X509Certificate[] = [];
  for (let below = leaf; ; ) {
    const [issuer] = rest.filter((candidate) => isSignedBy(below, candidate)).sort(selfSignedFirst);
    if (issuer === undefined) return [...chain, ...rest];
    chain.push(issuer);
    rest.splice(rest.indexOf(issuer), 1);
    below = issuer;
  }
}

/**
 * The certificates that may be the leaf of a set, judged by the set alone: those that signed none of the others, and among
 * them those that are no certificate authority, if there are any.
 */
export function leafCandidates(certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const lowest = certificates.filter(
    (certificate) => !certificates.some((other) => other !== certificate && isSignedBy(other, certificate)),
  );
  const ends = lowest.filter(({ ca }) => !ca);
  return ends.length > 0 ? ends : lowest;
}

function selfSignedFirst(a: X509Certificate, b: X509Certificate): number {
  return Number(isSelfSigned(b)) - Number(isSelfSigned(a)) || Buffer.compare(a.raw, b.raw);
}
