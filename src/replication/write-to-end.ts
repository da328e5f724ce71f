import type { CertificateContent } from '../certificate/certificate.ts';
import { fingerprintOf } from '../certificate/fingerprint.ts';
import { asCodedError, CodedError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Mark } from '../store/mark.ts';
import {
  type CallOptions,
  keyAnswerOf,
  type LongWrite,
  type OperationAsked,
  type OperationState,
  type Store,
  type WriteAnswer,
} from '../store/store.ts';
import { withDeadline } from './deadline.ts';

/**
 * A write that its service goes on with, and how long that may take by its own word, in
 * milliseconds.
 */
export interface GoingOn {
  readonly store: string;
  readonly kind: LongWrite;
  readonly longestMs: number;
}

/** What a wait for the end of such a write needs. */
export interface EndWaiter {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly signal?: AbortSignal | undefined;
  /** Called once, before the wait. */
  readonly goesOn?: ((about: GoingOn) => void) | undefined;
  /**
   * Called before each question, to keep what would end meanwhile; what it throws ends the wait.
   */
  readonly keep?: (() => Promise<void>) | undefined;
}

/** What was begun, and how a read shows that it is done, for services that cannot be asked. */
type Begun = OperationAsked & {
  /** Whether a direct read shows its effect. What it throws counts as no answer. */
  readonly isDone: (options: CallOptions) => Promise<boolean>;
};

const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
const askMs = 20_000;

/**
 * The longest that a write to this store may go on after it was sent, by its own word: 0 where
 * every write is done when it is answered. In milliseconds.
 */
export function longestWriteMs({ abilities }: Pick<Store, 'abilities'>, ...kinds: readonly LongWrite[]): number {
  return Math.max(0, ...kinds.map((kind) => abilities.longWrites?.[kind] ?? 0));
}

/**
 * Waits until a write that its service goes on with has ended, for as long as the service says that
 * it may take and no longer, and writes nothing. Answers the id of the copy, where the service says
 * it; whether what has ended did what it was to do, a read shows. Throws
 * `store_operation_unfinished`, and the reason of the signal.
 */
export async function seenToEnd(waiter: EndWaiter, begun: Begun): Promise<string | undefined> {
  const { runtime, store, signal, goesOn, keep } = waiter;
  const { kind } = begun;
  const longestMs = longestWriteMs(store, kind);
  const { settlesMs, readSettlesMs } = store.abilities;
  const until = runtime.now() + longestMs + settlesMs + readSettlesMs;
  goesOn?.({ store: store.id, kind, longestMs });
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const leftMs = until - runtime.now();
    if (leftMs <= 0) throw unfinished(store, begun, longestMs);
    await runtime.wait(Math.min(pauseMs, leftMs), signal);
    signal?.throwIfAborted();
    await keep?.();
    const state = await stateOf(waiter, begun);
    if (state.state === 'ended') return state.id ?? begun.id;
    if (state.state === 'unknown' && (await answered(waiter, begun.isDone, false))) return begun.id;
  }
}

/**
 * The id of what was written, when it is there: where the service goes on with the write, its end
 * is waited for, and a read has to show the content before it counts. Throws
 * `store_operation_unfinished` and `store_operation_failed`.
 */
export async function writtenToEnd(
  waiter: EndWaiter,
  { content, ...about }: Pick<Begun, 'kind'> & { readonly mark?: Mark; readonly content: CertificateContent },
  { id, running: handle }: WriteAnswer,
): Promise<string> {
  if (handle === undefined) return id;
  const begun = { ...about, handle, id, isDone: showsContent(waiter.store, id, content) };
  const endedAs = (await seenToEnd(waiter, begun)) ?? id;
  await provenEnd(waiter, { ...begun, id: endedAs, isDone: showsContent(waiter.store, endedAs, content) });
  return endedAs;
}

/** Whether a direct read gives this content back, as this store keeps it. */
function showsContent(store: Store, id: string, given: CertificateContent): Begun['isDone'] {
  return async (options) => {
    const reading = await store.read(id, options);
    if (reading.state !== 'present') return false;
    const { content: back } = reading.value;
    const keyless = keyAnswerOf(reading.value) === 'withheld' ? { leaf: given.leaf, chain: given.chain } : given;
    const isSame = fingerprintOf(back) === fingerprintOf(keyless) || store.same?.(given, back) === true;
    back.privateKey?.pem.wipe();
    return isSame;
  };
}

/** What the service says of it; `running` where it gives no answer now. */
async function stateOf(waiter: EndWaiter, { isDone: _, ...asked }: Begun): Promise<OperationState> {
  const { store } = waiter;
  if (store.operation === undefined) return { state: 'unknown' };
  return answered(waiter, async (call) => (await store.operation?.(asked, call)) ?? { state: 'unknown' }, {
    state: 'running',
  });
}

/**
 * A question whose failure is no answer: it is asked again. Throws only the reason of the signal.
 */
async function answered<T>(
  { runtime, signal }: EndWaiter,
  ask: (options: CallOptions) => Promise<T>,
  otherwise: T,
): Promise<T> {
  try {
    return await withDeadline(
      runtime,
      runtime.now() + askMs,
      (late) => ask({ signal: signal === undefined ? late : AbortSignal.any([signal, late]) }),
      () => otherwise,
    );
  } catch (thrown) {
    signal?.throwIfAborted();
    // A mistake of ours is no answer of the service.
    if (asCodedError(thrown).code === 'internal') throw thrown;
    return otherwise;
  }
}

/**
 * Waits until a direct read shows what an ended write was to do, for as long as reads may lag.
 * Throws `store_operation_failed`.
 */
async function provenEnd(waiter: EndWaiter, begun: Begun): Promise<void> {
  const { runtime, store, signal } = waiter;
  const until = runtime.now() + store.abilities.readSettlesMs;
  for (;;) {
    if (await answered(waiter, begun.isDone, false)) return;
    const leftMs = until - runtime.now();
    if (leftMs <= 0) break;
    await runtime.wait(Math.min(firstPauseMs, leftMs), signal);
  }
  throw new CodedError(
    'store_operation_failed',
    `${store.id} ended the ${begun.kind} of ${begun.id ?? 'a certificate'}, and a read does not show it`,
    { fields: { store: store.id, certificate: begun.id, operation: begun.handle } },
  );
}

function unfinished({ id: store }: Store, { kind, id, handle }: OperationAsked, longestMs: number): CodedError {
  return new CodedError(
    'store_operation_unfinished',
    `the ${kind} of ${id ?? 'a certificate'} in ${store} has not ended within the ${Math.ceil(longestMs / 1_000)} s that it may take`,
    { fields: { store, certificate: id, operation: handle } },
  );
}
