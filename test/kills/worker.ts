import { setTimeout as wait } from 'node:timers/promises';
import { type RoleProcess, startRole } from '../support/roles.ts';
import type { ProgramOptions, programHandlers } from './program.ts';
import type { Relay } from './relay.ts';
import type { serverHandlers } from './servers.ts';

type ProgramProcess = RoleProcess<ReturnType<typeof programHandlers>>;

/** When a worker is killed. */
type Moment = 'starting' | 'working' | 'acknowledging' | 'at-a-write' | 'after-a-stall';

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
  readonly random: () => number;
}

/** A worker that lives so many short lives, and then one that is not ended. */
export interface Worker {
  /** Resolves with the last life when all others have been lived. */
  readonly survivor: Promise<ProgramProcess>;
  readonly deaths: ReadonlyMap<Moment, number>;
}

/** A little longer than a lease lives in the other worker's eyes. */
const stallMs = 2_400;
/**
 * A table may not answer in time while the machine is busy; whoever watches over a program starts
 * it again.
 */
const startAttempts = 5;

export function startWorker(options: WorkerOptions, kills: number): Worker {
  const deaths = new Map<Moment, number>();
  let startMs = 400;

  async function liveAndDie(life: number): Promise<void> {
    const { random, stalls } = options;
    const moment = momentOf(random(), stalls);
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
      if (moment === 'at-a-write') await killAtWrite(options, worker);
      if (moment === 'after-a-stall') await stall(worker, random);
    }
    await worker.kill();
    deaths.set(moment, (deaths.get(moment) ?? 0) + 1);
  }

  async function live(): Promise<ProgramProcess> {
    for (let life = 0; life < kills; life += 1) await liveAndDie(life);
    for (let attempt = 1; ; attempt += 1) {
      const survivor = born(options, kills);
      try {
        await survivor.call('start', options.configuration);
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

function momentOf(dice: number, stalls: boolean): Moment {
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
 * Dies when its next write reaches the network, or up to 30 ms later: before the answer, after it,
 * or after the commit.
 */
async function killAtWrite({ index, servers, random }: WorkerOptions, worker: ProgramProcess): Promise<void> {
  await wait(random() * 500);
  const afterMs = random() < 0.3 ? 0 : Math.floor(random() * 30);
  await servers.call('killAtWrite', { worker: index, pid: worker.pid, afterMs });
  await Promise.race([worker.ended, wait(2_000)]);
  await servers.call('spare', index);
}

/** Stands still for longer than its leases last, and goes on as if nothing had been. */
async function stall(worker: ProgramProcess, random: () => number): Promise<void> {
  await wait(random() * 500);
  process.kill(worker.pid, 'SIGSTOP');
  await wait(stallMs);
  process.kill(worker.pid, 'SIGCONT');
  await wait(random() * 800);
}
