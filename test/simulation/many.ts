import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { simulate } from './simulate.ts';
import type { Switch } from './switches.ts';

/** What many seeds came to. */
export interface Tally {
  readonly seeds: number;
  readonly looks: number;
  readonly acknowledged: number;
  readonly writes: number;
  readonly faults: ReadonlyMap<string, number>;
  readonly states: ReadonlySet<string>;
  readonly violations: readonly { readonly seed: number; readonly broken: readonly string[] }[];
}

/** Every `step`-th seed from `from` on, below `until`. */
export interface SeedRange {
  readonly from: number;
  readonly until: number;
  readonly step: number;
  readonly withReconcile: boolean;
  readonly switches?: readonly Switch[] | undefined;
  readonly allBefore?: boolean;
}

/** After so many violations a thread stops: more of them say no more. */
const mostViolations = 5;

/** Runs the seeds of a range one after the other. */
export async function runSeeds({ from, until, step, ...options }: SeedRange): Promise<Tally> {
  const faults = new Map<string, number>();
  const states = new Set<string>();
  const violations: { seed: number; broken: readonly string[] }[] = [];
  const sums = { seeds: 0, looks: 0, acknowledged: 0, writes: 0 };
  for (let seed = from; seed < until && violations.length < mostViolations; seed += step) {
    const result = await simulate(seed, options);
    sums.seeds += 1;
    for (const name of ['looks', 'acknowledged', 'writes'] as const) sums[name] += result[name];
    for (const [fault, times] of result.faults) faults.set(fault, (faults.get(fault) ?? 0) + times);
    for (const state of result.states) states.add(state);
    if (result.broken.length > 0) violations.push({ seed, broken: result.broken });
  }
  return { ...sums, faults, states, violations };
}

/**
 * Runs the seeds on all cores: this program once more in each thread, which is told its range by
 * `workerData`.
 */
export async function runOnAllCores(range: Omit<SeedRange, 'step'>, program: URL): Promise<Tally> {
  const threads = Math.max(1, Math.min(availableParallelism(), range.until - range.from));
  const tallies = await Promise.all(
    Array.from({ length: threads }, (_, index) =>
      inThread({ ...range, from: range.from + index, step: threads }, program),
    ),
  );
  const faults = new Map<string, number>();
  for (const tally of tallies)
    for (const [fault, times] of tally.faults) faults.set(fault, (faults.get(fault) ?? 0) + times);
  const sum = (name: 'seeds' | 'looks' | 'acknowledged' | 'writes') =>
    tallies.reduce((total, tally) => total + tally[name], 0);
  return {
    seeds: sum('seeds'),
    looks: sum('looks'),
    acknowledged: sum('acknowledged'),
    writes: sum('writes'),
    faults,
    states: new Set(tallies.flatMap((tally) => [...tally.states])),
    violations: tallies.flatMap((tally) => tally.violations).toSorted((a, b) => a.seed - b.seed),
  };
}

function inThread(range: SeedRange, program: URL): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(program, { workerData: range });
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`a thread ended with ${code}`)));
  });
}
