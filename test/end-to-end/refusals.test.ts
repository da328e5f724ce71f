import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';
import { liveFolder } from '../support/live-folder.ts';
import { backupCrn } from './program.ts';

const dayMs = 86_400_000;
const hosts = Array.from({ length: 8 }, (_, index) => `host-${index + 1}.example.test`);

let backup: TestInstance;
let folder: string;

/**
 * A folder with eight certificates, copied to an instance that refuses other domains; seven of them
 * got other domains since.
 */
beforeAll(async () => {
  backup = await startTestInstance({ crn: backupCrn });
  folder = mkdtempSync(join(tmpdir(), 'certstandby-refusals-'));
  const live = liveFolder(folder);
  const now = Date.now();
  for (const [index, host] of hosts.entries()) {
    const notAfter = now + (10 + index) * dayMs;
    live.renew(host, await testCertificate({ domains: [host], notBefore: now - dayMs, notAfter }));
  }
  const store = `{ kind: certificate-manager, instance: "${backupCrn}", apiKey: env:KEY, endpoint: "${backup.url}", iam: "${backup.url}", writesPerCertificatePerMinute: unlimited }`;
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
receiver: { host: "127.0.0.1" }
stores:
  live: { kind: directory, path: live, id: web-1 }
  london: ${store}
links: { shop: { primary: live, backups: [london], policy: { replace: never } } }
`,
  );
  expect((await run(['reconcile'])).code).toBe(0);
  for (const host of hosts.slice(0, 7))
    live.renew(
      host,
      await testCertificate({ domains: [`new.${host}`], notBefore: now - 1_000, notAfter: now + 90 * dayMs }),
    );
  expect((await run(['reconcile'])).code).toBe(6);
});
afterAll(async () => {
  await backup.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = ([command = '', ...args]: readonly string[]) =>
  runCommand(
    [command, '--config', join(folder, 'certstandby.yaml'), ...args],
    testHost({ env: { KEY: apiKeyOf('manager') } }),
  );

const firstStop = () => new Date(Date.now() + 10 * dayMs).toISOString().slice(0, 10);

test('status tells seven refusals of one cause once, with the day on which the first copy stops serving', async () => {
  const { code, output } = await run(['status']);
  expect(code).toBe(6);
  expect(output).toMatch(
    /^ {2}! london does not take 7 certificates(?: since .*)? ago \(host-1\.example\.test, host-2\.example\.test, host-3\.example\.test and 4 more\)\n {6}reimport at london: it answered 400: .* \[store_content_refused\]; /m,
  );
  expect(output).toMatch(
    new RegExp(
      `^ {6}the copy of host-1\\.example\\.test stays, and is the first to stop serving, in 10 d \\(${firstStop()}\\)$`,
      'm',
    ),
  );
  expect(output.match(/store_content_refused/g)).toHaveLength(1);
  expect(output).toContain('london: 1 equal, 7 behind');
  const { output: json } = await run(['status', '--json']);
  expect(JSON.parse(json)).toMatchObject({
    stuck: [],
    refusals: [{ code: 'store_content_refused', certificates: 7, stops: { name: 'host-1.example.test' } }],
    exit: 6,
  });
});

test('verify names five of them and counts the rest', async () => {
  const { code, output, errors } = await run(['verify']);
  expect(code).toBe(6);
  const lines = (output + errors).split('\n').filter((line) => line.includes('store_content_refused'));
  expect(lines).toHaveLength(6);
  expect(lines[0]).toMatch(/; it stops serving on \d{4}-\d\d-\d\d; refused there since \d{4}-\d\d-\d\d: /);
  expect(lines[5]).toMatch(
    /^ {2}… and 2 copies more in london \[store_content_refused\]; the first of them stops serving on /,
  );
  const { output: json } = await run(['verify', '--json']);
  const findings = json
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(findings.filter(({ refused }) => refused !== undefined)).toHaveLength(7);
});

test('a plan tells what rests because a backup refuses it, and that nothing would be done about it', async () => {
  const { code, output } = await run(['reconcile', '--plan']);
  expect(code).toBe(6);
  expect(output).toContain('nothing would be done');
  expect(output).toMatch(/^ {2}london does not take 7 certificates/m);
  expect(output).not.toContain('since before');
  const full = await run(['reconcile', '--plan', '--full']);
  expect(full.output.match(/store_content_refused/g)).toHaveLength(1);
});

test('doctor tells it as a problem of certificates, with its remedy', async () => {
  const { code, output } = await run(['doctor', '--json']);
  const findings = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(findings.filter((found) => found.code === 'store_content_refused')).toMatchObject([
    { about: 'link shop', outcome: 'problem', exit: 6, remedy: expect.stringContaining('does not take this content') },
  ]);
  expect(code).toBe(6);
});

test('reconcile names five of them and counts the rest', async () => {
  const { code, output } = await run(['reconcile']);
  expect(code).toBe(6);
  expect(output.match(/: the certificate is for new\.host-/g)).toHaveLength(5);
  expect(output).toMatch(/^ {2}… and 2 more that are refused by london \[store_content_refused\]; /m);
});
