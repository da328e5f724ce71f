import { runCommandLine } from '../../src/cli/command-line.ts';
import type { Host } from '../../src/cli/output/output.ts';

/** What a command left behind. */
export interface CommandEnd {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

export interface TestHostOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Both streams are terminals of so many columns, with colours unless `env` has NO_COLOR. */
  readonly columns?: number;
}

/** A host in the place of `process`: keeps what is printed, and sends signals when told to. */
export interface TestHost extends Host {
  readonly output: () => string;
  readonly errors: () => string;
  /** As if the process got it. */
  signal(name: 'SIGINT' | 'SIGTERM'): void;
}

export function testHost({ env = {}, columns }: TestHostOptions = {}): TestHost {
  const printed = { output: '', errors: '' };
  const listeners: ((signal: 'SIGINT' | 'SIGTERM') => void)[] = [];
  const terminal = (stream: keyof typeof printed) => ({
    write: (text: string) => {
      printed[stream] += text;
    },
    ...(columns !== undefined && { isTTY: true, columns, hasColors: () => env.NO_COLOR === undefined }),
  });
  return {
    stdout: terminal('output'),
    stderr: terminal('errors'),
    env,
    on: (name, listener) => listeners.push((signal) => signal === name && listener(signal)),
    exit: (code) => {
      throw new Error(`exit ${code}`);
    },
    output: () => printed.output,
    errors: () => printed.errors,
    signal: (name) => {
      for (const listener of listeners) listener(name);
    },
  };
}

/**
 * Runs a command in this process, as the built program would: `runCommand(['status', '--json'])`.
 */
export async function runCommand(args: readonly string[], host: TestHost = testHost()): Promise<CommandEnd> {
  await runCommandLine(args, host);
  return { code: Number(host.exitCode ?? 0), output: host.output(), errors: host.errors() };
}
