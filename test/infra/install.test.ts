import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

// A stand-in for npm: says that it ran, and with what; then does what its behaviour file says.
const fakeNpm = `
const fs = require('node:fs');
fs.appendFileSync('npm-calls', process.argv.slice(2, 6).join(' ') + '\\n');
const { code, json, waitMs } = JSON.parse(fs.readFileSync('npm-behaviour', 'utf8'));
setTimeout(() => {
  if (code === 0) {
    const { packages } = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
    delete packages[''];
    delete packages['node_modules/elsewhere'];
    for (const path of Object.keys(packages)) fs.mkdirSync(path, { recursive: true });
    fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }));
  }
  if (json) console.log(json);
  process.exit(code);
}, waitMs ?? 0);
`;

/** What npm is asked, once. */
const call = 'ci --ignore-scripts --no-audit --no-fund\n';

const packages = {
  'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
  'node_modules/here': { version: '2.0.0', integrity: 'sha512-h', optional: true, os: [process.platform] },
  'node_modules/elsewhere': { version: '2.0.0', integrity: 'sha512-e', optional: true, os: ['plan9'] },
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-install-'));
  mkdirSync(join(folder, 'infra'));
  cpSync(fileURLToPath(new URL('../../infra/install.mjs', import.meta.url)), join(folder, 'infra/install.mjs'));
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
  mkdirSync(join(folder, 'npm'));
  writeFileSync(join(folder, 'npm/package.json'), '{"type": "commonjs"}');
  writeFileSync(join(folder, 'npm/npm-cli.js'), fakeNpm);
  behave({ code: 0 });
  lockFile(packages);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function behave(behaviour: { code: number; json?: string; waitMs?: number }): void {
  writeFileSync(join(folder, 'npm-behaviour'), JSON.stringify(behaviour));
}

function lockFile(packages: Record<string, object>): void {
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...packages } }));
}

function npmCalls(): string {
  return existsSync(join(folder, 'npm-calls')) ? readFileSync(join(folder, 'npm-calls'), 'utf8') : '';
}

async function install(nodeOptions: string[] = [], ...args: string[]): Promise<{ code: number | null; said: string }> {
  const child: ChildProcess = spawn(process.execPath, [...nodeOptions, join(folder, 'infra/install.mjs'), ...args], {
    cwd: tmpdir(),
    env: { ...process.env, npm_execpath: join(folder, 'npm/npm-cli.js') },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, said };
}

test('installs once, then neither says nor does anything', async () => {
  const first = await install();
  expect(first).toEqual({ code: 0, said: expect.stringMatching(/^Installing the packages.*\nInstalled in .* s\.\n$/) });
  expect(await install()).toEqual({ code: 0, said: '' });
  expect(npmCalls()).toBe(call);
  expect(existsSync(join(folder, '.install-lock'))).toBe(false);
});

test('installs the package of a folder that is named, and leaves the others alone', async () => {
  mkdirSync(join(folder, 'part'));
  for (const file of ['package-lock.json', 'npm-behaviour']) cpSync(join(folder, file), join(folder, 'part', file));
  expect(await install([], 'part')).toMatchObject({ code: 0 });
  expect(existsSync(join(folder, 'part/node_modules/a'))).toBe(true);
  expect(readFileSync(join(folder, 'part/npm-calls'), 'utf8')).toBe(call);
  expect(npmCalls()).toBe('');
});

test.each<[string, () => void]>([
  ['another version', () => lockFile({ ...packages, 'node_modules/a': { version: '1.0.1', integrity: 'sha512-a' } })],
  ['other content', () => lockFile({ ...packages, 'node_modules/a': { version: '1.0.0', integrity: 'sha512-b' } })],
  ['a package that the lock file does not have', () => lockFile({ 'node_modules/a': packages['node_modules/a'] })],
  ['a folder that is gone', () => rmSync(join(folder, 'node_modules/a'), { recursive: true })],
  ['half an install', () => rmSync(join(folder, 'node_modules/.package-lock.json'))],
  [
    'an optional package of this platform that is missing',
    () => {
      const hidden = join(folder, 'node_modules/.package-lock.json');
      const { packages: installed } = JSON.parse(readFileSync(hidden, 'utf8')) as { packages: Record<string, unknown> };
      delete installed['node_modules/here'];
      writeFileSync(hidden, JSON.stringify({ packages: installed }));
    },
  ],
])('installs again because of %s', async (_, change) => {
  await install();
  change();
  expect(await install()).toMatchObject({ code: 0 });
  expect(npmCalls()).toBe(call + call);
});

test('of several at once, one installs and the others wait for it', async () => {
  behave({ code: 0, waitMs: 500 });
  const all = await Promise.all([install(), install(), install(), install()]);
  expect(all.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  expect(npmCalls()).toBe(call);
});

test('takes over from one that was killed', async () => {
  const killed = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => killed.on('close', resolve));
  mkdirSync(join(folder, '.install-lock'));
  writeFileSync(join(folder, '.install-lock', `${killed.pid}@${hostname()}`), '');
  const all = await Promise.all([install(), install(), install()]);
  expect(all.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(npmCalls()).toBe(call);
});

test.each([
  ['EAI_AGAIN', 'The packages are not installed yet, and the npm registry cannot be reached (EAI_AGAIN).'],
  ['EUSAGE', 'package-lock.json does not fit package.json.'],
  ['EACCES', 'npm ci failed (EACCES): what npm says'],
])('says in a sentence why npm failed: %s', async (code, sentence) => {
  behave({ code: 1, json: JSON.stringify({ error: { code, summary: 'what npm says', detail: '' } }) });
  const { code: status, said } = await install();
  expect(status).toBe(1);
  expect(said).toContain(`certstandby: ${sentence}`);
  expect(said).not.toContain('    at ');
  expect(existsSync(join(folder, '.install-lock'))).toBe(false);
});

test('npm that ends well without installing is not believed', async () => {
  writeFileSync(join(folder, 'npm/npm-cli.js'), '');
  expect(await install()).toEqual({ code: 1, said: expect.stringContaining('node_modules does not match') });
});

test.each([
  ['20.18.3', 1],
  ['18.20.0', 1],
  ['20.19.0', 0],
  ['22.0.0', 0],
])('Node %s', async (version, code) => {
  const pretend = `Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
  const result = await install(['--import', `data:text/javascript,${encodeURIComponent(pretend)}`]);
  expect(result.code).toBe(code);
  if (code === 1) expect(result.said).toBe(`certstandby: Node 20.19 or newer is needed; this is Node ${version}.\n`);
});
