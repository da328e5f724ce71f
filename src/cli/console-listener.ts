import type { ConsoleServer } from '../console/server.ts';
import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import { every } from './schedule.ts';

/** How often a console that could not listen is tried again, in milliseconds. */
const triedEveryMs = 60_000;

/**
 * Serves the console as soon as it can. What keeps it from listening is logged, once, and keeps
 * nothing else from its work. Never rejects.
 */
export async function serveConsole(
  start: () => Promise<ConsoleServer>,
  { runtime, log }: { readonly runtime: Runtime; readonly log: Log },
): Promise<{ readonly url: string | undefined; close(): Promise<void> }> {
  let served: ConsoleServer | undefined;
  async function begin(): Promise<void> {
    if (served !== undefined) return;
    served = await start();
  }
  try {
    await begin();
  } catch (thrown) {
    const error = asCodedError(thrown);
    log('error', 'console_not_served', { ...errorFields(error), remedy: error.remedy });
  }
  const { url } = served ?? {};
  const again = async () => {
    // What has been told once is told no more.
    await begin().catch(() => undefined);
    if (served !== undefined) log('info', 'console_served', { console: served.url });
    return served !== undefined;
  };
  const trying = url === undefined ? until(again, { runtime, log }) : undefined;
  return {
    url,
    async close() {
      await trying?.stop();
      await served?.close();
    },
  };
}

/** Tries again until it has worked. */
function until(task: () => Promise<boolean>, { runtime, log }: { readonly runtime: Runtime; readonly log: Log }) {
  let isDone = false;
  return every({ name: 'console', periodMs: triedEveryMs, runtime, log }, async () => {
    if (!isDone) isDone = await task();
  });
}
