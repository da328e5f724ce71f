import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../../src/certificate/pem.ts';
import { asCodedError } from '../../../src/errors.ts';
import { sendOverNetwork } from '../../../src/http/client.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { type VaultStoreOptions, vaultStore } from '../../../src/services/vault/store.ts';
import type { Store } from '../../../src/store/store.ts';
import { storeContract } from '../../store/contract.ts';
import { testCertificate } from '../../support/certificates.ts';
import { type FakeVault, startFakeVault } from './fake.ts';
import { vaultLacks, vaultLacksInVersion1 } from './lacks.ts';

storeContract(
  'vault, as a Vault Community answers',
  async () => {
    const server = await startFakeVault();
    const secretAt = (id: string) => server.secrets.get(`standby/${id}`);
    const lastOf = (id: string) => secretAt(id)?.versions.at(-1);
    return {
      store: storeAt(server, { pageSize: 3 }),
      unknownId: 'nobody-0000000000000000',
      vacate: {
        deleted: (id) => void Object.assign(lastOf(id) ?? {}, { deletion_time: '2026-01-01T00:00:00Z' }),
        empty: (id) => void Object.assign(lastOf(id) ?? {}, { destroyed: true }),
        'half-made': (id) => void Object.assign(secretAt(id) ?? {}, { versions: [] }),
      },
      close: server.close,
    };
  },
  { lacks: vaultLacks },
);

storeContract(
  'vault, version 1 of the engine, as a Vault Community answers',
  async () => {
    const server = await startFakeVault({ version: 1 });
    return { store: storeAt(server, { pageSize: 3 }), unknownId: 'nobody-0000000000000000', close: server.close };
  },
  { lacks: vaultLacksInVersion1 },
);

let server: FakeVault;
let content: CertificateContent;
let renewed: CertificateContent;
let pem: { readonly leaf: string; readonly chain: string; readonly key: string };
const mark = { store: 'primary', certificate: 'shop' };
const metadata = { name: 'shop', description: 'the shop', tags: [] };

beforeAll(async () => {
  content = parseContent(await testCertificate());
  renewed = parseContent(await testCertificate());
  const { certificate: leaf, intermediate: chain = '', privateKey } = toPem(content);
  pem = { leaf, chain, key: privateKey?.reveal() ?? '' };
});
beforeEach(async () => {
  server = await startFakeVault();
});
afterEach(() => server.close());

function storeAt(of: FakeVault, options: Partial<VaultStoreOptions> = {}): Store {
  return vaultStore({
    id: 'test',
    address: of.url,
    region: 'here',
    prefix: 'standby',
    runtime: systemRuntime,
    login: { login: 'token', token: new Secret('hvs.root') },
    listingLagMs: 0,
    readSettlesMs: 0,
    ...options,
  });
}

const put = (path: string, data: Record<string, unknown>, custom: Record<string, string> | null = null) => {
  const before = server.secrets.get(path)?.versions ?? [];
  const version = { data, created_time: new Date().toISOString(), deletion_time: '', destroyed: false };
  server.secrets.set(path, { versions: [...before, version], custom });
};
const dataAt = (path: string) => server.secrets.get(path)?.versions.at(-1)?.data;
async function errorOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => asCodedError(thrown),
  );
  if (error === undefined) throw new Error('it succeeded');
  return error;
}
async function readAt(store: Store, id: string) {
  const reading = await store.read(id);
  if (reading.state !== 'present') throw new Error(JSON.stringify(reading));
  return reading.value;
}

describe('how people keep certificates there', () => {
  const escaped = (text: string) => text.replace(/\n/g, '\\n');
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const forms: readonly (readonly [string, () => Record<string, unknown>])[] = [
    [
      'the output of the PKI engine',
      () => ({
        certificate: pem.leaf,
        private_key: pem.key,
        issuing_ca: pem.chain,
        ca_chain: [pem.chain],
        serial_number: '1',
      }),
    ],
    [
      'the PKI engine without its chain',
      () => ({ certificate: pem.leaf, private_key: pem.key, issuing_ca: pem.chain }),
    ],
    [
      'a secret of Kubernetes',
      () => ({ 'tls.crt': pem.leaf + pem.chain, 'tls.key': pem.key, 'ca.crt': 'not a part of it' }),
    ],
    ['cert and key, as fabio has them', () => ({ cert: pem.leaf + pem.chain, key: pem.key })],
    ['Traefik Enterprise: base64', () => ({ cert: base64(pem.leaf + pem.chain), key: base64(pem.key) })],
    [
      'line ends as two characters',
      () => ({ certificate: escaped(pem.leaf + pem.chain), private_key: escaped(pem.key) }),
    ],
    [
      'leaf, chain and both in one, all three',
      () => ({ cert: pem.leaf, chain: pem.chain, fullchain: pem.leaf + pem.chain, privkey: pem.key }),
    ],
    ['one bundle with all of it', () => ({ bundle: pem.key + pem.leaf + pem.chain })],
  ];
  it.each(forms)('is read: %s', async (_, data) => {
    put('standby/shop', data());
    const found = await readAt(storeAt(server), 'shop');
    expect(fingerprintOf(found.content)).toBe(fingerprintOf(content));
    expect(found.metadata).toMatchObject({ id: 'shop', name: 'shop', domains: ['shop.example.test'] });
  });

  it('is read by the names that the configuration gives, whatever else is there', async () => {
    put('standby/shop', {
      chainOfTrust: pem.leaf + pem.chain,
      secret: pem.key,
      certificate: 'something else',
      key: 'x',
    });
    const store = storeAt(server, { fields: { certificate: 'chainOfTrust', key: 'secret' } });
    expect(fingerprintOf((await readAt(store, 'shop')).content)).toBe(fingerprintOf(content));
  });

  it('is read of four secrets, as acme.sh writes them, under the path of their folder', async () => {
    const files = {
      'cert.pem': pem.leaf,
      'cert.key': pem.key,
      'chain.pem': pem.chain,
      'fullchain.pem': pem.leaf + pem.chain,
    };
    for (const [name, value] of Object.entries(files)) put(`standby/shop.example.test/${name}`, { value });
    put('standby/shop.example.test/notes', { text: 'mine' });
    put('standby/shop.example.test', { cert: pem.leaf, key: pem.key });
    const store = storeAt(server, { pageSize: 1 });
    const found = await readAt(store, 'shop.example.test/');
    expect(fingerprintOf(found.content)).toBe(fingerprintOf(content));
    const { certificates, passedOver } = await listed(store);
    expect(certificates.map(({ id }) => id).sort()).toEqual(['shop.example.test', 'shop.example.test/']);
    expect(passedOver.map(({ id }) => id)).toEqual(['shop.example.test/notes']);
    const before = (await store.readMetadata('shop.example.test/')) as { value: { revision: string } };
    put('standby/shop.example.test/chain.pem', { value: pem.chain });
    expect(await store.readMetadata('shop.example.test/')).not.toMatchObject({
      value: { revision: before.value.revision },
    });
    expect(await errorOf(store.reimport('shop.example.test/', renewed))).toMatchObject({ code: 'store_refused' });
    expect(await errorOf(store.delete('shop.example.test/'))).toMatchObject({ code: 'store_refused' });
  });

  it('that is none is passed over by the names of its fields, and its values stay where they are', async () => {
    put('standby/database', { user: 'admin', password: 'hunter2' });
    const store = storeAt(server);
    for (const _listing of ['first', 'second']) {
      const page = await listed(store);
      expect(page).toMatchObject({ certificates: [], unreadable: [], passedOver: [{ id: 'database' }] });
    }
    expect(server.requests.filter((request) => request.includes('/data/'))).toEqual([]);
    expect(server.requests.filter((request) => request.includes('/subkeys/'))).toHaveLength(1);
    const { error } = (await store.read('database')) as { error: { message: string } };
    expect(error).toMatchObject({ code: 'store_layout_unknown', remedy: expect.stringContaining('certificateField') });
    expect(JSON.stringify(error) + error.message).not.toContain('hunter2');
  });

  it('that is ambiguous is unreadable, and its fields are named, never their values', async () => {
    const other = toPem(renewed);
    put('standby/shop', {
      cert: pem.leaf,
      certificate: other.certificate,
      key: pem.key,
      private_key: other.privateKey?.reveal(),
    });
    expect(await storeAt(server).read('shop')).toMatchObject({
      state: 'unreadable',
      name: 'shop',
      error: {
        code: 'store_content_unreadable',
        reason: 'certificate_malformed',
        message: expect.stringMatching(
          /^secret\/standby\/shop: several different private keys were found, in the fields private_key and key$/,
        ),
      },
    });
    put('standby/shop', { cert: pem.leaf, certificate: other.certificate });
    expect(await storeAt(server).read('shop')).toMatchObject({
      error: { message: expect.stringMatching(/2 different leaf .*, in the fields certificate and cert$/) },
    });
    put('standby/shop', { cert: pem.leaf, key: 'lost' });
    expect(await storeAt(server).read('shop')).toMatchObject({
      error: {
        code: 'store_content_unreadable',
        message: expect.stringContaining('the field key holds no private key'),
      },
    });
  });
});

describe('how a copy is written', () => {
  const wholeText = () => pem.leaf + pem.chain;
  it.each([
    ['pki', () => ({ certificate: pem.leaf, private_key: pem.key, ca_chain: pem.chain })],
    ['tls', () => ({ 'tls.crt': wholeText(), 'tls.key': pem.key })],
    ['cert-key', () => ({ cert: wholeText(), key: pem.key })],
    [
      'traefik-enterprise',
      () => ({ cert: Buffer.from(wholeText()).toString('base64'), key: Buffer.from(pem.key).toString('base64') }),
    ],
  ] as const)('in the layout %s', async (layout, fields) => {
    const { id } = await storeAt(server, { layout }).import({ content, metadata, mark });
    expect(id).toMatch(/^shop-[0-9a-f]{16}$/);
    expect(dataAt(`standby/${id}`)).toEqual(fields());
    expect(server.secrets.get(`standby/${id}`)?.custom).toMatchObject({
      certstandby: 'certstandby:1 primary shop',
      'certstandby-name': 'shop',
      'certstandby-description-1': 'the shop',
    });
  });

  it('follows the configuration to another layout, and leaves what was taken over in its own form', async () => {
    const { id } = await storeAt(server).import({ content, metadata, mark });
    await storeAt(server, { layout: 'tls' }).reimport(id, renewed);
    expect(Object.keys(dataAt(`standby/${id}`) ?? {})).toEqual(['tls.crt', 'tls.key']);
    const text = toPem(renewed);
    put(
      'standby/theirs',
      { 'tls.crt': pem.leaf, 'tls.key': pem.key, 'ca.crt': 'root', owner: 'team' },
      { 'managed-by': 'somebody' },
    );
    const store = storeAt(server);
    await store.updateMetadata('theirs', metadata, mark);
    await store.reimport('theirs', renewed);
    expect(dataAt('standby/theirs')).toEqual({
      'tls.crt': text.certificate + text.intermediate,
      'tls.key': text.privateKey?.reveal(),
      'ca.crt': 'root',
      owner: 'team',
    });
    expect(server.secrets.get('standby/theirs')?.custom).toMatchObject({
      'managed-by': 'somebody',
      certstandby: expect.any(String),
    });
    put('standby/escaped', {
      cert: Buffer.from(pem.leaf).toString('base64'),
      chain: [pem.chain],
      key: pem.key.replace(/\n/g, '\\n'),
      serial_number: '01',
      expiration: 1,
    });
    await store.reimport('escaped', renewed);
    const written = dataAt('standby/escaped') ?? {};
    expect(written.cert).toBe(Buffer.from(text.certificate).toString('base64'));
    expect(written.chain).toEqual([text.intermediate]);
    expect(written.key).toBe(text.privateKey?.reveal().replace(/\n/g, '\\n'));
    expect(written.serial_number).toMatch(/^([0-9a-f]{2}:)+[0-9a-f]{2}$/);
    expect(written.expiration).toBe(Date.UTC(2099, 0, 1) / 1000);
  });

  it('is not written again where it is there already: each write would push an old version out', async () => {
    const store = storeAt(server);
    const { id } = await store.import({ content, metadata, mark });
    await store.reimport(id, content);
    await store.updateMetadata(id, metadata, mark);
    expect(server.secrets.get(`standby/${id}`)?.versions).toHaveLength(1);
    expect(server.requests.filter((request) => request.startsWith('PATCH'))).toEqual([]);
  });

  it('keeps marks, names and descriptions of any kind within the bounds of the server', async () => {
    const store = storeAt(server);
    const long = { store: 'primary', certificate: 'c'.repeat(1_200) };
    const odd = {
      name: `"shop" \\ \u200d\u007f😀 ${'é'.repeat(300)}`,
      description: `${'東京'.repeat(600)}\n\u0000end`,
      tags: [],
    };
    const { id } = await store.import({ content, metadata: odd, mark: long });
    const found = (await readAt(store, id)).metadata;
    expect(found).toMatchObject({ ...store.asKept(odd, long), mark: long });
    for (const value of Object.values(server.secrets.get(`standby/${id}`)?.custom ?? {}))
      expect(Buffer.byteLength(value)).toBeLessThanOrEqual(512);
  });
});

describe('where a name is wanted exactly', () => {
  it('the path is the name, folders included, and what somebody else has there is left to him', async () => {
    const store = storeAt(server);
    const entry = { content, metadata: { ...metadata, name: 'team/shop' }, mark, exactName: true };
    expect((await store.import(entry)).id).toBe('team/shop');
    put('standby/taken', { user: 'me' });
    expect(await errorOf(store.import({ ...entry, metadata: { ...metadata, name: 'taken' } }))).toMatchObject({
      code: 'store_conflict',
      fields: { certificate: 'taken' },
    });
    expect(dataAt('standby/taken')).toEqual({ user: 'me' });
    for (const name of ['', '../root', 'a//b', 'folder/', '\ud800'])
      expect(await errorOf(store.import({ ...entry, metadata: { ...metadata, name } }))).toMatchObject({
        code: 'store_name_unfit',
      });
  });

  it('what somebody has deleted there, and could bring back, is not written over', async () => {
    put('standby/shop', { cert: pem.leaf });
    Object.assign(server.secrets.get('standby/shop')?.versions.at(-1) ?? {}, { deletion_time: '2026-01-01T00:00:00Z' });
    const entry = { content, metadata, mark, exactName: true };
    expect(await errorOf(storeAt(server).import(entry))).toMatchObject({ code: 'store_conflict' });
  });
});

describe('the answers of a server in trouble', () => {
  const sealed = { status: 503, body: { errors: ['Vault is sealed'] } };
  it.each([
    ['sealed', sealed, 'store_unavailable', 'unseal it'],
    [
      'on standby, and passing nothing on',
      { status: 307, headers: { location: 'https://elsewhere.test/' } },
      'store_unavailable',
      'A standby answered',
    ],
    [
      'not the active node, and without one',
      { status: 500, body: { errors: ['local node not active but active cluster node not found'] } },
      'store_unavailable',
      'A standby answered',
    ],
    [
      'behind what was written (Vault Enterprise)',
      { status: 412, body: { errors: ['required index state not present'] } },
      'store_unavailable',
      'in a moment',
    ],
    ['behind what was written (OpenBao)', { status: 429, body: { errors: [] } }, 'store_unavailable', 'in a moment'],
    [
      'limited by a quota',
      { status: 429, body: { errors: ['request path "secret": rate limit quota exceeded'] } },
      'store_limited',
      'tried again',
    ],
    [
      'without that mount',
      { status: 404, body: { errors: ['no handler for route "secret/data/shop".'] } },
      'store_refused',
      'correct mount of the store',
    ],
    [
      'without that namespace',
      { status: 404, body: { errors: ['namespace not found'] } },
      'store_refused',
      'correct namespace of the store',
    ],
    [
      'of the other version',
      { status: 404, body: { warnings: ['Invalid path for a versioned K/V secrets engine.'] } },
      'store_refused',
      'of the other version',
    ],
    [
      'keeping half of a secret that somebody stopped removing (pitfall 11)',
      { status: 500, body: { errors: ['could not find version data'] } },
      'store_unavailable',
      'vault kv metadata delete',
    ],
    ['behind a proxy', { status: 200, body: '<html>' }, 'store_nonsense', 'Something that is not the store'],
  ] as const)('that is %s never pass for something that is not there', async (_, answer, code, remedy) => {
    const store = storeAt(server);
    await store.list({});
    server.before = ({ path }) => (path.startsWith('secret/') ? answer : undefined);
    const reading = await store.read('shop');
    expect(reading).toMatchObject({ state: 'unreadable', error: { code, remedy: expect.stringContaining(remedy) } });
    expect(await errorOf(store.list({}))).toMatchObject({ code });
    const { retryAfterMs } = (reading as { error: { retryAfterMs?: number } }).error;
    if (answer.status === 429 || answer.status === 412) expect(retryAfterMs).toBeGreaterThanOrEqual(1_000);
  });

  it('a 500 that had written leaves the outcome unknown, and the next import finds the copy', async () => {
    const store = storeAt(server);
    server.after = ({ method, path }, answer) =>
      method === 'POST' && path.startsWith('secret/data/')
        ? { status: 500, body: { errors: ['audit device failed'] } }
        : answer;
    const entry = { content, metadata, mark, token: 'once' };
    expect(await errorOf(store.import(entry))).toMatchObject({ code: 'store_unanswered' });
    server.after = (_request, answer) => answer;
    const { id } = await store.import(entry);
    expect((await listed(store)).certificates).toMatchObject([{ id, mark }]);
    expect(server.secrets.get(`standby/${id}`)?.versions).toHaveLength(1);
  });

  it('a creation that ends between mark and content leaves a place of ours, which the next import fills', async () => {
    const store = storeAt(server);
    server.before = ({ path }) => (path.startsWith('secret/data/') ? sealed : undefined);
    const entry = { content, metadata, mark, token: 'once' };
    expect(await errorOf(store.import(entry))).toMatchObject({ code: 'store_unanswered' });
    server.before = () => undefined;
    expect((await listed(store)).vacant).toMatchObject([{ why: 'half-made', mark }]);
    const { id } = await store.import(entry);
    expect((await listed(store)).certificates).toMatchObject([{ id, mark }]);
  });

  it('of two who create at once one makes it, and the other finds it by its mark', async () => {
    const [one, two] = [storeAt(server), storeAt(server)];
    const entry = { content, metadata, mark, token: 'once' };
    const answers = await Promise.all([one.import(entry), two.import(entry)]);
    expect(answers[0].id).toBe(answers[1].id);
    expect(server.secrets.get(`standby/${answers[0].id}`)?.versions).toHaveLength(1);
  });

  it('what somebody has changed since it was read is not written over', async () => {
    const store = storeAt(server);
    const { id } = await store.import({ content, metadata, mark });
    server.after = ({ method, path }, answer) => {
      if (method === 'GET' && path === `secret/data/standby/${id}`)
        put(`standby/${id}`, { cert: 'theirs' }, server.secrets.get(`standby/${id}`)?.custom);
      return answer;
    };
    expect(await errorOf(store.reimport(id, renewed))).toMatchObject({
      code: 'store_unavailable',
      message: expect.stringContaining('somebody else changed it'),
    });
    expect(dataAt(`standby/${id}`)).toEqual({ cert: 'theirs' });
  });

  it('pitfall 11: a removal is waited for no longer than the caller likes, and goes on', async () => {
    const store = storeAt(server);
    const { id } = await store.import({ content, metadata, mark });
    const ending = new AbortController();
    server.after = ({ method }, answer) => {
      if (method === 'DELETE') ending.abort();
      return answer;
    };
    expect(await errorOf(store.delete(id, { signal: ending.signal }))).toMatchObject({ code: 'store_unanswered' });
    expect(server.secrets.has(`standby/${id}`)).toBe(false);
  });

  it('a policy without one right says which, and the line that mends it', async () => {
    const store = storeAt(server);
    server.before = ({ method, path }) =>
      method === 'POST' && path.startsWith('secret/data/')
        ? { status: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } }
        : undefined;
    expect(await errorOf(store.import({ content, metadata, mark }))).toMatchObject({
      code: 'store_unanswered',
      fields: {
        reason: 'no_right',
        capability: 'create',
        remedy: 'certstandby doctor says the whole line of its policy that create is missing from.',
      },
    });
  });

  it('metadata is written whole where a policy has no patch, and what others wrote there stays', async () => {
    put('standby/theirs', { cert: pem.leaf, key: pem.key }, { 'managed-by': 'somebody' });
    server.before = ({ method }) =>
      method === 'PATCH' ? { status: 403, body: { errors: ['permission denied'] } } : undefined;
    await storeAt(server).updateMetadata('theirs', metadata, mark);
    expect(server.secrets.get('standby/theirs')?.custom).toMatchObject({
      'managed-by': 'somebody',
      'certstandby-name': 'shop',
    });
  });
});

describe('a secret of which a removal has left half', () => {
  it('pitfall 11: is named in a listing, with what mends it, and hides none of the others', async () => {
    for (const name of ['api', 'half', 'web']) put(`standby/${name}`, { cert: pem.leaf, key: pem.key });
    server.before = ({ path }) =>
      /^secret\/(data|subkeys)\/standby\/half/.test(path)
        ? { status: 500, body: { errors: ['could not find version data'] } }
        : undefined;
    const page = await storeAt(server).list({});
    expect(page.certificates.map(({ id }) => id)).toEqual(['api', 'web']);
    expect(page.unreadable).toMatchObject([
      { id: 'half', place: 'secret/standby/half', error: { fields: { reason: 'half_removed' } } },
    ]);
    expect(page.unreadable?.[0]?.error.remedy).toContain('vault kv metadata delete');
  });

  it.each([
    [{ status: 500, body: { errors: ['could not find version data'] } }, true],
    [{ status: 403, body: { errors: ['permission denied'] } }, false],
    [{ status: 404, body: {} }, false],
  ])('whether the next listing asks for pages with metadata again, after %j: %j', async (answer, isAsked) => {
    put('standby/api', { cert: pem.leaf, key: pem.key });
    // So OpenBao says it, which alone has such pages.
    server.health.enterprise = undefined;
    server.before = ({ path }) => (path.startsWith('secret/detailed-metadata/') ? answer : undefined);
    const store = storeAt(server);
    expect((await store.list({})).certificates.map(({ id }) => id)).toEqual(['api']);
    const before = server.requests.length;
    expect((await store.list({})).certificates.map(({ id }) => id)).toEqual(['api']);
    const asked = server.requests.slice(before).some((request) => request.includes('detailed-metadata'));
    expect(asked).toBe(isAsked);
  });
});

describe('a path that the policy keeps from us', () => {
  it('is named, and hides none of the others', async () => {
    for (const name of ['shop', 'payroll', 'team/api', 'web']) put(`standby/${name}`, { cert: pem.leaf, key: pem.key });
    server.before = ({ path }) =>
      /standby\/(payroll|team)/.test(path) ? { status: 403, body: { errors: ['permission denied'] } } : undefined;
    const page = await storeAt(server).list({});
    expect(page.certificates.map(({ id }) => id)).toEqual(['shop', 'web']);
    expect(page.unreadable).toMatchObject([
      { place: 'secret/standby/team/', error: { code: 'store_unauthorized', fields: { reason: 'no_right' } } },
      { id: 'payroll', error: { code: 'store_unauthorized', fields: { reason: 'no_right' } } },
    ]);
  });
});

describe('a version that is deleted in future', () => {
  it('is there until then', async () => {
    put('standby/shop', { cert: pem.leaf + pem.chain, key: pem.key });
    const [version] = server.secrets.get('standby/shop')?.versions ?? [];
    if (version !== undefined) version.deletion_time = new Date(Date.now() + 3_600_000).toISOString();
    const store = storeAt(server);
    expect(await store.readMetadata('shop')).toMatchObject({ state: 'present' });
    expect((await listed(store)).certificates).toHaveLength(1);
  });
});

describe('who it is', () => {
  it('is the uuid of its mount, and the folder in it', async () => {
    expect(await storeAt(server).identity?.()).toBe(`${server.uuid}/standby`);
    server.uuid = 'another';
    expect(await storeAt(server).identity?.()).toBe('another/standby');
  });

  it('is refused where the mount is something else', async () => {
    const mounted = (data: unknown) => {
      server.before = ({ path }) => (path.startsWith('sys/internal/') ? { status: 200, body: { data } } : undefined);
    };
    mounted({ type: 'pki', uuid: 'u', options: null });
    expect(await errorOf(storeAt(server).list({}))).toMatchObject({
      code: 'store_refused',
      remedy: expect.stringContaining('saved with their keys'),
    });
    mounted({ type: 'transit', uuid: 'u', options: null });
    expect(await errorOf(storeAt(server).list({}))).toMatchObject({
      code: 'store_refused',
      message: expect.stringContaining('type transit'),
    });
    mounted({ type: 'kv', uuid: 'u', options: null });
    expect(await errorOf(storeAt(server, { version: 2 }).list({}))).toMatchObject({
      code: 'store_refused',
      message: expect.stringContaining('version 1'),
    });
    server.before = () => undefined;
    const error = await errorOf(storeAt(server, { mount: 'elsewhere' }).list({}));
    expect(error).toMatchObject({
      code: 'store_unauthorized',
      remedy: expect.stringContaining('Correct mount of the store'),
    });
  });

  it('is refused with a namespace that the server passes over', async () => {
    expect(await errorOf(storeAt(server, { namespace: 'team' }).list({}))).toMatchObject({
      code: 'store_refused',
      remedy: expect.stringContaining('Take namespace off the store'),
    });
    // An old OpenBao says nothing of itself: one namespace that nobody has proves it.
    server.health = { initialized: true, sealed: false, version: '2.1.0' };
    expect(await errorOf(storeAt(server, { namespace: 'team' }).list({}))).toMatchObject({ code: 'store_refused' });
    server.before = ({ headers }) =>
      String(headers['x-vault-namespace']).includes('certstandby-')
        ? { status: 404, body: { errors: ['namespace not found'] } }
        : undefined;
    expect(await storeAt(server, { namespace: 'team' }).list({})).toMatchObject({ certificates: [] });
  });
});

describe('of several who wait for the first answer', () => {
  it('one that goes away ends it for no other', async () => {
    let answer = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const waiting = storeAt(server, {
      send: async (request, options) => {
        if (request.url.endsWith('/sys/health')) await held;
        return sendOverNetwork(request, options);
      },
    });
    const leaving = new AbortController();
    const gone = waiting.list({ signal: leaving.signal });
    const stays = waiting.list({});
    leaving.abort();
    expect(await errorOf(gone)).toMatchObject({ code: 'store_unavailable' });
    answer();
    expect(await stays).toMatchObject({ certificates: [] });
  });
});

describe('what was written is read', () => {
  it('pitfall 6: by the index of the last write, from whichever node answers', async () => {
    const seen: unknown[] = [];
    server.before = ({ method, path, headers }) => {
      if (method === 'GET' && path.startsWith('secret/data/'))
        seen.push([headers['x-vault-index'], headers['x-vault-inconsistent']]);
      return undefined;
    };
    server.after = ({ method }, answer) => ({
      ...answer,
      headers: method === 'POST' ? { 'x-vault-index': 'opaque==' } : {},
    });
    const store = storeAt(server);
    const { id } = await store.import({ content, metadata, mark });
    await store.read(id);
    expect(seen).toEqual([['opaque==', 'forward-active-node']]);
  });
});

describe('a login', () => {
  const clock = (at: number): Runtime & { at: number } => ({
    ...systemRuntime,
    at,
    now() {
      return this.at;
    },
  });
  const logins = () => server.requests.filter((request) => request.endsWith('/login'));

  it('is made once, renewed after two thirds of its term, and made anew where a renewal is capped', async () => {
    const runtime = clock(Date.now());
    const bound = { ...runtime, now: () => runtime.at };
    const store = storeAt(server, {
      runtime: bound,
      login: { login: 'approle', roleId: 'r', secretId: new Secret('s') },
    });
    await Promise.all([store.list({}), store.list({}), store.identity?.()]);
    expect(logins()).toHaveLength(1);
    runtime.at += 2_500_000;
    await store.list({});
    await expect.poll(() => server.requests.filter((request) => request.endsWith('renew-self')).length).toBe(1);
    server.before = ({ path }) =>
      path === 'auth/token/renew-self'
        ? { status: 200, body: { auth: { client_token: 'x', lease_duration: 60, renewable: true } } }
        : undefined;
    runtime.at += 2_500_000;
    await store.list({});
    await expect.poll(() => server.requests.filter((request) => request.endsWith('renew-self')).length).toBe(2);
    runtime.at += 50_000;
    await store.list({});
    await expect.poll(() => logins().length).toBe(2);
  });

  it('that is no longer good in the middle of a pass is made anew, and the request sent once more', async () => {
    const store = storeAt(server, { login: { login: 'jwt', role: 'r', jwt: new Secret('j') } });
    const { id } = await store.import({ content, metadata, mark });
    server.tokens.clear();
    expect(await store.read(id)).toMatchObject({ state: 'present' });
    expect(logins()).toHaveLength(2);
  });

  it('whose role got other policies since is made anew once, and then the missing right is believed', async () => {
    const runtime = clock(Date.now());
    const bound = { ...runtime, now: () => runtime.at };
    const store = storeAt(server, { runtime: bound, login: { login: 'cert', role: 'r' } });
    await store.list({});
    server.before = ({ path }) =>
      path.startsWith('secret/data/') ? { status: 403, body: { errors: ['permission denied'] } } : undefined;
    runtime.at += 61_000;
    expect(await store.read('shop')).toMatchObject({ state: 'unreadable', error: { reason: 'no_right' } });
    expect(logins()).toHaveLength(2);
    expect(await store.read('shop')).toMatchObject({ state: 'unreadable', error: { reason: 'no_right' } });
    expect(logins()).toHaveLength(2);
  });

  it('is given back at the end where it was ours, and left where somebody gave it to us', async () => {
    const store = storeAt(server, { login: { login: 'approle', roleId: 'r', secretId: new Secret('s') } });
    await store.list({});
    await store.close?.();
    expect([...server.tokens.keys()]).toEqual(['hvs.root']);
    const given = storeAt(server);
    await given.list({});
    await given.close?.();
    expect([...server.tokens.keys()]).toEqual(['hvs.root']);
  });

  it('whose credentials are refused says what mends that, and shows nothing of them', async () => {
    server.before = ({ path }) =>
      path.endsWith('/login') ? { status: 400, body: { errors: ['invalid role or secret ID'] } } : undefined;
    const error = await errorOf(
      storeAt(server, { login: { login: 'approle', roleId: 'r', secretId: new Secret('very-secret') } }).list({}),
    );
    expect(error).toMatchObject({
      code: 'store_unauthorized',
      reason: 'login_refused',
      remedy: expect.stringContaining('secret id'),
    });
    expect(JSON.stringify(error.fields) + error.message).not.toContain('very-secret');
  });

  it('by a wrapped secret id unwraps it once; one that was unwrapped before was taken by somebody', async () => {
    let unwraps = 0;
    server.before = ({ path, token }) => {
      if (path !== 'sys/wrapping/unwrap') return undefined;
      unwraps += 1;
      return token === 'hvs.wrapping' && unwraps === 1
        ? { status: 200, body: { data: { secret_id: 'inside' } } }
        : { status: 400, body: { errors: ['wrapping token is not valid or does not exist'] } };
    };
    const login = {
      login: 'approle',
      roleId: 'r',
      secretId: new Secret('hvs.wrapping'),
      secretIdWrapped: true,
    } as const;
    const store = storeAt(server, { login });
    await store.list({});
    server.tokens.clear();
    await store.list({});
    expect(unwraps).toBe(1);
    expect(await errorOf(storeAt(server, { login }).list({}))).toMatchObject({
      code: 'store_unauthorized',
      remedy: expect.stringContaining('somebody else has'),
    });
  });

  it('of a service account gives its role and the token that Kubernetes has put there, read anew each time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-vault-'));
    try {
      const jwtFile = join(folder, 'token');
      const given: unknown[] = [];
      server.before = ({ path, body }) => {
        if (path === 'auth/cluster-a/login') given.push(body);
        return undefined;
      };
      writeFileSync(jwtFile, 'first\n');
      const store = storeAt(server, { login: { login: 'kubernetes', mount: 'cluster-a', role: 'r', jwtFile } });
      await store.list({});
      writeFileSync(jwtFile, 'second\n');
      server.tokens.clear();
      await store.list({});
      expect(given).toEqual([
        { role: 'r', jwt: 'first' },
        { role: 'r', jwt: 'second' },
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('by a token in a file reads that again when it is refused; one that stays refused is told', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-vault-'));
    try {
      const tokenFile = join(folder, 'token');
      writeFileSync(tokenFile, 'hvs.first\n');
      server.tokens.set('hvs.first', 3600);
      const store = storeAt(server, { login: { login: 'token', tokenFile } });
      await store.list({});
      server.tokens.delete('hvs.first');
      expect(await errorOf(store.list({}))).toMatchObject({ code: 'store_unauthorized', reason: 'no_token' });
      server.tokens.set('hvs.second', 3600);
      writeFileSync(tokenFile, 'hvs.second\n');
      expect(await store.list({})).toMatchObject({ certificates: [] });
      const missing = storeAt(server, { login: { login: 'token', tokenFile: join(folder, 'none') } });
      expect(await errorOf(missing.list({}))).toMatchObject({
        code: 'store_unavailable',
        remedy: expect.stringContaining(join(folder, 'none')),
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('a primary that is listed now and then', () => {
  it('tells of what is new, changed or gone, and of nothing else', async () => {
    put('standby/stays', { cert: pem.leaf, key: pem.key });
    put('standby/changes', { cert: pem.leaf, key: pem.key });
    put('standby/goes', { cert: pem.leaf, key: pem.key });
    let next = () => {};
    let waitsMs = 0;
    const runtime: Runtime = {
      ...systemRuntime,
      wait: (ms, signal) =>
        ms % 77_000 === 0
          ? new Promise((resolve) => {
              waitsMs = ms;
              next = resolve;
            })
          : systemRuntime.wait(ms, signal),
    };
    const store = storeAt(server, { runtime, pollMs: 77_000 });
    const told: string[] = [];
    let listings = 0;
    server.after = ({ query }, answer) => {
      if (query.get('list') === 'true') listings += 1;
      return answer;
    };
    const watching = store.watch?.((id) => told.push(id));
    const round = async () => {
      const before = listings;
      const wait = next;
      next = () => {};
      wait();
      await expect.poll(() => listings).toBeGreaterThan(before);
      await expect.poll(() => next !== wait && next.length === 1).toBe(true);
    };
    await expect.poll(() => next.length).toBe(1);
    expect(told).toEqual([]);
    put('standby/changes', { cert: pem.leaf + pem.chain, key: pem.key });
    put('standby/new', { cert: pem.leaf, key: pem.key });
    server.secrets.delete('standby/goes');
    await round();
    expect(told.sort()).toEqual(['changes', 'goes', 'new']);
    expect(waitsMs).toBe(77_000);

    // What cannot be listed has not gone, and what changes meanwhile is told of when it can.
    server.before = ({ query }) =>
      query.get('list') === 'true' ? { status: 503, body: { errors: ['Vault is sealed'] } } : undefined;
    put('standby/later', { cert: pem.leaf, key: pem.key });
    next();
    await expect.poll(() => waitsMs).toBe(154_000);
    expect(told.sort()).toEqual(['changes', 'goes', 'new']);
    server.before = () => undefined;
    await round();
    expect(told.sort()).toEqual(['changes', 'goes', 'later', 'new']);
    expect(waitsMs).toBe(77_000);
    watching?.close();
  });
});

async function listed(store: Store) {
  const all = { certificates: [], unreadable: [], vacant: [], passedOver: [] } as {
    certificates: Awaited<ReturnType<Store['list']>>['certificates'][number][];
    unreadable: NonNullable<Awaited<ReturnType<Store['list']>>['unreadable']>[number][];
    vacant: NonNullable<Awaited<ReturnType<Store['list']>>['vacant']>[number][];
    passedOver: NonNullable<Awaited<ReturnType<Store['list']>>['passedOver']>[number][];
  };
  let cursor: string | undefined;
  do {
    const page = await store.list(cursor === undefined ? {} : { cursor });
    all.certificates.push(...page.certificates);
    all.unreadable.push(...(page.unreadable ?? []));
    all.vacant.push(...(page.vacant ?? []));
    all.passedOver.push(...(page.passedOver ?? []));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return all;
}
