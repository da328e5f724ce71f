import type { AwsCredentials } from '../aws/credentials.ts';
import { readDeployment } from '../deployment.ts';
import { sqsDispatch } from '../dispatch/aws-sqs.ts';
import { CodedError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import { Secret } from '../secret.ts';
import { directDynamodbTable } from '../table/dynamodb-direct.ts';
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

/**
 * What the environment says. Throws `configuration_invalid`, naming every variable that is missing.
 */
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
  const access = { region, runtime, credentials: () => credentialsIn(env) };
  return {
    config: readDeployment(deployment, 'aws'),
    table: directDynamodbTable({ ...access, tableName, ...endpointOf('DYNAMODB', env) }),
    dispatch: sqsDispatch({ ...access, queueUrl, ...endpointOf('SQS', env) }),
    runtime,
    log,
  };
}

/** What the platform puts into the environment, and renews there. */
function credentialsIn(env: AwsOptions['env']): AwsCredentials {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: session } = env;
  if (!accessKeyId || !secretAccessKey)
    throw new CodedError('configuration_invalid', 'the environment of this function has no AWS credentials');
  const keys = { accessKeyId, secretAccessKey: new Secret(secretAccessKey) };
  return session ? { ...keys, sessionToken: new Secret(session) } : keys;
}

/**
 * Another address of a service, by the variables that all AWS programs know ("Service-specific
 * endpoints").
 */
function endpointOf(service: string, env: AwsOptions['env']): { readonly endpoint?: string } {
  const endpoint = env[`AWS_ENDPOINT_URL_${service}`] || env.AWS_ENDPOINT_URL;
  return endpoint ? { endpoint } : {};
}
