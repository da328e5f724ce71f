import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';
import type { VaultClient } from './client.ts';
import { errorsIn, failed, type VaultCall } from './failure.ts';
import { encodePath } from './key-value.ts';

/** What a server says of itself to everybody. */
export interface Health {
  /** What it is, by a member that only one of the two has. */
  readonly product: 'vault' | 'openbao';
  /** A Vault with the features of Enterprise. */
  readonly isEnterprise: boolean;
  readonly version: string;
  readonly isSealed: boolean;
  readonly isInitialized: boolean;
  readonly isStandby: boolean;
  /** Epoch milliseconds, in whole seconds. */
  readonly time?: number;
}

/** What a mount is. */
export interface Mount {
  readonly uuid: string;
  /** Of the key/value engine. */
  readonly version: 1 | 2;
}

const healthSchema = z.object({
  enterprise: otherwise(z.optional(z.boolean()), undefined),
  version: otherwise(z.string(), ''),
  initialized: otherwise(z.boolean(), true),
  sealed: otherwise(z.boolean(), false),
  standby: otherwise(z.boolean(), false),
  server_time_utc: otherwise(z.optional(z.number()), undefined),
});
const mountSchema = z.object({
  data: z.object({
    uuid: z.string().check(z.regex(/^\S{1,200}$/)),
    type: z.string(),
    options: otherwise(z.nullable(z.object({ version: otherwise(z.optional(z.string()), undefined) })), null),
  }),
});

type Options = { readonly signal?: AbortSignal | undefined };

/** By a request that needs no rights. A server that is sealed or on standby answers it too. */
export async function healthOf(client: VaultClient, store: string, { signal }: Options = {}): Promise<Health> {
  const call: VaultCall = { store, operation: 'reach', writes: false };
  const takes = [429, 472, 473, 501, 503];
  const answer = await client.anonymous(call, { method: 'GET', path: 'sys/health', signal, takes });
  const said = z.safeParse(healthSchema, parseJson(answer.text)).data;
  if (said === undefined) throw nonsenseError(call, answer, 'something that is no health of a Vault or OpenBao');
  return {
    product: said.enterprise === undefined ? 'openbao' : 'vault',
    isEnterprise: said.enterprise === true,
    version: said.version,
    isSealed: said.sealed,
    isInitialized: said.initialized,
    isStandby: said.standby,
    ...(said.server_time_utc !== undefined && { time: said.server_time_utc * 1_000 }),
  };
}

/**
 * What is mounted at a path. Throws `store_refused` where it is no key/value engine, or of another
 * version than `wanted`, and `store_unauthorized` where nothing is, or nothing of it may be seen:
 * servers do not tell these two apart.
 */
export async function mountAt(
  client: VaultClient,
  store: string,
  { mount, wanted, signal }: Options & { readonly mount: string; readonly wanted?: 1 | 2 | undefined },
): Promise<Mount> {
  const call: VaultCall = { store, operation: 'look at the mount', writes: false };
  const path = `sys/internal/ui/mounts/${encodePath(mount)}`;
  const answer = await client.send(call, { method: 'GET', path, signal }).catch((thrown: unknown) => {
    if (!(thrown instanceof CodedError) || thrown.fields.reason !== 'no_right') throw thrown;
    throw failed(
      call,
      'store_unauthorized',
      `nothing is mounted at ${mount}/, or its token has no right to anything there`,
      {
        status: thrown.fields.status as number,
        reason: 'no_mount',
        remedy: `Correct mount of the store (vault secrets list shows what there is), or give the policy of its token the rights below ${mount}/ that the page of this service names.`,
      },
    );
  });
  const found = z.safeParse(mountSchema, parseJson(answer.text)).data?.data;
  if (found === undefined) throw nonsenseError(call, answer, 'something that is no mount');
  if (found.type === 'pki')
    throw failed(call, 'store_refused', `${mount}/ is a PKI engine, which gives no private keys back`, {
      reason: 'pki',
      remedy: 'Name the key/value engine in which the certificates are saved with their keys, after they were issued.',
    });
  if (found.type !== 'kv' && found.type !== 'generic')
    throw failed(call, 'store_refused', `${mount}/ is an engine of type ${found.type}, and no key/value engine`, {
      reason: 'no_key_value',
      remedy: 'Correct mount of the store: vault secrets list shows what there is, and of which type.',
    });
  const version = found.options?.version === '2' ? 2 : 1;
  if (wanted !== undefined && wanted !== version)
    throw failed(
      call,
      'store_refused',
      `${mount}/ is version ${version} of the engine, and version ${wanted} is configured`,
      {
        reason: 'wrong_version',
      },
    );
  return { uuid: found.uuid, version };
}

/**
 * Throws unless the server knows namespaces: a Vault Community passes over the header and serves
 * the root namespace. Proven by one that nobody has, which no server that understood may serve.
 */
export async function proveNamespaces(
  client: VaultClient,
  store: string,
  given: Options & {
    readonly namespace: string;
    readonly mount: string;
    readonly health: Health;
    readonly nobodys: string;
  },
): Promise<void> {
  const { namespace, mount, health, nobodys, signal } = given;
  const call: VaultCall = { store, operation: 'prove the namespace', writes: false };
  const ignored = () =>
    failed(
      call,
      'store_refused',
      `the server knows no namespaces, and would take ${namespace} for the root namespace`,
      {
        reason: 'namespaces_ignored',
        remedy: 'Take namespace off the store: Vault Community and OpenBao before 2.3 have one namespace.',
      },
    );
  if (health.product === 'vault' && !health.isEnterprise) throw ignored();
  const path = `sys/internal/ui/mounts/${encodePath(mount)}`;
  const answer = await client
    .in(`${namespace}/${nobodys}`)(call, { method: 'GET', path, signal, takes: [400, 403, 404] })
    .catch((thrown: unknown) => {
      const isRefusal = thrown instanceof CodedError && ['store_unauthorized', 'store_refused'].includes(thrown.code);
      if (isRefusal) return undefined;
      throw thrown;
    });
  if (answer !== undefined && errorsIn(answer) === undefined && answer.status === 200) throw ignored();
}
