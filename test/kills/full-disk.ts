import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { seededRandom } from '../simulation/virtual-time.ts';
import { makeSigner } from '../support/notifications.ts';
import { startRole } from '../support/roles.ts';
import { strangersIn } from './findings.ts';
import { startLoad } from './load.ts';
import { linkName, type ProgramOptions, type programHandlers } from './program.ts';
import { type Relay, startRelay } from './relay.ts';
import {
  check,
  clientOf,
  importStrangers,
  portsOfRound,
  quiet,
  type RoundOptions,
  type RoundResult,
  type Survivor,
} from './round.ts';
import type { serverHandlers } from './servers.ts';
import { smallDisk } from './small-disk.ts';
import { sharedTable } from './tables.ts';

/** Notifications that must be answered 503 in each life on the full disk. */
const turnedAway = 20;
const patienceMs = 60_000;

/**
 * A worker whose disk fills up under load, is killed, starts on the full disk, is killed again, and
 * has room in its third life; then what is left is held against the promises. Throws when the round
 * itself fails.
 */
export async function fullDiskRound(options: RoundOptions, warn: (text: string) => void): Promise<RoundResult> {
  const { program, seed, estate } = options;
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-full-'));
  const signer = makeSigner();
  const ports = portsOfRound(1);
  const disk = smallDisk(folder, warn);
  const servers = startRole<ReturnType<typeof serverHandlers>>({ program, role: 'servers' });
  const table = await sharedTable('lmdb', disk.folder, program);
  const workers: Survivor[] = [];
  const broken: string[] = [];
  try {
    const services = await servers.call('start', {
      signingKeyPem: signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      networkPorts: ports.networks,
      seed,
    });
    const [primary, backup] = [clientOf(services.primary), clientOf(services.backup)];
    await importStrangers(estate, backup);
    const strangers = await strangersIn(backup, primary);
    const callbacks = ports.workers.map((port) => `http://127.0.0.1:${port}/callback/${linkName}`);
    const relay = await startRelay(callbacks, seededRandom(seed + 1));
    await servers.call('addChannel', relay.url);
    const configuration: ProgramOptions = {
      primary: services.primary,
      backup: { ...services.backup, url: services.backupUrls[0] ?? services.backup.url },
      table: table.config,
      logFile: join(folder, 'worker-0.log'),
      port: ports.workers[0] ?? 0,
    };
    const born = async (limits: { readonly fileLimitKib?: number }): Promise<Survivor> => {
      const worker = startRole<ReturnType<typeof programHandlers>>({ program, role: 'program', ...limits });
      workers.push(worker);
      await worker.call('start', configuration);
      return worker;
    };
    const limits = disk.fileLimitKib === undefined ? {} : { fileLimitKib: disk.fileLimitKib };
    const first = await born(limits);
    const load = startLoad({ ...options, primary, relay, callbacks, signer, seed: seed + 2 });
    await wait(2_000);
    disk.fill();
    broken.push(...(await liveWithoutRoom(first, relay)));
    await first.kill();
    const second = await born(limits);
    broken.push(...(await liveWithoutRoom(second, relay)));
    await second.kill();
    disk.free();
    const survivor = await born({});
    broken.push(...(await load.stop()), ...(await quiet(survivor, relay)));
    await survivor.kill();
    const findings = await check({ table, relay, primary, backups: [backup], folder, estate });
    broken.push(...findings.broken, ...(await servers.call('unfitWrites')));
    if ((await strangersIn(backup, primary)) !== strangers)
      broken.push('what strangers keep in the backup was touched');
    const deaths = new Map([['without-room', 2]]);
    return { ...findings, broken, kills: 2, deaths, ...(broken.length > 0 && { folder }) };
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
    await Promise.all([servers.stop(), table.close()]);
    disk.dispose();
    if (broken.length === 0) rmSync(folder, { recursive: true, force: true });
  }
}

/** Until enough notifications were answered 503; what it does instead. */
async function liveWithoutRoom(worker: Survivor, relay: Relay): Promise<readonly string[]> {
  const refused = () => relay.statuses.get(503) ?? 0;
  const enough = refused() + turnedAway;
  const until = performance.now() + patienceMs;
  const dead = worker.ended.then(() => 'dead');
  while (refused() < enough) {
    if ((await Promise.race([dead, wait(100)])) === 'dead') return ['the worker died of a full disk'];
    if (performance.now() > until) return ['the disk was never full: the round shows nothing'];
  }
  await worker.call('pending'); // reads go on
  return [];
}
