import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import type { Operation } from '../../records/replication-record.ts';
import type { Runtime } from '../../runtime.ts';
import type { Mark } from '../../store/mark.ts';
import type { Store } from '../../store/store.ts';
import { withDeadline } from '../deadline.ts';
import { settledMs, type Timing } from '../timing.ts';

/**
 * A write that its service goes on with: nothing failed, and nothing more may be written there
 * until its end has been seen.
 */
export class Running extends Error {
  readonly operation: Operation;
  constructor(operation: Operation) {
    super('an operation goes on');
    this.operation = operation;
  }
}

/**
 * Writes an operation down, under the lease of a pass. Throws if the lease is somebody else's by
 * now.
 */
export type NoteOperation = (store: string, operation: Operation) => Promise<void>;

/**
 * What became of an operation. `over`: nobody can be asked, and it may go on no longer, since `at`
 * at the latest.
 */
export type OperationSeen =
  | { readonly state: 'running'; readonly operation: Operation; readonly again: number }
  | { readonly state: 'ended'; readonly id?: string }
  | { readonly state: 'over'; readonly at: number };

/**
 * Asks what became of an operation that the record tells of. That it has ended is believed of one
 * whose handle is known, or once it has surely arrived there. Where nobody can be asked it may go
 * on for its longest duration after what is settled: from the end of the pass that began it, or
 * where that never came to its end, from when its lease was taken over, which is when this pass
 * began at the earliest. Throws what the store throws.
 */
export async function seenOperation(
  task: {
    readonly runtime: Runtime;
    readonly timing: Timing;
    readonly beganAt: number;
    readonly writeBy: number;
    readonly mark: Mark;
  },
  store: Store,
  operation: Operation,
): Promise<OperationSeen> {
  const { runtime, timing, beganAt, mark } = task;
  const { kind, handle, id } = operation;
  const lasting = withEnd(store, operation, { from: beganAt, timing });
  const asked = { kind, mark, ...defined({ handle, id }) };
  const found = await withDeadline(
    runtime,
    Math.min(beganAt + timing.lookMs, task.writeBy),
    async (signal) => store.operation?.(asked, { signal }),
    () => {
      throw new CodedError('store_unavailable', `${store.id} did not say in time how an operation stands`, {
        fields: { store: store.id },
      });
    },
  );
  if (found?.state === 'ended') {
    // Where nobody heard a handle it may still be on its way there: the service does not know of it
    // then, as of one that has ended.
    const arrivedBy = lasting.until - longestMs(store, operation);
    if (handle !== undefined || beganAt >= arrivedBy) return found;
    return { state: 'running', operation: lasting, again: arrivedBy };
  }
  if (found?.state === 'running') {
    const known = { ...lasting, ...(found.handle !== undefined && { handle: found.handle }) };
    return { state: 'running', operation: known, again: nextAsk(operation, runtime.now()) };
  }
  if (beganAt >= lasting.until) return { state: 'over', at: lasting.until - settledMs(store, timing) };
  return { state: 'running', operation: lasting, again: lasting.until };
}

/**
 * An operation with the moment until when it may go on if nobody can be asked: the one that is
 * known, or else as counted from this one.
 */
export function withEnd(
  store: Store,
  operation: Operation,
  { from, timing }: { readonly from: number; readonly timing: Timing },
): Operation & { readonly until: number } {
  return { ...operation, until: operation.until ?? from + settledMs(store, timing) + longestMs(store, operation) };
}

/** How long such an operation goes on at the most after it has arrived. */
const longestMs = ({ abilities }: Store, { kind }: Operation): number => abilities.longWrites?.[kind] ?? 0;

/** When to ask again: the longer it has gone on, the later. */
export function nextAsk({ at }: Operation, now: number): number {
  return now + Math.min(mostBetweenAsksMs, Math.max(leastBetweenAsksMs, (now - at) / 2));
}

const leastBetweenAsksMs = 5_000;
const mostBetweenAsksMs = 5 * 60_000;
