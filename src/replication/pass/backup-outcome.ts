import type { CodedError } from '../../errors.ts';
import type { BackupState } from '../../records/replication-record.ts';
import type { Runtime } from '../../runtime.ts';
import type { Mark } from '../../store/mark.ts';
import type { KeysRead } from '../keys-read.ts';
import type { Naming } from '../link.ts';
import type { Timing } from '../timing.ts';
import type { Sound } from './judge.ts';
import type { NoteOperation } from './operations.ts';
import type { OverCopy } from './over-copy.ts';

/** What a pass did at one backup, in the order in which it did it. */
export type BackupAction =
  | 'adopted'
  | 'imported'
  | 'brought-back'
  | 'reimported'
  | 'replaced'
  | 'described'
  | 'surplus-removed'
  | 'retained'
  | 'removed';

/** How one backup stands after a pass. */
export interface BackupOutcome {
  readonly state: BackupState;
  readonly actions: readonly BackupAction[];
  /** Found or made equal to the primary. */
  readonly equal: boolean;
  /**
   * All copies with our mark were looked for, and found, as they were at this moment. Absent: they
   * were not.
   */
  readonly searchedAt?: number;
  /** A write was sent (a delete is one), whatever came of it. */
  readonly wrote: boolean;
  /** A write got no answer, or left an old copy behind: look again by mark when it is settled. */
  readonly doubtful: boolean;
  /** When to look again; absent if there is nothing more to do. */
  readonly again?: number;
  /** What failed, in this pass. */
  readonly error?: CodedError;
  /**
   * Set if that is no failure but a finding, which rests: what the primary holds may not or cannot
   * be copied here. The state has it.
   */
  readonly refused?: boolean;
}

/** What a pass brings to each backup. */
export interface BackupTask {
  readonly runtime: Runtime;
  readonly timing: Timing;
  /** When this look began. */
  readonly beganAt: number;
  /** No write is sent or waited for after this moment. */
  readonly writeBy: number;
  /** The doubt of this backup, as the claim saw it. */
  readonly doubt: number | undefined;
  readonly mark: Mark;
  readonly sound: Sound;
  readonly keys: KeysRead;
  readonly noteOperation: NoteOperation;
  /**
   * A copy whose service refuses the content may be replaced by a new one, if this store's ids are
   * nobody's business: the link's word.
   */
  readonly mayReplace: boolean;
  /** What may take the place of what a copy holds. */
  readonly over: OverCopy;
  /** Absent: `derived`. */
  readonly naming?: Naming | undefined;
}
