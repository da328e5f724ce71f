import type { X509Certificate } from 'node:crypto';

/**
 * What was found out of two certificates: neither changes, and their signatures cost most of what a
 * judgement costs.
 */
const known = new WeakMap<X509Certificate, WeakMap<X509Certificate, boolean>>();

/**
 * Whether `issuer` signed `certificate`, as OpenSSL finds an issuer: the names agree (upper and
 * lower case, spaces and the kind of string make no difference, RFC 5280 section 7.1), the key
 * identifiers do, its key usage allows it, and the signature holds. Whether it is a certificate
 * authority is not asked here.
 */
export function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  const ofCertificate = known.get(certificate) ?? new WeakMap<X509Certificate, boolean>();
  known.set(certificate, ofCertificate);
  const answer = ofCertificate.get(issuer) ?? (isIssuedBy(certificate, issuer) && isSignedWith(certificate, issuer));
  ofCertificate.set(issuer, answer);
  return answer;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer);
  } catch {
    return false;
  }
}

/**
 * Whether the key of `signer` made the signature of `certificate`, whatever their names and uses
 * are.
 */
export function isSignedWith(certificate: X509Certificate, signer: X509Certificate): boolean {
  try {
    return certificate.verify(signer.publicKey);
  } catch {
    // The platform cannot read the key or this kind of signature: nobody vouches for it.
    return false;
  }
}

/**
 * Whether a certificate is its own issuer: name and signature are its own. Its key usage is not
 * asked: that of a server's own certificate rarely allows certificates to be signed.
 */
export function isSelfSigned(certificate: X509Certificate): boolean {
  if (isSignedBy(certificate, certificate)) return true;
  return certificate.subject === certificate.issuer && isSignedWith(certificate, certificate);
}

/**
 * Whether clients take it for an issuer: a certificate authority, or a self-signed root, which old
 * ones do not say of themselves.
 */
export const mayIssue = (certificate: X509Certificate): boolean => certificate.ca || isSelfSigned(certificate);

/**
 * The certificates that came with a leaf, in the order in which they are kept, sent and counted
 * into the fingerprint: never one that depends on the clock. First a path in issuing order from the
 * leaf upwards, then what is not on it, in the order given.
 *
 * Where several certificates signed the same one and all of them link, one after the other, the
 * self-signed one comes first, since a cross-signed one of the same key links to it, else the one
 * whose DER is smaller. Where that leaves some over, the path takes the first that was given, as
 * OpenSSL's clients do: with variants by two authorities the order says which clients are served.
 * Of several by the same authority (renewed ones) it takes the one that lasts longest, and none
 * that may not issue.
 */
export function inIssuingOrder(leaf: X509Certificate, others: readonly X509Certificate[]): readonly X509Certificate[] {
  const whole = climb(leaf, others, (signers) => signers.toSorted((a, b) => selfSignedFirst(a, b) || byDer(a, b))[0]);
  if (whole.length === others.length) return whole;
  const path = climb(leaf, others.filter(mayIssue), ([first, ...more]) => {
    const renewed = more.filter(({ issuer }) => issuer === first?.issuer);
    return renewed.reduce((best, other) => (best && lastsUntil(other) <= lastsUntil(best) ? best : other), first);
  });
  return [...path, ...others.filter((certificate) => !path.includes(certificate))];
}

/** From the leaf upwards, each the one chosen among those that signed the one before it. */
function climb(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
  choose: (signers: readonly X509Certificate[]) => X509Certificate | undefined,
): readonly X509Certificate[] {
  const path: X509Certificate[] = [];
  for (let below = leaf; ; ) {
    const issuer = choose(others.filter((candidate) => !path.includes(candidate) && isSignedBy(below, candidate)));
    if (issuer === undefined) return path;
    path.push(issuer);
    below = issuer;
  }
}

/**
 * The certificates that may be the leaf of a set, judged by the set alone: those that signed none
 * of the others; among them those that are no certificate authority, if there are any; and among
 * these those that another one signed, if there are any: a root of the first version does not say
 * that it is an authority.
 */
export function leafCandidates(certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const others = (certificate: X509Certificate) => certificates.filter((other) => other !== certificate);
  const lowest = certificates.filter((one) => !others(one).some((other) => isSignedBy(other, one)));
  const ends = lowest.filter(({ ca }) => !ca);
  const issued = ends.filter((one) => others(one).some((other) => isSignedBy(one, other)));
  const rooted = ends.filter((one) => issued.includes(one) || !isSelfSigned(one));
  if (issued.length > 0) return rooted;
  return ends.length > 0 ? ends : lowest;
}

const selfSignedFirst = (a: X509Certificate, b: X509Certificate) => Number(isSignedBy(b, b)) - Number(isSignedBy(a, a));

const byDer = (a: X509Certificate, b: X509Certificate) => Buffer.compare(a.raw, b.raw);

/** Epoch milliseconds; 0 where it is no date. */
const lastsUntil = ({ validTo }: X509Certificate) => Date.parse(validTo) || 0;
