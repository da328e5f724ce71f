import { resolve } from 'node:path';
import { defined } from '../../defined.ts';
import { asCodedError } from '../../errors.ts';
import { serviceBase } from '../../http/client.ts';
import type { Runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import type { StoreContext } from '../service.ts';
import { type ExecCredential, runExecPlugin } from './exec-plugin.ts';
import { readKubeconfig, readText } from './kubeconfig.ts';
import type { AccessConfig } from './settings.ts';
import { unusable } from './unusable.ts';

/** Where an API server is, whom its certificate must be of, and how we prove who we are. */
export interface Access {
  /** Without a slash at its end. */
  readonly server: string;
  /** PEM of the authorities of the server; absent: those of the platform. */
  readonly trust?: string;
  readonly serverName?: string;
  readonly client?: { readonly certificate: string; readonly key: Secret };
  readonly token?: Secret;
}

/**
 * Access as it is now. `again`: it was refused, and is made anew. Throws coded errors; it belongs
 * to all who wait for it, and no one call ends it.
 */
export type AccessSource = (options?: { readonly again?: boolean }) => Promise<Access>;

/** What a pod is given; tests give their own. */
export interface Pod {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly folder: string;
}

const thisPod = (): Pod => ({ env: process.env, folder: '/var/run/secrets/kubernetes.io/serviceaccount' });

/**
 * How long what was read of files is used: a token is exchanged on disk before it ends, as
 * client-go expects it too. Milliseconds.
 */
const readAnewMs = 60_000;
/** What a plugin answered is asked for anew so long before it ends. */
const earlyMs = 10_000;
/** After a refusal nothing is made anew again for so long: a wrong token stays wrong. */
const againMs = 1_000;

/** How the cluster of a configuration is reached. Nothing is read or run yet. */
export function accessOf(config: AccessConfig, { runtime, secret }: StoreContext, pod: Pod = thisPod()): AccessSource {
  switch (config.by) {
    case 'kubeconfig':
      return kept(runtime, kubeconfigAccess(config, runtime));
    case 'in-cluster':
      return kept(runtime, () => podAccess(pod));
    case 'token': {
      const { token } = config;
      const given = token === undefined ? undefined : secret(token);
      return kept(runtime, () => tokenAccess(config, given));
    }
  }
}

/** Keeps what a source answered for a minute; one reading at a time serves all who wait. */
function kept(runtime: Runtime, read: AccessSource): AccessSource {
  let last: { readonly access: Access; readonly at: number } | undefined;
  let flight: Promise<Access> | undefined;
  return ({ again = false } = {}) => {
    const age = last === undefined ? Number.POSITIVE_INFINITY : runtime.now() - last.at;
    if (last !== undefined && age >= 0 && age < (again ? againMs : readAnewMs)) return Promise.resolve(last.access);
    flight ??= (async () => {
      try {
        const access = await read({ again });
        last = { access, at: runtime.now() };
        return access;
      } finally {
        flight = undefined;
      }
    })();
    return flight;
  };
}

async function podAccess({ env, folder }: Pod): Promise<Access> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port)
    throw unusable('this runs in no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set', {
      remedy: 'Run it in the cluster, or name a kubeconfig in the place of inCluster: true.',
    });
  const [trust, token] = await Promise.all(
    ['ca.crt', 'token'].map((name) =>
      readText(resolve(folder, name)).catch((cause: unknown) => {
        const { message } = asCodedError(cause);
        throw unusable(
          `the service account of this pod cannot be read: ${message}`,
          { remedy: 'Let the pod have it: automountServiceAccountToken: true, and a user that may read it (fsGroup).' },
          cause,
        );
      }),
    ),
  );
  const address = host.includes(':') ? `[${host}]` : host;
  const server = serviceBase(`https://${address}:${port}`, 'KUBERNETES_SERVICE_HOST');
  return { server, ...defined({ trust }), token: tokenIn(token ?? '', resolve(folder, 'token')) };
}

async function tokenAccess(
  { server, ca, tokenFile }: Extract<AccessConfig, { by: 'token' }>,
  given: Secret | (() => Promise<Secret>) | undefined,
): Promise<Access> {
  const [trust, token] = await Promise.all([
    ca === undefined ? undefined : readText(ca),
    tokenFile === undefined
      ? given instanceof Secret
        ? given
        : given?.()
      : readText(tokenFile).then((text) => tokenIn(text, tokenFile)),
  ]);
  return defined({ server: serviceBase(server, 'server'), trust, token });
}

function kubeconfigAccess(
  { path, context, exec: mayRun }: Extract<AccessConfig, { by: 'kubeconfig' }>,
  runtime: Runtime,
): AccessSource {
  let login: { readonly of: string; readonly credential: ExecCredential } | undefined;
  return async ({ again = false } = {}) => {
    const { exec, token, client, server: address, ...found } = await readKubeconfig(path, context);
    const server = serviceBase(address, `the server in ${path}`);
    if (token !== undefined) tokenIn(token.reveal(), path);
    if (exec === undefined) return defined({ server, ...found, token, client });
    if (!mayRun)
      throw unusable(`the kubeconfig ${path} wants ${exec.command} to be run for its login`, {
        path,
        remedy:
          'If that program is to be run by certstandby, say exec: true beside kubeconfig; else give it a token of a service account.',
      });
    const of = JSON.stringify([exec, server]);
    const { until = Number.POSITIVE_INFINITY } = login?.credential ?? {};
    if (again || login?.of !== of || runtime.now() >= until - earlyMs)
      login = { of, credential: await runExecPlugin(exec, { server, ...defined({ trust: found.trust }) }) };
    const { credential } = login;
    return { server, ...found, ...defined({ token: credential.token, client: credential.client }) };
  };
}

/** A token as it may stand in a header: an error about another text would show it. */
function tokenIn(text: string, path: string): Secret {
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) throw unusable(`${path} holds no token`, { path });
  return new Secret(token);
}
