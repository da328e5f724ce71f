import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { registryFrom } from '../../infra/registry.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface BundledScript {
  /** A plain JavaScript module that Node runs. */
  readonly file: string;
  dispose(): Promise<void>;
}

/**
 * Makes one JavaScript file of a TypeScript script (a path from the root of the repository), since
 * Node 20 runs no TypeScript. With `registry` (such a path too) it has other services.
 */
export async function bundleScript(
  entryFile: string,
  { registry }: { readonly registry?: string } = {},
): Promise<BundledScript> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-child-'));
  const file = join(folder, 'child.mjs');
  await build({
    entryPoints: [join(root, entryFile)],
    outfile: file,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
    plugins: registry === undefined ? [] : [registryFrom(registry)],
  });
  // Packages are found from where the script lies.
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  return { file, dispose: () => rm(folder, { recursive: true, force: true }) };
}

export interface ChildOptions {
  /** No file may grow beyond so many KiB: the nearest thing to a full disk that needs no rights. */
  readonly fileLimitKib?: number;
}

export interface Child {
  readonly pid: number;
  /** The next line that it prints. Throws, with what it said on stderr, when it ends instead. */
  nextLine(): Promise<string>;
  /** Writes one line to its stdin. */
  send(line: string): void;
  /** Waits for its end: the exit code, or the name of the signal. */
  ended(): Promise<number | string>;
  /** SIGKILL, and waits. */
  kill(): Promise<void>;
}

/** Runs a TypeScript script in a process of its own. The caller awaits `ended` or `kill`. */
export async function startChild(
  entryFile: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<Child> {
  const script = await bundleScript(entryFile);
  const command = [process.execPath, script.file, ...args];
  // `ulimit -f` counts blocks of 512 bytes.
  const limited = ['sh', '-c', `ulimit -f ${(options.fileLimitKib ?? 0) * 2}; exec "$0" "$@"`, ...command];
  const [program = '', ...rest] = options.fileLimitKib === undefined ? command : limited;
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
  return watch(child, script);
}

function watch(child: ChildProcess, script: BundledScript): Child {
  const { stdin, stdout, stderr, pid } = child;
  if (!stdin || !stdout || !stderr || pid === undefined) throw new Error('the child process did not start');
  let errors = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  stdin.on('error', () => undefined); // it may have ended
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const end = once(child, 'close').then(async ([code, signal]) => {
    await script.dispose();
    return (code ?? signal) as number | string;
  });
  return {
    pid,
    async nextLine() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the child ended (${await end}): ${errors}`);
      return value;
    },
    send: (line) => void stdin.write(`${line}\n`),
    ended: () => end,
    async kill() {
      child.kill('SIGKILL');
      await end;
    },
  };
}
