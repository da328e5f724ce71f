import { openwhiskContinuation } from '../dispatch/openwhisk.ts';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';
import {
  composeReconcile,
  composeReplicate,
  composeSweep,
  type FunctionReconcile,
  type FunctionReplicate,
  type FunctionSweep,
} from './function-workers.ts';
import { actionOptions, configIn, type OpenwhiskActionOptions, openwhiskParts, textOf } from './openwhisk.ts';
import type { SecretOf } from './services.ts';

export { asWakes } from '../dispatch/wake-message.ts';
export type { OpenwhiskActionOptions, Parameters } from './openwhisk.ts';

/**
 * The sweep, which asks stores nothing for which they want a secret. Throws as
 * `openwhiskReconcile`.
 */
export const openwhiskSweep = async (options: OpenwhiskActionOptions): Promise<FunctionSweep> =>
  composeSweep(partsWith(options, []));

/**
 * What looks at certificates, and how many looks it takes on at one time. Throws as
 * `openwhiskReconcile`.
 */
export async function openwhiskReplicate(
  options: OpenwhiskActionOptions,
): Promise<{ readonly replicate: FunctionReplicate; readonly concurrency: number }> {
  const { concurrency } = configIn(options).worker;
  return { replicate: await composeReplicate(partsWith(options, secretsOf(options))), concurrency };
}

/** Throws `configuration_invalid`, naming every parameter that is missing. */
export const openwhiskReconcile = async (options: OpenwhiskActionOptions): Promise<FunctionReconcile> =>
  composeReconcile(partsWith(options, secretsOf(options)));

const secretsOf = (options: OpenwhiskActionOptions) => configIn(options).secrets.map(({ name }) => name);

/** `secrets` are the parameters that have to be there. */
function partsWith(options: OpenwhiskActionOptions, secrets: readonly string[]) {
  const secretOf: SecretOf = async ({ from, name }) => {
    const text = textOf(options.parameters, name);
    if (from === 'env' && text !== undefined) return new Secret(text);
    throw new CodedError('secret_unreadable', `the secret ${from}:${name} is not a parameter of this action`);
  };
  const continuation = openwhiskContinuation(actionOptions(options, 'reconcile'));
  return { ...openwhiskParts(options, secrets), secretOf, continuation };
}
