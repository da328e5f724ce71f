import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { expired, mismatchedKey, testCa, testCertificate } from '../support/certificates.ts';
import { runCommand } from '../support/command.ts';
import { liveFolder } from '../support/live-folder.ts';

let folder: string;
let certbot: ReturnType<typeof liveFolder>;
const names = ['api', 'expired', 'key', 'chain', 'shop'];
const run = (...args: string[]) => runCommand([...args, '--config', join(folder, 'certstandby.yaml')]);
const reports = (ending: string) =>
  readdirSync(join(folder, 'drills'))
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(folder, 'drills', name));

/** Puts other files in the place of those of a copy, behind our back. */
function damage(name: string, { certificate, intermediate = '', privateKey }: CertificatePem): void {
  const [copy = ''] = readdirSync(join(folder, 'copies')).filter((id) => id.startsWith(`${name}-`));
  const at = (file: string) => join(folder, 'copies', copy, 'current', file);
  writeFileSync(at('fullchain.pem'), certificate + intermediate);
  writeFileSync(at('privkey.pem'), privateKey?.reveal() ?? '');
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-drill-'));
  mkdirSync(join(folder, 'copies'), { mode: 0o700 });
  certbot = liveFolder(folder);
  for (const name of names) certbot.renew(name, await testCertificate({ domains: [`${name}.example.test`] }));
  writeFileSync(join(folder, 'ca.pem'), (await testCa()).rootPem);
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
drill: { trust: ca.pem }
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 0ms }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies] } }
`,
  );
  expect((await run('reconcile')).code).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every copy serves, with the primary gone; the report is signed, and says so', async () => {
  rmSync(certbot.live, { recursive: true });
  const drilled = await run('drill');
  expect(drilled).toMatchObject({ code: 0, errors: '' });
  expect(drilled.output).toMatch(/^web: 5 of 5 copies served, of 5 kept, in /);
  const [report = ''] = reports('.json');
  const checked = await run('drill', '--check', report);
  expect(checked.code).toBe(0);
  expect(checked.output).toMatch(/^The signature holds\. Drill of web on .+: 5 served, 0 failed, of 5 kept\.$/m);
  expect(readFileSync(reports('.html')[0] ?? '', 'utf8')).toContain('Every copy that was tried would serve: 5 of 5');
  for (const file of readdirSync(join(folder, 'drills')).filter((name) => name !== 'signing.key'))
    expect(readFileSync(join(folder, 'drills', file), 'utf8')).not.toContain('PRIVATE');
  expect((await run('status')).output).toMatch(/drilled: .+ ago: 5 of 5 served/);
  const sampled = await run('drill', '--sample', '2', '--json');
  expect(
    sampled.output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .at(-1),
  ).toMatchObject({ served: 2, kept: 5 });
});

test('a wrong key, a cut chain and an expired copy are three named failures; a changed report is refused', async () => {
  damage('key', await mismatchedKey({ domains: ['key.example.test'] }));
  damage('chain', { ...(await testCertificate({ domains: ['chain.example.test'] })), intermediate: '' });
  damage('expired', await expired({ domains: ['expired.example.test'] }));
  const drilled = await run('drill', '--quiet');
  expect(drilled.code).toBe(6);
  expect(drilled.output).toMatch(
    /^ {2}wrong-key {5}key \(copies key-[0-9a-f]{16}\): the private key is not that of the certificate/m,
  );
  expect(drilled.output).toMatch(/^ {2}cut-chain {5}chain \(copies /m);
  expect(drilled.output).toMatch(/^ {2}expired {7}expired \(copies /m);
  expect(drilled.output).toMatch(/^web: 2 of 5 copies served, of 5 kept, in /m);
  const status = await run('status');
  expect(status.output).toContain('3 copies would not serve');
  expect(status.code).not.toBe(0);

  const report = reports('.json').at(-1) ?? '';
  const text = readFileSync(report, 'utf8');
  expect((await run('drill', '--check', report)).code).toBe(6);
  writeFileSync(report, text.replace('wrong-key', 'good-key!'));
  const changed = await run('drill', '--check', report);
  expect(changed.code).toBe(6);
  expect(changed.errors).toContain('its signature does not hold: it was changed after it was written');
  expect(changed.errors).toContain('[drill_report_changed]');
});

test('a backup that cannot be read, authorities that are none, and a report that is none are said so', async () => {
  rmSync(join(folder, 'copies'), { recursive: true });
  const gone = await run('drill');
  expect(gone.code).toBe(4);
  expect(gone.output).toContain('copies was not drilled: the folder ');
  expect(gone.output).toContain('nothing was proven');
  expect((await run('drill', '--trust', join(folder, 'certstandby.yaml'))).errors).toContain(
    'holds no certificate to trust',
  );
  expect(await run('drill', '--trust', join(folder, 'nowhere.pem'))).toMatchObject({ code: 2 });
  expect(await run('drill', '--check', reports('.html')[0] ?? '')).toMatchObject({ code: 2 });
  expect(await run('drill', '--sample', '0')).toMatchObject({ code: 2 });
});
