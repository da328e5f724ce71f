import { describe, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { drill } from '../../src/drill/drill.ts';
import { CodedError } from '../../src/errors.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import type { CertificateMetadata, Store } from '../../src/store/store.ts';
import { bundle, certify, certifyLeaf, newSigner } from '../support/bundles.ts';
import { testCa, testCertificate } from '../support/certificates.ts';

type Read = Store['read'];
/** Time passes at once: what does not answer at once never does. */
const hurried: Runtime = { ...systemRuntime, wait: () => new Promise((done) => setImmediate(done)) };

/**
 * A backup with a copy of `primary` for each of these, and the listing that fails where it is told
 * to.
 */
function backup(reads: Readonly<Record<string, Read>>, id = 'backup', listing?: () => Promise<never>): Store {
  const certificates = Object.keys(reads).map(
    (name): CertificateMetadata => ({
      id: name,
      name,
      description: '',
      tags: [],
      domains: [],
      mark: { store: 'primary', certificate: `of-${name}` },
    }),
  );
  const store: Partial<Store> = {
    id,
    abilities: { givesKeys: true } as Store['abilities'],
    list: async ({ cursor }) => {
      if (cursor !== undefined && listing) return listing();
      return { certificates, ...(listing && { cursor: 'next' }) };
    },
    read: async (copy, options) => (reads[copy] as Read)(copy, options),
  };
  return store as Store;
}

const good: Read = async (id) => ({
  state: 'present',
  value: {
    metadata: { id, name: id, description: '', tags: [], domains: [] },
    content: parseContent(await testCertificate()),
  },
});
const holding =
  (content: () => Promise<ReturnType<typeof parseContent>>): Read =>
  async (id) => ({
    state: 'present',
    value: { metadata: { id, name: id, description: '', tags: [], domains: [] }, content: await content() },
  });
const never: Read = () => new Promise(() => {});

async function drilled(backups: readonly Store[], runtime: Runtime = systemRuntime, signal?: AbortSignal) {
  const trust = [(await testCa()).rootPem];
  const link = { name: 'web', primary: { id: 'primary' }, backups };
  return drill(runtime, link, { trust, ...(signal && { signal }) });
}

describe('each copy gets a result, and the last one is drilled, whatever is wrong with those before:', () => {
  it.each<[string, Read, string, RegExp]>([
    [
      'a read that throws something uncoded',
      async () => {
        throw new TypeError('of undefined');
      },
      'unreadable',
      /of undefined/,
    ],
    [
      'one that cannot be read',
      async () => ({ state: 'unreadable', error: new CodedError('store_content_unreadable', 'it is a folder') }),
      'unreadable',
      /^it is a folder$/,
    ],
    ['one that vanished', async () => ({ state: 'absent' }), 'missing', /^it was listed/],
    [
      'one whose common name is static text, without other names',
      holding(async () => {
        const root = await newSigner('CN=Root');
        return parseContent(
          bundle(await certifyLeaf(root, { of: await newSigner('CN=Some Certificate'), names: undefined })),
        );
      }),
      'wrong-name',
      /common name is no host name/,
    ],
    [
      'one that is huge: three thousand names',
      holding(async () => {
        const root = await newSigner('CN=Root');
        const names = Array.from({ length: 3_000 }, (_, index) => ({ type: 'dns' as const, value: `${index}.a` }));
        return parseContent(bundle(await certifyLeaf(root, { names })));
      }),
      'cut-chain',
      /UNABLE_TO/,
    ],
  ])('%s', async (_, bad, failure, message) => {
    const report = await drilled([backup({ a: good, bad, z: good })]);
    expect(report.copies.map(({ copy, served }) => [copy, served])).toEqual([
      ['a', true],
      ['bad', false],
      ['z', true],
    ]);
    expect(report).toMatchObject({ kept: 3, served: 2, failed: 1, notDrilled: [] });
    expect(report.copies[1]).toMatchObject({ failure, message: expect.stringMatching(message) });
  });

  it('one that never answers', async () => {
    const report = await drilled([backup({ bad: never })], hurried);
    expect(report.copies).toMatchObject([
      {
        copy: 'bad',
        served: false,
        failure: 'unreadable',
        message: 'backup does not answer: given up after 120 seconds',
      },
    ]);
  });

  it('one that the store limits for a while is asked again', async () => {
    let tries = 0;
    const limited: Read = async (...asked) => {
      tries += 1;
      const error = new CodedError('store_limited', 'later', { fields: { retryAfterMs: 1 } });
      return tries === 1 ? { state: 'unreadable', error } : good(...asked);
    };
    expect(await drilled([backup({ limited })])).toMatchObject({ served: 1, failed: 0 });
  });
});

describe('a listing', () => {
  it('that breaks off is told, and what it gave before is drilled, as are the other backups', async () => {
    const broken = backup({ a: good }, 'broken', async () => {
      throw new CodedError('store_unavailable', 'the second page is gone');
    });
    const report = await drilled([broken, backup({ b: good }, 'whole')]);
    expect(report.copies.map(({ store, served }) => [store, served])).toEqual([
      ['broken', true],
      ['whole', true],
    ]);
    expect(report.notDrilled).toEqual([
      { store: 'broken', code: 'store_unavailable', message: 'the second page is gone' },
    ]);
  });

  it('that never answers is given up', async () => {
    const report = await drilled([backup({}, 'silent', () => new Promise(() => {}))], hurried);
    expect(report.notDrilled).toMatchObject([{ store: 'silent', code: 'store_unavailable' }]);
  });
});

it('ends at once when it is stopped, whatever it waits for', async () => {
  const stopping = new AbortController();
  const silent: Read = () => {
    stopping.abort();
    return new Promise(() => {});
  };
  await expect(drilled([backup({ silent, z: good })], systemRuntime, stopping.signal)).rejects.toMatchObject({
    code: 'interrupted',
  });
});

it('reports what is to be remarked on a chain that serves', async () => {
  const pem = await testCertificate();
  const root = await newSigner('CN=Stranger');
  const stranger = await certify({ of: root });
  const more = holding(async () =>
    parseContent({ ...pem, privateKey: pem.privateKey.copy(), intermediate: `${pem.intermediate}${stranger}` }),
  );
  const report = await drilled([backup({ more })]);
  expect(report.copies).toMatchObject([
    { served: true, remarks: ['CN=Stranger signed none of the others: clients have no use for it'] },
  ]);
});
