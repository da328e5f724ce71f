import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../support/root.ts';
import { requirePeer } from './peer.ts';

/** A command that runs with a library of PyPI. */
export type WithLibrary = (...command: readonly string[]) => readonly [program: string, ...args: string[]];

/**
 * Fetches a library of PyPI once, into a folder kept with the other caches, and says which version
 * it is. Answers how to run it, or `undefined` where it cannot be had: then one line has said what
 * is missing. `extra` is one of pip's, `module` what is imported.
 */
export function requireLibrary(
  name: string,
  version: string,
  { extra = '', module = name }: { readonly extra?: string; readonly module?: string } = {},
): WithLibrary | undefined {
  const cache = join(root, 'node_modules/.cache', name, version);
  const libraries = join(cache, 'lib');
  const wanted = `${name}${extra}==${version}`;
  const run: WithLibrary = (...command) => ['env', `PYTHONPATH=${libraries}`, ...command];
  const python = requirePeer('Python', ['python3', '-m', 'pip', '--version'], 'apt-get install python3-pip');
  if (python === undefined) return undefined;
  if (!existsSync(libraries)) fetchOnce(cache, libraries, wanted);
  const says = `import ${module}; from importlib.metadata import version; print("${name}", version("${name}"))`;
  const found = requirePeer(name, run('python3', '-c', says), `let pip reach an index with ${wanted} once`);
  return found === undefined ? undefined : run;
}

/** Complete or not at all: a run that is interrupted leaves no half a library. */
function fetchOnce(cache: string, libraries: string, wanted: string): void {
  mkdirSync(cache, { recursive: true });
  const fresh = join(cache, `lib-${process.pid}`);
  const { status } = spawnSync('python3', ['-m', 'pip', 'install', '--quiet', '--target', fresh, wanted], {
    stdio: 'inherit',
  });
  if (status === 0) renameSync(fresh, libraries);
  else rmSync(fresh, { recursive: true, force: true });
}
