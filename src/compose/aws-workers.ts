import type { Continuation } from '../dispatch/continuation.ts';
import { type AwsOptions, awsEnvironment, awsParts } from './aws.ts';
import { awsSecretOf } from './aws-secrets.ts';
import {
  composeReconcile,
  composeReplicate,
  composeSweep,
  type FunctionReconcile,
  type FunctionReplicate,
  type FunctionSweep,
} from './function-workers.ts';

export { readWake } from '../dispatch/wake-message.ts';
export type { ReconcileSummary } from './function-workers.ts';

/** Each throws `configuration_invalid`. */
export const awsReplicate = (options: AwsOptions): Promise<FunctionReplicate> => composeReplicate(partsOf(options));
export const awsSweep = (options: AwsOptions): Promise<FunctionSweep> => composeSweep(partsOf(options));
export const awsReconcile = (options: AwsOptions): Promise<FunctionReconcile> => composeReconcile(partsOf(options));

function partsOf(options: AwsOptions) {
  // The functions of a deployment are named alike but for the last part.
  const functionName = awsEnvironment(options.env).functionName.replace(/[^-]*$/, 'reconcile');
  // Most invocations never need it, and the client is of some size.
  const made = async () => {
    const { lambdaContinuation } = await import('../dispatch/aws-lambda.ts');
    return lambdaContinuation({ functionName });
  };
  const continuation: Continuation = {
    goOn: async (rest) => (await made()).goOn(rest),
    beginAsked: async () => (await made()).beginAsked(),
  };
  return { ...awsParts(options), secretOf: awsSecretOf, continuation };
}
