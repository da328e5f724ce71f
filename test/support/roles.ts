import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** What a process can be asked for. Arguments and answers travel as JSON. */
type Handlers = Readonly<Record<string, (argument: never) => unknown>>;

interface Call {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

export interface RoleOptions {
  /** The JavaScript file that is run; it gets the role as its argument. */
  readonly program: string;
  readonly role: string;
  readonly nodeOptions?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** No file may grow beyond so many KiB: the nearest thing to a full disk that needs no rights. */
  readonly fileLimitKib?: number;
  /** File descriptor for what it prints, errors too. Default: where this process prints. */
  readonly output?: number;
}

/**
 * A process of its own, so that those who are measured, or killed, share no event loop and no heap
 * with anybody.
 */
export interface RoleProcess<H extends Handlers> {
  readonly pid: number;
  /** Rejects if the process ends before it has answered. */
  call<Name extends keyof H & string>(
    name: Name,
    ...argument: Parameters<H[Name]>
  ): Promise<Awaited<ReturnType<H[Name]>>>;
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<void>;
  /** Lets go of it, so that it ends by itself, and waits. */
  stop(): Promise<void>;
  /** SIGKILL, and waits. */
  kill(): Promise<void>;
}

/** Starts a program in a role. It ends when this process does. */
export function startRole<H extends Handlers>(options: RoleOptions): RoleProcess<H> {
  const { role } = options;
  const child = spawnRole(options);
  const open = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let last = 0;
  child.on('message', ({ id, value, error }: Answer) => {
    const call = open.get(id);
    open.delete(id);
    if (error === undefined) call?.resolve(value);
    else call?.reject(new Error(`${role}: ${error}`));
  });
  const ended = once(child, 'exit').then(([code, signal]) => {
    for (const { reject } of open.values()) reject(new Error(`the process ${role} ended with ${code ?? signal}`));
    open.clear();
  });
  return {
    pid: child.pid ?? 0,
    ended,
    call: (name, ...[argument]) =>
      new Promise((resolve, reject) => {
        last += 1;
        open.set(last, { resolve: resolve as (value: unknown) => void, reject });
        child.send({ id: last, name, argument } satisfies Call, (error) => error && reject(error));
      }),
    async stop() {
      if (child.connected) child.disconnect();
      await ended;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function spawnRole(options: RoleOptions): ChildProcess {
  const { program, role, nodeOptions = [], env = {}, fileLimitKib, output = 'inherit' } = options;
  const command = [process.execPath, '--enable-source-maps', ...nodeOptions, program, role];
  // `ulimit -f` counts blocks of 512 bytes.
  const limited = ['sh', '-c', `ulimit -f ${(fileLimitKib ?? 0) * 2}; exec "$0" "$@"`, ...command];
  const [file = '', ...rest] = fileLimitKib === undefined ? command : limited;
  return spawn(file, rest, { stdio: ['ignore', output, output, 'ipc'], env: { ...process.env, ...env } });
}

/** In the process of a role: answers calls until the parent lets go. */
export function answerCalls(handlers: Handlers): void {
  process.on('message', ({ id, name, argument }: Call) => {
    Promise.resolve()
      .then(() => handlers[name]?.(argument as never))
      .then(
        (value) => process.send?.({ id, value } satisfies Answer),
        (thrown: unknown) => process.send?.({ id, error: String(thrown) } satisfies Answer),
      );
  });
  process.once('disconnect', () => process.exit());
}
