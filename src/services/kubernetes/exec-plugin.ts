import { spawn } from 'node:child_process';
import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { parseJson } from '../../http/service-failure.ts';
import { Secret } from '../../secret.ts';
import type { ExecConfig } from './kubeconfig.ts';
import { unusable } from './unusable.ts';

/** What an exec plugin has answered. */
export interface ExecCredential {
  readonly token?: Secret;
  readonly client?: { readonly certificate: string; readonly key: Secret };
  /** Until when it is good, epoch milliseconds; absent if it does not say. */
  readonly until?: number;
}

/** A plugin talks to a cloud. */
const patienceMs = 30_000;
const answerBytes = 1024 * 1024;

const text = z.optional(z.string());
const credentialSchema = z.object({
  kind: z.literal('ExecCredential'),
  status: z.object({
    token: text,
    clientCertificateData: text,
    clientKeyData: text,
    expirationTimestamp: text,
  }),
});

/**
 * Runs an exec plugin (Kubernetes, "client-go credential plugins") without standard input, for half
 * a minute at most. What it writes is shown to nobody: it may hold the token. `cluster`: what it
 * is told of the cluster, where it wants that.
 */
export async function runExecPlugin(
  { apiVersion, command, args, env, provideClusterInfo }: ExecConfig,
  cluster: { readonly server: string; readonly trust?: string | undefined },
): Promise<ExecCredential> {
  const info = {
    apiVersion,
    kind: 'ExecCredential',
    spec: {
      interactive: false,
      ...(provideClusterInfo && {
        cluster: {
          server: cluster.server,
          ...(cluster.trust && { 'certificate-authority-data': Buffer.from(cluster.trust).toString('base64') }),
        },
      }),
    },
  };
  const said = await output(command, args, { ...env, KUBERNETES_EXEC_INFO: JSON.stringify(info) });
  const parsed = z.safeParse(credentialSchema, parseJson(said));
  const wrong = (what: string) => unusable(`the exec plugin ${command} ${what}`, { command });
  if (!parsed.success) throw wrong('answered something that is no ExecCredential');
  const { token, clientCertificateData: certificate, clientKeyData: key, expirationTimestamp } = parsed.data.status;
  if ((certificate === undefined) !== (key === undefined)) throw wrong('answered half a client certificate');
  if (token === undefined && certificate === undefined) throw wrong('answered without credentials');
  const until = Date.parse(expirationTimestamp ?? '');
  return defined({
    token: token === undefined ? undefined : new Secret(token),
    client: certificate === undefined || key === undefined ? undefined : { certificate, key: new Secret(key) },
    until: Number.isNaN(until) ? undefined : until,
  });
}

function output(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (what: string, cause?: unknown) =>
      reject(unusable(`the exec plugin ${command} ${what}`, { command }, cause));
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: patienceMs,
      killSignal: 'SIGKILL',
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > answerBytes) child.kill('SIGKILL');
      else chunks.push(chunk);
    });
    child.on('error', (error: NodeJS.ErrnoException) => failed(`does not run (${error.code ?? error.name})`, error));
    child.on('close', (code, ended) => {
      if (bytes > answerBytes) return failed('answered far too much');
      if (code !== 0)
        return failed(code === null ? `was ended by ${ended ?? 'a signal'}` : `ended with exit code ${code}`);
      const whole = Buffer.concat(chunks);
      resolve(whole.toString('utf8'));
      for (const each of [...chunks, whole]) each.fill(0);
    });
  });
}
