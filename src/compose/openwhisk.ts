import type { AwsCredentials } from '../aws/credentials.ts';
import { type FunctionConfig, readDeployment } from '../deployment.ts';
import { type OpenwhiskOptions, openwhiskDispatch } from '../dispatch/openwhisk.ts';
import { CodedError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import { Secret } from '../secret.ts';
import { directDynamodbTable } from '../table/dynamodb-direct.ts';
import type { FunctionParts } from './function-callback.ts';

/**
 * Parameters that are bound to an action when it is deployed; a caller cannot put others in their
 * place.
 */
export type Parameters = Readonly<Record<string, unknown>>;

export interface OpenwhiskActionOptions {
  readonly parameters: Parameters;
  /** What the platform says: `__OW_API_HOST`, `__OW_API_KEY`, `__OW_ACTION_NAME`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly runtime: Runtime;
  readonly log: Log;
}

/** The configuration in the parameters of an action. Throws `configuration_invalid`. */
export function configIn({ parameters }: Pick<OpenwhiskActionOptions, 'parameters'>): FunctionConfig {
  return readDeployment(parameters.config, 'openwhisk');
}

/** A bound parameter that is text; `undefined` if there is none of that name, or an empty one. */
export function textOf(parameters: Parameters, name: string): string | undefined {
  const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/**
 * Configuration, table and dispatch of an action. Throws `configuration_invalid`, naming everything
 * that is missing: parameters, secrets of `names` among them, and what only the platform can give.
 */
export function openwhiskParts(options: OpenwhiskActionOptions, names: readonly string[] = []): FunctionParts {
  const { parameters, env, runtime, log } = options;
  const config = configIn(options);
  const missing = [
    ...['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', ...names]
      .filter((name) => textOf(parameters, name) === undefined)
      .map((name) => `the parameter ${name}`),
    ...['__OW_API_HOST', '__OW_API_KEY', '__OW_ACTION_NAME'].filter((name) => !env[name]),
    ...(config.table === undefined ? ['a table in the configuration'] : []),
  ];
  if (missing.length > 0 || config.table === undefined)
    throw new CodedError('configuration_invalid', `this action lacks ${missing.join(', ')}`, { fields: { missing } });
  const { name: tableName, ...where } = config.table;
  const credentials = () => credentialsIn(parameters);
  return {
    config,
    table: directDynamodbTable({ tableName, region: where.region, ...endpointIn(where), credentials, runtime }),
    dispatch: openwhiskDispatch(actionOptions(options, 'replicate')),
    runtime,
    log,
  };
}

const endpointIn = ({ endpoint }: { readonly endpoint?: string }) => (endpoint === undefined ? {} : { endpoint });

function credentialsIn(parameters: Parameters): AwsCredentials {
  const session = textOf(parameters, 'AWS_SESSION_TOKEN');
  return {
    accessKeyId: textOf(parameters, 'AWS_ACCESS_KEY_ID') ?? '',
    secretAccessKey: new Secret(textOf(parameters, 'AWS_SECRET_ACCESS_KEY') ?? ''),
    ...(session === undefined ? {} : { sessionToken: new Secret(session) }),
  };
}

/** How an action of the same package is invoked: the last part of the own name is replaced. */
export function actionOptions({ env, runtime }: OpenwhiskActionOptions, action: string): OpenwhiskOptions {
  return {
    apiHost: env.__OW_API_HOST ?? '',
    apiKey: new Secret(env.__OW_API_KEY ?? ''),
    action: (env.__OW_ACTION_NAME ?? '').replace(/[^/]*$/, action),
    runtime,
  };
}
