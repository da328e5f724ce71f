import { readDeployment } from '../deployment.ts';
import { sqsDispatch } from '../dispatch/aws-sqs.ts';
import { CodedError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import { dynamodbTable } from '../table/dynamodb.ts';
import type { FunctionParts } from './function-callback.ts';

export { type EmbeddedMetrics, embeddedMetrics } from '../monitor/embedded-metrics.ts';

/** What a function on AWS gets from its deployment, by the names of environment variables. */
const variables = {
  tableName: 'CERTSTANDBY_TABLE',
  queueUrl: 'CERTSTANDBY_QUEUE_URL',
  stage: 'CERTSTANDBY_STAGE',
  region: 'AWS_REGION',
  functionName: 'AWS_LAMBDA_FUNCTION_NAME',
} as const;

export interface AwsOptions {
  /** The text of the deployment's configuration. */
  readonly deployment: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly runtime: Runtime;
  readonly log: Log;
}

type AwsEnvironment = Readonly<Record<keyof typeof variables, string>>;

/** What the environment says. Throws `configuration_invalid`, naming every variable that is missing. */
export function awsEnvironment(env: AwsOptions['env']): AwsEnvironment {
  const missing = Object.values(variables).filter((name) => !env[name]);
  if (missing.length > 0)
    throw new CodedError('configuration_invalid', `the environment of this function lacks ${missing.join(', ')}`, {
      fields: { missing },
    });
  const read = Object.entries(variables).map(([key, name]) => [key, env[name]]);
  return Object.fromEntries(read) as Record<keyof typeof variables, string>;
}

/** Configuration, table and queue of a function on AWS. Throws `configuration_invalid`. */
export function awsParts({ deployment, env, runtime, log }: AwsOptions): FunctionParts {
  const { tableName, queueUrl, region } = awsEnvironment(env);
  return {
    config: readDeployment(deployment, 'aws'),
    table: dynamodbTable({ tableName, region }),
    dispatch: sqsDispatch({ queueUrl, region, runtime }),
    runtime,
    log,
  };
}
