import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../support/root.ts';

interface OfKind {
  readonly kind: string;
}

/** A deployment, as far as bundles depend on it. */
export interface BundledDeployment {
  readonly config: { readonly stores: readonly OfKind[]; readonly senders?: readonly OfKind[] };
}

/** Bundles the functions of a platform into a folder of their own, as they are deployed. */
export async function bundleFunctions(
  platform: 'aws' | 'openwhisk',
  /** What is deployed beside them: they have its services. Absent: all that functions can have. */
  deployment?: BundledDeployment,
): Promise<{ readonly folder: string; dispose(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-functions-'));
  const script = join(root, 'infra/build-functions.mjs');
  const args = [script, '--for', platform, '--out', folder];
  if (deployment !== undefined) {
    const configuration = join(folder, 'certstandby.json');
    await writeFile(configuration, JSON.stringify(deployment));
    args.push('--configuration', configuration);
  }
  await promisify(execFile)(process.execPath, args);
  return { folder, dispose: () => rm(folder, { recursive: true, force: true }) };
}
