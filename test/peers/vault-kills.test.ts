import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { vaultStore } from '../../src/services/vault/store.ts';
import { isWhole } from '../../src/store/mark.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { testCertificate } from '../support/certificates.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { freePort } from '../support/free-port.ts';
import { liveFolder } from '../support/live-folder.ts';
import { type OpenBao, requireOpenBao, startRaftBao } from './openbao.ts';

const found = requireOpenBao();
/** More of them: KILLS=100 npx vitest run --project peers test/peers/vault-kills.test.ts */
const kills = Number(process.env.KILLS ?? 12);
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const certificates = 8;

/** SIGKILL, and waits. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

describe.skipIf(found === undefined)('OpenBao on Raft and the worker, killed at random moments', () => {
  let folder: string;
  let bao: OpenBao;
  let script: BundledScript;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-kills-'));
    bao = await startRaftBao();
    script = await bundleScript('src/cli/main.ts');
  });
  afterAll(async () => {
    await script?.dispose();
    await bao?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test(`lose nothing, double nothing and leave nothing that cannot be read (seed ${seed}, ${kills} kills)`, {
    timeout: 60_000 + kills * 20_000,
  }, async () => {
    const random = seededRandom(seed);
    const certbot = liveFolder(folder);
    const wanted = new Map<string, string>();
    const renew = async (name: string) => {
      const pem = await testCertificate();
      certbot.renew(name, pem);
      wanted.set(name, fingerprintOf(parseContent(pem)));
    };
    for (let n = 0; n < certificates; n += 1) await renew(`shop-${n}`);
    const file = join(folder, 'certstandby.yaml');
    mkdirSync(join(folder, 'copies'), { recursive: true, mode: 0o700 });
    const [receiver, metrics] = [await freePort(), await freePort()];
    writeFileSync(
      file,
      `version: 1
table: { kind: lmdb, path: records }
receiver: { host: 127.0.0.1, port: ${receiver} }
serve: { behindProxy: true, metrics: { host: 127.0.0.1, port: ${metrics} } }
worker: { sweepEvery: 1s, reconcileEvery: 5s }
stores:
  live: { kind: directory, id: live, path: live, quiet: 0s }
  vault: { kind: vault, id: bao, address: "${bao.url}", prefix: standby, ca: "${bao.caFile}", login: approle, roleId: standby, secretId: env:ID, settles: 2s, readSettles: 0s, listingLag: 0s }
links: { web: { primary: live, backups: [vault] } }
`,
    );
    const serve = () => {
      const env = { ...process.env, ID: 'test-secret-id' };
      return spawn(process.execPath, [script.file, 'serve', '--config', file], { env, stdio: 'ignore' });
    };
    let worker = serve();
    const counts = { server: 0, worker: 0 };
    for (let n = 0; n < kills; n += 1) {
      await Promise.all(Array.from({ length: 3 }, () => renew(`shop-${Math.floor(random() * (certificates + 4))}`)));
      await runtime.wait(random() * 1_500);
      if (random() < 0.5) {
        await bao.kill();
        counts.server += 1;
        await runtime.wait(random() * 500);
        await bao.start();
      } else {
        await end(worker);
        counts.worker += 1;
        await runtime.wait(random() * 500);
        worker = serve();
      }
    }
    try {
      const store = vaultStore({
        id: 'bao',
        address: bao.url,
        region: 'here',
        prefix: 'standby',
        runtime,
        login: { login: 'token', token: new Secret(bao.root) },
        files: { ca: bao.caFile ?? '' },
        listingLagMs: 0,
        readSettlesMs: 0,
      });
      const held = async () => {
        const copies = new Map<string, string[]>();
        const page = await store.list({});
        for (const { id, mark } of page.certificates) {
          const reading = await store.read(id);
          const of = mark !== undefined && isWhole(mark) ? mark.certificate : id;
          const what = reading.state === 'present' ? fingerprintOf(reading.value.content) : reading.state;
          copies.set(of, [...(copies.get(of) ?? []), what]);
        }
        for (const { id } of page.vacant ?? []) copies.set(id, ['vacant']);
        for (const { place } of page.unreadable ?? []) copies.set(place, ['unreadable']);
        return Object.fromEntries([...copies].toSorted());
      };
      const all = Object.fromEntries([...wanted].toSorted().map(([name, fingerprint]) => [name, [fingerprint]]));
      await expect.poll(held, { timeout: 180_000, interval: 1_000 }).toEqual(all);
      console.info(
        `${counts.server} kills of OpenBao, ${counts.worker} of the worker: ${wanted.size} certificates, each with one copy, all equal`,
      );
    } finally {
      await end(worker);
    }
  });
});
