import { systemRuntime } from '../runtime.ts';
import type { Host, StopSignal } from './output/output.ts';

/** This process as commands meet it. */
export interface ProcessHost extends Host {
  /**
   * Ends the process if a signal came, for when everything has been said: what the command has left
   * behind (a connection, a timer) does not keep it.
   */
  endIfStopped(): Promise<void>;
}

/** The host that the program runs in. */
export function processHost(): ProcessHost {
  let stoppedBy: StopSignal | undefined;
  const { stdout, stderr, env } = process;
  const host: ProcessHost = {
    stdout,
    stderr,
    env,
    get exitCode() {
      return process.exitCode;
    },
    set exitCode(code) {
      process.exitCode = code;
    },
    on: (signal, listener) =>
      process.on(signal, () => {
        stoppedBy = signal;
        listener(signal);
      }),
    exit(code) {
      // Node waits at its end for its threads, and so for a file system or a name server that does
      // not answer. With such a call under way the process dies of the signal itself, as it would
      // if nobody listened.
      if (stoppedBy !== undefined && waitsForThreads()) {
        process.removeAllListeners(stoppedBy);
        process.kill(process.pid, stoppedBy);
      }
      return process.exit(code);
    },
    async endIfStopped() {
      if (stoppedBy === undefined) return;
      // What is only about to end needs no harder end.
      for (let tries = 0; waitsForThreads() && tries < 20; tries += 1) await systemRuntime.wait(10);
      host.exit(Number(process.exitCode ?? 0));
    },
  };
  return host;
}

/** Whether a call of the system is under way in a thread: of files, and of names of hosts. */
function waitsForThreads(): boolean {
  return process.getActiveResourcesInfo().some((resource) => /^(FSReq|GetAddrInfo|GetNameInfo)/.test(resource));
}
