import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { root } from '../support/root.ts';

/**
 * Puts the program of the version before, as test/kills runs it, where packages are found from.
 * Answers the file, and how to remove it.
 */
export function unpackWorkerBefore(): { readonly file: string; readonly dispose: () => void } {
  const cache = join(root, 'node_modules', '.cache', 'certstandby');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'version-before-'));
  const file = join(folder, 'worker.mjs');
  writeFileSync(file, brotliDecompressSync(readFileSync(join(root, 'test/version-before/worker.mjs.br'))));
  return { file, dispose: () => rmSync(folder, { recursive: true, force: true }) };
}
