import { createHash, createSign, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { asCodedError } from '../../src/errors.ts';
import { type HttpSend, sendOverNetwork } from '../../src/http/client.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type VaultStoreOptions, vaultStore } from '../../src/services/vault/store.ts';
import type { Store } from '../../src/store/store.ts';
import { type RefusingServer, refusals } from '../services/vault/refusals.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import {
  done,
  type OpenBao,
  openssl,
  requireOpenBao,
  startDevelopmentBao,
  startRaftBao,
  startRaftCluster,
} from './openbao.ts';

const found = requireOpenBao();
const mark = { store: 'primary', certificate: 'shop' };
const metadata = { name: 'shop', description: '', tags: [] };

let content: CertificateContent;
let renewed: CertificateContent;
beforeAll(async () => {
  content = parseContent(await testCertificate());
  renewed = parseContent(await testCertificate());
});

function storeAt(bao: OpenBao, options: Partial<VaultStoreOptions> = {}): Store {
  return vaultStore({
    id: 'test',
    address: bao.url,
    region: 'here',
    prefix: 'standby',
    runtime,
    login: { login: 'token', token: new Secret(bao.root) },
    files: bao.caFile === undefined ? {} : { ca: bao.caFile },
    listingLagMs: 0,
    readSettlesMs: 0,
    ...options,
  });
}

const fieldsOf = (of: CertificateContent) => {
  const { certificate, intermediate = '', privateKey } = toPem(of);
  return { 'tls.crt': certificate + intermediate, 'tls.key': privateKey?.reveal() ?? '' };
};
/** A token with one policy. */
async function tokenWith(bao: OpenBao, policy: string, more: Record<string, unknown> = {}): Promise<string> {
  const name = createHash('sha256').update(policy).digest('hex').slice(0, 12);
  await done(bao, 'POST', `sys/policies/acl/${name}`, { policy });
  return (await done(bao, 'POST', 'auth/token/create', { policies: [name], ...more })).auth.client_token;
}
async function errorOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => asCodedError(thrown),
  );
  if (error === undefined) throw new Error('it succeeded');
  return error;
}

describe.skipIf(found === undefined)('with a real OpenBao', () => {
  let bao: OpenBao;
  let folder: string;
  beforeAll(async () => {
    bao = await startDevelopmentBao();
    folder = mkdtempSync(join(tmpdir(), 'certstandby-vault-'));
  });
  afterAll(async () => {
    await bao.close();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    const { body } = await bao.ask('GET', 'secret/metadata/?scan=true');
    for (const path of body?.data?.keys ?? []) await bao.ask('DELETE', `secret/metadata/${path}`);
  });

  describe('a policy', () => {
    const full = {
      'secret/data/standby/*': ['create', 'update', 'read'],
      'secret/metadata/standby/*': ['create', 'update', 'delete', 'read', 'list', 'patch'],
      'secret/detailed-metadata/standby/*': ['list'],
    } as const;
    const policyOf = (rules: Readonly<Record<string, readonly string[]>>) =>
      Object.entries(rules)
        .map(([path, verbs]) => `path "${path}" { capabilities = [${verbs.map((verb) => `"${verb}"`).join(', ')}] }`)
        .join('\n');
    /** What doctor says of a backup and of a primary with this policy. */
    async function doctor(policy: string) {
      const file = join(folder, 'certstandby.yaml');
      writeFileSync(
        file,
        `version: 1
table: { kind: lmdb, path: records }
stores:
  nas: { kind: directory, id: nas, path: ${JSON.stringify(folder)}, region: here }
  vault: { kind: vault, address: "${bao.url}", prefix: standby, token: env:TOKEN, readSettles: 0s, listingLag: 0s }
links: { web: { primary: nas, backups: [vault] } }
`,
      );
      const host = testHost({ env: { TOKEN: await tokenWith(bao, policy) } });
      const { output } = await runCommand(['doctor', '--json', '--config', file], host);
      return output
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as { about?: string; outcome?: string; message?: string; remedy?: string })
        .filter(({ about }) => about === 'vault');
    }

    test('with every right is enough for all that a backup does, and doctor says so', async () => {
      const findings = await doctor(policyOf(full));
      expect(findings.map(({ outcome }) => outcome)).toEqual(findings.map(() => 'good'));
      expect(findings.map(({ message }) => message)).toEqual(
        expect.arrayContaining([
          'its clock and ours agree',
          'OpenBao 2.7.2, the active node answered',
          'has all 8 rights that it needs',
          'may be listed: 0 certificates',
          'may import',
        ]),
      );
      const store = storeAt(bao, {
        login: { login: 'token', token: new Secret(await tokenWith(bao, policyOf(full))) },
      });
      const { id } = await store.import({ content, metadata, mark });
      await store.reimport(id, renewed);
      await store.updateMetadata(id, { ...metadata, name: 'another' }, mark);
      expect((await store.list({})).certificates).toMatchObject([{ id, name: 'another' }]);
      await bao.ask('DELETE', `secret/data/standby/${id}`);
      expect((await store.import({ content, metadata, mark, into: id })).id).toBe(id);
      await store.delete(id);
    });

    const cases = Object.entries(full).flatMap(([path, verbs]) => verbs.map((verb) => [verb, path] as const));
    test.each(cases)('without %s on %s: doctor names it, and the line that mends it', async (verb, path) => {
      const rules = Object.fromEntries(
        Object.entries(full).map(([of, verbs]) => [of, of === path ? verbs.filter((one) => one !== verb) : verbs]),
      );
      const findings = await doctor(policyOf(rules));
      const told = findings.filter(({ outcome }) => outcome !== 'good');
      const isDispensable = verb === 'patch' || path.includes('detailed');
      expect(told).toMatchObject([
        {
          outcome: isDispensable ? 'warning' : 'problem',
          message: expect.stringContaining(`the credentials may not ${verb} ${path}`),
          remedy: expect.stringMatching(/^Make this the line of its policy: path "/),
        },
      ]);
      console.info(`without ${verb} on ${path}: ${told[0]?.message}`);
      // The line, put in place of what is there, is one that the server takes, and then all is
      // well.
      const [, line = ''] = /policy: (path .*)$/.exec(told[0]?.remedy ?? '') ?? [];
      const others = policyOf(Object.fromEntries(Object.entries(rules).filter(([of]) => of !== path)));
      const mended = await doctor(`${line}\n${others}`);
      expect(mended.filter(({ outcome }) => outcome !== 'good')).toEqual([]);
    });

    test('that says nothing of the mount is told from a token that is not taken', async () => {
      const none = await doctor(policyOf({ 'other/*': ['read'] }));
      expect(none.at(-1)).toMatchObject({
        outcome: 'problem',
        message: expect.stringContaining('nothing is mounted at secret/'),
      });
      const store = storeAt(bao, { login: { login: 'token', token: new Secret('s.nobody') } });
      expect(await errorOf(store.list({}))).toMatchObject({ code: 'store_unauthorized', reason: 'no_token' });
    });
  });

  describe('the pitfalls that people met', () => {
    test('1: nothing is written where nothing has changed', async () => {
      const store = storeAt(bao);
      const { id } = await store.import({ content, metadata, mark });
      for (let n = 0; n < 12; n += 1) await store.reimport(id, content);
      expect((await done(bao, 'GET', `secret/metadata/standby/${id}`)).data.current_version).toBe(1);
    });

    test('2: a mount of version 1 is asked for its version before anything else', async () => {
      await bao.ask('POST', 'sys/mounts/old', { type: 'kv', options: { version: '1' } });
      const policy = 'path "old/*" { capabilities = ["create", "read", "update", "delete", "list"] }';
      const store = storeAt(bao, {
        mount: 'old',
        login: { login: 'token', token: new Secret(await tokenWith(bao, policy)) },
      });
      const { id } = await store.import({ content, metadata, mark });
      expect(await store.read(id)).toMatchObject({ state: 'present', value: { metadata: { mark } } });
    });

    test('3: metadata that another tool replaced makes the copy a stranger, which is not written over', async () => {
      const store = storeAt(bao);
      const { id } = await store.import({ content, metadata, mark });
      await done(bao, 'POST', `secret/metadata/standby/${id}`, {
        custom_metadata: { 'managed-by': 'external-secrets' },
      });
      const again = await store.import({ content: renewed, metadata, mark, token: 'once' });
      expect(again.id).not.toBe(id);
      const left = await store.read(id);
      expect(left.state === 'present' && fingerprintOf(left.value.content)).toBe(fingerprintOf(content));
    });

    test('4: a secret that is written property by property is read as it is, half of it old', async () => {
      const store = storeAt(bao);
      await done(bao, 'POST', 'secret/data/standby/half', { data: fieldsOf(content) });
      await done(bao, 'POST', 'secret/data/standby/half', {
        data: { ...fieldsOf(content), 'tls.crt': fieldsOf(renewed)['tls.crt'] },
      });
      const half = await store.read('half');
      expect(half.state).toBe('present');
      const judged = half.state === 'present' ? half.value.content : content;
      expect(judged.leaf.raw).toEqual(renewed.leaf.raw);
      expect(judged.privateKey?.publicKeyDer).toEqual(content.privateKey?.publicKeyDer);
    });

    test('5: of twenty who write at once none is lost silently', async () => {
      const stores = Array.from({ length: 20 }, () => storeAt(bao));
      const { id } = await (stores[0] as Store).import({ content, metadata, mark });
      const contents = await Promise.all(stores.map(async () => parseContent(await testCertificate())));
      const answers = await Promise.all(
        stores.map((store, index) =>
          store.reimport(id, contents[index] as CertificateContent).then(
            () => 'written',
            (thrown) => asCodedError(thrown).code,
          ),
        ),
      );
      const written = answers.filter((answer) => answer === 'written').length;
      expect(new Set(answers)).toEqual(new Set(written === 20 ? ['written'] : ['written', 'store_unavailable']));
      expect((await done(bao, 'GET', `secret/metadata/standby/${id}`)).data.current_version).toBe(1 + written);
    });

    test('7: a token whose policies have changed since is had anew once', async () => {
      await bao.ask('POST', 'sys/auth/approle', { type: 'approle' });
      await done(bao, 'POST', 'sys/policies/acl/narrow', {
        policy: 'path "secret/metadata/*" { capabilities = ["list"] }',
      });
      await done(bao, 'POST', 'auth/approle/role/changing', { role_id: 'changing', token_policies: ['narrow'] });
      await done(bao, 'POST', 'auth/approle/role/changing/custom-secret-id', { secret_id: 'changing-secret' });
      let at = Date.now();
      const login = { login: 'approle', roleId: 'changing', secretId: new Secret('changing-secret') } as const;
      const store = storeAt(bao, { login, runtime: { ...runtime, now: () => at } });
      expect(await store.read('nothing')).toMatchObject({ state: 'unreadable', error: { reason: 'no_right' } });
      await done(bao, 'POST', 'sys/policies/acl/wide', {
        policy: 'path "secret/*" { capabilities = ["read", "list"] }',
      });
      await done(bao, 'POST', 'auth/approle/role/changing', { role_id: 'changing', token_policies: ['wide'] });
      at += 61_000;
      expect(await store.read('nothing')).toEqual({ state: 'absent' });
    });

    test('8: a token that ends in the middle of a pass is had anew, though it was renewed past its maximum', async () => {
      await bao.ask('POST', 'sys/auth/approle', { type: 'approle' });
      await done(bao, 'POST', 'sys/policies/acl/all', {
        policy: 'path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }',
      });
      await done(bao, 'POST', 'auth/approle/role/short', {
        role_id: 'short',
        token_policies: ['all'],
        token_ttl: '2s',
        token_max_ttl: '3s',
      });
      await done(bao, 'POST', 'auth/approle/role/short/custom-secret-id', { secret_id: 'short-secret' });
      const login = { login: 'approle', roleId: 'short', secretId: new Secret('short-secret') } as const;
      // A clock that stands still: the store never knows that its token has ended.
      const at = Date.now();
      const store = storeAt(bao, { login, runtime: { ...runtime, now: () => at } });
      const { id } = await store.import({ content, metadata, mark });
      const until = Date.now() + 4_000;
      while (Date.now() < until) {
        expect(await store.read(id)).toMatchObject({ state: 'present' });
        await runtime.wait(200);
      }
      await store.reimport(id, renewed);
      await store.close?.();
    });

    test('9: a version that will be deleted in future is there until then', async () => {
      await done(bao, 'POST', 'secret/metadata/standby/later', { delete_version_after: '1h' });
      await done(bao, 'POST', 'secret/data/standby/later', { data: fieldsOf(content) });
      const store = storeAt(bao);
      expect(await store.readMetadata('later')).toMatchObject({ state: 'present' });
      expect((await store.list({})).certificates).toMatchObject([{ id: 'later' }]);
    });

    test('10: what is listed is not always there: deleted, destroyed and empty are three other answers', async () => {
      const store = storeAt(bao);
      for (const id of ['deleted', 'destroyed'])
        await done(bao, 'POST', `secret/data/standby/${id}`, { data: fieldsOf(content) });
      await done(bao, 'DELETE', 'secret/data/standby/deleted');
      await done(bao, 'PUT', 'secret/destroy/standby/destroyed', { versions: [1] });
      await done(bao, 'POST', 'secret/metadata/standby/empty', { custom_metadata: { note: 'mine' } });
      const { certificates, vacant } = await store.list({});
      expect(certificates).toEqual([]);
      expect(vacant?.map(({ id, why }) => [id, why])).toEqual([
        ['deleted', 'deleted'],
        ['destroyed', 'empty'],
        ['empty', 'half-made'],
      ]);
      expect(await store.read('deleted')).toMatchObject({ state: 'vacant', why: 'deleted' });
      expect(await store.read('nothing')).toEqual({ state: 'absent' });
    });

    test('11: a removal that nobody waits for is ended by nobody, and what it leaves is absent', async () => {
      const ending = new AbortController();
      const send: HttpSend = (request, more) => {
        const answer = sendOverNetwork(request, more);
        if (request.method === 'DELETE') ending.abort();
        return answer;
      };
      const store = storeAt(bao, { send });
      const { id } = await store.import({ content, metadata, mark });
      for (let n = 0; n < 5; n += 1) await store.reimport(id, n % 2 === 0 ? renewed : content);
      expect(await errorOf(store.delete(id, { signal: ending.signal }))).toMatchObject({ code: 'store_unanswered' });
      await expect.poll(async () => (await bao.ask('GET', `secret/metadata/standby/${id}`)).status).toBe(404);
      expect(await store.read(id)).toEqual({ state: 'absent' });
      expect((await store.import({ content, metadata, mark })).id).toBe(id);
      expect(await store.read(id)).toMatchObject({ state: 'present' });
    });

    test('12: many folders are listed page by page, each secret once', async () => {
      const paths = Array.from({ length: 240 }, (_, n) => `${n % 7}/${n % 3}/shop-${n}`);
      for (const path of paths) await done(bao, 'POST', `secret/data/standby/${path}`, { data: fieldsOf(content) });
      for (const detailed of [true, false]) {
        const policy = `path "secret/*" { capabilities = ["read", "list"] }${detailed ? '' : '\npath "secret/detailed-metadata/*" { capabilities = ["deny"] }'}`;
        const login = { login: 'token', token: new Secret(await tokenWith(bao, policy)) } as const;
        const store = storeAt(bao, { login, pageSize: 25 });
        const seen: string[] = [];
        let pages = 0;
        let cursor: string | undefined;
        do {
          const page = await store.list(cursor === undefined ? {} : { cursor });
          seen.push(...page.certificates.map(({ id }) => id));
          cursor = page.cursor;
          pages += 1;
        } while (cursor !== undefined);
        expect(seen.toSorted()).toEqual(paths.toSorted());
        expect(pages).toBeGreaterThan(8);
      }
    });
  });

  test('a policy that cuts listings off without a word hides nothing', async () => {
    const paths = ['a', 'b', 'c', 'd', 'e', 'f/cert.pem', 'f/cert.key', 'f/chain.pem', 'g/h', 'g/i'];
    const [value] = [fieldsOf(content)];
    for (const path of paths) {
      const member = path.endsWith('.key') ? value['tls.key'] : value['tls.crt'];
      const data = path.startsWith('f/') ? { value: member } : value;
      await done(bao, 'POST', `secret/data/standby/${path}`, { data });
    }
    for (const detailed of ['"list"', '"deny"']) {
      const policy = `path "secret/*" {
  capabilities = ["read", "list"]
  pagination_limit = 2
}
path "secret/detailed-metadata/*" {
  capabilities = [${detailed}]
  ${detailed === '"list"' ? 'pagination_limit = 2' : ''}
}`;
      const store = storeAt(bao, { login: { login: 'token', token: new Secret(await tokenWith(bao, policy)) } });
      const { certificates, cursor } = await store.list({});
      expect(cursor).toBeUndefined();
      expect(certificates.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd', 'e', 'f/', 'g/h', 'g/i']);
      const folder = await store.read('f/');
      expect(folder.state === 'present' && fingerprintOf(folder.value.content)).toBe(fingerprintOf(content));
    }
  });

  test('a mount that is not there, or was made anew, is never taken for an empty one', async () => {
    await bao.ask('POST', 'sys/mounts/gone', { type: 'kv', options: { version: '2' } });
    const store = storeAt(bao, { mount: 'gone' });
    const { id } = await store.import({ content, metadata, mark });
    const before = await store.identity?.();
    await done(bao, 'DELETE', 'sys/mounts/gone');
    expect(await store.read(id)).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_refused', reason: 'no_mount' },
    });
    expect(await errorOf(store.list({}))).toMatchObject({ code: 'store_refused', reason: 'no_mount' });
    expect(await errorOf(store.delete(id))).toMatchObject({ code: 'store_refused', reason: 'no_mount' });
    await done(bao, 'POST', 'sys/mounts/gone', { type: 'kv', options: { version: '2' } });
    expect(await store.identity?.()).not.toBe(before);
  });

  test('a namespace is a place of its own, and one that is not there is told', async () => {
    await done(bao, 'POST', 'sys/namespaces/team', {});
    await bao.ask('POST', 'sys/mounts/kv', { type: 'kv', options: { version: '2' } }, { namespace: 'team' });
    const store = storeAt(bao, { namespace: 'team', mount: 'kv' });
    const { id } = await store.import({ content, metadata, mark });
    expect((await bao.ask('GET', `kv/data/standby/${id}`, undefined, { namespace: 'team' })).status).toBe(200);
    expect((await bao.ask('GET', `kv/data/standby/${id}`)).status).toBe(404);
    expect(await errorOf(storeAt(bao, { namespace: 'nobody', mount: 'kv' }).list({}))).toMatchObject({
      code: 'store_refused',
      reason: 'no_namespace',
    });
  });

  test('a wrapped secret id is unwrapped once, and one that somebody has opened is told', async () => {
    await bao.ask('POST', 'sys/auth/approle', { type: 'approle' });
    await done(bao, 'POST', 'sys/policies/acl/reads', {
      policy: 'path "secret/*" { capabilities = ["read", "list"] }',
    });
    await done(bao, 'POST', 'auth/approle/role/wrapped', { role_id: 'wrapped', token_policies: ['reads'] });
    const wrapped = async () => {
      const { body } = await bao.ask(
        'POST',
        'auth/approle/role/wrapped/secret-id',
        {},
        { headers: { 'x-vault-wrap-ttl': '60' } },
      );
      return new Secret(body.wrap_info.token);
    };
    const login = { login: 'approle', roleId: 'wrapped', secretIdWrapped: true } as const;
    const secretId = await wrapped();
    expect(await storeAt(bao, { login: { ...login, secretId } }).list({})).toMatchObject({ certificates: [] });
    expect(await errorOf(storeAt(bao, { login: { ...login, secretId } }).list({}))).toMatchObject({
      code: 'store_unauthorized',
      reason: 'unwrapped_before',
    });
  });

  test('a token of an issuer logs in, from a file that is read at each login; another audience is refused', async () => {
    await bao.ask('POST', 'sys/auth/jwt', { type: 'jwt' });
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await done(bao, 'POST', 'auth/jwt/config', {
      jwt_validation_pubkeys: [publicKey.export({ type: 'spki', format: 'pem' })],
    });
    await done(bao, 'POST', 'sys/policies/acl/reads', {
      policy: 'path "secret/*" { capabilities = ["read", "list"] }',
    });
    await done(bao, 'POST', 'auth/jwt/role/worker', {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: ['certstandby'],
      bound_subject: 'worker',
      token_policies: ['reads'],
    });
    const tokenFor = (aud: string) => {
      const part = (of: unknown) => Buffer.from(JSON.stringify(of)).toString('base64url');
      const now = Math.floor(Date.now() / 1000);
      const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ sub: 'worker', aud, iat: now, exp: now + 300 })}`;
      return `${signed}.${createSign('sha256').update(signed).sign(privateKey, 'base64url')}`;
    };
    const jwtFile = join(folder, 'jwt');
    writeFileSync(jwtFile, tokenFor('somebody else'));
    const store = storeAt(bao, { login: { login: 'jwt', role: 'worker', jwtFile } });
    expect(await errorOf(store.list({}))).toMatchObject({ code: 'store_unauthorized', reason: 'login_refused' });
    writeFileSync(jwtFile, tokenFor('certstandby'));
    expect(await store.list({})).toMatchObject({ certificates: [] });
  });
});

describe.skipIf(found === undefined)('what a real OpenBao refuses, as the page of the service says it', () => {
  let bao: OpenBao;
  beforeAll(async () => {
    bao = await startDevelopmentBao();
  });
  afterAll(() => bao?.close());

  const server: RefusingServer = {
    storeAt: (options) => storeAt(bao, options),
    write: (path, data) => done(bao, 'POST', `secret/data/${path}`, { data }),
    deleteSoftly: (path) => done(bao, 'DELETE', `secret/data/${path}`),
    async mountOther(type) {
      await done(bao, 'POST', `sys/mounts/${type}`, { type });
      return type;
    },
    async storeWithoutRight() {
      const policy = `path "secret/data/*" { capabilities = ["create", "read"] }
path "secret/metadata/*" { capabilities = ["create", "update", "read", "patch", "list", "delete"] }`;
      return storeAt(bao, { login: { login: 'token', token: new Secret(await tokenWith(bao, policy)) } });
    },
    // The last one asked: nothing opens it again.
    seal: () => done(bao, 'PUT', 'sys/seal'),
  };

  test.each(refusals)('$what', async ({ code, refuse }) => {
    const [one, other] = await Promise.all([testCertificate(), testCertificate()]);
    const error = await errorOf(refuse(server, { content, renewed, pems: [one.certificate, other.certificate] }));
    expect(error).toMatchObject({ code });
    console.info(`${error.code}: ${error.message}`);
  });
});

describe.skipIf(found === undefined)('with a real OpenBao on Raft and TLS', () => {
  let bao: OpenBao;
  beforeAll(async () => {
    bao = await startRaftBao();
  });
  afterAll(() => bao.close());

  test('a certificate logs in, and a server of another authority is not spoken to', async () => {
    const inFolder = (name: string) => join(bao.folder, name);
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'],
      ...['-subj', '/CN=worker.example.test', '-addext', 'extendedKeyUsage=clientAuth'],
      ...['-keyout', inFolder('worker.key'), '-out', inFolder('worker.pem')],
    );
    const certificate = readFileSync(inFolder('worker.pem'), 'utf8');
    await done(bao, 'POST', 'sys/auth/cert', { type: 'cert' });
    await done(bao, 'POST', 'auth/cert/certs/worker', { certificate, token_policies: 'standby' });
    const shown = { clientCertificate: inFolder('worker.pem'), clientKey: inFolder('worker.key') };
    const login = { login: 'cert', role: 'worker' } as const;
    const files = { ca: bao.caFile ?? '', ...shown };
    expect(await storeAt(bao, { login, files }).list({})).toMatchObject({ unreadable: [] });
    expect(await errorOf(storeAt(bao, { login }).list({}))).toMatchObject({
      code: 'store_unauthorized',
      reason: 'login_refused',
    });
    const other = { ca: inFolder('worker.pem') };
    expect(await errorOf(storeAt(bao, { files: other }).list({}))).toMatchObject({ code: 'store_unavailable' });
    const missing = join(bao.folder, 'none.pem');
    expect(await errorOf(storeAt(bao, { files: { ca: missing } }).list({}))).toMatchObject({
      remedy: expect.stringContaining(missing),
    });
  });

  test('a server that is sealed is told as that, and what it kept is there when it is opened again', async () => {
    const store = storeAt(bao);
    const { id } = await store.import({ content, metadata, mark });
    await done(bao, 'PUT', 'sys/seal');
    const error = await errorOf(store.diagnosis?.clock() ?? Promise.resolve());
    expect(error).toMatchObject({
      code: 'store_unavailable',
      reason: 'sealed',
      remedy: expect.stringContaining('unseal it'),
    });
    expect(await store.read(id)).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_unavailable', reason: 'sealed' },
    });
    expect(await errorOf(store.reimport(id, renewed))).toMatchObject({ reason: 'sealed' });
    await bao.kill();
    await bao.start();
    await expect.poll(async () => (await store.read(id)).state).toBe('present');
  });

  test('a server that is killed between two requests loses nothing that it had answered', async () => {
    const store = storeAt(bao);
    for (let round = 0; round < 5; round += 1) {
      const of = { store: 'primary', certificate: `round-${round}` };
      const { id } = await store.import({ content, metadata, mark: of });
      await bao.kill();
      expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_unavailable' } });
      await bao.start();
      await expect.poll(async () => (await store.read(id)).state).toBe('present');
      expect((await store.import({ content, metadata, mark: of, token: 'once' })).id).toBe(id);
    }
  });
});

describe.skipIf(found === undefined)('with three nodes of a real OpenBao', () => {
  let nodes: readonly OpenBao[] = [];
  beforeAll(async () => {
    nodes = await startRaftCluster();
  });
  afterAll(async () => {
    for (const node of [...nodes].reverse()) await node.close();
  });

  test('6: what was written is read at once from a standby, and doctor says that one answered', async () => {
    const [active, standby] = nodes as readonly [OpenBao, OpenBao, OpenBao];
    const login = { login: 'token', token: new Secret(active.root) } as const;
    const store = storeAt(standby, { login });
    const remarks = async (of: Store) => (await of.diagnosis?.remarks?.()) ?? [];
    expect(await remarks(store)).toMatchObject([
      { message: expect.stringContaining('a standby answered'), remedy: expect.stringContaining('readSettles') },
    ]);
    expect(await remarks(storeAt(standby, { login, readSettlesMs: 5_000 }))).toEqual([
      { message: 'OpenBao 2.7.2, a standby answered' },
    ]);
    const { id } = await store.import({ content, metadata, mark });
    for (let n = 0; n < 40; n += 1) {
      const wanted = n % 2 === 0 ? renewed : content;
      await store.reimport(id, wanted);
      const reading = await store.read(id);
      expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf(wanted));
      await store.updateMetadata(id, { ...metadata, name: `name ${n}` }, mark);
      expect((await store.list({})).certificates).toMatchObject([{ id, name: `name ${n}` }]);
    }
  });

  test('while the active node is gone nothing is absent, and afterwards the others go on', async () => {
    const [active, standby] = nodes as readonly [OpenBao, OpenBao, OpenBao];
    const login = { login: 'token', token: new Secret(active.root) } as const;
    const store = storeAt(standby, { login });
    const { id } = await store.import({ content, metadata, mark: { ...mark, certificate: 'failover' } });
    await active.kill();
    const seen = new Set<string>();
    const until = Date.now() + 120_000;
    for (let written = false; !written; ) {
      if (Date.now() > until) throw new Error(`no node took over: ${[...seen].join(', ')}`);
      const reading = await store.read(id);
      seen.add(reading.state === 'unreadable' ? reading.error.code : reading.state);
      written = await store.reimport(id, renewed).then(
        () => true,
        (thrown) => {
          seen.add(`reimport: ${asCodedError(thrown).code}`);
          return false;
        },
      );
      await runtime.wait(200);
    }
    console.info(`failover: ${[...seen].join(', ')}`);
    expect(seen).not.toContain('absent');
    expect(seen).not.toContain('vacant');
    const reading = await store.read(id);
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf(renewed));
  });
});
