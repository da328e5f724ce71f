import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { processOwner } from '../../src/process-owner.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';

// `unshare` (util-linux) starts a process in a namespace of its own, as a container does.
let script: BundledScript;
beforeAll(async () => {
  script = await bundleScript('test/support/process-owner-child.ts');
});
afterAll(() => script.dispose());

/** What a process calls itself that has run, and ended, behind these words. */
const ownerOf = (...before: readonly string[]) => {
  const [program = '', ...rest] = [...before, process.execPath, script.file];
  return execFileSync(program, rest, { encoding: 'utf8', timeout: 30_000 }).trim();
};
const here = processOwner(() => 'new-id');

test('a process of this namespace that ended is known to have died', () => {
  const owner = ownerOf();
  expect(owner).toMatch(/^process:1 /);
  expect(here.hasDied(owner)).toBe(true);
});

test('one of another process namespace is not, though no process of its number is here', () => {
  const owner = ownerOf('unshare', '--user', '--map-root-user', '--pid', '--fork', '--mount-proc');
  expect(owner).toMatch(/^process:1 \S+ pid:\[\d+\] \S+ 1 \d+ /);
  expect(here.hasDied(owner)).toBe(false);
});

test('one that sees the processes of another namespace under its numbers does not say which it is', () => {
  expect(ownerOf('unshare', '--user', '--map-root-user', '--pid', '--fork')).toBe('new-id');
});
