import { readFileSync } from 'node:fs';
import type { Tree } from './tree.ts';

const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  scripts: Record<string, string>;
};

/**
 * Runs the check as `npm run <script>` would, without npm: what is proven here is what the script
 * really says.
 */
export function runScript(tree: Tree, script: string, ...more: string[]): ReturnType<Tree['run']> {
  const [program, ...args] = (scripts[script] ?? '').split(' ');
  if (!program) throw new Error(`package.json has no script ${script}`);
  return tree.run(program, ...args, ...more);
}
