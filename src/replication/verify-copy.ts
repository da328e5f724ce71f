import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf } from '../certificate/fingerprint.ts';
import { contentProblem, keyProblem, publicProblem } from '../certificate/judgement.ts';
import type { CodedError } from '../errors.ts';
import { type Mark, sameMark } from '../store/mark.ts';
import { type CertificateMetadata, keyAnswerOf, type Store, type StoredCertificate } from '../store/store.ts';
import { descriptive, descriptiveBefore } from './copy-name.ts';
import type { Naming } from './link.ts';

/** How a copy compares with the certificate that it is a copy of. */
export type CopyState =
  | 'same'
  | 'older'
  | 'different'
  | 'missing'
  /** Its place is occupied, and holds no content. */
  | 'vacant'
  | 'extra'
  | 'unreadable'
  | 'would-not-serve';

export interface CopyVerdict {
  readonly state: CopyState;
  /**
   * In words, what is wrong with it; of one that is the same, in which shape its service keeps it,
   * else empty.
   */
  readonly how: string;
  /** It is the same, as its service keeps it: what it gives back is not what it was given. */
  readonly reshaped?: true;
  /**
   * The service does not give its private key back: it was compared without, and nothing is proven
   * of the key.
   */
  readonly keyNotProven?: true;
}

/**
 * Compares what both sides gave by full reads: certificate, chain, private key unless it is
 * withheld, name, description, mark.
 */
export function compareCopy(
  original: StoredCertificate,
  copy: StoredCertificate,
  at: {
    readonly store: Store;
    readonly mark: Mark;
    readonly now: number;
    readonly naming?: Naming | undefined;
  },
): CopyVerdict {
  const verdict = compareContent(original, copy, at);
  return keyAnswerOf(copy) === 'withheld' ? { ...verdict, keyNotProven: true } : verdict;
}

function compareContent(
  original: StoredCertificate,
  copy: StoredCertificate,
  at: { readonly store: Store; readonly mark: Mark; readonly now: number },
): CopyVerdict {
  const withKey = keyAnswerOf(copy) !== 'withheld';
  const [mine, theirs] = [original.content, copy.content];
  if (contentOf(mine, withKey) === contentOf(theirs, withKey)) return compareDescriptions(original, copy, at);
  const problem = servingProblem(copy, at.now);
  if (fingerprintOf({ leaf: mine.leaf, chain: [] }) === fingerprintOf({ leaf: theirs.leaf, chain: [] })) {
    if (withKey && keyProblem(theirs) !== undefined) {
      const how = theirs.privateKey === undefined ? 'its private key is missing' : 'its private key is another one';
      return { state: 'would-not-serve', how };
    }
    if (!holdsSame(at.store, mine, copy)) return { state: 'different', how: chainWords(mine, theirs) };
    if (problem !== undefined) return { state: 'would-not-serve', how: problem.message };
    const { state, how } = compareDescriptions(original, copy, at);
    const shape = `as the service keeps it: ${shapeWords(mine, theirs)}`;
    return { state, how: state === 'same' ? shape : how, reshaped: true };
  }
  const [was, is] = [factsOf(theirs), factsOf(mine)];
  if (problem !== undefined) return { state: 'would-not-serve', how: problem.message };
  if (was.notBefore < is.notBefore) {
    return {
      state: 'older',
      how: `an older version, valid until ${day(was.notAfter)} (the primary's until ${day(is.notAfter)})`,
    };
  }
  const sameDomains = was.domains.toSorted().join() === is.domains.toSorted().join();
  const what = sameDomains
    ? 'another version with another key'
    : `a certificate for ${was.domains[0] ?? 'other domains'}`;
  return { state: 'different', how: `${what}, serial ${was.serial}` };
}

/** Why a copy would not serve, as far as the service gives it. */
export function servingProblem(copy: StoredCertificate, nowMs: number): CodedError | undefined {
  const rules = { nowMs, requireChain: false };
  return keyAnswerOf(copy) === 'withheld' ? publicProblem(copy.content, rules) : contentProblem(copy.content, rules);
}

/**
 * Whether a copy is what the store was given, or what the store says that it makes of that. A key
 * that its service withholds is left out of the comparison; one that is lost is not.
 */
export function holdsSame(store: Store, given: CertificateContent, copy: StoredCertificate): boolean {
  const key = keyAnswerOf(copy);
  const withKey = key !== 'withheld';
  if (contentOf(given, withKey) === contentOf(copy.content, withKey)) return true;
  // What a store makes of chains says nothing about a key that it lost.
  if (key === 'none') return false;
  const { leaf, chain } = given;
  return store.same?.(withKey ? given : { leaf, chain }, copy.content) === true;
}

function contentOf({ leaf, chain, privateKey }: CertificateContent, withKey: boolean): string {
  return fingerprintOf({ leaf, chain, ...(withKey && privateKey ? { privateKey } : {}) });
}

function compareDescriptions(
  original: StoredCertificate,
  { metadata }: StoredCertificate,
  { store, mark, naming }: { readonly store: Store; readonly mark: Mark; readonly naming?: Naming | undefined },
): CopyVerdict {
  const wanted = store.asKept(descriptive(original.metadata, mark, store, naming), mark);
  const before = descriptiveBefore(original.metadata, mark, store, naming);
  // Named by a version before: it is renamed when it is next written, and is as good till then.
  const formerName = before && store.asKept(before, mark).name;
  const differs: string[] = [];
  if (metadata.mark === undefined) differs.push('it does not carry our mark');
  else if (!sameMark(metadata.mark, mark)) differs.push('it carries the mark of another certificate');
  if (metadata.name !== wanted.name && metadata.name !== formerName)
    differs.push(`it is named ${metadata.name} instead of ${wanted.name}`);
  if (metadata.description !== wanted.description) differs.push('its description is another one');
  if (tagsOf(metadata) !== tagsOf(wanted)) differs.push('its tags are other ones');
  return differs.length === 0 ? { state: 'same', how: '' } : { state: 'different', how: differs.join('; ') };
}

const tagsOf = ({ tags }: Pick<CertificateMetadata, 'tags'>) => JSON.stringify(tags.toSorted());

function chainWords({ chain: mine }: CertificateContent, { chain: theirs }: CertificateContent): string {
  if (theirs.length === 0) return `its chain is missing (the primary has ${mine.length} above the leaf)`;
  if (theirs.length < mine.length) return `its chain is cut: ${theirs.length} of ${mine.length} above the leaf`;
  return `its chain is another one (${theirs.length} above the leaf, the primary has ${mine.length})`;
}

function shapeWords({ chain: mine }: CertificateContent, { chain: theirs }: CertificateContent): string {
  if (theirs.length === mine.length) return 'its chain is in another order, or of other variants';
  return `${theirs.length} above the leaf, where the primary has ${mine.length}`;
}

const day = (moment: number) => new Date(moment).toISOString().slice(0, 10);
