import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../support/root.ts';

/** Bundles the functions of a platform into a folder of their own, as they are deployed. */
export async function bundleFunctions(
  platform: 'aws' | 'openwhisk',
  /** Kinds of its stores; absent: all that functions can have. */
  configured?: readonly string[],
): Promise<{ readonly folder: string; dispose(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-functions-'));
  const script = join(root, 'infra/build-functions.mjs');
  const args = [script, '--for', platform, '--out', folder];
  if (configured !== undefined) {
    const configuration = join(folder, 'certstandby.json');
    await writeFile(configuration, JSON.stringify({ config: { stores: configured.map((kind) => ({ kind })) } }));
    args.push('--configuration', configuration);
  }
  await promisify(execFile)(process.execPath, args);
  return { folder, dispose: () => rm(folder, { recursive: true, force: true }) };
}
