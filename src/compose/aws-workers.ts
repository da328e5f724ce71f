import { type AwsOptions, awsEnvironment, awsParts } from './aws.ts';
import { awsSecretOf } from './aws-secrets.ts';
import { composeWorkers, type FunctionWorkers } from './function-workers.ts';

export { readWake } from '../dispatch/wake-message.ts';
export type { ReconcileSummary } from './function-workers.ts';

/** The workers on AWS. Throws `configuration_invalid`. */
export async function awsWorkers(options: AwsOptions): Promise<FunctionWorkers> {
  // The functions of a deployment are named alike but for the last part.
  const functionName = awsEnvironment(options.env).functionName.replace(/[^-]*$/, 'reconcile');
  // Most invocations never need it, and the client is of some size.
  const continuation = async () => {
    const { lambdaContinuation } = await import('../dispatch/aws-lambda.ts');
    return lambdaContinuation({ functionName });
  };
  return composeWorkers({
    ...awsParts(options),
    secretOf: awsSecretOf,
    continuation: {
      goOn: async (rest) => (await continuation()).goOn(rest),
      beginAsked: async () => (await continuation()).beginAsked(),
    },
  });
}
