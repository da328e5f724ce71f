import { isAuthority } from '../../certificate/authority.ts';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { fingerprintOf, metadataDigestOf } from '../../certificate/fingerprint.ts';
import { contentProblem } from '../../certificate/judgement.ts';
import { isTemporary, temporaryWords } from '../../certificate/stand-in.ts';
import { CodedError } from '../../errors.ts';
import type { Aside } from '../../records/replication-record.ts';
import { cameThrough, type FoundMark, mostOrigins } from '../../store/mark.ts';
import {
  type CertificateMetadata,
  keyAnswerOf,
  type Reading,
  type Store,
  type StoredCertificate,
} from '../../store/store.ts';
import { includes, includesName, type Link, namesExactly } from '../link.ts';
import { vacancyWords } from '../vacancy.ts';

/** What the primary holds and may be copied, with its digests. */
export interface Sound {
  readonly metadata: CertificateMetadata;
  readonly content: CertificateContent;
  readonly fingerprint: string;
  readonly metadataDigest: string;
}

/** What a look at the primary comes to. Different answers, never confused. */
export type Verdict =
  | ({ readonly kind: 'sound' } & Sound)
  | {
      readonly kind: 'refused';
      readonly error: CodedError;
      readonly facts: string;
      readonly found?: Sound;
      /** What the service says about it; absent where it says nothing. */
      readonly metadata?: CertificateMetadata;
    }
  | { readonly kind: 'aside'; readonly why: Aside; readonly found?: Sound }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly error: CodedError };

/**
 * Judges what the primary holds at a moment: whether a copy of it would serve, and whether this
 * link copies it at all. `described` is what the service says about a certificate whose content
 * cannot be understood.
 */
export function judge(
  link: Link,
  reading: Reading<StoredCertificate>,
  now: number,
  described?: CertificateMetadata,
): Verdict {
  if (reading.state === 'absent') return { kind: 'absent' };
  if (reading.state === 'unreadable') {
    const { error, name } = reading;
    if (name !== undefined && !includesName(link.filter, name)) return { kind: 'aside', why: 'excluded' };
    if (described !== undefined && !includes(link.filter, described)) return { kind: 'aside', why: 'excluded' };
    // Held there, but not as a certificate that parses: that is a finding about the content, not a
    // failure to reach the store.
    return error.code === 'store_content_unreadable'
      ? { kind: 'refused', error, facts: error.message, ...(described && { metadata: described }) }
      : { kind: 'unreadable', error };
  }
  if (reading.state === 'vacant') {
    const { name, why } = reading;
    if (name !== undefined && !includesName(link.filter, name)) return { kind: 'aside', why: 'excluded' };
    const error = new CodedError('certificate_vacant', `it holds nothing: ${vacancyWords(reading)}`, {
      fields: { why },
    });
    return { kind: 'refused', error, facts: `${error.code} ${why}` };
  }
  const { metadata, content } = reading.value;
  const found: Sound = {
    metadata,
    content,
    fingerprint: fingerprintOf(content),
    metadataDigest: metadataDigestOf(metadata),
  };
  if (!includes(link.filter, metadata)) return { kind: 'aside', why: 'excluded', found };
  if (metadata.mark !== undefined && !link.policy.onward) return { kind: 'aside', why: 'marked', found };
  if (link.backups.every((store) => isCircle(metadata.mark, store))) return { kind: 'aside', why: 'circle', found };
  const key = keyAnswerOf(reading.value);
  if (key !== 'given') return { kind: 'aside', why: key === 'withheld' ? 'withheld' : 'keyless', found };
  if (isAuthority(content.leaf) && !namesExactly(link.filter, metadata.name))
    return { kind: 'aside', why: 'authority', found };

  const problem =
    contentProblem(content, { nowMs: now, requireChain: link.policy.requireChain }) ??
    temporaryProblem(link, content) ??
    regionProblem(link);
  return problem === undefined
    ? { kind: 'sound', ...found }
    : { kind: 'refused', error: problem, facts: `${problem.code} ${found.fingerprint}`, found, metadata };
}

/** A certificate that only keeps the place of one that is still to be issued serves nobody. */
function temporaryProblem({ policy }: Pick<Link, 'policy'>, { leaf }: CertificateContent): CodedError | undefined {
  if (policy.standIns === true || !isTemporary(leaf)) return undefined;
  const { message, remedy } = temporaryWords;
  return new CodedError('certificate_temporary', message, { fields: { remedy } });
}

/**
 * Whether a copy in this store of a certificate with this mark would be a copy of itself, because
 * it came from there or through it: two links that both copy onward would write to each other for
 * ever. So would a longer way than a mark tells of.
 */
export function isCircle(mark: FoundMark | undefined, store: Pick<Store, 'id'>): boolean {
  return mark !== undefined && (cameThrough(mark, store.id) || (mark.origins?.length ?? 0) >= mostOrigins);
}

/** The first backup whose region the policy forbids, as a coded problem. */
export function regionProblem({ policy, backups }: Pick<Link, 'policy' | 'backups'>): CodedError | undefined {
  const forbidden = backups.find(({ region }) => policy.regions !== undefined && !policy.regions.includes(region));
  return (
    forbidden &&
    new CodedError('certificate_region_forbidden', `the policy allows no copy in region ${forbidden.region}`, {
      fields: { region: forbidden.region, store: forbidden.id },
    })
  );
}
