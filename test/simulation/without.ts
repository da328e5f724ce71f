import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { Safeguard } from './safeguards.ts';
import type { simulate } from './simulate.ts';

type Simulate = typeof simulate;

/**
 * The simulation of the program without one protective step: bundled from a source that is changed
 * on the way, so that the program itself has no switch for it. Throws if the step's text is not
 * exactly once in its file. Run it from the repository's root.
 */
export async function simulationWithout({ step, file, find, replace }: Safeguard): Promise<Simulate> {
  const source = readFileSync(file, 'utf8');
  if (source.split(find).length !== 2) throw new Error(`"${find}" must stand exactly once in ${file} (${step})`);
  // Below node_modules, so that packages are found from there.
  const folder = join(
    'node_modules',
    '.cache',
    'certstandby',
    `without-${process.pid}-${Math.random().toString(36).slice(2)}`,
  );
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, 'simulate.mjs');
  await build({
    entryPoints: ['test/simulation/simulate.ts'],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
    plugins: [
      {
        name: 'without',
        setup: ({ onLoad }) =>
          onLoad({ filter: new RegExp(`${file.replaceAll('.', '\\.')}$`) }, () => ({
            contents: source.replace(find, () => replace),
            loader: 'ts',
          })),
      },
    ],
  });
  try {
    return ((await import(pathToFileURL(outfile).href)) as { simulate: Simulate }).simulate;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Runs seeds until one breaks a promise that holds with the step in its place, beginning with the
 * one that did so last: that seed and what it broke, or `undefined` if the step was not missed.
 */
export async function firstBroken(
  run: Simulate,
  search: Pick<Safeguard, 'eventsOnly' | 'seeds' | 'missedAt' | 'switches'> & {
    /** The simulation with every step. */
    readonly whole: Simulate;
  },
): Promise<{ readonly seed: number; readonly broken: string } | undefined> {
  const { eventsOnly = false, seeds, missedAt, switches, whole } = search;
  const options = { withReconcile: !eventsOnly, switches };
  const others = Array.from({ length: seeds }, (_, index) => index + 1);
  for (const seed of missedAt === undefined ? others : [missedAt, ...others]) {
    const [broken] = (await run(seed, options)).broken;
    if (broken !== undefined && (await whole(seed, options)).broken.length === 0) return { seed, broken };
  }
  return undefined;
}
