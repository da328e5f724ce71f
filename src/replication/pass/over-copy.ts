import { isSelfSigned } from '../../certificate/chain.ts';
import { factsOf } from '../../certificate/facts.ts';
import { CodedError } from '../../errors.ts';
import type { BrakeKind } from '../../records/brake-records.ts';
import type { LinkRecords } from '../../records/link-records.ts';
import type { HeldContent, Refusal, ReplicationRecord } from '../../records/replication-record.ts';
import type { CertificateMetadata, StoredCertificate } from '../../store/store.ts';
import { allowedShare } from '../brake-share.ts';
import type { Link } from '../link.ts';
import { factsOfRefusal } from '../refusal.ts';
import type { Sound } from './judge.ts';

/**
 * What the primary holds may be older than the copy by so much: an authority may antedate what it
 * issues. In milliseconds.
 */
const backMs = 24 * 3_600_000;

/**
 * What is known of a copy whose content would be written over, or which would be removed for
 * another one.
 */
export interface CopyInTheWay {
  readonly id: string;
  readonly metadata?: CertificateMetadata | undefined;
  /** Read in full in this pass. */
  readonly full?: StoredCertificate | undefined;
  /** It cannot be read now. */
  readonly unreadable?: boolean;
  /** It would be removed, and not written over: another copy has the content. */
  readonly removed?: boolean;
}

/** What the link and the brake say of what may take the place of a copy. */
export interface OverCopy {
  /** Self-signed certificates may replace what an authority has issued. */
  readonly standIns: boolean;
  /** Whether content may replace a copy that is newer; counts it. */
  mayGoBack(): Promise<boolean>;
  /**
   * Whether content that changed without an event or a trace in a listing may replace a copy;
   * counts it.
   */
  mayChange(): Promise<boolean>;
}

/** The code of the finding by which the brake keeps a certificate, and what it counts. */
export const brakeCodes = { certificate_going_back: 'going-back', certificate_change_held: 'unannounced' } as const;
export type BrakeCode = keyof typeof brakeCodes;
export const isBrakeCode = (code: string | undefined): code is BrakeCode =>
  code !== undefined && Object.hasOwn(brakeCodes, code);

/** Whether a refusal says that the brake keeps a copy from this very content. */
export function isCaught(
  refusal: Refusal | undefined,
  fingerprint: string,
): refusal is Refusal & { readonly code: BrakeCode } {
  return isBrakeCode(refusal?.code) && refusal?.facts === factsOfRefusal(refusal.code, fingerprint);
}

/**
 * Why the content of the primary may not take the place of this copy; `undefined` if it may. `read`
 * reads the copy in full, where what is known does not tell; `held` is what the record knows of its
 * content for certain. A copy that cannot be read is taken for one of an authority, unless the
 * record knows better: `certificate_self_signed`. What would go back in time, or changed without a
 * word, is counted: `certificate_going_back`, `certificate_change_held`. Throws what `read` throws.
 */
export async function problemOver(
  over: OverCopy,
  sound: Sound,
  copy: CopyInTheWay,
  given: {
    readonly held: HeldContent | undefined;
    readonly read: (id: string) => Promise<StoredCertificate | undefined>;
  },
): Promise<CodedError | undefined> {
  const { id, metadata, unreadable = false } = copy;
  const held = given.held?.id === id ? given.held : undefined;
  let { full } = copy;
  const readFull = async () => {
    if (full === undefined && !unreadable) full = await given.read(id);
    return full;
  };

  const { leaf } = sound.content;
  if (!over.standIns && isSelfSigned(leaf)) {
    const there = await readFull();
    const isStandIn = there === undefined ? held?.selfSigned === true : isSelfSigned(there.content.leaf);
    if (!isStandIn) {
      const what = there === undefined ? 'that cannot be read now' : 'of an authority';
      return new CodedError(
        'certificate_self_signed',
        `the primary holds a self-signed certificate, and ${id} one ${what}: the copy stays as it is`,
      );
    }
  }

  const known = () => (full === undefined ? (metadata?.notBefore ?? held?.validFrom) : factsOf(full.content).notBefore);
  const there = known() ?? ((await readFull()) === undefined ? undefined : known());
  const { notBefore } = factsOf(sound.content);
  if (there !== undefined && notBefore < there - backMs && !(await over.mayGoBack())) {
    const [ours, theirs] = [notBefore, there].map((moment) => new Date(moment).toISOString().slice(0, 10));
    return new CodedError(
      'certificate_going_back',
      `what the primary holds is valid from ${ours}, and the copy ${id} from ${theirs}; many went back so within an hour: the copy stays as it is`,
    );
  }
  if (copy.removed !== true && !(await over.mayChange())) {
    return new CodedError(
      'certificate_change_held',
      `the content changed without an event, as that of many others: the copy ${id} stays as it is`,
    );
  }
  return undefined;
}

/**
 * The word of the link and of the brake for one pass. What the brake has caught stays caught until
 * the primary holds something else, or a person has said that this content is meant. Each
 * certificate is counted once, over all its backups.
 */
export function overCopies(
  given: {
    readonly linkRecords: LinkRecords;
    readonly now: () => number;
    /** Nothing is counted: a plan only looks. */
    readonly rehearsed?: boolean;
  },
  link: Link,
  record: ReplicationRecord,
  sound: Sound,
): OverCopy {
  const { linkRecords, now, rehearsed = false } = given;
  const { certificate, eventAt = 0, unannouncedAt, acceptedContent } = record;
  const { fingerprint } = sound;
  const answers = new Map<BrakeKind, Promise<boolean>>();

  async function ask(kind: BrakeKind, code: BrakeCode): Promise<boolean> {
    if (acceptedContent === fingerprint) return true;
    if (record.backups.some(({ refusal }) => isCaught(refusal, fingerprint) && refusal.code === code)) return false;
    if (rehearsed) return (await linkRecords.brakeHeldSince(link.name, kind)) === undefined;
    const { included = 0 } = await linkRecords.reconcileState(link.name);
    const allowed = allowedShare(link, included, link.policy.brakeLeast?.[kind]);
    return linkRecords.countChange({ link: link.name, kind, certificate, fingerprint, now: now(), allowed });
  }

  function once(kind: BrakeKind, code: BrakeCode): Promise<boolean> {
    const answer = answers.get(kind) ?? ask(kind, code);
    answers.set(kind, answer);
    return answer;
  }

  // An event that came since is the word of the primary: as many may change so as like to.
  const isUnannounced = unannouncedAt !== undefined && eventAt < unannouncedAt;
  return {
    standIns: link.policy.standIns === true,
    mayGoBack: () => once('going-back', 'certificate_going_back'),
    mayChange: () => (isUnannounced ? once('unannounced', 'certificate_change_held') : Promise.resolve(true)),
  };
}
