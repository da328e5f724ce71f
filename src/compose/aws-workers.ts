import { type AwsOptions, awsEnvironment, awsParts } from './aws.ts';
import { awsSecretOf } from './aws-secrets.ts';
import { composeWorkers, type FunctionWorkers } from './function-workers.ts';

export { readWake } from '../dispatch/wake-message.ts';
export type { ReconcileSummary } from './function-workers.ts';

/** The workers on AWS. Throws `configuration_invalid`. */
export async function awsWorkers(options: AwsOptions): Promise<FunctionWorkers> {
  const { functionName } = awsEnvironment(options.env);
  return composeWorkers({
    ...awsParts(options),
    secretOf: awsSecretOf,
    continuation: {
      // Most invocations never go on, and the client is of some size.
      async goOn(rest) {
        const { lambdaContinuation } = await import('../dispatch/aws-lambda.ts');
        return lambdaContinuation({ functionName }).goOn(rest);
      },
    },
  });
}
