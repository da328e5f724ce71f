import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import type { Log } from '../../log.ts';
import { timeLimit } from '../../time-limit.ts';

/** The command by which the operator of the instance has records in DNS changed. */
export interface DnsHookOptions {
  /** A program; no shell looks at it. */
  readonly command: string;
  /** Its environment, with the credentials that it needs. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How long one run may take. Default two minutes. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Runs `<command> add|remove <record name> <value>`. `add` must leave other values under the same
 * name alone: a domain and its wildcard have theirs there at the same time. Resolves when it has
 * exited with 0; throws `acme_hook_failed` when it did not, or was not done in its time: it is
 * killed then, with whatever it has started. What it said on stderr then goes into the log and
 * nowhere else: the message of the error gets to callers of the API and to channels, and who knows
 * what a program says there.
 */
export type DnsHook = (action: 'add' | 'remove', name: string, value: string, signal?: AbortSignal) => Promise<void>;

const defaultTimeoutMs = 120_000;
/** The end of what it says on stderr, which is kept for the log. */
const errorCharacters = 1_000;

export function dnsHook({ command, env, timeoutMs = defaultTimeoutMs }: DnsHookOptions, log: Log): DnsHook {
  return async (action, name, value, signal) => {
    const what = `the DNS hook (${action} ${name})`;
    // In a group of its own: what it has started must not outlive it.
    const child = spawn(command, [action, name, value], {
      env: env as NodeJS.ProcessEnv,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-errorCharacters);
    });
    const ending = timeLimit(timeoutMs, ...(signal === undefined ? [] : [signal]));
    const kill = () => {
      killGroup(child.pid);
      child.stderr.destroy();
    };
    ending.addEventListener('abort', kill, { once: true });
    if (ending.aborted) kill();
    try {
      const [code, by] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      if (signal?.aborted === true) throw failed(`${what} was stopped`);
      if (ending.aborted) throw failed(`${what} was not done in ${timeoutMs / 1000} s; see the server's log`);
      if (code !== 0) throw failed(`${what} ended with ${code ?? by}; see the server's log`);
    } catch (thrown) {
      if (thrown instanceof CodedError) {
        log('warn', 'instance_dns_hook_failed', { command, message: thrown.message, stderr: lastWords(said) });
        throw thrown;
      }
      throw failed(`${what} cannot be run (${(thrown as NodeJS.ErrnoException).code})`, thrown);
    } finally {
      ending.removeEventListener('abort', kill);
      child.stderr.destroy();
    }
  };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function lastWords(said: string): string {
  return visible(said.replace(/\s+/g, ' ').trim());
}

function failed(message: string, cause?: unknown): CodedError {
  return new CodedError('acme_hook_failed', message, defined({ cause }));
}
