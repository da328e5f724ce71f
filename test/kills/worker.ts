import { setTimeout as wait } from 'node:timers/promises';
import { type RoleProcess, startRole } from '../support/roles.ts';
import type { ProgramOptions, programHandlers } from './program.ts';
import type { Relay } from './relay.ts';
import type { serverHandlers } from './servers.ts';

type ProgramProcess = RoleProcess<ReturnType<typeof programHandlers>>;

/** When a worker is killed. */
type Moment = 'starting' | 'working' | 'acknowledging' | 'at-a-write' | 'between-steps' | 'after-a-stall';

export interface WorkerOptions {
  /** The JavaScript file of the program in each of its lives, the last one too. */
  readonly program: (life: number) => string;
  /** Which network it has. */
  readonly index: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly configuration: ProgramOptions;
  readonly servers: RoleProcess<ReturnType<typeof serverHandlers>>;
  readonly relay: Relay;
  /** Whether it is stalled for longer than its leases, too. */
  readonly stalls: boolean;
  /** Whether it is killed between the two requests of an import, too. */
  readonly twoSteps: boolean;
  readonly random: () => number;
}

/** A worker that lives so many short lives, and then one that is not ended. */
export interface Worker {
  /** Resolves with the last life when all others have been lived. */
  readonly survivor: Promise<ProgramProcess>;
  readonly deaths: ReadonlyMap<Moment, number>;
}

/**
 * A little longer than a lease lives in the other worker's eyes, if that has no more patience than
 * usual.
 */
const stallMs = 2_400;
/** How many times as much patience it has in its last life: nothing is to be over soon then. */
const lastPatience = 5;
/**
 * A table may not answer in time while the machine is busy; whoever watches over a program starts
 * it again.
 */
const startAttempts = 5;

export function startWorker(options: WorkerOptions, kills: number): Worker {
  const deaths = new Map<Moment, number>();
  let startMs = 400;

  async function liveAndDie(life: number): Promise<void> {
    const { random } = options;
    let moment = momentOf(random(), options);
    const worker = born(options, life);
    const started = performance.now();
    const running = worker.call('start', options.configuration).then(
      () => {
        startMs = performance.now() - started;
      },
      () => undefined, // it was killed
    );
    if (moment === 'starting') {
      await Promise.race([wait(random() * startMs * 1.2), worker.ended]);
    } else {
      await Promise.race([running, worker.ended]);
      if (moment === 'working') await wait(random() * 1_200);
      if (moment === 'acknowledging') await killAtNotification(options, worker);
      if (moment === 'at-a-write' && !(await killAtWrite(options, worker, 'content'))) moment = 'working';
      if (moment === 'between-steps' && !(await killAtWrite(options, worker, 'creation'))) moment = 'working';
      if (moment === 'after-a-stall') await stall(worker, options);
    }
    await worker.kill();
    deaths.set(moment, (deaths.get(moment) ?? 0) + 1);
  }

  async function live(): Promise<ProgramProcess> {
    for (let life = 0; life < kills; life += 1) await liveAndDie(life);
    for (let attempt = 1; ; attempt += 1) {
      const survivor = born(options, kills);
      try {
        const { configuration } = options;
        await survivor.call('start', { ...configuration, patience: lastPatience * (configuration.patience ?? 1) });
        return survivor;
      } catch (thrown) {
        await survivor.kill();
        if (attempt === startAttempts) throw thrown;
      }
    }
  }

  return { survivor: live(), deaths };
}

function born({ program, env }: WorkerOptions, life: number): ProgramProcess {
  return startRole({ program: program(life), role: 'program', ...(env === undefined ? {} : { env }) });
}

function momentOf(dice: number, { stalls, twoSteps }: Pick<WorkerOptions, 'stalls' | 'twoSteps'>): Moment {
  if (twoSteps && dice >= 0.45 && dice < 0.7) return 'between-steps';
  if (dice < 0.15) return 'starting';
  if (dice < 0.35) return 'acknowledging';
  if (dice < 0.65) return 'at-a-write';
  return dice < 0.75 && stalls ? 'after-a-stall' : 'working';
}

/**
 * Dies in the milliseconds after a notification was handed to it, or as soon as its answer is seen.
 */
async function killAtNotification({ index, relay, random }: WorkerOptions, worker: ProgramProcess): Promise<void> {
  await wait(random() * 500);
  const when = random() < 0.5 ? 'asked' : 'answered';
  relay.killAtNotification(index, { when, afterMs: random() * 8, kill: () => void worker.kill() });
  await Promise.race([worker.ended, wait(2_000)]);
  relay.spare(index);
}

/**
 * Dies when its next such write reaches a network, or up to 30 ms later: before the answer, after
 * it, or after the commit. Answers false if there was none.
 */
async function killAtWrite(
  { index, servers, random }: WorkerOptions,
  worker: ProgramProcess,
  at: 'content' | 'creation',
): Promise<boolean> {
  await wait(random() * 500);
  const atOnce = at === 'content' ? 0.3 : 0.7;
  const afterMs = random() < atOnce ? 0 : Math.floor(random() * 30);
  await servers.call('killAtWrite', { worker: index, pid: worker.pid, at, afterMs });
  await Promise.race([worker.ended, wait(at === 'content' ? 2_000 : 6_000)]);
  return servers.call('spare', index);
}

/** Stands still for longer than its leases last, and goes on as if nothing had been. */
async function stall(worker: ProgramProcess, { random, configuration }: WorkerOptions): Promise<void> {
  await wait(random() * 500);
  process.kill(worker.pid, 'SIGSTOP');
  await wait(stallMs * (configuration.patience ?? 1));
  process.kill(worker.pid, 'SIGCONT');
  await wait(random() * 800);
}
