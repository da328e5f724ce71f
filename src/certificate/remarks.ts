import { isSelfSigned, isSignedBy, mayIssue } from './chain.ts';
import { validityOf } from './facts.ts';
import { linkedTo, type PublicContent, pathUp, validityAt } from './path.ts';
import { issuerOf, subjectOf } from './words.ts';

/** What is to be told of a certificate that came with a leaf that serves. */
export interface ChainRemark {
  /**
   * `expired`, `not-yet-valid`, `unreadable-dates`; `no-authority`: it signed one of the others and
   * may not; `spare`: clients find another way up without it; `unrelated`: neither the leaf nor
   * what is above it was signed by it.
   */
  readonly kind: 'expired' | 'not-yet-valid' | 'unreadable-dates' | 'no-authority' | 'spare' | 'unrelated';
  /** Of the certificate that it is about: one RFC 4514 line, cut where it is very long. */
  readonly subject: string;
  readonly message: string;
}

/**
 * What is on no path, or on it with a flaw that does not break it: it is copied as it is, and no
 * reason to refuse anything. At most one remark for each certificate, in their order; none where no
 * path leads up at all. `nowMs`: epoch milliseconds.
 */
export function chainRemarks(content: PublicContent, nowMs: number): readonly ChainRemark[] {
  const path = pathUp(content, nowMs);
  if (path === undefined || content.chain.length === 0) return [];
  const linked = linkedTo(content);
  const last = path.at(-1) ?? content.leaf;
  return content.chain.flatMap((certificate): ChainRemark | readonly [] => {
    const onPath = path.includes(certificate);
    const validity = validityAt(certificate, nowMs);
    const subject = subjectOf(certificate);
    const remark = (kind: ChainRemark['kind'], words: string) => ({ kind, subject, message: `${subject} ${words}` });
    if (!linked.has(certificate)) return remark('unrelated', 'signed none of the others: clients have no use for it');
    if (!mayIssue(certificate)) return remark('no-authority', 'is no certificate authority: clients pass it over');
    if (validity === 'unreadable') return remark('unreadable-dates', 'has a date that is none: clients pass it over');
    if (validity === 'expired') {
      const ends = !onPath && !isSelfSigned(last) && isSignedBy(last, certificate);
      const words = ends
        ? 'only clients that know its key by a root of their own go on from here'
        : 'clients do without it';
      return remark('expired', `expired at ${isoTime(validityOf(certificate).notAfter)}: ${words}`);
    }
    if (validity === 'early')
      return remark('not-yet-valid', `is not valid before ${isoTime(validityOf(certificate).notBefore)}`);
    return onPath ? [] : remark('spare', `(issued by ${issuerOf(certificate)}) is not needed: another way leads up`);
  });
}

const isoTime = (ms: number): string => new Date(ms).toISOString();
