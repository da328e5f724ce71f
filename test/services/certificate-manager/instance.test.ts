import { createPublicKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseContent } from '../../../src/certificate/pem.ts';
import { asCodedError } from '../../../src/errors.ts';
import { type HttpSend, sendOverNetwork } from '../../../src/http/client.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import {
  type CertificateManagerOptions,
  certificateManagerStore,
} from '../../../src/services/certificate-manager/store.ts';
import type { Store } from '../../../src/store/store.ts';
import { storeContract } from '../../store/contract.ts';
import { mismatchedKey, testCertificate } from '../../support/certificates.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../../support/instance.ts';
import { startLaggingProxy } from '../../support/lagging-proxy.ts';

/**
 * Pages of three instead of two hundred, so that a listing of several pages needs few certificates.
 */
const smallPages: HttpSend = (request, options) =>
  sendOverNetwork({ ...request, url: request.url.replace('page_size=200', 'page_size=3') }, options);

const storeOf = (
  instance: Pick<TestInstance, 'url' | 'crn' | 'apiKey'>,
  apiKey = instance.apiKey,
  bounds: Pick<CertificateManagerOptions, 'listingLagMs' | 'readSettlesMs'> = {},
): Store =>
  certificateManagerStore({
    instance: instance.crn,
    apiKey: new Secret(apiKey),
    endpoint: instance.url,
    iamUrl: instance.url,
    runtime: systemRuntime,
    send: smallPages,
    ...bounds,
  });

const refusedContent = async () => parseContent(await testCertificate({ domains: ['other.example.test'] }));

const lacks = {
  deleted: 'what is deleted is gone',
  'half-made': 'a certificate is made with its content, or not',
  empty: 'a certificate has content',
  importIsIdempotent: 'an import takes no token, and names are not unique',
  longWrites: 'its answers say that it is done',
  uniqueNames: 'the service allows a name twice',
  findsMarks: 'how its search is called is not documented',
  idsAreReferredTo: 'whoever uses a certificate of it has downloaded it',
  refuses: 'an instance of our own takes every kind of key that the program takes',
  same: 'it gives back the chain that it was given',
  identity: 'the CRN of the instance is its id, and nobody chose that',
  silentListings: 'a listing has serial and dates',
  store_quota_used_up: 'how it says that is not documented',
  store_held: 'it knows no locks',
  store_in_use: 'it does not know who uses a certificate',
};

storeContract(
  'certificate-manager, at our own instance',
  async () => {
    const instance = await startTestInstance();
    return {
      store: storeOf(instance),
      unknownId: 'f'.repeat(32),
      refusedContent,
      close: () => instance.close(),
    };
  },
  { lacks: { ...lacks, lag: 'a read asks the document itself' } },
);

// What was written since the last `settle` shows nowhere, however long that takes.
storeContract(
  'certificate-manager, at our own instance, where reads and listings lag',
  async () => {
    const instance = await startTestInstance();
    const lagging = await startLaggingProxy(instance.url);
    let settledAt = performance.now();
    lagging.shownAt = () => settledAt;
    return {
      store: storeOf({ ...instance, url: lagging.url }, instance.apiKey, { listingLagMs: 1_000, readSettlesMs: 1_000 }),
      unknownId: 'f'.repeat(32),
      refusedContent,
      settle: async () => {
        settledAt = performance.now();
      },
      close: async () => {
        await Promise.all([lagging.close(), instance.close()]);
      },
    };
  },
  { lacks },
);

describe('certificate-manager at our own instance', () => {
  let instance: TestInstance;
  let store: Store;
  const metadata = { name: 'shop', description: '', tags: [] };
  const content = async (domains = ['shop.example.test']) => parseContent(await testCertificate({ domains }));
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'succeeded',
      (thrown: unknown) => asCodedError(thrown).code,
    );

  beforeAll(async () => {
    instance = await startTestInstance();
    store = storeOf(instance);
  });
  afterAll(() => instance.close());

  it('refuses content for other domains, and content whose key does not belong to it', async () => {
    const { id } = await store.import({ content: await content(), metadata });
    expect(await codeOf(store.reimport(id, await content(['other.example.test'])))).toBe('store_content_refused');
    const mismatched = parseContent(await mismatchedKey());
    expect(await codeOf(store.import({ content: mismatched, metadata }))).toBe('store_content_refused');
  });

  it('lets a reader see metadata and listings, and neither keys nor writes', async () => {
    const { id } = await store.import({ content: await content(), metadata });
    const reader = storeOf(instance, apiKeyOf('reader'));
    expect(await reader.readMetadata(id)).toMatchObject({ state: 'present' });
    expect((await reader.list({})).certificates.length).toBeGreaterThan(0);
    expect(await reader.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_unauthorized' } });
    expect(await codeOf(reader.delete(id))).toBe('store_unauthorized');
  });

  it('gives nothing to an API key that it does not know', async () => {
    expect(await storeOf(instance, 'unknown').readMetadata('f'.repeat(32))).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_unauthorized', fields: { serviceCode: 'BXNIM0415E' } },
    });
  });

  it('gives the public key of its notifications', async () => {
    const key = createPublicKey((await store.notificationKey?.()) ?? '');
    expect(key.asymmetricKeyType).toBe('rsa');
  });

  it('says when it allows the sixth reimport within a minute', async () => {
    const limited = await startTestInstance({ limits: { reimportsPerMinute: 5 } });
    try {
      const narrow = storeOf(limited);
      const given = await content();
      const { id } = await narrow.import({ content: given, metadata });
      for (let n = 0; n < 5; n++) expect(await codeOf(narrow.reimport(id, given))).toBe('succeeded');
      const error = await narrow.reimport(id, given).catch(asCodedError);
      expect(error).toMatchObject({ code: 'store_limited' });
      expect(asCodedError(error).retryAfterMs).toBeGreaterThan(0);
      expect(asCodedError(error).retryAfterMs).toBeLessThanOrEqual(60_000);
    } finally {
      await limited.close();
    }
  });
});
