import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const notCopied = /^(node_modules|dist|coverage|\.git|\.install-lock.*|\.certstandby.*)$/;

/** What a check said. */
interface Verdict {
  readonly status: number | null;
  readonly stdout: string;
  /** Both streams. */
  readonly output: string;
}

/** A copy of this repository in a folder of its own, with the same packages. */
export interface Tree {
  /** Writes a file that must not be there yet. */
  plant(file: string, text: string): void;
  append(file: string, text: string): void;
  replace(file: string, before: string, after: string): void;
  /** Runs a program of node_modules/.bin in the copy. */
  run(program: string, ...args: string[]): Verdict;
  remove(): void;
}

/** A fresh copy for each test of the file that calls this, removed after it. */
export function treePerTest(): () => Tree {
  let tree: Tree;
  beforeEach(() => {
    tree = copyTree();
  });
  afterEach(() => tree.remove());
  return () => tree;
}

function copyTree(): Tree {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-gates-'));
  // At every depth: a deployment has packages of its own beside it.
  const filter = (source: string) => !notCopied.test(basename(source));
  for (const name of readdirSync(root))
    if (filter(name)) cpSync(join(root, name), join(folder, name), { recursive: true, filter });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
  return {
    plant(file, text) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text, { flag: 'wx' });
    },
    append: (file, text) => appendFileSync(join(folder, file), text),
    replace(file, before, after) {
      const text = readFileSync(join(folder, file), 'utf8');
      if (!text.includes(before)) throw new Error(`${file} does not contain ${before}`);
      writeFileSync(
        join(folder, file),
        text.replace(before, () => after),
      );
    },
    run(program, ...args) {
      const { status, stdout, stderr, error } = spawnSync(join(folder, 'node_modules/.bin', program), args, {
        cwd: folder,
        encoding: 'utf8',
        maxBuffer: 64 * 1024 * 1024,
        env: { ...process.env, NO_COLOR: '1' },
      });
      if (error) throw error;
      return { status, stdout, output: stdout + stderr };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
