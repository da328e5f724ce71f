import { describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { type IdentityBook, identifiedStore } from '../../src/store/identified.ts';
import { limitedStore } from '../../src/store/limited.ts';
import { type MemoryStore, type MemoryStoreOptions, memoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { type StoreUnderTest, storeContract } from './contract.ts';

const make = (options: Partial<MemoryStoreOptions> = {}) =>
  memoryStore({ id: 'memory-1', region: 'eu-de', runtime: systemRuntime, pageSize: 3, ...options });

/** What people, and quotas, do to a memory store. */
const handsOf = ({ hold, allow, vacate }: MemoryStore): Pick<StoreUnderTest, 'refusing' | 'vacate'> => ({
  vacate: {
    deleted: (id) => vacate(id, 'deleted'),
    'half-made': (id) => vacate(id, 'half-made'),
    empty: (id) => vacate(id, 'empty'),
  },
  refusing: {
    store_quota_used_up: () => {
      allow(0);
      return () => allow(undefined);
    },
    store_held: (id) => {
      hold(id, 'store_held');
      return () => hold(id, undefined);
    },
    store_in_use: (id) => {
      hold(id, 'store_in_use');
      return () => hold(id, undefined);
    },
  },
});
const underTest = (options?: Partial<MemoryStoreOptions>) => async (): Promise<StoreUnderTest> => {
  const store = make(options);
  const mends = store.abilities.reimportsInPlace;
  return { store, unknownId: 'nowhere', ...(mends && { damage: store.obscure, ...handsOf(store) }) };
};

const off = 'switched off';
const lacks = {
  importIsIdempotent: off,
  uniqueNames: off,
  findsMarks: off,
  idsAreReferredTo: off,
  refuses: off,
  same: off,
  identity: off,
  lag: off,
  silentListings: off,
  longWrites: off,
  store_content_refused: off,
};

const reversed = (chain: CertificateContent['chain']) => chain.toReversed();

/** A store of another kind: it refuses, reshapes, lags and is referred to, and says so. */
const unlikeOurs = async (wrap: (store: MemoryStore, runtime: Runtime) => Store): Promise<StoreUnderTest> => {
  let now = Date.now();
  const runtime = { ...systemRuntime, now: () => now };
  const abilities = {
    importIsIdempotent: true,
    uniqueNames: true,
    findsMarks: true,
    idsAreReferredTo: true,
    listingLagMs: 30_000,
    readSettlesMs: 20_000,
    silentListings: true as const,
    longWrites: { import: 20_000, reimport: 20_000, delete: 20_000 },
  };
  const until = now + 86_400_000;
  const store = make({
    ...{ runtime, abilities, lags: true, provesIdentity: true, longWritesTakeMs: 10_000 },
    reshapes: ({ chain }) => reversed(chain),
    refuses: (content) => {
      const { domains } = factsOf(content);
      if (domains.includes('never.example.test')) return { why: 'it is for that domain' };
      return domains.includes('later.example.test') ? { why: 'not before that day', until } : undefined;
    },
  });
  const contentFor = async (domain: string) => parseContent(await testCertificate({ domains: [domain] }));
  return {
    store: wrap(store, runtime),
    unknownId: 'nowhere',
    damage: store.obscure,
    reshaped: reversed,
    settle: async () => {
      // The end of what goes on, and then the lag of what it left.
      now += 10_000;
      await store.readMetadata('nowhere');
      now += 30_000;
    },
    refusedContent: () => contentFor('never.example.test'),
    refusedUntil: async () => ({ content: await contentFor('later.example.test'), until }),
    ...handsOf(store),
  };
};

storeContract('memory', underTest(), { lacks });
storeContract('memory, with every ability', () => unlikeOurs((store) => store));
storeContract(
  'memory, as poor as can be',
  underTest({
    abilities: { givesKeys: false, reimportsInPlace: false },
    marks: 'description',
    givesRevisions: false,
    writesAnswerMetadata: false,
    nameCharacters: 40,
    descriptionCharacters: 300,
  }),
  {
    lacks: {
      ...lacks,
      givesKeys: off,
      reimportsInPlace: off,
      store_quota_used_up: off,
      store_held: off,
      store_in_use: off,
      deleted: off,
      'half-made': off,
      empty: off,
    },
  },
);
storeContract('memory, with little room beside its tags', underTest({ markCharacters: 256 }), {
  lacks,
  roomForMarks: 256,
});
storeContract(
  'memory, with little room in its descriptions',
  underTest({ marks: 'description', descriptionCharacters: 100 }),
  { lacks, roomForMarks: 100 },
);
storeContract('limited and identified, around memory with every ability', () =>
  unlikeOurs((store, runtime) =>
    limitedStore(identifiedStore(store, { runtime, book: bookInMemory(), configured: new Set(), everyMs: 60_000 }), {
      runtime,
      requestsPerSecond: 100_000,
      writesPerCertificatePerMinute: 5,
    }),
  ),
);

/** Which identity a store proved, forgotten when the test ends. */
function bookInMemory(): IdentityBook {
  const bound = new Map<string, string>();
  return {
    identityOf: async (store) => bound.get(store),
    holderOf: async (identity) => [...bound].find(([, held]) => held === identity)?.[0],
    async bindIdentity(store, identity) {
      bound.set(store, bound.get(store) ?? identity);
      return bound.get(store) as string;
    },
  };
}

describe('the memory store, as a person at its console sees it', () => {
  const entry = async () => ({
    content: parseContent(await testCertificate()),
    metadata: { name: 'shop', description: '', tags: [] },
  });

  it('takes certificates that someone else puts there, under an id of their choice', async () => {
    const store = make();
    expect(store.put(await entry(), 'mine')).toBe('mine');
    expect(store.size()).toBe(1);
    expect(await store.readMetadata('mine')).toMatchObject({ state: 'present', value: { id: 'mine', name: 'shop' } });
  });

  it('corrupts content without a trace in the metadata, until it is replaced', async () => {
    const store = make();
    const given = await entry();
    const id = store.put(given);
    const before = await store.readMetadata(id);
    store.corrupt(id);
    expect(await store.readMetadata(id)).toEqual(before);
    const reading = await store.read(id);
    expect(reading).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
    await store.reimport(id, given.content);
    expect(await store.read(id)).toMatchObject({ state: 'present' });
  });

  it('cannot corrupt what is not there', () => {
    expect(() => make().corrupt('nowhere')).toThrow(CodedError);
  });

  it('says when and that a certificate changed', async () => {
    let now = 1_700_000_000_000;
    const store = make({ runtime: { ...systemRuntime, now: () => now } });
    const given = await entry();
    const id = store.put(given);
    now += 1000;
    await store.reimport(id, given.content);
    expect(await store.readMetadata(id)).toMatchObject({
      value: { revision: '2', lastModified: 1_700_000_001_000 },
    });
  });
});
