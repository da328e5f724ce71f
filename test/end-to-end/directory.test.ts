import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { type CommandEnd, runCommand, type TestHost, testHost } from '../support/command.ts';
import { liveFolder } from '../support/live-folder.ts';

let folder: string;
let config: string;
let host: TestHost;
let ended: Promise<CommandEnd>;
let certbot: ReturnType<typeof liveFolder>;

const run = (...args: string[]) => runCommand([...args, '--config', config]);
const logged = (event: string) =>
  host
    .errors()
    .split('\n')
    .filter((line) => line.includes(`"event":"${event}"`));

/**
 * What a server that uses the copy would load, by the name of the certificate; `undefined` if there
 * is no one copy.
 */
function copyOf(name: string): { readonly certificate: string; readonly key: string } | undefined {
  const copies = readdirSync(join(folder, 'copies')).filter((id) => id.startsWith(`${name}-`));
  if (copies.length !== 1) return undefined;
  const at = (file: string) => readFileSync(join(folder, 'copies', copies[0] ?? '', 'current', file), 'utf8');
  return { certificate: at('fullchain.pem'), key: at('privkey.pem') };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-folders-'));
  mkdirSync(join(folder, 'copies'), { mode: 0o700 });
  certbot = liveFolder(folder);
  certbot.renew('shop', await testCertificate());
  config = join(folder, 'certstandby.yaml');
  writeFileSync(
    config,
    `version: 1
table: { kind: lmdb, path: records }
receiver: { port: 0 }
worker: { sweepEvery: 1s }
serve: { metrics: { port: 0 } }
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 2s }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies] } }
`,
  );
  host = testHost();
  ended = runCommand(['serve', '--config', config], host);
});
afterAll(async () => {
  host.signal('SIGTERM');
  expect((await ended).code).toBe(0);
  rmSync(folder, { recursive: true, force: true });
});

test('what is there at the start is copied, and a renewal by certbot is in the backup a moment later', async () => {
  await expect.poll(() => logged('serving')).toHaveLength(1);
  await expect.poll(() => copyOf('shop')).toBeDefined();
  const renewed = await testCertificate({ keyKind: 'rsa-2048' });
  const number = certbot.write('shop', renewed);
  // As slow as a disk that is busy: each link a while after the other, the key last.
  for (const kind of ['cert', 'chain', 'fullchain', 'privkey'] as const) {
    certbot.link('shop', kind, number);
    await wait(100);
  }
  const wanted = {
    certificate: renewed.certificate + (renewed.intermediate ?? ''),
    key: renewed.privateKey?.reveal(),
  };
  await expect.poll(() => copyOf('shop')).toEqual(wanted);
  expect(host.errors()).not.toContain('certificate_key_mismatch');
  expect(logged('change_seen').length).toBeGreaterThan(0);
});

test('a new certificate is copied too; one that is gone stays in the backup, and says since when', async () => {
  certbot.renew('api', await testCertificate());
  await expect.poll(() => copyOf('api')).toBeDefined();
  certbot.remove('api');
  await expect.poll(() => logged('change_seen').filter((line) => line.includes('"api"')).length).toBeGreaterThan(1);
  const kept = copyOf('api');
  expect(kept?.key).toContain('PRIVATE KEY');
});

test('status, verify and doctor tell the truth of folders', async () => {
  expect((await run('verify')).output).toContain('1 same');
  const { output } = await run('doctor');
  expect(output).toContain(`ok       live: reached at ${join(folder, 'live')}\n`);
  expect(output).toContain('ok       live: may be listed: 1 certificate\n');
  expect(output).toContain('ok       copies: may import\n');
  expect(output).toContain('ok       link web: the primary sends no notifications; serve watches it for changes\n');
  const [id = ''] = readdirSync(join(folder, 'copies')).filter((name) => name.startsWith('shop-'));
  const other = await testCertificate();
  writeFileSync(join(folder, 'copies', id, 'current', 'privkey.pem'), other.privateKey?.reveal() ?? '');
  const damaged = await run('verify');
  expect(damaged.code).toBe(6);
  expect(damaged.output).toContain('would-not-serve');
  await run('reconcile');
  expect((await run('verify')).output).toContain('1 same');
});

test('verify says of a place that was emptied what it is and what mends it, and a reconcile does', async () => {
  const [id = ''] = readdirSync(join(folder, 'copies')).filter((name) => name.startsWith('shop-'));
  rmSync(join(folder, 'copies', id, 'current'), { recursive: true });
  const { code, output, errors } = await run('verify');
  expect(code).toBe(6);
  expect(output + errors).toMatch(/vacant +shop \(copies shop-.*\): its place is there, and its content was taken out/);
  expect(output + errors).toMatch(
    /^ {2}1 place of ours without content \[store_copy_vacant\]\n {4}Its place is occupied/m,
  );
  await run('reconcile');
  expect((await run('verify')).output).toContain('1 same');
});
