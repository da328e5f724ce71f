import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { badElements, putCertificate } from '../support/folder-soup.ts';

const goodOnes = 200;
const ofEachKind = 2;

let folder: string;
let program: BundledScript;
let named: readonly string[];
/** Those whose key alone cannot be read: a listing reads no keys. */
let onlyByReading: readonly string[];
const servers: Server[] = [];
const children: ChildProcess[] = [];

/** Starts the program in a process of its own, and keeps what it says. */
function start(...args: string[]) {
  const child = spawn(process.execPath, [program.file, ...args, '--config', join(folder, 'certstandby.yaml')]);
  children.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  return { child, said: () => said, ended };
}

async function run(...args: string[]) {
  const { said, ended } = start(...args);
  return { code: await ended, said: said() };
}

const copies = () => readdirSync(join(folder, 'copies')).filter((name) => !name.startsWith('.'));

beforeAll(async () => {
  program = await bundleScript('src/cli/main.ts');
  folder = mkdtempSync(join(tmpdir(), 'soup-'));
  const live = join(folder, 'live');
  for (const name of ['live', 'copies']) mkdirSync(join(folder, name), { mode: 0o700 });
  for (let number = 0; number < goodOnes; number += 1)
    putCertificate(join(live, `good-${number}`), await testCertificate({ domains: [`g${number}.example.test`] }));
  const places: string[] = [];
  const secret: string[] = [];
  const kinds = [...(await badElements())];
  expect(kinds).toHaveLength(20);
  for (const [index, [kind, make]] of kinds.entries())
    for (let number = 0; number < ofEachKind; number += 1) {
      const place = await make(live, `bad ${index}.${number}`, servers);
      places.push(place);
      if (kind === 'an encrypted key') secret.push(place);
    }
  named = places;
  onlyByReading = secret;
  writeFileSync(join(live, 'README'), 'what this is\n');
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
receiver: { port: 0 }
worker: { sweepEvery: 1s }
serve: { metrics: { port: 0 } }
stores:
  live: { kind: directory, path: live, id: soup, quiet: 0s }
  copies: { kind: directory, path: copies, id: soup-copies }
links: { web: { primary: live, backups: [copies] } }
`,
  );
});
afterAll(async () => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
  await program.dispose();
});

it('200 good certificates are copied out of a folder with 40 that cannot be read, and each of these is named by its path', async () => {
  const { code, said } = await run('reconcile', '--wait', '0');
  expect(named.filter((place) => !said.includes(place))).toEqual([]);
  expect(code, said).toBe(6);
  expect(copies()).toHaveLength(goodOnes);
  expect(said).toContain('README: a file that is no certificate');
});

it('doctor, verify and status name them too, and none calls it good', async () => {
  const [doctor, verify, status] = [await run('doctor'), await run('verify'), await run('status')];
  expect(named.filter((place) => !verify.said.includes(place))).toEqual([]);
  expect(named.filter((place) => !doctor.said.includes(place))).toEqual(onlyByReading);
  expect([doctor.code, verify.code, status.code], doctor.said).toEqual([6, 6, 6]);
  expect(status.said).toContain('NOT GOOD');
  expect(verify.said).toContain(`${goodOnes} same`);
});

it('serve stays up among them, copies a renewal, and ends when it is told to', async () => {
  const { child, said, ended } = start('serve');
  await expect.poll(said).toContain('"event":"serving"');
  const renewed = await testCertificate({ domains: ['g7.example.test'] });
  putCertificate(join(folder, 'live', 'good-7'), renewed);
  const [copy = ''] = copies().filter((name) => name.startsWith('good-7-'));
  const held = () => readFileSync(join(folder, 'copies', copy, 'current', 'cert.pem'), 'utf8');
  await expect.poll(held).toBe(renewed.certificate);
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
});
