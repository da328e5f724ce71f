import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError } from '../../../src/errors.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import type { Secret } from '../../../src/secret.ts';
import { accessOf, type Pod } from '../../../src/services/kubernetes/access.ts';
import { apiOf } from '../../../src/services/kubernetes/api.ts';
import type { AccessConfig } from '../../../src/services/kubernetes/settings.ts';
import { kubernetesStore } from '../../../src/services/kubernetes/store.ts';
import { startScriptedServer } from '../../store/scripted-server.ts';
import { namespaceStep } from './objects.ts';

let folder: string;
let now = 0;
const runtime = { ...systemRuntime, now: () => now };
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-kubeconfig-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  now = 1_700_000_000_000;
});

const write = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content, { mode: 0o600 });
  return join(folder, name);
};
const open = (config: AccessConfig, pod?: Pod) =>
  accessOf(config, { runtime, secret: (given) => given as Secret }, pod);
const codeAndWords = async (call: Promise<unknown>) => {
  const error = asCodedError(await call.catch((thrown: unknown) => thrown));
  return `${error.code}: ${error.message} | ${error.remedy}`;
};

/** A kubeconfig with these, as a person has it. */
const config = (user: object, cluster: object = { server: 'https://c:6443' }, more: object = {}) =>
  write(
    'config',
    JSON.stringify({
      'current-context': 'here',
      contexts: [
        { name: 'here', context: { cluster: 'c', user: 'u' } },
        { name: 'there', context: { cluster: 'gone', user: 'u' } },
      ],
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      ...more,
    }),
  );
const kubeconfig = (user: object, cluster?: object, more?: object) =>
  open({ by: 'kubeconfig', path: config(user, cluster, more), exec: true });

describe('a kubeconfig', () => {
  it('gives the server, its authority, and a token', async () => {
    const data = Buffer.from('PEM of an authority').toString('base64');
    const cluster = { server: 'https://c:6443/', 'certificate-authority-data': data, 'tls-server-name': 'api' };
    const found = await kubeconfig({ token: 'abc' }, cluster)();
    expect(found).toMatchObject({ server: 'https://c:6443', trust: 'PEM of an authority', serverName: 'api' });
    expect(found.token?.reveal()).toBe('abc');
  });

  it('names files from its own folder, for certificates, keys and tokens', async () => {
    write('ca.pem', 'authority');
    write('me.crt', 'certificate');
    write('me.key', 'key');
    write('me.token', 'from the file\n'.replaceAll(' ', '-'));
    const user = { 'client-certificate': 'me.crt', 'client-key': 'me.key', tokenFile: 'me.token' };
    const found = await kubeconfig(user, { server: 'https://c', 'certificate-authority': 'ca.pem' })();
    expect(found).toMatchObject({ trust: 'authority', client: { certificate: 'certificate' } });
    expect([found.client?.key.reveal(), found.token?.reveal()]).toEqual(['key', 'from-the-file']);
  });

  it.each([
    [
      'no context of that name',
      {},
      undefined,
      { 'current-context': 'nowhere' },
      'has no context nowhere (there are: here, there)',
    ],
    ['no cluster', { token: 'x' }, undefined, { 'current-context': 'there' }, 'has no cluster gone'],
    ['no credentials', {}, undefined, {}, 'has no credentials for u'],
    ['half a certificate', { 'client-certificate-data': 'eA==' }, undefined, {}, 'half a client certificate'],
    [
      'insecure-skip-tls-verify',
      { token: 'x' },
      { server: 'https://c', 'insecure-skip-tls-verify': true },
      {},
      'give its certificate-authority instead',
    ],
    ['a proxy', { token: 'x' }, { server: 'https://c', 'proxy-url': 'http://p' }, {}, 'a proxy (proxy-url)'],
    ['a password', { username: 'u', password: 'p4ss' }, undefined, {}, 'a password'],
    ['somebody else', { token: 'x', as: 'root' }, undefined, {}, 'to act as somebody else'],
    ['an auth-provider', { 'auth-provider': { name: 'gcp' } }, undefined, {}, 'replaced by exec plugins'],
    ['no list of users', {}, undefined, { users: 'none' }, 'users is missing or not what belongs there'],
  ])('with %s is refused by name, and none of its secrets is shown', async (_, user, cluster, more, words) => {
    const said = await codeAndWords(kubeconfig(user, cluster, more)());
    expect(said).toContain('store_unauthorized');
    expect(said).toContain(words);
    expect(said).not.toContain('p4ss');
  });

  it('that is no YAML, or not there, is told by its path', async () => {
    const path = write('broken', 'users: [ {token: s3cr3t');
    const said = await codeAndWords(open({ by: 'kubeconfig', path, exec: false })());
    expect(said).toContain(`${path} is no YAML`);
    expect(said).not.toContain('s3cr3t');
    expect(await codeAndWords(open({ by: 'kubeconfig', path: join(folder, 'none'), exec: false })())).toContain(
      'file_missing',
    );
  });

  it('with plain http is refused, but on this machine', async () => {
    expect(await codeAndWords(kubeconfig({ token: 'x' }, { server: 'http://c:80' })())).toContain('is not https');
    expect((await kubeconfig({ token: 'x' }, { server: 'http://127.0.0.1:8080' })()).server).toBe(
      'http://127.0.0.1:8080',
    );
  });
});

describe('an exec plugin', () => {
  const plugin = (script: string) => {
    const path = write('plugin', `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o700);
    return {
      exec: { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin', env: [{ name: 'WHO', value: 'me' }] },
    };
  };
  const answer = (status: object) =>
    JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status });

  it('is run only if the configuration says so', async () => {
    const path = config(plugin('echo'));
    expect(await codeAndWords(open({ by: 'kubeconfig', path, exec: false })())).toContain('say exec: true');
  });

  it('is given its environment, and what it answers is used until it ends', async () => {
    const until = new Date(now + 300_000).toISOString();
    const script = `n=$(cat "${folder}/count" 2>/dev/null || echo 0); n=$((n+1)); echo $n >"${folder}/count"
case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 9;; esac
printf '%s' '${answer({ token: 'TOKEN', expirationTimestamp: until })}' | sed "s/TOKEN/$WHO-$n/"`;
    const source = kubeconfig(plugin(script));
    expect((await source()).token?.reveal()).toBe('me-1');
    now += 120_000;
    expect((await source()).token?.reveal()).toBe('me-1');
    now += 175_000;
    expect((await source()).token?.reveal()).toBe('me-2');
    now += 2_000;
    expect((await source({ again: true })).token?.reveal()).toBe('me-3');
  });

  it.each([
    ['fails', 'echo s3cr3t; echo s3cr3t >&2; exit 3', 'ended with exit code 3'],
    ['answers nonsense', 'echo s3cr3t', 'no ExecCredential'],
    [
      'answers no credentials',
      `echo '${JSON.stringify({ kind: 'ExecCredential', status: {} })}'`,
      'without credentials',
    ],
  ])('that %s is told without a word of what it wrote', async (_, script, words) => {
    const said = await codeAndWords(kubeconfig(plugin(script))());
    expect(said).toContain(words);
    expect(said).not.toContain('s3cr3t');
  });

  it('that is not there is told by its name', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'certstandby-no-such-plugin' };
    expect(await codeAndWords(kubeconfig({ exec })())).toContain('certstandby-no-such-plugin does not run (ENOENT)');
  });
});

describe('a token', () => {
  it('pitfall 13: in a file is read anew after a minute, and at once after a refusal', async () => {
    const tokenFile = write('token', 'one\n');
    const source = open({ by: 'token', server: 'https://c', tokenFile });
    expect((await source()).token?.reveal()).toBe('one');
    write('token', 'two\n');
    now += 30_000;
    expect((await source()).token?.reveal()).toBe('one');
    now += 31_000;
    expect((await source()).token?.reveal()).toBe('two');
    write('token', 'three\n');
    now += 2_000;
    expect((await source({ again: true })).token?.reveal()).toBe('three');
  });

  it('that could not stand in a header is refused, and not shown', async () => {
    const tokenFile = write('token', 's3cr3t\nheader: x');
    const said = await codeAndWords(open({ by: 'token', server: 'https://c', tokenFile })());
    expect(said).toContain('holds no token');
    expect(said).not.toContain('s3cr3t');
  });

  it('of a pod comes from its environment and its files', async () => {
    write('ca.crt', 'authority');
    write('token', 'of the pod');
    write('token', 'of-the-pod');
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    const found = await open({ by: 'in-cluster' }, { env, folder })();
    expect(found).toMatchObject({ server: 'https://[fd00::1]', trust: 'authority' });
    expect(await codeAndWords(open({ by: 'in-cluster' }, { env: {}, folder })())).toContain('this runs in no pod');
  });

  it('that is refused is read anew once, and the call made again with the new one', async () => {
    const server = await startScriptedServer();
    const tokenFile = write('token', 'old');
    const source = open({ by: 'token', server: server.url, tokenFile });
    const api = apiOf(source, runtime);
    const store = kubernetesStore({ id: 'x', region: 'r', namespaces: ['web'], api, runtime });
    server.answers(namespaceStep());
    await store.identity?.();
    write('token', 'new');
    now += 5_000;
    server.answers({ status: 401 }, namespaceStep(), { status: 401 }, { status: 401 });
    expect(await store.identity?.()).toBe('web=u-1');
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer old',
      'Bearer old',
      'Bearer new',
    ]);
    now += 5_000;
    expect(await codeAndWords(store.identity?.() ?? Promise.resolve())).toContain('does not take these credentials');
    expect(server.requests).toHaveLength(5);
    await server.close();
  });
});
