import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { commit, make } from './make.mjs';

const hasHistory = (() => {
  try {
    execFileSync('git', ['cat-file', '-e', `${commit}^{commit}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

describe.skipIf(!hasHistory)('the version before, where the checkout has its history', () => {
  test('is what node test/version-before/make.mjs makes of its commit', async () => {
    for (const [name, content] of Object.entries(await make()))
      expect(readFileSync(new URL(name, import.meta.url)).equals(content), name).toBe(true);
  });
});
