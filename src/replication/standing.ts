import { remedyOf } from '../errors.ts';
import {
  type Aside,
  type BackupState,
  isLeftAside,
  type RecordedError,
  type ReplicationRecord,
} from '../records/replication-record.ts';
import type { Link } from './link.ts';

/** How a certificate stands, by its record. */
export type Standing =
  /** Equal in every backup, when last looked at. */
  | { readonly kind: 'equal' }
  /** Not copied, and not to be: the filter does not include it, or it is a copy itself. */
  | { readonly kind: 'aside'; readonly why: Exclude<Aside, 'keyless' | 'withheld'> }
  /** Gone from the primary; what copies there are stay. */
  | { readonly kind: 'gone'; readonly copies: number }
  /**
   * What the primary holds is not copied: a person must mend it there, or in the one store that
   * refuses it.
   */
  | { readonly kind: 'refused'; readonly error: RecordedError; readonly store?: string }
  /** It was tried, and did not work; it is tried again. */
  | { readonly kind: 'failing'; readonly store: string; readonly error: RecordedError; readonly again?: number }
  /** Asked for, and not looked at yet, or not in every backup yet. */
  | { readonly kind: 'waiting'; readonly store?: string; readonly again?: number };

/** Why a certificate is not copied because of its key: the code, and the words of every report. */
export const keyProblems = {
  authority: {
    code: 'certificate_authority_key',
    message: 'it is the certificate of an authority, and its key could issue others',
  },
  keyless: { code: 'certificate_key_missing', message: 'it has no private key' },
  withheld: { code: 'certificate_key_withheld', message: 'its service does not give its private key back' },
} as const satisfies Partial<Record<Aside, Pick<RecordedError, 'code' | 'message'>>>;

/** Whether it is its key that keeps a certificate from being copied. */
export function isKeyProblem(aside: Aside | undefined): aside is keyof typeof keyProblems {
  return aside !== undefined && Object.hasOwn(keyProblems, aside);
}

export function standingOf(link: Link, record: ReplicationRecord): Standing {
  const { primary, aside, refusal, lastError, absentSince, wakeAt } = record;
  const states = link.backups.map(({ id }): BackupState => {
    return record.backups.find(({ store }) => store === id) ?? { store: id, attempts: 0 };
  });
  const again = wakeAt === undefined ? {} : { again: wakeAt };
  const failing = states.find((state) => state.lastError !== undefined && state.refusal === undefined);
  const trouble: Standing | undefined =
    failing?.lastError && refusal === undefined
      ? { kind: 'failing', store: failing.store, error: failing.lastError, ...again }
      : undefined;
  if (absentSince !== undefined) {
    return trouble ?? { kind: 'gone', copies: states.filter(({ id }) => id !== undefined).length };
  }
  // An authority that was copied before it was set aside has left a copy that nobody keeps equal:
  // that is for a person.
  const isCopied = aside === 'authority' && states.some(({ id }) => id !== undefined);
  if (isLeftAside(aside) && !isCopied) return { kind: 'aside', why: aside };
  if (isKeyProblem(aside)) return { kind: 'refused', error: { ...keyProblems[aside], at: primary?.lookedAt ?? 0 } };
  if (refusal !== undefined) {
    const { code, since } = refusal;
    return { kind: 'refused', error: lastError ?? { code, message: remedyOf(code), at: since } };
  }
  if (lastError !== undefined) return { kind: 'failing', store: link.primary.id, error: lastError, ...again };
  if (trouble !== undefined) return trouble;
  if (primary === undefined || record.requested > record.replicated) return { kind: 'waiting', ...again };
  const refusing = states.find((state) => state.refusal !== undefined);
  const behind = states.find(
    ({ id, fingerprint, refusal: held, aside: itself }) =>
      held === undefined && itself === undefined && (id === undefined || fingerprint !== primary.fingerprint),
  );
  if (behind !== undefined) return { kind: 'waiting', store: behind.store, ...again };
  if (refusing?.refusal === undefined) return { kind: 'equal' };
  const { code, since } = refusing.refusal;
  const error = refusing.lastError ?? { code, message: remedyOf(code), at: since };
  return { kind: 'refused', store: refusing.store, error };
}
