import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { root } from '../support/root.ts';

/** An event that the runtime answers itself. */
const usageEvent = 'usage';

const runtime = join(root, 'test/functions/lambda-runtime.mjs');

export interface LambdaOptions {
  /** The bundle: `index.mjs`. */
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  /** Its clock is ahead of the real one. */
  readonly clockAheadMs?: number;
}

/**
 * A deployed function: a process that is cold at first, and warm until it is killed or its time ran
 * out.
 */
export interface LambdaProcess {
  /**
   * After `timeoutMs`, default a minute, it is killed in the middle, as Lambda does. Throws what
   * the handler threw, and `killed` when the process ended in the middle.
   */
  invoke<Result>(event: unknown, timeoutMs?: number): Promise<Result>;
  /** What the process has used since it started. */
  usage(): Promise<{ readonly cpuMs: number; readonly rssBytes: number }>;
  /** SIGKILL in the middle of whatever it does; the next event finds a new process. */
  kill(): Promise<void>;
  /** What it has written to stdout, as CloudWatch would keep it: lines of JSON. */
  readonly lines: Readonly<Record<string, unknown>>[];
  /** Its clock goes ahead by so much from the next process on. */
  setClock(aheadMs: number): Promise<void>;
  close(): Promise<void>;
}

export function lambdaProcess(options: LambdaOptions): LambdaProcess {
  const { file, env } = options;
  const lines: Record<string, unknown>[] = [];
  let aheadMs = options.clockAheadMs ?? 0;
  let running: ReturnType<typeof fork> | undefined;
  let last = 0;

  function start() {
    const child = fork(runtime, [file], {
      env: { ...env, LAMBDA_CLOCK_AHEAD_MS: String(aheadMs) },
      // As it is deployed: errors name the lines of the sources.
      execArgv: ['--enable-source-maps'],
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const parts = `${rest}${text}`.split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) lines.push(JSON.parse(line));
    });
    child.once('exit', () => {
      if (running === child) running = undefined;
    });
    running = child;
    return child;
  }

  async function kill(): Promise<void> {
    const child = running;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  function invoke<Result>(event: unknown, timeoutMs = 60_000): Promise<Result> {
    const child = running ?? start();
    last += 1;
    const id = last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      const done = () => {
        clearTimeout(timer);
        child.off('message', onMessage);
        child.off('exit', onExit);
      };
      const onMessage = (answer: { id: number; value?: unknown; error?: string }) => {
        if (answer.id !== id) return;
        done();
        if (answer.error === undefined) resolve(answer.value as Result);
        else reject(new Error(answer.error));
      };
      const onExit = () => {
        done();
        reject(new Error('killed'));
      };
      child.on('message', onMessage);
      child.once('exit', onExit);
      child.send({ id, event, timeoutMs });
    });
  }

  return {
    lines,
    kill,
    close: kill,
    usage: () => invoke(usageEvent),
    async setClock(ahead) {
      aheadMs = ahead;
      await kill();
    },
    invoke,
  };
}
