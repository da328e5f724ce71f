import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../support/root.ts';

/** Bundles the functions of a platform into a folder of their own, as they are deployed. */
export async function bundleFunctions(
  platform: 'aws' | 'openwhisk',
): Promise<{ readonly folder: string; dispose(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-functions-'));
  const script = join(root, 'infra/build-functions.mjs');
  await promisify(execFile)(process.execPath, [script, '--for', platform, '--out', folder]);
  return { folder, dispose: () => rm(folder, { recursive: true, force: true }) };
}
