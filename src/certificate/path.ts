import type { X509Certificate } from 'node:crypto';
import type { CertificateContent } from './certificate.ts';
import { isSelfSigned, isSignedBy, mayIssue } from './chain.ts';
import { validityOf } from './facts.ts';

/** What anybody may see of a certificate. */
export type PublicContent = Pick<CertificateContent, 'leaf' | 'chain'>;

/**
 * The path that clients find at a moment (epoch milliseconds) among what came with a leaf, from the
 * issuer of the leaf upwards; empty for a leaf alone and for one that is signed by itself;
 * `undefined` where they find none.
 *
 * What came is a set, as OpenSSL takes it: its order says nothing. Each certificate of the path is
 * an authority that is valid then, and signed the one before it. The last one is signed by itself,
 * or clients must know its issuer themselves. An authority that is not valid yet and a root that
 * has expired are taken only where nothing else leads up: clocks differ, and of a root only the key
 * counts for many clients.
 *
 * What clients trust is not known here. So where all that signed a certificate above the leaf have
 * expired, the path ends below them: they are taken for cross certificates of a root that clients
 * know by itself. What is no authority never was one, and bars the way where nothing leads around
 * it.
 */
export function pathUp({ leaf, chain }: PublicContent, nowMs: number): readonly X509Certificate[] | undefined {
  if (isSelfSigned(leaf) || chain.length === 0) return [];
  const validity = new Map(chain.map((certificate) => [certificate, validityAt(certificate, nowMs)]));
  return (
    climb({ leaf, chain }, (authority) => validity.get(authority) === 'valid') ??
    climb({ leaf, chain }, (authority) => {
      const is = validity.get(authority);
      return is === 'valid' || is === 'early' || (is === 'expired' && isSelfSigned(authority));
    })
  );
}

/** Each certificate is tried once, so that circles of cross-signed ones end. */
function climb(
  { leaf, chain }: PublicContent,
  isUsable: (authority: X509Certificate) => boolean,
): readonly X509Certificate[] | undefined {
  const below = new Set<X509Certificate>();
  const leadNowhere = new Set<X509Certificate>();
  const above = (certificate: X509Certificate): readonly X509Certificate[] | undefined => {
    if (isSelfSigned(certificate)) return [];
    const signers = chain.filter((candidate) => !below.has(candidate) && isSignedBy(certificate, candidate));
    const authorities = signers.filter(mayIssue);
    for (const authority of authorities.filter(isUsable)) {
      if (leadNowhere.has(authority)) continue;
      below.add(authority);
      const rest = above(authority);
      if (rest !== undefined) return [authority, ...rest];
      below.delete(authority);
      leadNowhere.add(authority);
    }
    const isEnd = signers.length === 0 || authorities.some((authority) => !isUsable(authority));
    return isEnd && certificate !== leaf ? [] : undefined;
  };
  return above(leaf);
}

/**
 * All that signed the leaf, or signed one that did, and so on, whatever else is wrong with them.
 */
export function linkedTo({ leaf, chain }: PublicContent): ReadonlySet<X509Certificate> {
  const found = new Set<X509Certificate>();
  const add = (below: X509Certificate) => {
    for (const signer of chain) {
      if (found.has(signer) || !isSignedBy(below, signer)) continue;
      found.add(signer);
      add(signer);
    }
  };
  add(leaf);
  return found;
}

export type Validity = 'valid' | 'early' | 'expired' | 'unreadable';

/**
 * How a certificate stands at a moment: notBefore and notAfter themselves are valid (RFC 5280
 * section 4.1.2.5).
 */
export function validityAt(certificate: X509Certificate, nowMs: number): Validity {
  try {
    const { notBefore, notAfter } = validityOf(certificate);
    if (nowMs > notAfter) return 'expired';
    return nowMs < notBefore ? 'early' : 'valid';
  } catch {
    return 'unreadable';
  }
}
