import { defined } from '../defined.ts';
import type { HttpAnswer } from '../http/client.ts';
import type { Runtime } from '../runtime.ts';
import { Secret, type SecretReference } from '../secret.ts';
import type { AwsCredentials } from './credentials.ts';
import type { AwsStoreConfig } from './settings.ts';
import { AwsServiceError, signedClient } from './signed-service.ts';

/** As whom a store of AWS is asked, and in which account that is. */
export interface CallerCredentials {
  /** As they are now. */
  credentials(): Promise<AwsCredentials>;
  /** The account that they are of, 12 digits. Throws `AwsServiceError` and `AwsUnansweredError`. */
  account(signal?: AbortSignal): Promise<string>;
  /** They were not taken: the next call gets new ones, where they are renewed. */
  forget(): void;
}

/** An access key, and its secret or the way to read that. */
export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret | (() => Promise<Secret>);
}

/** The access key that a configuration names; `undefined` if it names none. */
export function accessKeyOf(
  { accessKeyId, secretAccessKey }: Pick<AwsStoreConfig, 'accessKeyId' | 'secretAccessKey'>,
  secret: (given: Secret | SecretReference) => AccessKey['secretAccessKey'],
): AccessKey | undefined {
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey: secret(secretAccessKey) };
}

export interface CallerOptions {
  readonly region: string;
  /** Absent: those of the environment, as all programs of AWS find them. */
  readonly key?: AccessKey | undefined;
  /** ARN of a role that these take on. */
  readonly role?: string | undefined;
  /** What the owner of the role has agreed on with whom it is for. */
  readonly externalId?: string | undefined;
  /** Of the token service. Default: the one of the region. */
  readonly endpoint?: string | undefined;
  readonly runtime: Runtime;
}

/** Credentials that end within this time are renewed. */
const renewBeforeMs = 5 * 60_000;
const answerTimeoutMs = 10_000;

/**
 * The credentials of a store: an access key of the configuration, or what the environment has, and
 * on top of it a role, if one is named. API: AWS Security Token Service, version 2011-06-15,
 * `AssumeRole` and `GetCallerIdentity`; the latter needs no right.
 */
export function callerCredentials(options: CallerOptions): CallerCredentials {
  const { region, key, role, externalId, endpoint, runtime } = options;
  let assumed: { readonly credentials: AwsCredentials; readonly until: number } | undefined;
  let account: string | undefined;

  async function own(): Promise<AwsCredentials> {
    if (key !== undefined) {
      const { accessKeyId, secretAccessKey: secret } = key;
      return { accessKeyId, secretAccessKey: secret instanceof Secret ? secret : await secret() };
    }
    return environmentCredentials();
  }

  async function ask(
    action: string,
    parameters: Readonly<Record<string, string>>,
    credentials: () => Promise<AwsCredentials>,
    signal?: AbortSignal,
  ): Promise<string> {
    const reached = { service: 'sts', region, ...defined({ endpoint }), runtime, answerTimeoutMs };
    const { post, close } = signedClient({ ...reached, credentials });
    try {
      const body = new URLSearchParams({ Action: action, Version: '2011-06-15', ...parameters }).toString();
      const answer = await post({ 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' }, body, signal);
      if (answer.status !== 200) throw refusal(answer);
      return answer.text;
    } finally {
      close();
    }
  }

  async function current(): Promise<AwsCredentials> {
    if (role === undefined) return own();
    if (assumed !== undefined && assumed.until - renewBeforeMs > runtime.now()) return assumed.credentials;
    const text = await ask(
      'AssumeRole',
      { RoleArn: role, RoleSessionName: 'certstandby', ...defined({ ExternalId: externalId }) },
      own,
    );
    const [accessKeyId, secretAccessKey, sessionToken, expiration] = [
      'AccessKeyId',
      'SecretAccessKey',
      'SessionToken',
      'Expiration',
    ].map((name) => elementIn(text, name));
    if (accessKeyId === undefined || secretAccessKey === undefined || sessionToken === undefined)
      throw new AwsServiceError(200, { message: 'no credentials in the answer of AssumeRole' });
    const credentials = {
      accessKeyId,
      secretAccessKey: new Secret(secretAccessKey),
      sessionToken: new Secret(sessionToken),
    };
    assumed = { credentials, until: Date.parse(expiration ?? '') || runtime.now() + 2 * renewBeforeMs };
    return credentials;
  }

  return {
    credentials: current,
    async account(signal) {
      account ??= elementIn(await ask('GetCallerIdentity', {}, current, signal), 'Account');
      if (account === undefined)
        throw new AwsServiceError(200, { message: 'no account in the answer of GetCallerIdentity' });
      return account;
    },
    forget() {
      assumed = undefined;
    },
  };
}

/**
 * What the environment has: for functions two variables, which the platform renews; elsewhere all
 * that programs of AWS look through (profiles, single sign-on, the role of the machine).
 */
async function environmentCredentials(): Promise<AwsCredentials> {
  chain ??= import('@aws-sdk/credential-provider-node').then(({ defaultProvider }) => defaultProvider());
  const { accessKeyId, secretAccessKey, sessionToken } = await (await chain)().catch((cause: unknown) => {
    throw new NoCredentialsError(cause);
  });
  return {
    accessKeyId,
    secretAccessKey: new Secret(secretAccessKey),
    ...(sessionToken === undefined ? {} : { sessionToken: new Secret(sessionToken) }),
  };
}

/** Nothing here has credentials of AWS. The cause may name files of this machine, and no secret. */
export class NoCredentialsError extends Error {
  constructor(cause: unknown) {
    super('there are no AWS credentials here', { cause });
  }
}

interface PlainCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}
let chain: Promise<() => Promise<PlainCredentials>> | undefined;

/** The text of the first element of this name in an answer of the token service. */
function elementIn(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]+)</${name}>`).exec(xml)?.[1];
}

function refusal({ status, text }: HttpAnswer): AwsServiceError {
  return new AwsServiceError(status, { __type: elementIn(text, 'Code'), message: elementIn(text, 'Message') });
}
