import { describe, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type StoreUnderTest, storeContract } from '../store/contract.ts';
import { testCertificate } from '../support/certificates.ts';
import { startFaultyProxy } from '../support/faulty-proxy.ts';
import { startCabinet } from './cabinet/server.ts';
import { openStore } from './cabinet/store.ts';

const pin = 'open sesame';

async function underTest(uniqueNames: boolean): Promise<StoreUnderTest> {
  const server = await startCabinet({ pin, uniqueNames, pageSize: 3 });
  return {
    store: storeAt(server.url, uniqueNames),
    unknownId: 'p999999999',
    vacate: { 'half-made': server.empty },
    close: server.close,
  };
}

function storeAt(endpoint: string, uniqueNames: boolean) {
  const config = { name: 'cabinet', kind: 'cabinet', region: 'here', label: 'hall', endpoint, uniqueNames } as const;
  const secret = (given: unknown) => given as Secret;
  return openStore({ ...config, pin: new Secret(pin) }, { runtime, secret });
}

const lacks = {
  importIsIdempotent: 'each makes a place',
  findsMarks: 'it is listed',
  idsAreReferredTo: 'nobody refers to places',
  refuses: 'it takes all content',
  same: 'it gives back what it was given',
  identity: 'it has none',
  silentListings: 'a listing has revisions',
  lag: 'reads show every write',
  longWrites: 'what is answered is done',
  deleted: 'what is deleted is gone',
  empty: 'content is replaced, and not taken out',
  store_content_refused: 'it takes all content',
  store_quota_used_up: 'it has none',
  store_held: 'it knows no locks',
  store_in_use: 'it knows of no use',
};

storeContract('cabinet', () => underTest(false), { lacks: { ...lacks, uniqueNames: 'ids are its own' } });
storeContract('cabinet whose names are unique', () => underTest(true), { lacks });

describe('an import into a cabinet', () => {
  it.each([false, true])(
    'that fails between its two requests leaves a half made place, which the next one fills (names unique: %s)',
    async (uniqueNames) => {
      const server = await startCabinet({ pin, uniqueNames });
      const network = await startFaultyProxy(server.url);
      const store = storeAt(network.url, uniqueNames);
      const mark = { store: 'primary', certificate: 'one' };
      const entry = {
        content: parseContent(await testCertificate()),
        metadata: { name: 'shop', description: '', tags: [] },
        mark,
      };
      network.behave = ({ method }) => (method === 'PUT' ? 'drop' : 'pass');
      await expect(store.import(entry)).rejects.toMatchObject({ code: 'store_unanswered' });
      const { certificates, vacant } = await store.list({});
      expect(certificates).toEqual([]);
      expect(vacant).toMatchObject([{ why: 'half-made', mark }]);
      network.behave = () => 'pass';
      const id = vacant?.[0]?.id ?? '';
      expect((await store.import(uniqueNames ? entry : { ...entry, into: id })).id).toBe(id);
      const after = await store.list({});
      expect(after.certificates).toMatchObject([{ id, mark }]);
      expect(after.vacant).toBeUndefined();
      await Promise.all([network.close(), server.close()]);
    },
  );
});
