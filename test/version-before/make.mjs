// Makes what stands beside this file, from history:  node test/version-before/make.mjs
//
// The version before is the last one whose records kept one doubt for all backups. What workers of
// it do to a table that newer ones work on too, and the other way round, is tested with its own
// code: its heart (`heart.js`) in the simulation, and its whole program, as test/kills runs it
// (`worker.mjs.br`, packed), on a real table between real servers. Both are kept here, because a
// checkout may have no history. Where there is one, a test makes them again and compares.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';

export const commit = '8d4a92d33a93767c86395842beda4a6e634002d7';
const root = fileURLToPath(new URL('../..', import.meta.url));

/** What the simulation runs of it. */
const heart = `
export { CodedError, errorRegistry } from './src/errors.ts';
export { idempotencyRecords } from './src/records/idempotency-records.ts';
export { linkRecords } from './src/records/link-records.ts';
export { replicationRecords } from './src/records/replication-records.ts';
export { acknowledge } from './src/replication/acknowledge.ts';
export { reconcile } from './src/replication/reconcile.ts';
export { replicate } from './src/replication/replicate.ts';
export { sharedListings } from './src/replication/shared-listing.ts';
export { sweep } from './src/replication/sweep.ts';
`;

/** @param {string} path */
const inHistory = (path) =>
  execFileSync('git', ['show', `${commit}:${path}`], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });

/** The process of test/kills that is killed. */
const worker = `
import { programHandlers } from './test/kills/program.ts';
import { answerCalls } from './test/support/roles.ts';
answerCalls(programHandlers());
`;

/**
 * Reads our own files from history, and leaves packages where npm put them. @type
 * {import('esbuild').Plugin}
 */
const fromHistory = {
  name: 'from-history',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^/ }, ({ path, importer, namespace }) => {
      if (!path.startsWith('.')) return { path, external: true };
      return { path: join(namespace === 'history' ? dirname(importer) : '', path), namespace: 'history' };
    });
    onLoad({ filter: /^/, namespace: 'history' }, ({ path }) => ({ contents: inHistory(path), loader: 'ts' }));
  },
};

/**
 * @param {string} contents
 * @param {import('esbuild').BuildOptions} [options]
 */
async function bundle(contents, options = {}) {
  const { version } = JSON.parse(inHistory('package.json'));
  const { outputFiles } = await build({
    stdin: { contents, sourcefile: 'entry.ts', loader: 'ts', resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    define: { CERTSTANDBY_VERSION: JSON.stringify(version) },
    plugins: [fromHistory],
    logLevel: 'silent',
    write: false,
    ...options,
  });
  return Buffer.from(outputFiles?.[0]?.contents ?? '');
}

/**
 * The files beside this one that are made, by name. @returns {Promise<Readonly<Record<string,
 * Buffer>>>}
 */
export async function make() {
  const note = `// @ts-nocheck\n// Made by make.mjs from commit ${commit}: the heart of the version before.\n`;
  const [heartJs, workerJs] = await Promise.all([
    bundle(heart, { banner: { js: note } }),
    bundle(worker, { minifyWhitespace: true, minifySyntax: true }),
  ]);
  return { 'heart.js': heartJs, 'worker.mjs.br': packed(workerJs) };
}

/** @param {Buffer} program */
function packed(program) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
  return brotliCompressSync(program, { params });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  for (const [name, content] of Object.entries(await make())) writeFileSync(new URL(name, import.meta.url), content);
