import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { readPassphrase } from '../../src/cli/archive-secrets.ts';

it('an empty first line is the empty passphrase where one opens, and an empty variable is none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-passphrase-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'passphrase');
  writeFileSync(file, '\nnot this line\n');
  const { signal } = new AbortController();
  const opening = { fresh: false, signal };
  expect((await readPassphrase(file, {}, opening))?.reveal()).toBe('');
  expect(await readPassphrase(undefined, { CERTSTANDBY_PASSPHRASE: '' }, opening)).toBeUndefined();
  expect(await readPassphrase(undefined, {}, opening)).toBeUndefined();
  await expect(readPassphrase(file, {}, { fresh: true, signal })).rejects.toMatchObject({ code: 'usage' });
});
