import { describe } from 'vitest';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type VaultStoreOptions, vaultStore } from '../../src/services/vault/store.ts';
import { vaultLacks as lacks, vaultLacksInVersion1 } from '../services/vault/lacks.ts';
import { type StoreUnderTest, storeContract } from '../store/contract.ts';
import { done, type OpenBao, requireOpenBao, startDevelopmentBao, startRaftBao } from './openbao.ts';

const found = requireOpenBao();

/** A store of one server, which the suite owns. */
function underTest(
  bao: OpenBao,
  options: Partial<VaultStoreOptions>,
  { mount = 'secret', prefix = 'standby' }: { readonly mount?: string; readonly prefix?: string } = {},
): StoreUnderTest {
  const store = vaultStore({
    id: 'contract',
    address: bao.url,
    region: 'here',
    mount,
    prefix,
    runtime,
    login: { login: 'token', token: new Secret(bao.root) },
    files: bao.caFile === undefined ? {} : { ca: bao.caFile },
    listingLagMs: 0,
    readSettlesMs: 0,
    pageSize: 3,
    ...options,
  });
  const path = (area: string, id: string) => `${mount}/${area}/${prefix}/${id}`;
  return {
    store,
    unknownId: 'nobody-0000000000000000',
    vacate: {
      deleted: (id) => done(bao, 'DELETE', path('data', id)),
      empty: async (id) => {
        const { data } = await done(bao, 'GET', path('metadata', id));
        await done(bao, 'PUT', path('destroy', id), { versions: [data.current_version] });
      },
      async 'half-made'(id) {
        const { data } = await done(bao, 'GET', path('metadata', id));
        await done(bao, 'DELETE', path('metadata', id));
        await done(bao, 'POST', path('metadata', id), { custom_metadata: data.custom_metadata });
      },
    },
    async close() {
      await store.close?.();
      await bao.close();
    },
  };
}

describe.skipIf(found === undefined)('a real OpenBao', () => {
  storeContract('vault, version 2 of the engine', async () => underTest(await startDevelopmentBao(), {}), { lacks });

  storeContract(
    'vault, version 2 of the engine, without the right to list metadata',
    async () => {
      const bao = await startDevelopmentBao();
      const policy = `path "secret/data/standby/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/standby/*" { capabilities = ["create", "read", "update", "list", "delete"] }`;
      await bao.ask('POST', 'sys/policies/acl/least', { policy });
      const { body } = await bao.ask('POST', 'auth/token/create', { policies: ['least'] });
      return underTest(bao, { login: { login: 'token', token: new Secret(body.auth.client_token) } });
    },
    { lacks },
  );

  storeContract(
    'vault, version 1 of the engine',
    async () => {
      const bao = await startDevelopmentBao();
      await bao.ask('POST', 'sys/mounts/old', { type: 'kv', options: { version: '1' } });
      const { vacate: _none, ...under } = underTest(bao, {}, { mount: 'old' });
      return under;
    },
    { lacks: vaultLacksInVersion1 },
  );

  storeContract(
    'vault on one Raft node with TLS, logged in by AppRole',
    async () => {
      const bao = await startRaftBao();
      const login = { login: 'approle', roleId: 'standby', secretId: new Secret('test-secret-id') } as const;
      return underTest(bao, { login, layout: 'tls' });
    },
    { lacks },
  );
});
