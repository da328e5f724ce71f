import openwhisk from 'openwhisk';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret } from '../secret.ts';
import { sendInBatches } from './batches.ts';
import type { Continuation } from './continuation.ts';
import type { Dispatch } from './dispatch.ts';
import { plainWake } from './wake-message.ts';

/** What a person does about what the platform answers. */
const remedies: RemediesByReason = {
  'HTTP 401': 'The namespace does not take this key: deploy again with a valid one.',
  'HTTP 404': 'The action is not there: deploy again, and look who deleted it.',
};

export interface OpenwhiskOptions {
  /** Where the platform's API is, as it says itself in `__OW_API_HOST`. */
  readonly apiHost: string;
  /**
   * `<user>:<password>` of the namespace, as the platform gives it in `__OW_API_KEY` to actions
   * that may ask it.
   */
  readonly apiKey: Secret;
  /** The action that is invoked: `/<namespace>/<package>/<action>`. */
  readonly action: string;
  readonly runtime: Runtime;
  /** Milliseconds for one invocation to be taken, default 5,000. */
  readonly answerTimeoutMs?: number;
}

/**
 * Invocations under way at once: most platforms allow some tens at one time, and others want
 * theirs.
 */
const together = { size: limits.wakesOfOneInvocation, atOnce: 4 };

/**
 * Wakes workers by invoking their action and not waiting for it (`blocking=false`). One invocation
 * carries some tens of wake-ups: far below the megabyte that parameters may have, and as many as it
 * can look at in its time. What it has no time for is due, and the sweep's. Delayed wake-ups are
 * the sweep's too. API: `POST /namespaces/<namespace>/actions/<package>/<action>`.
 */
export function openwhiskDispatch(options: OpenwhiskOptions): Dispatch {
  const invoke = invoker(options);
  return {
    async dispatch(wakes, { delayMs = 0 } = {}) {
      if (delayMs > 0) return;
      const [failure] = await sendInBatches(wakes, together, (batch) => invoke({ wakes: batch.map(plainWake) }));
      if (failure !== undefined) throw failure;
    },
  };
}

/** Invokes an action that reconciles, and does not wait for it. */
export function openwhiskContinuation(options: OpenwhiskOptions): Continuation {
  const invoke = invoker(options);
  return {
    goOn: (rest) => invoke({ links: rest.links, continuation: rest.continuation }),
    beginAsked: () => invoke({ asked: true }),
  };
}

function invoker(options: OpenwhiskOptions): (params: object) => Promise<void> {
  const { apiHost, apiKey, action, runtime, answerTimeoutMs = 5_000 } = options;
  const client = openwhisk({ apihost: apiHost, api_key: apiKey.reveal() });
  return async (params) => {
    const answered = new AbortController();
    const tooLate = runtime.wait(answerTimeoutMs, answered.signal).then(() => 'no answer' as const);
    tooLate.catch(() => undefined);
    try {
      const taken = client.actions.invoke({ name: action, params, blocking: false });
      if ((await Promise.race([taken, tooLate])) === 'no answer')
        throw refused(action, `no answer within ${answerTimeoutMs} ms`);
    } catch (thrown) {
      // The client hangs the whole request on its errors, credentials included.
      const { statusCode, name } = thrown as { readonly statusCode?: number; readonly name?: string };
      throw thrown instanceof CodedError
        ? thrown
        : refused(action, statusCode === undefined ? String(name) : `HTTP ${statusCode}`);
    } finally {
      answered.abort();
    }
  };
}

function refused(action: string, reason: string): CodedError {
  return new CodedError('dispatch_unavailable', `the action ${action} could not be invoked: ${reason}`, {
    fields: { action, reason },
    remedies,
  });
}
