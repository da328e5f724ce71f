// Bundles the entry points into dist/: Node 20 cannot run TypeScript. Our own code only; packages
// stay where npm put them.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { registryFrom } from './registry.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** What is built into dist/<name>.js, and where it begins. Only the first is shipped. */
const entryPoints = {
  certstandby: './src/cli/main.ts',
  bench: './test/bench/main.ts',
  simulate: './test/simulation/main.ts',
  kills: './test/kills/main.ts',
  load: './test/load/main.ts',
  corpus: './test/corpus/main.ts',
};

/**
 * What has other services than the program that is shipped.
 * @type {Record<string, string>}
 */
const registries = { kills: 'test/kills/registry.ts' };

/**
 * Builds one entry point into dist/<name>.js and, for what is imported only when it is needed,
 * dist/<name>/: in one file, every package would load at the start.
 * @param {string} name
 * @param {string} file
 */
async function bundle(name, file) {
  const registry = registries[name];
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: { [name]: file },
    outdir: 'dist',
    chunkNames: `${name}/[name]-[hash]`,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    sourcemap: true,
    banner: { js: '#!/usr/bin/env node' },
    define: { CERTSTANDBY_VERSION: JSON.stringify(version) },
    write: false,
    plugins: registry === undefined ? [] : [registryFrom(registry)],
    logLevel: 'warning',
  });
  // The entry point last, and each renamed into place: a program that starts meanwhile finds the
  // old files or the new ones.
  const entry = join(root, 'dist', `${name}.js`);
  const ordered = outputFiles.toSorted((a, b) => Number(a.path === entry) - Number(b.path === entry));
  for (const { path, contents } of ordered) {
    mkdirSync(dirname(path), { recursive: true });
    const aside = `${path}.${process.pid}`;
    writeFileSync(aside, contents, { mode: path === entry ? 0o755 : 0o644 });
    renameSync(aside, path);
  }
  const chunks = join(root, 'dist', name);
  const current = new Set(outputFiles.map(({ path }) => path));
  for (const old of existsSync(chunks) ? readdirSync(chunks) : [])
    if (!current.has(join(chunks, old))) rmSync(join(chunks, old));
  return relative(root, entry);
}

const started = performance.now();
const present = Object.entries(entryPoints).filter(
  ([name, file]) => name === 'certstandby' || existsSync(join(root, file)),
);
try {
  const built = await Promise.all(present.map(([name, file]) => bundle(name, file)));
  console.error(`Built ${built.join(', ')} in ${Math.round(performance.now() - started)} ms.`);
} catch (error) {
  if (!(error instanceof Error && 'errors' in error)) throw error;
  process.exitCode = 1; // esbuild has said what is wrong
}
