import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import type { Store } from '../../src/store/store.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { makeSigner } from '../support/notifications.ts';
import { type RoleProcess, startRole } from '../support/roles.ts';
import { type Estate, privateKeysOf } from './estate.ts';
import { checkCopies, checkRecords, type Findings, leaksIn, strangersIn } from './findings.ts';
import { startLoad } from './load.ts';
import { linkName } from './program.ts';
import { type Relay, startRelay } from './relay.ts';
import type { Services, Side, serverHandlers, UnlikeServices } from './servers.ts';
import { type SharedTable, sharedTable, type TableKind } from './tables.ts';
import { cabinetClient, cabinetPin, laggardBounds, type Unlike } from './unlike.ts';
import { startWorker, type Worker } from './worker.ts';

export interface RoundOptions {
  /** The JavaScript file of this program, for its other roles. */
  readonly program: string;
  readonly table: TableKind;
  readonly workers: 1 | 2;
  readonly kills: number;
  /** Slows the load down; 1 is a few dozen changes a second. */
  readonly slowness: number;
  /**
   * Decides who is killed when, what is changed, and what the network does; not who of several
   * processes is faster.
   */
  readonly seed: number;
  readonly estate: Estate;
  /**
   * The JavaScript file of the program in each life of a worker; absent: `program` in all of them.
   */
  readonly programOf?: (worker: number, life: number) => string;
  /**
   * Whether backups that are not like the primary stand beside the first one, and somebody removes
   * copies there. Default: no.
   */
  readonly unlike?: boolean;
  /** See `ProgramOptions`. */
  readonly patience?: number;
}

export interface RoundResult extends Findings {
  readonly kills: number;
  /** How many were killed at which moment. */
  readonly deaths: ReadonlyMap<string, number>;
  /** Where what is left lies, if a promise is broken. */
  readonly folder?: string;
}

/**
 * Workers are killed under load, then it becomes quiet, and what is left is held against the
 * promises. Throws when the round itself fails.
 */
export async function killRound(options: RoundOptions): Promise<RoundResult> {
  const { program, seed } = options;
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-kills-'));
  const signer = makeSigner();
  const ports = portsOfRound(options.workers);
  const { unlike = false } = options;
  const servers = startRole<ReturnType<typeof serverHandlers>>({ program, role: 'servers' });
  const table = await sharedTable(options.table, folder, program);
  let workers: readonly Worker[] = [];
  try {
    const services = await servers.call('start', {
      signingKeyPem: signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      networkPorts: ports.networks,
      seed,
      unlike,
    });
    const primary = clientOf(services.primary);
    const backups = backupsOf(services);
    for (const backup of backups) await importStrangers(options.estate, backup);
    const strangers = await allStrangers(backups, primary);

    const callbacks = ports.workers.map((port) => `http://127.0.0.1:${port}/callback/${linkName}`);
    const relay = await startRelay(callbacks, seededRandom(seed + 1));
    await servers.call('addChannel', relay.url);
    workers = startWorkers(options, { services, servers, relay, table, folder, ports: ports.workers });
    await servers.call('disturb', true);
    const meddledWith = services.unlike === undefined ? [] : meddledWithIn(services.unlike);
    const load = startLoad({ ...options, primary, relay, callbacks, signer, seed: seed + 2, meddledWith });
    const survivors = await Promise.all(workers.map(({ survivor }) => survivor));
    await servers.call('disturb', false);
    const fooled = await load.stop();
    const [last, ...others] = survivors as [Survivor, ...Survivor[]];
    await Promise.all(others.map((survivor) => survivor.kill()));
    // Until listings show everything that anybody has done.
    if (unlike) await wait(laggardBounds.listingLagMs);
    const restless = await quiet(last, relay);
    await last.kill();

    const findings = await check({ table, relay, primary, backups, folder, estate: options.estate });
    const broken = [...fooled, ...restless, ...findings.broken, ...(await servers.call('unfitWrites'))];
    if ((await allStrangers(backups, primary)) !== strangers)
      broken.push('what strangers keep in a backup was touched');
    if (broken.length === 0) rmSync(folder, { recursive: true });
    return { ...findings, broken, kills: options.kills, deaths: sum(workers), ...(broken.length > 0 && { folder }) };
  } finally {
    await Promise.all(workers.map(({ survivor }) => survivor.then((worker) => worker.kill()).catch(() => undefined)));
    await Promise.all([servers.stop(), table.close()]);
  }
}

function startWorkers(
  { program, workers, kills, seed, patience = 1, programOf = () => program }: RoundOptions,
  world: {
    readonly services: Services;
    readonly servers: RoleProcess<ReturnType<typeof serverHandlers>>;
    readonly relay: Relay;
    readonly table: SharedTable;
    readonly folder: string;
    readonly ports: readonly number[];
  },
): readonly Worker[] {
  const { services, servers, relay, table } = world;
  return world.ports.map((port, index) =>
    startWorker(
      {
        program: (life) => programOf(index, life),
        index,
        servers,
        relay,
        stalls: workers > 1,
        twoSteps: services.unlike !== undefined,
        random: seededRandom(seed + 1_000 + index),
        ...(table.env === undefined ? {} : { env: table.env }),
        configuration: {
          primary: services.primary,
          backup: { ...services.backup, url: services.backupUrls[index] ?? services.backup.url },
          ...(services.unlike && { unlike: asReached(services.unlike, index) }),
          table: table.config,
          patience,
          logFile: join(world.folder, `worker-${index}.log`),
          port,
        },
      },
      Math.floor((kills + index) / workers),
    ),
  );
}

/** How many died at which moment. */
function sum(workers: readonly Worker[]): ReadonlyMap<string, number> {
  const all = new Map<string, number>();
  for (const { deaths } of workers)
    for (const [moment, count] of deaths) all.set(moment, (all.get(moment) ?? 0) + count);
  return all;
}

export type Survivor = Awaited<Worker['survivor']>;

/** Longer than this nothing is waited for that does not come nearer. */
const stuckMs = 180_000;

/**
 * Waits until the primary has nothing more to tell and the worker nothing more to do. What is still
 * not done, and has not become less for minutes, is returned.
 */
export async function quiet(worker: Survivor, relay: Relay): Promise<readonly string[]> {
  const until = performance.now() + stuckMs;
  // Twice the longest pause of the primary between two attempts.
  while (relay.silentMs() < 2_000 && performance.now() < until) await wait(100);
  await relay.close();
  let left: readonly string[] = ['nothing is known of what is left to do'];
  let least = Number.POSITIVE_INFINITY;
  let lastNearer = performance.now();
  while (left.length > 0 && performance.now() - lastNearer < stuckMs) {
    await wait(200);
    // It cannot say so while it reconciles by itself, or while a service does not answer.
    left = await leftToDo(worker).catch((thrown: unknown) => [...left.slice(0, least), String(thrown)]);
    if (left.length < least) {
      least = left.length;
      lastNearer = performance.now();
    }
  }
  return left;
}

async function leftToDo(worker: Survivor): Promise<readonly string[]> {
  const pending = await worker.call('pending');
  if (pending.length > 0) return pending.map((id) => `${id} is never done`);
  const asked = await worker.call('reconcile');
  if (Object.keys(asked).length > 0) return Object.keys(asked).map((why) => `a reconcile always finds: ${why}`);
  return (await worker.call('pending')).map((id) => `${id} is never done`);
}

export async function check(left: {
  readonly table: SharedTable;
  readonly relay: Relay;
  readonly primary: Store;
  readonly backups: readonly Store[];
  readonly folder: string;
  readonly estate: Estate;
}): Promise<Findings> {
  const { relay, primary, backups, folder } = left;
  writeFileSync(join(folder, 'table.json'), await left.table.contents());
  const table = left.table.open();
  try {
    const records = await checkRecords(table, relay.acknowledged);
    const copies = await Promise.all(backups.map((backup) => checkCopies(primary, backup, table)));
    const sum = (count: 'doubled' | 'unreadable') => copies.reduce((all, found) => all + found[count], 0);
    const refused = [...relay.statuses.keys()].filter((status) => status >= 400 && status < 500);
    const broken = [
      ...records.broken,
      ...copies.flatMap(({ broken: found }) => found),
      ...leaksIn(folder, privateKeysOf(left.estate), [apiKey, cabinetPin]),
      ...refused.map((status) => `a genuine notification was answered ${status}`),
      ...(records.acknowledged === 0 ? ['nothing was acknowledged: the round shows nothing'] : []),
    ];
    return { ...records, doubled: sum('doubled'), unreadable: records.unreadable + sum('unreadable'), broken };
  } finally {
    await table.close();
  }
}

/**
 * Certificates in the backup that are not ours: unmarked ones, one of them like one of the
 * primary's, and one with the mark of another primary.
 */
export async function importStrangers({ foreign, subjects }: Estate, backup: Store): Promise<void> {
  const [like] = subjects;
  const contents = [...foreign, ...(like?.versions.slice(0, 1) ?? [])];
  for (const [index, content] of contents.entries()) {
    const name = index === contents.length - 1 ? 'cert-0' : `foreign-${index}`;
    const metadata = { name, description: '', tags: [] };
    const mark = { store: 'another-primary', certificate: 'a' };
    await backup.import({ content, metadata, ...(index === 1 && { mark }) });
  }
}

const apiKey = 'test-api-key-of-the-manager';

/** A client that goes around the workers' networks. */
export function clientOf({ url, crn }: Side): Store {
  return certificateManagerStore({ instance: crn, apiKey: new Secret(apiKey), endpoint: url, iamUrl: url, runtime });
}

/** The backups, past the workers' networks and as they are at each moment. */
function backupsOf({ backup, unlike }: Services): readonly Store[] {
  if (unlike === undefined) return [clientOf(backup)];
  const { laggard, cabinet } = unlike;
  return [clientOf(backup), clientOf({ ...laggard, url: laggard.currentUrl }), cabinetClient(cabinet)];
}

/** Those in which somebody removes copies: a laggard tells of that as late as of everything. */
function meddledWithIn({ laggard, cabinet }: UnlikeServices): readonly Store[] {
  return [clientOf(laggard), cabinetClient(cabinet)];
}

/** What a worker reaches through its networks. */
function asReached({ laggard, cabinet, urls }: UnlikeServices, worker: number): Unlike<Side> {
  const { laggard: laggardUrl = laggard.url, cabinet: cabinetUrl = cabinet.url } = urls[worker] ?? {};
  const { currentUrl: _current, ...side } = laggard;
  return { laggard: { ...side, url: laggardUrl }, cabinet: { ...cabinet, url: cabinetUrl } };
}

async function allStrangers(backups: readonly Store[], primary: Store): Promise<string> {
  return (await Promise.all(backups.map((backup) => strangersIn(backup, primary)))).join('\n');
}

/**
 * Below the ports that systems give to connections: while a worker is dead nobody may take its
 * port.
 */
export function portsOfRound(workers: number): {
  readonly workers: readonly number[];
  /** By backup. */
  readonly networks: readonly (readonly number[])[];
} {
  const first = 20_000 + Math.floor(Math.random() * 1_100) * 10;
  const from = (port: number) => Array.from({ length: workers }, (_, index) => port + index);
  return { workers: from(first), networks: [1, 2, 3].map((backup) => from(first + backup * workers)) };
}
