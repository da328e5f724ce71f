import { describe, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { limitedStore } from '../../src/store/limited.ts';
import { type MemoryStoreOptions, memoryStore } from '../../src/store/memory.ts';
import { testCertificate } from '../support/certificates.ts';
import { storeContract } from './contract.ts';

const make = (options: Partial<MemoryStoreOptions> = {}) =>
  memoryStore({ id: 'memory-1', region: 'eu-de', runtime: systemRuntime, pageSize: 3, ...options });
const underTest = (options?: Partial<MemoryStoreOptions>) => async () => {
  const store = make(options);
  const mends = store.abilities.reimportsInPlace;
  return { store, unknownId: 'nowhere', ...(mends && { damage: store.obscure }) };
};

const notIdempotent = 'switched off';
const lacks = { importIsIdempotent: notIdempotent, uniqueNames: 'switched off', findsMarks: 'switched off' };

storeContract('memory', underTest(), { lacks });
storeContract(
  'memory, with every ability',
  underTest({ abilities: { importIsIdempotent: true, uniqueNames: true, findsMarks: true } }),
);
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
  { lacks: { ...lacks, givesKeys: 'switched off', reimportsInPlace: 'switched off' } },
);
storeContract(
  'limited, around memory',
  async () => ({
    store: limitedStore(make({ abilities: { findsMarks: true } }), {
      runtime: systemRuntime,
      requestsPerSecond: 100_000,
      writesPerCertificatePerMinute: 5,
    }),
    unknownId: 'nowhere',
  }),
  { lacks: { importIsIdempotent: notIdempotent, uniqueNames: 'switched off' } },
);

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
