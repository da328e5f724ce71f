import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { acmStore } from '../../../src/services/aws-acm/store.ts';
import { type StoreUnderTest, storeContract } from '../../store/contract.ts';
import { testCa, testCertificate } from '../../support/certificates.ts';
import { startFakeAcm } from '../../support/fake-acm.ts';

/** Roots of the authorities of the suite, which the fake completes chains with. */
async function rootsOf(): Promise<ReadonlyMap<string, CertificateContent['leaf']>> {
  const roots = new Map<string, CertificateContent['leaf']>();
  for (const intermediates of [0, 1, 2, 3]) {
    const ca = await testCa({ intermediates });
    const issued = await ca.issue({ domains: ['root.example.test'], includeRoot: true });
    const root = parseContent(issued).chain.at(-1);
    if (root !== undefined) roots.set(root.fingerprint256, root);
  }
  return roots;
}

storeContract(
  'aws-acm',
  async (): Promise<StoreUnderTest> => {
    const roots = [...(await rootsOf()).values()];
    const fake = await startFakeAcm({ roots: roots.map((root) => root.toString()) });
    const store = acmStore({
      region: 'eu-west-1',
      account: '123456789012',
      endpoint: fake.url,
      key: { accessKeyId: 'testing', secretAccessKey: new Secret('testing') },
      // The pauses between tags are the only waits.
      runtime: { ...systemRuntime, wait: async () => {} },
      pageSize: 3,
      readSettlesMs: 0,
      listingLagMs: 0,
    });
    const tomorrow = Date.now() + 86_400_000;
    return {
      store,
      unknownId: 'arn:aws:acm:eu-west-1:123456789012:certificate/99999999-0000-4000-8000-000000000000',
      reshaped(chain) {
        const end = chain.at(-1);
        const root = roots.find((one) => end !== undefined && !end.raw.equals(one.raw) && end.verify(one.publicKey));
        return root === undefined ? chain : [...chain, root];
      },
      refusedContent: async () => parseContent(await testCertificate({ keyKind: 'ed25519' })),
      refusedUntil: async () => ({
        content: parseContent(await testCertificate({ notBefore: Math.floor(tomorrow / 1_000) * 1_000 })),
        until: Math.floor(tomorrow / 1_000) * 1_000,
      }),
      refusing: {
        store_in_use(id) {
          fake.use(id, 'arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/1');
          return () => fake.use(id, undefined);
        },
        store_quota_used_up() {
          fake.quota = 0;
          return () => {
            fake.quota = Number.POSITIVE_INFINITY;
          };
        },
      },
      close: fake.close,
    };
  },
  {
    refusesKeys: {
      ed25519: 'ACM has no such keys',
      'rsa-pss-2048': 'ACM has no such keys',
      keyless: 'ACM wants the key',
    },
    lacks: {
      givesKeys: 'ACM never gives back what was imported',
      importIsIdempotent: 'nothing in an import can make it so',
      uniqueNames: 'names are tags',
      identity: 'its account is in its id, and is looked at',
      silentListings: 'a listing has the moment of the import',
      lag: 'the fake shows every write at once',
      longWrites: 'what is answered is done',
      deleted: 'what is deleted is gone',
      'half-made': 'tags and content come with the import',
      empty: 'content is replaced, and not taken out',
      store_held: 'ACM has no locks',
    },
  },
);
