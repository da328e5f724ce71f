import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import { type RoleOptions, startRole } from '../support/roles.ts';
import { linkName, type ProgramOptions, type programHandlers } from './program.ts';
import type { serverHandlers } from './servers.ts';

export interface FullDiskResult {
  /** Notifications that were acknowledged before the disk was full, and after there was room again. */
  readonly before: number;
  readonly after: number;
  /** What a notification was answered when there was no room. */
  readonly refused: { readonly status: number; readonly retryAfter: string | null };
  /** Whether the process still answered `GET /healthz` then. */
  readonly alive: boolean;
  /** Certificates that were acknowledged and have not been looked at in the end. */
  readonly lost: number;
}

/** Fills the disk of the program with records of certificates until it cannot acknowledge, and starts it again with room. */
export async function fillDisk(program: string, firstPort: number): Promise<FullDiskResult> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-full-disk-'));
  const path = join(folder, 'records');
  const signer = makeSigner();
  const servers = startRole<ReturnType<typeof serverHandlers>>({ program, role: 'servers' });
  const services = await servers.call('start', {
    signingKeyPem: signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    workers: 0,
    firstPort,
    seed: 0,
  });
  const configuration: ProgramOptions = {
    ...services,
    table: { kind: 'lmdb', path },
    logFile: join(folder, 'worker.log'),
    port: firstPort,
  };
  const run = async (limit: Pick<RoleOptions, 'fileLimitKib'>) => {
    const worker = startRole<ReturnType<typeof programHandlers>>({ program, role: 'program', ...limit });
    await worker.call('start', configuration);
    return worker;
  };
  const base = `http://127.0.0.1:${firstPort}`;
  const acknowledged: string[] = [];
  const post = async () => {
    const ids = Array.from({ length: 20 }, () => randomUUID().replaceAll('-', ''));
    const payload = payloadV5({ instance: services.primary.crn, ids, eventId: randomUUID() });
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${base}/callback/${linkName}`, { method: 'POST', headers, body: signer.body(payload) });
    if (answer.ok) acknowledged.push(...ids);
    return { status: answer.status, retryAfter: answer.headers.get('retry-after') };
  };
  try {
    const cramped = await run({ fileLimitKib: 400 });
    let before = 0;
    let refused = await post();
    for (; refused.status === 202; before += 1) refused = await post();
    const alive = (await fetch(`${base}/healthz`)).ok;
    await cramped.kill();

    const roomy = await run({});
    const again = await post();
    while ((await roomy.call('pending')).length > 0) await new Promise((resolve) => setTimeout(resolve, 100));
    await roomy.kill();

    const table = lmdbTable({ path });
    let lost = 0;
    for (const id of acknowledged) {
      const record = await replicationRecords(table).get(linkName, id);
      if (record === undefined || record.requested < 1 || record.replicated < record.requested) lost += 1;
    }
    await table.close();
    return { before, after: again.status === 202 ? 1 : 0, refused, alive, lost };
  } finally {
    await servers.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
