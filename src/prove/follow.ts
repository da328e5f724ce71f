import { defined } from '../defined.ts';
import type { Runtime } from '../runtime.ts';
import type { CertificateMetadata } from '../store/store.ts';
import type { PatientCalls } from './patient-calls.ts';

/**
 * What one way of asking showed after a write. Times in milliseconds since the write was answered.
 */
interface Answers {
  readonly asked: number;
  /** Answers that did not show the write. */
  readonly old: number;
  /** When the last question was sent that got such an answer: the lag is at least that long. */
  readonly lastOldMs?: number;
  /** Whether it was shown in the end. */
  readonly shown: boolean;
}

export interface Following {
  readonly reads: Answers;
  readonly listings: Answers;
  /** When a direct read first showed the write; absent if none did. */
  readonly landedMs?: number;
}

/**
 * A change counts as shown after so many answers in a row that show it: replicas may disagree for a
 * while.
 */
const inARow = { reads: 4, listings: 2 } as const;
const firstPauseMs = 100;
const longestPauseMs = 2_000;

/**
 * Reads one certificate directly, and lists the store, again and again until both show a write that
 * was answered at `answeredAt`, several times in a row, or patience ends. The pauses grow, so that
 * a slow store is not asked without end. `listMs: 0` lists nothing.
 */
export async function follow(options: {
  readonly runtime: Runtime;
  readonly calls: PatientCalls;
  readonly id: string;
  readonly answeredAt: number;
  readonly isShown: (seen: CertificateMetadata | undefined) => boolean;
  readonly patience: { readonly readMs: number; readonly listMs: number };
  readonly signal: AbortSignal | undefined;
}): Promise<Following> {
  const { runtime, calls, id, answeredAt, isShown, patience, signal } = options;
  const { store } = calls;
  const readOne = () => calls.read((call) => store.readMetadata(id, call));
  const findListed = async () => {
    let found: CertificateMetadata | undefined;
    for await (const listed of calls.list()) if (listed.id === id) found = listed;
    return found;
  };
  // Where a listing does not show that content changed, it shows what is there, and what is not.
  const isListed = store.abilities.silentListings
    ? (seen: CertificateMetadata | undefined) => (seen === undefined) === isShown(undefined)
    : isShown;
  const given = { runtime, answeredAt, signal };
  const [reads, listings] = await Promise.all([
    watchUntilShown({ ...given, ask: readOne, isShown, wanted: inARow.reads, untilMs: patience.readMs }),
    patience.listMs === 0
      ? nothingAsked
      : watchUntilShown({
          ...given,
          ask: findListed,
          isShown: isListed,
          wanted: inARow.listings,
          untilMs: patience.listMs,
        }),
  ]);
  const { firstShownMs, ...answers } = reads;
  const { firstShownMs: _listed, ...listed } = listings;
  return { reads: answers, listings: listed, ...defined({ landedMs: firstShownMs }) };
}

const nothingAsked: Answers & { readonly firstShownMs?: number } = { asked: 0, old: 0, shown: true };

async function watchUntilShown(options: {
  readonly runtime: Runtime;
  readonly ask: () => Promise<CertificateMetadata | undefined>;
  readonly isShown: (seen: CertificateMetadata | undefined) => boolean;
  readonly answeredAt: number;
  readonly wanted: number;
  readonly untilMs: number;
  readonly signal: AbortSignal | undefined;
}): Promise<Answers & { readonly firstShownMs?: number }> {
  const { runtime, ask, isShown, answeredAt, wanted, untilMs, signal } = options;
  let asked = 0;
  let old = 0;
  let row = 0;
  let lastOldMs: number | undefined;
  let firstShownMs: number | undefined;
  let pauseMs = firstPauseMs;
  while (row < wanted) {
    const sentMs = runtime.now() - answeredAt;
    const shown = isShown(await ask());
    asked += 1;
    if (shown) {
      row += 1;
      firstShownMs ??= runtime.now() - answeredAt;
      // What is shown once may be shown by one replica alone: ask on at the first pace.
      pauseMs = firstPauseMs;
    } else {
      row = 0;
      old += 1;
      lastOldMs = Math.max(0, sentMs);
    }
    // Replicas may disagree for ever: what was shown and is not shown again has its end too.
    if (sentMs >= (shown ? 2 * untilMs : untilMs)) break;
    if (row < wanted) await runtime.wait(pauseMs, signal);
    if (!shown) pauseMs = Math.min(longestPauseMs, pauseMs * 1.5);
  }
  return {
    asked,
    old,
    shown: row >= wanted,
    ...defined({ lastOldMs, firstShownMs }),
  };
}
