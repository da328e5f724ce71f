import type { Config, Platform, TableConfig } from './config.ts';
import { CodedError } from './errors.ts';
import type { SecretReference } from './secret.ts';

/** What functions are told of a configuration: nothing of one machine. */
export interface FunctionConfig extends Pick<Config, 'worker' | 'stores' | 'links' | 'senders'> {
  /**
   * Every secret that the stores refer to: what deploys them gives functions the right to read
   * these, and knows no service.
   */
  readonly secrets: readonly DeployedSecret[];
  /**
   * Statements of policies for what functions do in stores, where the services of these write them
   * down. Absent: none does.
   */
  readonly policies?: { readonly replicate: readonly object[]; readonly reconcile: readonly object[] };
  /** Absent: an audit trail is written. */
  readonly audit?: { readonly write: false };
  /** Absent: the platform's own deployment says which. */
  readonly table?: Extract<TableConfig, { readonly kind: 'dynamodb' }>;
}

/**
 * A configuration that was checked when it was deployed, ready for functions that parse no YAML:
 * JSON, with every default in place, and secrets only by reference.
 */
export interface Deployment {
  readonly format: typeof deploymentFormat;
  readonly platform: Platform;
  readonly config: FunctionConfig;
}

const deploymentFormat = 1;

/** Where a secret is, and which setting refers to it (`stores.london.apiKey`). */
export interface DeployedSecret extends SecretReference {
  readonly setting: string;
}

/** What is deployed of a configuration that was parsed for a platform. */
export function deploymentOf(
  { worker, stores, links, senders, table, audit }: Config,
  platform: Platform,
  policies?: FunctionConfig['policies'],
): Deployment {
  const config = {
    worker,
    stores,
    links,
    secrets: secretsOf(stores),
    ...(policies === undefined ? {} : { policies }),
    ...(senders === undefined ? {} : { senders }),
    ...(audit?.write === false ? { audit: { write: false } as const } : {}),
    ...(table.kind === 'dynamodb' ? { table } : {}),
  };
  return { format: deploymentFormat, platform, config };
}

/** What services left as references: they read these themselves, when they want them. */
function secretsOf(stores: Config['stores']): readonly DeployedSecret[] {
  return stores.flatMap((store) =>
    Object.entries(store).flatMap(([setting, value]) =>
      isReference(value) ? [{ setting: `stores.${store.name}.${setting}`, from: value.from, name: value.name }] : [],
    ),
  );
}

function isReference(value: unknown): value is SecretReference {
  return typeof value === 'object' && value !== null && 'from' in value && 'name' in value;
}

/**
 * The configuration in a deployment, as text or as the value that a platform made of it.
 * Throws `configuration_invalid` if it is none, of another format or for another platform: then the
 * functions and their configuration were not deployed together.
 */
export function readDeployment(given: unknown, platform: Platform): FunctionConfig {
  const { format, platform: madeFor, config } = asDeployment(given);
  const found = `format ${String(format)} for ${String(madeFor)}`;
  if (format === deploymentFormat && madeFor === platform && config !== undefined) return config;
  throw notOne(`it is of ${found}, and this function takes format ${deploymentFormat} for ${platform}`);
}

function asDeployment(given: unknown): Partial<Deployment> {
  let value = given;
  try {
    if (typeof given === 'string') value = JSON.parse(given);
  } catch (cause) {
    throw notOne('it is not JSON', cause);
  }
  if (typeof value === 'object' && value !== null) return value as Partial<Deployment>;
  throw notOne('there is none');
}

function notOne(why: string, cause?: unknown): CodedError {
  return new CodedError(
    'configuration_invalid',
    `the configuration of this function cannot be used: ${why}. Deploy again: functions and configuration belong together.`,
    cause === undefined ? {} : { cause },
  );
}
