// Node 20 runs no TypeScript. Vitest translates what it loads itself; this does it for threads and
// processes that the program starts from its sources, as the build would have made files of them.
// Newer Node does it without help. What was translated is kept, since each thread would else take
// half a second to start.
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread, threadId } from 'node:worker_threads';

const isNeeded = !isMainThread || process.argv[1]?.endsWith('.ts') === true;
if (isNeeded && !('typescript' in process.features && process.features.typescript)) register(import.meta.url);

const cache = fileURLToPath(new URL('../../node_modules/.cache/typescript-in-threads/', import.meta.url));

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context);
  const text = await readFile(fileURLToPath(url), 'utf8');
  const kept = `${cache}${createHash('sha256').update(text).digest('hex')}.mjs`;
  const source = await readFile(kept, 'utf8').catch(() => translate(text, kept));
  return { format: 'module', source, shortCircuit: true };
}

/**
 * @param {string} text
 * @param {string} kept where it is kept, whole or not at all
 */
async function translate(text, kept) {
  const { transform } = await import('esbuild');
  const { code } = await transform(text, { loader: 'ts', format: 'esm' });
  await mkdir(cache, { recursive: true });
  const aside = `${kept}.${process.pid}.${threadId}`;
  await writeFile(aside, code);
  await rename(aside, kept);
  return code;
}
