import { createPrivateKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { asCodedError } from '../../src/errors.ts';
import { formatMark, type Mark } from '../../src/store/mark.ts';
import {
  type CertificateMetadata,
  type DescriptiveMetadata,
  keyAnswerOf,
  type Reading,
  type Store,
  type StoreAbilities,
  type UnreadableElement,
} from '../../src/store/store.ts';
import { type TestCertificateOptions, testCertificate } from '../support/certificates.ts';

export interface StoreUnderTest {
  readonly store: Store;
  /** An id in the shape of this store's ids that no certificate has. */
  readonly unknownId: string;
  /** Damages what stands beside a certificate, so that nobody can read whose copy it is; absent where that cannot happen. */
  damage?(id: string): void;
  close?(): Promise<void>;
}

type Yes = 'givesKeys' | 'reimportsInPlace' | 'importIsIdempotent' | 'uniqueNames' | 'findsMarks';

export interface ContractOptions {
  /** The abilities that this kind does not have, each with the reason. It must have all others. */
  readonly lacks?: Partial<Record<Yes, string>>;
  /** Certificates to import for a listing of several pages. The store must give at most three on a page. */
  readonly severalPages?: number;
}

const primary = 'crn:v1:bluemix:public:cloudcerts:eu-gb:a/00000000000000000000000000000002:contract::';
const markOf = (certificate: string): Mark => ({ store: primary, certificate });
const plain: DescriptiveMetadata = { name: 'shop', description: 'the shop', tags: [] };

/** The suite of the contract `Store`. One store serves all tests, so each looks only at what it made itself. */
export function storeContract(kind: string, make: () => Promise<StoreUnderTest>, options: ContractOptions = {}): void {
  const { lacks = {}, severalPages = 7 } = options;
  const has = (ability: Yes) => lacks[ability] === undefined;

  describe(`the store contract: ${kind}`, () => {
    let under: StoreUnderTest;
    let store: Store;
    let certificate: CertificateContent;
    let renewed: CertificateContent;
    let names = 0;

    /** Names are not used twice unless the test is about that. */
    const fresh = (metadata: Partial<DescriptiveMetadata> = {}): DescriptiveMetadata => {
      names += 1;
      return { ...plain, name: `shop ${names}`, ...metadata };
    };
    const imported = async (metadata = fresh(), mark?: Mark, content = certificate): Promise<string> =>
      (await store.import({ content, metadata, ...(mark && { mark }) })).id;
    const held = async (id: string) => present(await store.readMetadata(id));
    const everything = () => listAll(store);

    beforeAll(async () => {
      under = await make();
      store = under.store;
      certificate = await content();
      renewed = await content();
    });
    afterAll(() => under.close?.());

    describe('what it says of itself', () => {
      it('has an id without white space, a kind and a region', () => {
        expect(store.id).toMatch(/^\S+$/);
        expect(store.kind).toMatch(/^[a-z-]+$/);
        expect(store.region).toMatch(/^\S+$/);
      });

      it('states its bounds', () => {
        const { settlesMs, listingLagMs, readSettlesMs } = store.abilities;
        for (const bound of [settlesMs, listingLagMs, readSettlesMs]) expect(bound).toBeGreaterThanOrEqual(0);
      });

      for (const ability of [
        'givesKeys',
        'reimportsInPlace',
        'importIsIdempotent',
        'uniqueNames',
        'findsMarks',
      ] as const)
        it(has(ability) ? `has ${ability}` : `lacks ${ability}: ${lacks[ability]}`, () => {
          expect(store.abilities[ability satisfies keyof StoreAbilities]).toBe(has(ability));
        });

      it('has findByMark exactly if it says so', () => {
        expect(store.findByMark !== undefined).toBe(store.abilities.findsMarks);
      });
    });

    describe('import and read', () => {
      for (const keyKind of ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const)
        it(`gives back a certificate with a key of kind ${keyKind}`, async () => {
          const original = await content({ keyKind });
          const id = await imported(fresh(), undefined, original);
          const stored = present(await store.read(id));
          expect(fingerprintOf(stored.content)).toBe(fingerprintOf(asGiven(original)));
          if (has('givesKeys')) expect(keyDer(stored.content)).toEqual(keyDer(original));
          expect(keyAnswerOf(stored)).toBe(has('givesKeys') ? 'given' : 'withheld');
        });

      it.each([
        ['a leaf without chain', { intermediates: 0 }],
        ['a chain of three and the root', { intermediates: 3, includeRoot: true }],
        ['a wildcard', { domains: ['*.example.test', 'example.test'] }],
      ])('gives back %s', async (_, request) => {
        const original = await content(request);
        const stored = present(await store.read(await imported(fresh(), undefined, original)));
        expect(fingerprintOf(stored.content)).toBe(fingerprintOf(asGiven(original)));
        expect(stored.metadata.domains).toEqual(factsOf(original).domains);
      });

      it('gives back a certificate that came without a private key', async () => {
        const { leaf, chain } = certificate;
        const stored = present(await store.read(await imported(fresh(), undefined, { leaf, chain })));
        expect(keyAnswerOf(stored)).toBe('none');
        expect(fingerprintOf(stored.content)).toBe(fingerprintOf({ leaf, chain }));
      });

      it('says of the certificate what the certificate says', async () => {
        const metadata = await held(await imported());
        const facts = factsOf(certificate);
        expect(metadata.domains).toEqual(['shop.example.test']);
        expect(metadata.issuer ?? facts.issuer).toBe(facts.issuer);
        expect(metadata.serial ?? facts.serial).toBe(facts.serial);
        expect(metadata.notBefore ?? facts.notBefore).toBe(facts.notBefore);
        expect(metadata.notAfter ?? facts.notAfter).toBe(facts.notAfter);
      });

      it('says the same in a read in full, a read of metadata and a listing', async () => {
        const id = await imported(fresh({ description: 'two\nlines' }), markOf('same-everywhere'));
        const metadata = await held(id);
        expect(present(await store.read(id)).metadata).toEqual(metadata);
        expect((await everything()).filter((listed) => listed.id === id)).toEqual([metadata]);
      });

      it('answers an import with what a read then gives', async () => {
        const answer = await store.import({ content: certificate, metadata: fresh(), mark: markOf('answer') });
        if (answer.metadata !== undefined) expect(answer.metadata).toEqual(await held(answer.id));
      });

      it('keeps its own copy of the key', async () => {
        const given = await content();
        const id = await imported(fresh(), undefined, given);
        const before = present(await store.read(id)).content;
        given.privateKey?.pem.wipe();
        before.privateKey?.pem.wipe();
        if (has('givesKeys')) expect(keyDer(present(await store.read(id)).content).length).toBeGreaterThan(0);
      });
    });

    describe('import again', () => {
      it(has('importIsIdempotent') ? 'makes one certificate for one token' : 'makes another one', async () => {
        const [one, two] = [fresh(), fresh()];
        const mark = markOf('again');
        const first = await store.import({ content: certificate, metadata: one, mark, token: 'token-1' });
        const second = await store.import({
          content: certificate,
          metadata: has('importIsIdempotent') ? one : two,
          mark,
          token: 'token-1',
        });
        expect(second.id === first.id).toBe(has('importIsIdempotent'));
        const copies = (await everything()).filter((listed) => listed.mark?.certificate === 'again');
        expect(copies).toHaveLength(has('importIsIdempotent') ? 1 : 2);
      });

      if (has('uniqueNames'))
        it('refuses a name that is taken, at import and at update', async () => {
          const taken = fresh();
          const id = await imported(taken);
          const other = await imported();
          expect(await codeOf(store.import({ content: certificate, metadata: taken }))).toBe('store_conflict');
          expect(await codeOf(store.updateMetadata(other, taken, undefined))).toBe('store_conflict');
          expect((await store.updateMetadata(id, taken, undefined)).id).toBe(id);
        });
      else
        it('allows a name twice', async () => {
          const metadata = fresh();
          expect(await imported(metadata)).not.toBe(await imported(metadata));
        });
    });

    describe('list', () => {
      it('gives each certificate once over several pages, and ends', async () => {
        const made = [];
        for (let n = 0; n < severalPages; n++) made.push(await imported(fresh(), markOf('page')));
        const seen: string[] = [];
        let pages = 0;
        let cursor: string | undefined;
        do {
          const page = await store.list(cursor === undefined ? {} : { cursor });
          seen.push(...page.certificates.map(({ id }) => id));
          cursor = page.cursor;
          pages += 1;
        } while (cursor !== undefined);
        expect(pages).toBeGreaterThan(2);
        expect(made.every((id) => seen.filter((listed) => listed === id).length === 1)).toBe(true);
        expect(new Set(seen).size).toBe(seen.length);
      });

      it('refuses nothing and skips nothing when certificates vanish between two pages', async () => {
        const made = [];
        for (let n = 0; n < severalPages; n++) made.push(await imported(fresh(), markOf('vanish')));
        const first = await store.list({});
        await Promise.all(first.certificates.map(({ id }) => store.delete(id)));
        const gone = new Set(first.certificates.map(({ id }) => id));
        const rest = await listAll(store, first.cursor);
        expect(rest.map(({ id }) => id)).toEqual(expect.arrayContaining(made.filter((id) => !gone.has(id))));
      });
    });

    describe('reimport', () => {
      if (!has('reimportsInPlace')) {
        it('is refused', async () => {
          const id = await imported();
          expect(await codeOf(store.reimport(id, renewed))).toBe('store_content_refused');
          expect(fingerprintOf(present(await store.read(id)).content)).toBe(fingerprintOf(asGiven(certificate)));
        });
        return;
      }

      it('replaces the content and keeps id, name, description and mark', async () => {
        const metadata = fresh({ description: 'kept\nas it is' });
        const mark = markOf('reimport');
        const id = await imported(metadata, mark);
        const before = await held(id);
        const answer = await store.reimport(id, renewed);
        expect(answer.id).toBe(id);
        const after = present(await store.read(id));
        expect(fingerprintOf(after.content)).toBe(fingerprintOf(asGiven(renewed)));
        expect(after.metadata).toMatchObject({ ...store.asKept(metadata, mark), mark });
        if (answer.metadata !== undefined) expect(answer.metadata).toEqual(after.metadata);
        if (before.revision !== undefined) expect(after.metadata.revision).not.toBe(before.revision);
      });

      it('may be repeated', async () => {
        const id = await imported(fresh(), markOf('reimport-twice'));
        await store.reimport(id, renewed);
        await store.reimport(id, renewed);
        expect(fingerprintOf(present(await store.read(id)).content)).toBe(fingerprintOf(asGiven(renewed)));
        expect((await everything()).filter(({ mark }) => mark?.certificate === 'reimport-twice')).toHaveLength(1);
      });

      it('takes a chain away that the new content does not have', async () => {
        const id = await imported();
        const { leaf, privateKey } = renewed;
        const alone = { leaf, chain: [], ...(privateKey && { privateKey }) };
        await store.reimport(id, alone);
        expect(fingerprintOf(present(await store.read(id)).content)).toBe(fingerprintOf(asGiven(alone)));
      });
    });

    describe('update of metadata', () => {
      it('replaces name, description and mark, and leaves the content', async () => {
        const id = await imported(fresh(), markOf('before'));
        const metadata = fresh({ description: 'another text' });
        const answer = await store.updateMetadata(id, metadata, markOf('after'));
        expect(answer.id).toBe(id);
        const after = present(await store.read(id));
        expect(after.metadata).toMatchObject({ ...store.asKept(metadata, markOf('after')), mark: markOf('after') });
        expect(fingerprintOf(after.content)).toBe(fingerprintOf(asGiven(certificate)));
        if (answer.metadata !== undefined) expect(answer.metadata).toEqual(after.metadata);
      });

      it('takes the mark off, and may be repeated', async () => {
        const metadata = fresh();
        const id = await imported(metadata, markOf('off'));
        await store.updateMetadata(id, metadata, undefined);
        await store.updateMetadata(id, metadata, undefined);
        const after = await held(id);
        expect(after.mark).toBeUndefined();
        expect(after.description).toBe('the shop');
      });

      it('can empty the description', async () => {
        const id = await imported(fresh({ description: 'no longer true' }), markOf('empty'));
        await store.updateMetadata(id, fresh({ description: '' }), markOf('empty'));
        expect(await held(id)).toMatchObject({ description: '', mark: markOf('empty') });
      });
    });

    describe('delete and what is not there', () => {
      it('removes a certificate, and succeeds again', async () => {
        const id = await imported();
        await store.delete(id);
        await store.delete(id);
        expect(await store.read(id)).toEqual({ state: 'absent' });
        expect(await store.readMetadata(id)).toEqual({ state: 'absent' });
        expect((await everything()).some((listed) => listed.id === id)).toBe(false);
      });

      it('answers absent for an id that it does not know, and store_gone to a write', async () => {
        const { unknownId } = under;
        expect(await store.read(unknownId)).toEqual({ state: 'absent' });
        expect(await store.readMetadata(unknownId)).toEqual({ state: 'absent' });
        expect(await codeOf(store.reimport(unknownId, renewed))).toBe('store_gone');
        expect(await codeOf(store.updateMetadata(unknownId, fresh(), undefined))).toBe('store_gone');
      });
    });

    describe('asKept', () => {
      const foreign = formatMark({ store: 'another-store', certificate: 'another-id' });
      const described: readonly (readonly [string, Partial<DescriptiveMetadata>])[] = [
        ['an empty description', { description: '' }],
        ['several lines', { description: 'one\n\nthree \n' }],
        ['lines of Windows', { description: 'one\r\ntwo\r\n' }],
        ['a description that is too long', { description: 'x'.repeat(5000) }],
        ['a long description of several lines', { description: 'line\n'.repeat(1000) }],
        ['a long description of pairs, one of them at the cut', { description: `a${'😀'.repeat(2000)}` }],
        ['other scripts', { description: 'Zertifikat für Łódź, 東京, عمّان' }],
        ['half a surrogate pair', { description: 'broken \ud83d end' }],
        ['a mark as its last line', { description: `mine\n${foreign}` }],
        ['nothing but a mark', { description: foreign }],
        ['two marks', { description: `mine\n${foreign}\n${foreign}` }],
        ['a mark that is not the last line', { description: `${foreign}\nmine` }],
        ['a name that is too long', { name: 'n'.repeat(1000) }],
        ['a name of pairs', { name: '😀'.repeat(500) }],
        ['a name with spaces and quotes', { name: ' "shop" \\ <b>' }],
        ['an empty name', { name: '' }],
        ['tags', { tags: ['production', 'eu'] }],
      ];
      for (const marked of [true, false])
        it.each(described)(
          `foretells what is read back: %s, ${marked ? 'with' : 'without'} a mark`,
          async (_, given) => {
            const metadata = { ...fresh(), ...given };
            const mark = marked ? markOf('b'.repeat(32)) : undefined;
            const kept = store.asKept(metadata, mark);
            expect(store.asKept(kept, mark)).toEqual(kept);
            const id = await imported(metadata, mark);
            const after = await held(id);
            await store.delete(id);
            expect({ name: after.name, description: after.description, tags: after.tags }).toEqual(kept);
            expect(after.mark).toEqual(mark);
          },
        );

      it('leaves what fits as it is', () => {
        const metadata = { name: 'shop', description: 'one\ntwo', tags: [] };
        expect(store.asKept(metadata, markOf('fits'))).toEqual(metadata);
      });
    });

    describe('marks', () => {
      it('come back from reads and listings, each on its own certificate', async () => {
        const one = await imported(fresh(), markOf('one'));
        const two = await imported(fresh(), markOf('two'));
        const none = await imported();
        const listed = new Map((await everything()).map((metadata) => [metadata.id, metadata.mark]));
        expect([listed.get(one), listed.get(two), listed.get(none)]).toEqual([markOf('one'), markOf('two'), undefined]);
      });

      if (has('findsMarks'))
        it('are found, all of them and no others', async () => {
          const copies = [await imported(fresh(), markOf('found')), await imported(fresh(), markOf('found'))];
          await imported(fresh(), { store: 'elsewhere', certificate: 'found' });
          await imported(fresh(), markOf('found-not'));
          const found = (await store.findByMark?.(markOf('found'))) ?? [];
          expect(found.map(({ id }) => id).sort()).toEqual([...copies].sort());
          expect(found).toEqual(expect.arrayContaining([await held(copies[0] ?? '')]));
          expect(await store.findByMark?.(markOf('nowhere'))).toEqual([]);
        });
    });

    it('tells what cannot be read as that, neither as absent nor in the way of the others, and it can be written anew', async () => {
      if (under.damage === undefined) return;
      const [good, bad] = [await imported(fresh(), markOf('whole')), await imported(fresh(), markOf('damaged'))];
      under.damage(bad);
      expect((await store.read(bad)).state).toBe('unreadable');
      expect((await store.readMetadata(bad)).state).toBe('unreadable');
      const listing = await listFully(store);
      expect(listing.certificates.map(({ id }) => id)).toContain(good);
      expect(listing.certificates.map(({ id }) => id)).not.toContain(bad);
      expect(listing.unreadable).toMatchObject([{ id: bad, error: { code: 'store_content_unreadable' } }]);
      if (has('findsMarks')) {
        const told: unknown[] = [];
        const found = await store.findByMark?.(markOf('whole'), { unreadable: (copy) => told.push(copy) });
        expect(found?.map(({ id }) => id)).toEqual([good]);
        expect(told).toMatchObject([{ id: bad, ours: true, facts: { domains: ['shop.example.test'] } }]);
      }
      await store.reimport(bad, renewed);
      const metadata = fresh();
      await store.updateMetadata(bad, metadata, markOf('damaged'));
      expect(await held(bad)).toMatchObject({ ...store.asKept(metadata, markOf('damaged')), mark: markOf('damaged') });
      expect((await listFully(store)).unreadable).toEqual([]);
    });

    it('does nothing in a call that was ended before it began', async () => {
      const id = await imported(fresh(), markOf('ended'));
      const signal = AbortSignal.abort();
      expect(await store.read(id, { signal })).toMatchObject({ state: 'unreadable' });
      expect(await store.readMetadata(id, { signal })).toMatchObject({ state: 'unreadable' });
      const entry = { content: certificate, metadata: fresh(), mark: markOf('ended') };
      for (const call of [store.import(entry, { signal }), store.delete(id, { signal }), store.list({ signal })])
        expect(await codeOf(call)).toBe('store_unavailable');
      expect((await everything()).filter(({ mark }) => mark?.certificate === 'ended')).toHaveLength(1);
    });

    /** What a store that gives no keys can give back of this. */
    function asGiven(original: CertificateContent): CertificateContent {
      return has('givesKeys') ? original : { leaf: original.leaf, chain: original.chain };
    }
  });
}

async function content(options: TestCertificateOptions = {}): Promise<CertificateContent> {
  return parseContent(await testCertificate(options));
}

function keyDer({ privateKey }: CertificateContent): Buffer {
  return createPrivateKey(privateKey?.pem.reveal() ?? '').export({ type: 'pkcs8', format: 'der' });
}

function present<T>(reading: Reading<T>): T {
  if (reading.state !== 'present') throw new Error(`expected a present certificate, got ${JSON.stringify(reading)}`);
  return reading.value;
}

async function listAll(store: Store, from?: string): Promise<readonly CertificateMetadata[]> {
  return (await listFully(store, from)).certificates;
}

async function listFully(store: Store, from?: string) {
  const certificates: CertificateMetadata[] = [];
  const unreadable: UnreadableElement[] = [];
  let cursor = from;
  do {
    const page = await store.list(cursor === undefined ? {} : { cursor });
    certificates.push(...page.certificates);
    unreadable.push(...(page.unreadable ?? []));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return { certificates, unreadable };
}

/** The code with which a call fails; `succeeded` if it does not. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'succeeded',
    (thrown: unknown) => asCodedError(thrown).code,
  );
}
