import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { every } from '../../src/cli/schedule.ts';
import { jsonLog } from '../../src/log.ts';
import { type RunningProgram, startProgram } from '../end-to-end/program.ts';
import { apiKeyOf } from '../support/instance.ts';
import { scaledRuntime } from './scaled-time.ts';

export interface ProductOptions {
  readonly primaryUrl: string;
  readonly backupUrl: string;
  /** For records and the log. */
  readonly folder: string;
  readonly speed: number;
}

/**
 * The process that is loaded: the program as `up` runs it, with its usual periods and the limits of
 * its backup.
 */
export function productHandlers() {
  let running: RunningProgram | undefined;
  let stopSweeping = async (): Promise<void> => {};
  let passes = 0;

  return {
    /** Answers the callback URL, after the first reconcile has been worked off. */
    async start({ folder, speed, ...urls }: ProductOptions): Promise<string> {
      const runtime = scaledRuntime(speed);
      const write = (line: string) => appendFileSync(join(folder, 'certstandby.log'), line, { mode: 0o600 });
      const log = jsonLog({ least: 'info', now: runtime.now, write });
      running = await startProgram({
        ...urls,
        apiKey: apiKeyOf('manager'),
        path: join(folder, 'records'),
        timing: {},
        writesPerCertificatePerMinute: 5,
        runtime,
        log,
        observer: {
          passed: () => {
            passes += 1;
          },
        },
      });
      const { program } = running;
      await program.sweep();
      for (const link of program.links) await program.reconcile(link);
      await program.dispatch.idle();
      stopSweeping = every({ name: 'sweep', periodMs: 60_000, runtime, log }, program.sweep).stop;
      return running.callbackUrl;
    },

    /**
     * `RssAnon` in KiB, after a garbage collection if asked for, where the system says it: resident
     * size would count the pages of LMDB's file.
     */
    memoryKiB({ collect }: { readonly collect: boolean }): number | undefined {
      if (collect) globalThis.gc?.();
      try {
        return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
      } catch {
        return undefined;
      }
    },

    passes: () => passes,

    /** Certificates with something left to do, or under work. */
    async pending(): Promise<number> {
      let open = 0;
      for (const link of running?.program.links ?? [])
        for await (const record of running?.program.records(link) ?? []) {
          const { requested, replicated, wakeAt, leaseUntil } = record;
          if (requested > replicated || wakeAt !== undefined || leaseUntil !== undefined) open += 1;
        }
      return open;
    },

    async stop(): Promise<void> {
      await running?.close();
      await stopSweeping();
    },
  };
}
