import { dirname, isAbsolute, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { limits } from '../../limits.ts';
import { readRegularFile } from '../../regular-file.ts';
import { Secret } from '../../secret.ts';
import { unusable } from './unusable.ts';

/** A program that a kubeconfig names for a login. */
export interface ExecConfig {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly provideClusterInfo: boolean;
}

/** What one context of a kubeconfig says, its files read. */
export interface KubeconfigContext {
  readonly server: string;
  /** PEM. */
  readonly trust?: string;
  readonly serverName?: string;
  readonly client?: { readonly certificate: string; readonly key: Secret };
  readonly token?: Secret;
  readonly exec?: ExecConfig;
}

const text = z.optional(z.string());
const clusterSchema = z.object({
  server: z.string(),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'tls-server-name': text,
  'insecure-skip-tls-verify': z.optional(z.boolean()),
  'proxy-url': text,
});
const execSchema = z.object({
  apiVersion: z.string(),
  command: z.string(),
  args: z.nullish(z.array(z.string())),
  env: z.nullish(z.array(z.object({ name: z.string(), value: z.string() }))),
  interactiveMode: text,
  provideClusterInfo: z.optional(z.boolean()),
});
const userSchema = z.object({
  token: text,
  tokenFile: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  exec: z.optional(execSchema),
  username: text,
  as: text,
  'auth-provider': z.optional(z.unknown()),
});
const contextSchema = z.object({ cluster: z.string(), user: z.string() });
const fileSchema = z.object({
  'current-context': text,
  contexts: z.array(z.object({ name: z.string(), context: contextSchema })),
  clusters: z.array(z.object({ name: z.string(), cluster: clusterSchema })),
  users: z.array(z.object({ name: z.string(), user: userSchema })),
});

const execVersions: ReadonlySet<string> = new Set([
  'client.authentication.k8s.io/v1',
  'client.authentication.k8s.io/v1beta1',
]);

/**
 * Reads one context of a kubeconfig (Kubernetes, "Organizing Cluster Access Using kubeconfig
 * Files"), and the files that it names. `context`: the current one if absent. Throws what
 * `unusable` makes where it cannot be understood or wants what is not done here, and what
 * `regular-file.ts` throws.
 */
export async function readKubeconfig(path: string, context: string | undefined): Promise<KubeconfigContext> {
  const wrong = (what: string) => unusable(`the kubeconfig ${path} ${what}`, { path });
  const bytes = await readRegularFile(path, { maxBytes: limits.textFileBytes });
  // What a parser's error quotes of the file may be a secret.
  const document = parseDocument(bytes.toString('utf8'), { prettyErrors: false });
  bytes.fill(0);
  if (document.errors.length > 0) throw wrong('is no YAML');
  const parsed = z.safeParse(fileSchema, document.toJS({ maxAliasCount: 10 }));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw wrong(`is none: ${issue?.path.join('.') || 'its top'} is missing or not what belongs there`);
  }
  const file = parsed.data;
  const wanted = context ?? file['current-context'];
  if (wanted === undefined || wanted === '') throw wrong('has no current-context, and the configuration names none');
  const names = file.contexts.map(({ name }) => name).join(', ') || 'none';
  const found = file.contexts.find(({ name }) => name === wanted)?.context;
  if (found === undefined) throw wrong(`has no context ${wanted} (there are: ${names})`);
  const cluster = file.clusters.find(({ name }) => name === found.cluster)?.cluster;
  if (cluster === undefined) throw wrong(`has no cluster ${found.cluster}, which its context ${wanted} names`);
  const user = file.users.find(({ name }) => name === found.user)?.user;
  if (user === undefined) throw wrong(`has no user ${found.user}, which its context ${wanted} names`);
  const refused = whyRefused(cluster, user);
  if (refused !== undefined) throw wrong(`wants ${refused}`);

  const folder = dirname(path);
  const pem = async (data: string | undefined, file: string | undefined): Promise<string | undefined> => {
    if (data !== undefined && data !== '') return Buffer.from(data, 'base64').toString('utf8');
    return file === undefined || file === '' ? undefined : readText(resolve(folder, file));
  };
  const [trust, certificate, key, tokenText] = await Promise.all([
    pem(cluster['certificate-authority-data'], cluster['certificate-authority']),
    pem(user['client-certificate-data'], user['client-certificate']),
    pem(user['client-key-data'], user['client-key']),
    user.tokenFile === undefined ? user.token : readText(resolve(folder, user.tokenFile)),
  ]);
  if ((certificate === undefined) !== (key === undefined))
    throw wrong(`has half a client certificate for ${found.user}: certificate and key belong together`);
  const { exec } = user;
  if (exec === undefined && certificate === undefined && tokenText === undefined)
    throw wrong(`has no credentials for ${found.user}`);
  return defined({
    server: cluster.server,
    trust,
    serverName: cluster['tls-server-name'],
    client: certificate === undefined || key === undefined ? undefined : { certificate, key: new Secret(key) },
    token: tokenText === undefined ? undefined : new Secret(tokenText.trim()),
    exec: exec && execConfig(exec, folder),
  });
}

/** What a kubeconfig wants and is not done here; `undefined` if it wants nothing of that. */
function whyRefused(cluster: z.infer<typeof clusterSchema>, user: z.infer<typeof userSchema>): string | undefined {
  const { exec } = user;
  if (cluster['insecure-skip-tls-verify'] === true)
    return 'no proof of who the server is (insecure-skip-tls-verify): give its certificate-authority instead';
  if (cluster['proxy-url'] !== undefined) return 'a proxy (proxy-url), which is not spoken here';
  if (user.username !== undefined) return 'a password, which API servers no longer take';
  if (user.as !== undefined) return 'to act as somebody else (as): give credentials of its own instead';
  if (user['auth-provider'] !== undefined) return 'an auth-provider, which Kubernetes has replaced by exec plugins';
  if (exec === undefined) return undefined;
  if (!execVersions.has(exec.apiVersion)) return `an exec plugin of ${exec.apiVersion}, which is not known here`;
  if (exec.interactiveMode === 'Always') return 'an exec plugin that asks a person, and nobody is here';
  return undefined;
}

function execConfig(exec: z.infer<typeof execSchema>, folder: string): ExecConfig {
  const { apiVersion, command, args, env, provideClusterInfo = false } = exec;
  return {
    apiVersion,
    // One with a slash is a path, and relative to the file.
    command: command.includes('/') && !isAbsolute(command) ? resolve(folder, command) : command,
    args: args ?? [],
    env: Object.fromEntries((env ?? []).map(({ name, value }) => [name, value])),
    provideClusterInfo,
  };
}

/** A file of text. Throws what `regular-file.ts` throws. */
export async function readText(path: string): Promise<string> {
  const bytes = await readRegularFile(path, { maxBytes: limits.textFileBytes });
  const text = bytes.toString('utf8');
  bytes.fill(0);
  return text;
}
