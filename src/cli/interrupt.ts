import { CodedError } from '../errors.ts';
import type { Host } from './output.ts';

/** The exit code of a process that is ended at once by a second signal: what a shell gives for SIGINT. */
const endedAtOnce = 130;

/**
 * A signal for long commands: it is aborted by the first SIGINT (Ctrl-C) or SIGTERM, with a coded error `interrupted` as its reason,
 * so that `signal.throwIfAborted()` between two steps ends the command as it should: cleanly, with an exit code of its own, and a
 * word on how to go on. A command that knows more throws its own `interrupted` ("stopped after 312 of 2,000"). A second signal
 * ends the process at once. Call it once, at the beginning of the action.
 */
export function interrupted(host: Host): AbortSignal {
  const stopping = new AbortController();
  const stop = (name: string) => {
    if (stopping.signal.aborted) host.exit(endedAtOnce);
    if (host.stderr.isTTY) host.stderr.write('\ncertstandby: stopping; once more ends it at once\n');
    stopping.abort(new CodedError('interrupted', `stopped by ${name}`, { fields: { signal: name } }));
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) host.on(name, stop);
  return stopping.signal;
}
