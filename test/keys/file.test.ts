import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { fileRootKey, recoverFileRootKey, rootKeyOfRecoveryText } from '../../src/keys/file.ts';
import { recoveryTextOf } from '../../src/keys/file-recovery.ts';
import { Secret } from '../../src/secret.ts';
import { rootKeyContract } from './contract.ts';

const context = { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' };
/**
 * The root key 00 01 02 ... 1f: its file, its id and its recovery text, computed by other programs.
 */
const known = {
  key: Uint8Array.from({ length: 32 }, (_, at) => at),
  id: 'file:ba1c6452cca4aabe3977adbc2de1f33a',
  recoveryText: 'CS1-000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFQ-A4DH',
};
const knownFile = `certstandby-root-key.1\n${known.id}\n000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n`;

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-root-key-'));
  path = join(folder, 'keys', 'root.key');
});
afterEach(() => rmSync(folder, { recursive: true }));

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'fine',
    (thrown: unknown) => asCodedError(thrown).code,
  );
const opening = (create = false) => codeOf(fileRootKey({ path, create }));

function put(text: string, mode = 0o600): void {
  path = join(folder, 'root.key');
  writeFileSync(path, text, { mode });
  chmodSync(path, mode);
}

rootKeyContract('file', async () => {
  const own = mkdtempSync(join(tmpdir(), 'certstandby-root-key-'));
  const [one, two] = await Promise.all(
    ['one.key', 'two.key'].map((name) => fileRootKey({ path: join(own, name), create: true })),
  );
  if (one === undefined || two === undefined) throw new Error('no root keys');
  return {
    rootKey: one.rootKey,
    other: two.rootKey,
    refuse: async () => chmodSync(join(own, 'one.key'), 0o640),
    dispose: async () => rmSync(own, { recursive: true }),
  };
});

describe('a root key file', () => {
  it('is made on first use, for its owner alone, and leaves nothing beside it', async () => {
    const { rootKey, recoveryText } = await fileRootKey({ path, create: true });
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    expect(statSync(join(folder, 'keys')).mode & 0o7777).toBe(0o700);
    expect(readdirSync(join(folder, 'keys'))).toEqual(['root.key']);
    expect(readFileSync(path, 'latin1')).toMatch(/^certstandby-root-key\.1\nfile:[0-9a-f]{32}\n[0-9a-f]{64}\n$/);
    expect(recoveryText?.reveal()).toMatch(/^CS1(-[0-9A-HJKMNP-TV-Z]{4}){14}$/);
    expect(`${recoveryText}`).toBe('[secret]');
    // Given once, to the one who made it.
    const again = await fileRootKey({ path, create: true });
    expect(again.rootKey.id).toBe(rootKey.id);
    expect('recoveryText' in again).toBe(false);
  });

  it('is for its owner alone whatever the mask of the process says', async () => {
    const before = process.umask(0o777);
    try {
      await fileRootKey({ path: join(folder, 'root.key'), create: true });
    } finally {
      process.umask(before);
    }
    expect(statSync(join(folder, 'root.key')).mode & 0o7777).toBe(0o600);
  });

  it('is made once by many at the same time, who all have the same root key', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => fileRootKey({ path, create: true })));
    expect(new Set(made.map(({ rootKey }) => rootKey.id)).size).toBe(1);
    expect(made.filter(({ recoveryText }) => recoveryText !== undefined)).toHaveLength(1);
    expect(readdirSync(join(folder, 'keys'))).toEqual(['root.key']);
  });

  it('is not made where it is not wanted', async () => {
    expect(await opening(false)).toBe('keys_file_missing');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('in the known format opens for as long as there is this format', async () => {
    put(knownFile);
    const { rootKey } = await fileRootKey({ path, create: false });
    expect(rootKey.id).toBe(known.id);
    const { dataKey } = await rootKey.unwrap(
      '1.CQkJCQkJCQkJCQkJ0jhsWvP-Y8-0cBCWzbbPp1Bgq1d3cjfaM5UbH_ZEpWnGWoFoJGl3lSPCuYjP16DV',
      context,
    );
    expect(Buffer.from(dataKey).toString()).toBe('a data key of thirty-two bytes..');
  });

  it.each([0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660, 0o666, 0o777])('of mode %o is refused', async (mode) => {
    put(knownFile, mode);
    expect(await opening(true)).toBe('keys_file_exposed');
    chmodSync(path, 0o600);
    expect(await opening()).toBe('fine');
  });

  it.each([0o400, 0o600, 0o700])('of mode %o is not', async (mode) => {
    put(knownFile, mode);
    expect(await opening()).toBe('fine');
  });

  it('behind a symbolic link is judged by where that leads', async () => {
    put(knownFile, 0o644);
    symlinkSync(path, join(folder, 'link'));
    expect(await codeOf(fileRootKey({ path: join(folder, 'link'), create: true }))).toBe('keys_file_exposed');
    chmodSync(path, 0o600);
    expect(await codeOf(fileRootKey({ path: join(folder, 'link'), create: false }))).toBe('fine');
  });

  it('is not made through a symbolic link that leads nowhere', async () => {
    symlinkSync(join(folder, 'nowhere'), join(folder, 'link'));
    expect(await codeOf(fileRootKey({ path: join(folder, 'link'), create: true }))).toBe('keys_file_missing');
    expect(readdirSync(folder)).toEqual(['link']);
  });

  it.skipIf(process.geteuid?.() !== 0)('of another user is refused', async () => {
    put(knownFile);
    execFileSync('chown', ['12345', path]);
    expect(await opening()).toBe('keys_file_exposed');
  });

  it.each<readonly [string, string, RegExp]>([
    ['empty', '', /it is no root key file/],
    ['something else', 'hello\nhello\nhello\n', /it is no root key file/],
    ['a PEM', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n', /it is no root key file/],
    [
      'of a later format',
      knownFile.replace('key.1', 'key.2'),
      /format certstandby-root-key\.2, and this version knows certstandby-root-key\.1/,
    ],
    ['cut off', knownFile.slice(0, -1), /changed or cut off/],
    ['cut off in the key', knownFile.slice(0, -9), /changed or cut off/],
    ['cut off after its format', 'certstandby-root-key.1\n', /changed or cut off/],
    ['longer', `${knownFile}\n`, /changed or cut off/],
    ['with a key that was changed', knownFile.replace('000102', '000103'), /changed or cut off/],
    ['with an id that was changed', knownFile.replace('file:', 'file:0'), /changed or cut off/],
    ['with capital letters', knownFile.replace('0a0b', '0A0B'), /changed or cut off/],
    ['long', 'x'.repeat(4096), /it is no root key file/],
    ['far too long', 'x'.repeat(4097), /4097 bytes/],
  ])('that is %s is not used, and not written over', async (_, text, message) => {
    put(text);
    const error = asCodedError(await fileRootKey({ path, create: true }).catch((thrown: unknown) => thrown));
    expect(error).toMatchObject({ code: 'keys_file_unusable', message: expect.stringMatching(message) });
    expect(JSON.stringify([error.message, error.fields])).not.toContain('0c0d0e0f');
    expect(readFileSync(path, 'latin1')).toBe(text);
  });

  it.each<readonly [string, (path: string) => unknown]>([
    ['a folder', (at) => execFileSync('mkdir', [at])],
    ['a pipe', (at) => execFileSync('mkfifo', ['-m', '600', at])],
    ['a circle of links', (at) => symlinkSync(at, at)],
  ])('that is %s is not used, and nobody waits for it', async (_, make) => {
    path = join(folder, 'root.key');
    make(path);
    expect(await opening(true)).toBe('keys_file_unusable');
  });

  it('is looked at for each call: taken away, opened to others or replaced, it no longer serves', async () => {
    const { rootKey } = await fileRootKey({ path, create: true });
    const wrapped = await rootKey.wrap(Buffer.alloc(32, 1), context);
    const text = readFileSync(path);
    const calls = () => [rootKey.wrap(Buffer.alloc(32, 1), context), rootKey.unwrap(wrapped, context)];
    const codes = () => Promise.all(calls().map(codeOf));
    chmodSync(path, 0o644);
    expect(await codes()).toEqual(['keys_file_exposed', 'keys_file_exposed']);
    rmSync(path);
    expect(await codes()).toEqual(['keys_file_missing', 'keys_file_missing']);
    writeFileSync(path, knownFile, { mode: 0o600 });
    expect(await codes()).toEqual(['keys_refused', 'keys_refused']);
    writeFileSync(path, text, { mode: 0o600 });
    expect(await codes()).toEqual(['fine', 'fine']);
  });

  it('says so where the system cannot make it', async () => {
    writeFileSync(join(folder, 'keys'), '');
    expect(await opening(true)).toBe('keys_file_unusable');
    expect(readdirSync(folder)).toEqual(['keys']);
  });

  it('may have other names', async () => {
    put(knownFile);
    linkSync(path, join(folder, 'other'));
    expect(await opening()).toBe('fine');
  });
});

describe('the recovery text', () => {
  it('of a known key is this one', () => {
    expect(recoveryTextOf(known.key).reveal()).toBe(known.recoveryText);
    expect(rootKeyOfRecoveryText(new Secret(known.recoveryText))).toBe(known.id);
  });

  it('makes the file again, byte for byte, which opens what the lost one wrapped', async () => {
    const { rootKey, recoveryText } = await fileRootKey({ path, create: true });
    const wrapped = await rootKey.wrap(Buffer.alloc(32, 7), context);
    const lost = readFileSync(path);
    rmSync(path);
    if (recoveryText === undefined) throw new Error('no recovery text');
    expect(rootKeyOfRecoveryText(recoveryText)).toBe(rootKey.id);
    expect(await recoverFileRootKey(path, recoveryText)).toBe(rootKey.id);
    expect(readFileSync(path).equals(lost)).toBe(true);
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    const again = await fileRootKey({ path, create: false });
    expect(Buffer.from((await again.rootKey.unwrap(wrapped, context)).dataKey)).toEqual(Buffer.alloc(32, 7));
    // Once more does no harm.
    expect(await recoverFileRootKey(path, recoveryText)).toBe(rootKey.id);
  });

  it('writes over no other root key, and no other file', async () => {
    put('something else');
    expect(await codeOf(recoverFileRootKey(path, new Secret(known.recoveryText)))).toBe('keys_file_unusable');
    expect(readFileSync(path, 'latin1')).toBe('something else');
    const other = join(folder, 'other.key');
    await fileRootKey({ path: other, create: true });
    const before = readFileSync(other);
    await expect(recoverFileRootKey(other, new Secret(known.recoveryText))).rejects.toMatchObject({
      code: 'keys_file_unusable',
      message: expect.stringContaining('it holds another root key'),
    });
    expect(readFileSync(other).equals(before)).toBe(true);
  });
});
