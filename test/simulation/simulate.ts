import { needlessBrake } from './brake-trouble.ts';
import { endlessFailures } from './failures.ts';
import type { Fault } from './faults.ts';
import { floodExcess, leftBehind } from './floods.ts';
import { brokenPromises, excess, haste, restlessness, watchWrites } from './oracle.ts';
import { placesBackMs } from './other-places.ts';
import { certificatePool } from './pool.ts';
import { watchCircle } from './routes.ts';
import { scheduleChanges } from './scenario.ts';
import type { Switch } from './switches.ts';
import { makeWorld, reconcileEveryMs, type World } from './world.ts';

export interface SimulationResult {
  readonly seed: number;
  readonly broken: readonly string[];
  readonly faults: ReadonlyMap<Fault, number>;
  readonly trace: readonly string[];
  /**
   * The records at the end, as JSON, if the trace is kept. Fingerprints in it differ from process
   * to process: keys are made anew.
   */
  readonly records: string;
  readonly imports: number;
  readonly writes: number;
  readonly acknowledged: number;
  readonly looks: number;
  /**
   * Shapes that a replication record had: which fields are there, and how they stand to each other.
   */
  readonly states: ReadonlySet<string>;
}

export interface SimulationOptions {
  readonly withReconcile?: boolean;
  readonly keepTrace?: boolean;
  /** What the stores and their people are like; absent: as the seed says. */
  readonly switches?: readonly Switch[] | undefined;
  /**
   * At most so many people and renewals begin to change something. Default: as many as the seed
   * says.
   */
  readonly changes?: number;
  /** For how long there are changes and faults, in milliseconds. */
  readonly troubleMs?: number;
  /**
   * All processes are of the version before: what a switch breaks there is what its rule is for.
   */
  readonly allBefore?: boolean;
}

export const defaultTroubleMs = 20 * 60_000;
/** At the end, and before the next reconcile. */
const restMs = 10 * 60_000;
const mostSteps = 200_000;

/**
 * One world from one seed: a while of changes and faults, then quiet, then the oracle. Never throws
 * for what the program does.
 */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const { withReconcile = true, keepTrace = false, troubleMs = defaultTroubleMs, allBefore = false } = options;
  const switches = options.switches && new Set(options.switches);
  const pool = await certificatePool();
  const world = makeWorld({ seed, pool, withReconcile, keepTrace, troubleMs, switches, allBefore });
  const watched = watchWrites(world);
  if (world.switches.has('circle'))
    watchCircle([...new Set(world.routes.flatMap((route) => [route.primary, ...route.backups]))], watched.broken);
  const broken: string[] = [];
  const start = world.time.now();
  try {
    scheduleChanges(world, troubleMs, options.changes);
    await world.time.runUntil(start + troubleMs, mostSteps);
    world.faults.on = false;
    // What two deployments import at the same moment each of them finds by its next reconcile.
    const usualMs = withReconcile ? world.deployments * reconcileEveryMs + 20 * 60_000 : 45 * 60_000;
    // Where writes go on for long each of them waits for the end of the one before.
    const operationsMs = world.switches.has('long-operations') ? world.deployments * 6 * reconcileEveryMs : 0;
    // A place that comes back late is asked after the longest backoff, and heals from then on. With
    // reconcile the usual time is enough for that.
    const awayMs = !withReconcile && world.switches.has('another-place') ? placesBackMs : 0;
    const healingMs = usualMs + operationsMs + awayMs;
    await world.time.runUntil(start + troubleMs + healingMs, mostSteps);
    broken.push(
      ...watched.broken,
      ...brokenPromises(world),
      ...restlessness(world, world.time.now() - restMs),
      ...haste(world),
      ...needlessBrake(world),
      ...excess(world, watched.writes),
      ...floodExcess(world),
      ...(await leftBehind(world)),
      ...(await endlessFailures(world)),
    );
  } catch (thrown) {
    broken.push(`bound: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
  return {
    seed,
    broken,
    faults: world.faults.counts,
    trace: world.journal.trace,
    records: keepTrace ? await finalRecords(world) : '',
    imports: watched.imports,
    writes: watched.writes,
    acknowledged: world.journal.acknowledged.length,
    looks: world.journal.looks.length,
    states: world.states,
  };
}

async function finalRecords(world: World): Promise<string> {
  const { rows } = await world.table.query({ partition: 'replication.1/main', limit: 100 });
  const abilities = [world.primary, ...world.backups].map(({ id, abilities }) => ({ id, ...abilities }));
  return JSON.stringify({ now: world.time.now(), rows, abilities }, undefined, 1);
}
