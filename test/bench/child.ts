import { fork } from 'node:child_process';

/** What a process of the bench can be asked for. Arguments and answers travel as JSON. */
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

/**
 * A process of its own, so that contenders, servers and the one who measures share no event loop
 * and no heap.
 */
export interface Child<H extends Handlers> {
  call<Name extends keyof H & string>(
    name: Name,
    ...argument: Parameters<H[Name]>
  ): Promise<Awaited<ReturnType<H[Name]>>>;
  stop(): Promise<void>;
}

/** Starts this program once more, in a role. */
export function startChild<H extends Handlers>(role: string, nodeOptions: readonly string[] = []): Child<H> {
  const [, program = ''] = process.argv;
  const child = fork(program, [role], { execArgv: [...process.execArgv, ...nodeOptions] });
  const open = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let last = 0;
  child.on('message', ({ id, value, error }: Answer) => {
    const call = open.get(id);
    open.delete(id);
    if (error === undefined) call?.resolve(value);
    else call?.reject(new Error(`${role}: ${error}`));
  });
  child.once('exit', (code) => {
    for (const { reject } of open.values()) reject(new Error(`the process ${role} ended with ${code}`));
  });
  return {
    call: (name, ...[argument]) =>
      new Promise((resolve, reject) => {
        last += 1;
        open.set(last, { resolve: resolve as (value: unknown) => void, reject });
        child.send({ id: last, name, argument } satisfies Call);
      }),
    async stop() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}

/** In the child: answers calls until the parent lets go. */
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
