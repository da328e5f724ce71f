import { createHash } from 'node:crypto';
import type { OpenwhiskActionOptions, Parameters } from '../../src/compose/openwhisk.ts';
import { asCodedError } from '../../src/errors.ts';
import { errorFields, jsonLog, type Log } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';

/** JSON lines, which the platform keeps with the activation. */
export const log: Log = jsonLog({ least: 'info', now: runtime.now, write: (line) => void process.stdout.write(line) });

/**
 * When the platform ends this activation, epoch milliseconds. It gives five minutes where nothing
 * says otherwise.
 */
export function deadline(): number {
  const at = Number(process.env.__OW_DEADLINE);
  return Number.isFinite(at) && at > 0 ? at : runtime.now() + 5 * 60_000;
}

/**
 * Something that is made of the bound parameters by the first activation, and kept for the next
 * ones of a warm process as long as what was bound is the same. What could not be made is tried
 * again by the next activation.
 */
export function kept<T>(make: (options: OpenwhiskActionOptions) => Promise<T>): (parameters: Parameters) => Promise<T> {
  let made: { readonly of: string; readonly value: Promise<T> } | undefined;
  return async (parameters) => {
    const of = digestOf(parameters);
    if (made?.of !== of) made = { of, value: make({ parameters, env: process.env, runtime, log }) };
    const mine = made;
    try {
      return await mine.value;
    } catch (thrown) {
      if (made === mine) made = undefined;
      throw thrown;
    }
  };
}

/** What one activation brings, beside what is bound. */
const brought = /^__ow_|^(wakes|links|continuation|asked)$/;

/** Of what is bound. A digest, so that secrets are not kept twice. */
function digestOf(parameters: Parameters): string {
  const bound = Object.entries(parameters).filter(([name]) => !brought.test(name));
  const inOrder = bound.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(inOrder)).digest('hex');
}

/**
 * What an action that failed answers: the platform marks the activation by `error`. Only what the
 * registry says, and never parameters.
 */
export function failure(thrown: unknown): { readonly error: Readonly<Record<string, string>> } {
  const error = asCodedError(thrown);
  log('error', 'action_failed', errorFields(error));
  return { error: { code: error.code, message: error.message, remedy: error.remedy } };
}

/**
 * Lets timers run that came due while the platform had paused the container: they close connections
 * that are dead by now.
 */
export const afterPause = (): Promise<void> => runtime.wait(1);
