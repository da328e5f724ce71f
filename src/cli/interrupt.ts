import { setMaxListeners } from 'node:events';
import { asCodedError, CodedError, errorRegistry } from '../errors.ts';
import type { Host, StopSignal } from './output/output.ts';

/**
 * How long a command that was asked to stop may take to do so cleanly, unless it asks for longer,
 * in milliseconds.
 */
const stopMs = 5_000;

interface Stopping {
  readonly signal: AbortSignal;
  /**
   * How long the command may take to end once it was asked to. Nothing for a command that does not
   * listen.
   */
  withinMs: number;
}

const stoppings = new WeakMap<Host, Stopping>();

/**
 * A signal for long commands: it is aborted by the first SIGINT (Ctrl-C) or SIGTERM, with a coded
 * error `interrupted` as its reason, so that `signal.throwIfAborted()` between two steps ends the
 * command as it should: cleanly, with an exit code of its own, and a word on how to go on. A
 * command that knows more throws its own `interrupted` ("stopped after 312 of 2,000"). It has
 * `withinMs` for that (default five seconds), then it is ended whatever it waits for; a second
 * signal ends it at once. A second call changes how long it may take.
 */
export function interrupted(host: Host, withinMs = stopMs): AbortSignal {
  const stopping = stoppings.get(host) ?? listen(host);
  stopping.withinMs = withinMs;
  return stopping.signal;
}

/**
 * Listens from now on, so that a signal is heard before a command has asked for it, and where
 * nothing else would (process 1).
 */
function listen(host: Host): Stopping {
  const controller = new AbortController();
  // Whatever is under way listens to it, and that is no leak.
  setMaxListeners(0, controller.signal);
  const stopping: Stopping = { signal: controller.signal, withinMs: 0 };
  stoppings.set(host, stopping);
  const stop = (name: StopSignal) => {
    if (controller.signal.aborted) host.exit(errorRegistry.interrupted.exit);
    if (host.stderr.isTTY && stopping.withinMs > 0)
      host.stderr.write('\ncertstandby: stopping; once more ends it at once\n');
    controller.abort(new CodedError('interrupted', `stopped by ${name}`, { fields: { signal: name } }));
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) host.on(name, stop);
  return stopping;
}

/**
 * Runs a command so that a signal ends it, whatever it waits for: rejects with the reason of the
 * signal when its time is over. So it does when the command fails after the signal: a request that
 * was given up is no failure of the service.
 */
export async function untilInterrupted(host: Host, run: () => Promise<unknown>): Promise<void> {
  const stopping = listen(host);
  const { signal } = stopping;
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_, reject) => {
    const wait = () => {
      timer = setTimeout(() => reject(signal.reason), stopping.withinMs);
    };
    signal.addEventListener('abort', wait, { once: true });
  });
  try {
    await Promise.race([run(), overdue]);
  } catch (thrown) {
    const { code } = asCodedError(thrown);
    const says = errorRegistry[code].exit === errorRegistry.interrupted.exit;
    throw signal.aborted && !says ? signal.reason : thrown;
  } finally {
    clearTimeout(timer);
  }
}
