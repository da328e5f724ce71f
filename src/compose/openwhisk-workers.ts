import { openwhiskContinuation } from '../dispatch/openwhisk.ts';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';
import { composeWorkers, type FunctionWorkers } from './function-workers.ts';
import { actionOptions, configIn, type OpenwhiskActionOptions, openwhiskParts, textOf } from './openwhisk.ts';
import type { SecretOf } from './services.ts';

export { asWakes } from '../dispatch/wake-message.ts';
export type { FunctionWorkers } from './function-workers.ts';
export type { OpenwhiskActionOptions, Parameters } from './openwhisk.ts';

/**
 * The sweep alone, which asks stores nothing for which they want a secret. Throws as
 * `openwhiskWorkers`.
 */
export const openwhiskSweep = (options: OpenwhiskActionOptions): Promise<Pick<FunctionWorkers, 'sweep'>> =>
  workersWith(options, []);

/**
 * The workers on OpenWhisk, and how many looks they take on at one time. Throws
 * `configuration_invalid`, naming every parameter that is missing.
 */
export async function openwhiskWorkers(
  options: OpenwhiskActionOptions,
): Promise<FunctionWorkers & { readonly concurrency: number }> {
  const { secrets, worker } = configIn(options);
  const names = secrets.map(({ name }) => name);
  return { ...(await workersWith(options, names)), concurrency: worker.concurrency };
}

/** `secrets` are the parameters that have to be there. */
async function workersWith(options: OpenwhiskActionOptions, secrets: readonly string[]): Promise<FunctionWorkers> {
  const secretOf: SecretOf = async ({ from, name }) => {
    const text = textOf(options.parameters, name);
    if (from === 'env' && text !== undefined) return new Secret(text);
    throw new CodedError('secret_unreadable', `the secret ${from}:${name} is not a parameter of this action`);
  };
  const continuation = openwhiskContinuation(actionOptions(options, 'reconcile'));
  return composeWorkers({ ...openwhiskParts(options, secrets), secretOf, continuation });
}
