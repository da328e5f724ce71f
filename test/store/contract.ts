import { createPrivateKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { asCodedError } from '../../src/errors.ts';
import {
  type FoundMark,
  formatMark,
  formatMarkWithin,
  type Mark,
  markOfCopy,
  parseMark,
  sameMark,
  sameOrigins,
} from '../../src/store/mark.ts';
import {
  type CertificateMetadata,
  type DescriptiveMetadata,
  keyAnswerOf,
  type LongWrite,
  type OperationAsked,
  type Reading,
  type Store,
  type StoreAbilities,
  type UnreadableElement,
  type Vacancy,
  type VacantElement,
} from '../../src/store/store.ts';
import { type TestCertificateOptions, testCertificate, testKey } from '../support/certificates.ts';

/** Why a service does not take a write, as the contract tells it apart. */
type RefusalCode = 'store_content_refused' | 'store_quota_used_up' | 'store_held' | 'store_in_use';

/** Ends what was brought about. */
type Ends = () => void | Promise<void>;

export interface StoreUnderTest {
  readonly store: Store;
  /** An id in the shape of this store's ids that no certificate has. */
  readonly unknownId: string;
  /**
   * Damages what stands beside a certificate, so that nobody can read whose copy it is; absent
   * where that cannot happen.
   */
  damage?(id: string): void | Promise<void>;
  /** Lets so much time pass that reads and listings show every write; absent: they do at once. */
  settle?(): Promise<void>;
  /**
   * Content that this store does not take in the place of a certificate for `shop.example.test`.
   */
  refusedContent?(): Promise<CertificateContent>;
  /**
   * The same, until this moment (epoch milliseconds), of what it says beforehand; absent where none
   * of that ends by itself.
   */
  refusedUntil?(): Promise<{ readonly content: CertificateContent; readonly until: number }>;
  /** The chain that it makes of this one; absent where it keeps what it is given. */
  reshaped?(chain: CertificateContent['chain']): CertificateContent['chain'];
  /**
   * Brings about each refusal that is not because of the content, for this certificate. Answers
   * what ends it.
   */
  readonly refusing?: Partial<
    Record<Exclude<RefusalCode, 'store_content_refused'>, (id: string) => Ends | Promise<Ends>>
  >;
  /**
   * Leaves the place of this certificate without content, in each way in which that happens here.
   */
  readonly vacate?: Partial<Record<Vacancy['why'], (id: string) => void | Promise<void>>>;
  close?(): Promise<void>;
}

/**
 * Abilities that are true or false. The suite asserts that a kind states each, and is as it says.
 */
const stated = [
  'givesKeys',
  'reimportsInPlace',
  'importIsIdempotent',
  'uniqueNames',
  'findsMarks',
  'idsAreReferredTo',
] as const satisfies readonly (keyof StoreAbilities)[];

/**
 * What a kind has or lacks beside that: members that may be absent, reads that may lag, refusals
 * that may never come.
 */
type Yes =
  | (typeof stated)[number]
  | Vacancy['why']
  | 'refuses'
  | 'same'
  | 'identity'
  | 'lag'
  | 'silentListings'
  | 'longWrites'
  | RefusalCode;

export interface ContractOptions {
  /** What this kind does not have, each with the reason. It must have all others. */
  readonly lacks?: Partial<Record<Yes, string>>;
  /**
   * Certificates to import for a listing of several pages. The store must give at most three on a
   * page.
   */
  readonly severalPages?: number;
  /**
   * How many characters of a mark it keeps, where that is less than marks may have: it gives
   * digests back of those that are longer.
   */
  readonly roomForMarks?: number;
  /**
   * What is deleted can be brought back for a while: reads show it as that, and not as absent.
   */
  readonly deletesSoftly?: true;
  /** What it does not take, each with the reason: kinds of keys, and certificates without one. */
  readonly refusesKeys?: Partial<Record<TestKeyKind | 'keyless', string>>;
}

const testKeyKinds = ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const;
type TestKeyKind = (typeof testKeyKinds)[number];

const primary = 'crn:v1:bluemix:public:cloudcerts:eu-gb:a/00000000000000000000000000000002:contract::';
const markOf = (certificate: string): Mark => ({ store: primary, certificate });
const plain: DescriptiveMetadata = { name: 'shop', description: 'the shop', tags: [] };

/**
 * The suite of the contract `Store`. One store serves all tests, so each looks only at what it made
 * itself.
 */
export function storeContract(kind: string, make: () => Promise<StoreUnderTest>, options: ContractOptions = {}): void {
  const { lacks = {}, severalPages = 7, roomForMarks = Number.POSITIVE_INFINITY, deletesSoftly = false } = options;
  const { refusesKeys = {} } = options;
  /** What a read says of what was deleted. */
  const deleted = deletesSoftly
    ? expect.objectContaining({ state: 'vacant', why: 'deleted' })
    : expect.objectContaining({ state: 'absent' });
  const kept = (mark: Mark): FoundMark | undefined => parseMark(formatMarkWithin(mark, roomForMarks));
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
      store = settling(under);
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

      for (const ability of stated)
        it(has(ability) ? `has ${ability}` : `lacks ${ability}: ${lacks[ability]}`, () => {
          expect(store.abilities[ability]).toBe(has(ability));
        });

      for (const member of ['refuses', 'same'] as const)
        it(has(member) ? `has ${member}` : `lacks ${member}: ${lacks[member]}`, () => {
          expect(store[member] !== undefined).toBe(has(member));
        });

      it('lets others refer to ids only where content is replaced under them', () => {
        if (store.abilities.idsAreReferredTo) expect(store.abilities.reimportsInPlace).toBe(true);
      });

      it('has findByMark exactly if it says so', () => {
        expect(store.findByMark !== undefined).toBe(store.abilities.findsMarks);
      });
    });

    describe('import and read', () => {
      for (const [kind, reason] of Object.entries(refusesKeys))
        it(`takes none with a key of kind ${kind}: ${reason}`, async () => {
          const whole = await content(kind === 'keyless' ? {} : { keyKind: kind as TestKeyKind });
          const { leaf, chain } = whole;
          const refused = kind === 'keyless' ? { leaf, chain } : whole;
          const import_ = store.import({ content: refused, metadata: fresh() });
          expect(await codeOf(import_)).toBe('store_content_refused');
          expect(store.refuses?.(refused, Date.now())?.code).toBe('store_content_refused');
        });

      for (const keyKind of testKeyKinds.filter((one) => refusesKeys[one] === undefined))
        it(`gives back a certificate with a key of kind ${keyKind}`, async () => {
          const original = await content({ privateKey: await testKey(keyKind) });
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

      it.skipIf(refusesKeys.keyless !== undefined)(
        'gives back a certificate that came without a private key',
        async () => {
          const { leaf, chain } = certificate;
          const stored = present(await store.read(await imported(fresh(), undefined, { leaf, chain })));
          expect(keyAnswerOf(stored)).toBe('none');
          expect(fingerprintOf(stored.content)).toBe(fingerprintOf({ leaf, chain }));
        },
      );

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
        const copies = (await everything()).filter((listed) => sameMark(listed.mark, markOf('again')));
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
        expect(after.metadata).toMatchObject({ ...store.asKept(metadata, mark), mark: kept(mark) });
        if (answer.metadata !== undefined) expect(answer.metadata).toEqual(after.metadata);
        if (before.revision !== undefined) expect(after.metadata.revision).not.toBe(before.revision);
      });

      it('may be repeated', async () => {
        const id = await imported(fresh(), markOf('reimport-twice'));
        await store.reimport(id, renewed);
        await store.reimport(id, renewed);
        expect(fingerprintOf(present(await store.read(id)).content)).toBe(fingerprintOf(asGiven(renewed)));
        expect((await everything()).filter(({ mark }) => sameMark(mark, markOf('reimport-twice')))).toHaveLength(1);
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
        expect(after.metadata).toMatchObject({
          ...store.asKept(metadata, markOf('after')),
          mark: kept(markOf('after')),
        });
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
        expect(await held(id)).toMatchObject({ description: '', mark: kept(markOf('empty')) });
      });
    });

    describe('delete and what is not there', () => {
      it('removes a certificate, and succeeds again', async () => {
        const id = await imported();
        await store.delete(id);
        await store.delete(id);
        expect(await store.read(id)).toEqual(deleted);
        expect(await store.readMetadata(id)).toEqual(deleted);
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
            const foretold = store.asKept(metadata, mark);
            expect(store.asKept(foretold, mark)).toEqual(foretold);
            const id = await imported(metadata, mark);
            const after = await held(id);
            await store.delete(id);
            expect({ name: after.name, description: after.description, tags: after.tags }).toEqual(foretold);
            expect(after.mark).toEqual(mark && kept(mark));
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
        expect([listed.get(one), listed.get(two), listed.get(none)]).toEqual([
          kept(markOf('one')),
          kept(markOf('two')),
          undefined,
        ]);
      });

      it('of 300 characters are known again, and what the original came through', async () => {
        const long = markOfCopy(markOf('x'.repeat(300 - formatMark(markOf('')).length)), markOf('upstream'));
        expect(formatMark({ store: long.store, certificate: long.certificate })).toHaveLength(300);
        const metadata = fresh({ description: 'as much of it as there is room for' });
        const id = await imported(metadata, long);
        const other = await imported(fresh(), { ...long, certificate: `${long.certificate.slice(0, -1)}y` });
        for (const found of [await held(id), (await everything()).find((listed) => listed.id === id)]) {
          expect(sameMark(found?.mark, long)).toBe(true);
          expect(sameOrigins(found?.mark, long)).toBe(true);
          expect(found?.description).toBe(store.asKept(metadata, long).description);
        }
        expect(sameMark((await held(other)).mark, long)).toBe(false);
        if (has('findsMarks')) expect((await store.findByMark?.(long))?.map((found) => found.id)).toEqual([id]);
        if (has('reimportsInPlace')) {
          await store.reimport(id, renewed);
          expect(sameMark((await held(id)).mark, long)).toBe(true);
        }
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

    describe('what it does not take', () => {
      /** Whether a certificate is as it was given, and no other stands beside it. */
      const stays = async (id: string, mark: Mark, original: CertificateContent) => {
        expect(fingerprintOf(present(await store.read(id)).content)).toBe(fingerprintOf(asGiven(original)));
        const copies = (await everything()).filter((listed) => sameMark(listed.mark, mark));
        expect(copies.map((listed) => listed.id)).toEqual([id]);
      };

      if (has('store_content_refused') && has('reimportsInPlace'))
        it('is content: the write is refused as that, and what is there stays', async () => {
          const mark = markOf('content-refused');
          const id = await imported(fresh(), mark);
          const refused = (await under.refusedContent?.()) as CertificateContent;
          expect(await codeOf(store.reimport(id, refused))).toBe('store_content_refused');
          await stays(id, mark, certificate);
          expect(await codeOf(store.reimport(id, renewed))).toBe('succeeded');
        });
      else if (!has('store_content_refused') && has('reimportsInPlace'))
        it(`is no content that the program gives: ${lacks.store_content_refused}`, async () => {
          expect(under.refusedContent).toBeUndefined();
          const id = await imported();
          const other = await content({ domains: ['other.example.test'], keyKind: 'ed25519', intermediates: 0 });
          expect(await codeOf(store.reimport(id, other))).toBe('succeeded');
        });

      if (has('refuses')) {
        it('is told beforehand, without a request, as the write then tells it', async () => {
          const refused = (await under.refusedContent?.()) as CertificateContent;
          const metadata = fresh();
          const before = store.refuses?.(refused, Date.now());
          expect(before).toMatchObject({ code: 'store_content_refused' });
          expect(before?.message).not.toBe('');
          expect(store.refuses?.(refused, Date.now())?.message).toBe(before?.message);
          expect(await codeOf(store.import({ content: refused, metadata }))).toBe('store_content_refused');
          expect((await everything()).some(({ name }) => name === metadata.name)).toBe(false);
        });

        it('is told beforehand of what it refuses alone', () => {
          expect(store.refuses?.(certificate, Date.now())).toBeUndefined();
          expect(store.refuses?.(renewed, Date.now())).toBeUndefined();
        });

        it('is told with the moment at which that ends, where it ends by itself', async () => {
          if (under.refusedUntil === undefined) return;
          const { content: refused, until } = await under.refusedUntil();
          expect(store.refuses?.(refused, until - 1)?.fields).toMatchObject({ until });
          expect(store.refuses?.(refused, until)).toBeUndefined();
        });
      }

      for (const code of ['store_quota_used_up', 'store_held', 'store_in_use'] as const) {
        if (!has(code)) {
          it(`is never refused as ${code}: ${lacks[code]}`, async () => {
            expect(under.refusing?.[code]).toBeUndefined();
            const id = await imported(fresh(), markOf(`never-${code}`));
            if (has('reimportsInPlace')) expect(await codeOf(store.reimport(id, renewed))).toBe('succeeded');
            expect(await codeOf(store.delete(id))).toBe('succeeded');
          });
          continue;
        }
        it(`is refused as ${code} while that lasts: what is there stays, and goes through afterwards`, async () => {
          const mark = markOf(code);
          const id = await imported(fresh(), mark);
          const end = await under.refusing?.[code]?.(id);
          if (code !== 'store_in_use') expect(await codeOf(store.reimport(id, renewed))).toBe(code);
          if (code !== 'store_quota_used_up') expect(await codeOf(store.delete(id))).toBe(code);
          else expect(await codeOf(store.import({ content: certificate, metadata: fresh() }))).toBe(code);
          await stays(id, mark, certificate);
          await end?.();
          expect(await codeOf(store.reimport(id, renewed))).toBe('succeeded');
          expect(await codeOf(store.delete(id))).toBe('succeeded');
        });
      }
    });

    describe('what it makes of a chain', () => {
      if (!has('same'))
        it(`is what it was given: ${lacks.same}`, async () => {
          const given = await content({ intermediates: 2 });
          const back = present(await store.read(await imported(fresh(), undefined, given))).content;
          expect(back.chain.map(({ raw }) => raw.toString('hex'))).toEqual(
            given.chain.map(({ raw }) => raw.toString('hex')),
          );
        });
      else
        it('is the same by its own word, and nothing else is', async () => {
          const given = await content({ intermediates: 2 });
          const back = present(await store.read(await imported(fresh(), undefined, given))).content;
          expect(fingerprintOf(back)).toBe(fingerprintOf(asGiven(given)));
          expect(fingerprintOf(back)).not.toBe(fingerprintOf(given));
          expect(store.same?.(given, back)).toBe(true);
          expect(store.same?.(renewed, back)).toBe(false);
          expect(store.same?.(given, { ...back, chain: [] })).toBe(false);
          const { privateKey: _lost, ...keyless } = back;
          expect(store.same?.(given, keyless)).toBe(!has('givesKeys'));
        });
    });

    describe('who it is', () => {
      if (!has('identity'))
        it(`cannot be proven: ${lacks.identity}`, () => {
          expect(store.identity).toBeUndefined();
          expect(store.giveIdentity).toBeUndefined();
        });
      else
        it('is proven by what it was given first, until a person has it replaced', async () => {
          const first = (await store.identity?.()) ?? (await store.giveIdentity?.('identity-1'));
          expect(first).toMatch(/^\S+$/);
          expect(await store.identity?.()).toBe(first);
          // One that the service itself has given is nobody's to replace.
          if (store.giveIdentity === undefined) return;
          expect(await store.giveIdentity?.('identity-2')).toBe(first);
          expect(await store.identity?.()).toBe(first);
          expect(await store.giveIdentity?.('identity-3', { instead: true })).toBe('identity-3');
          expect(await store.identity?.()).toBe('identity-3');
          expect(await store.giveIdentity?.(first ?? '', { instead: true })).toBe(first);
          // It stands beside certificates, and is none.
          expect((await everything()).map(({ id }) => id)).not.toContain('identity-3');
        });
    });

    describe('reads after a write', () => {
      it(has('lag') ? 'lag by no more than it states' : `show it at once: ${lacks.lag}`, async () => {
        const raw = under.store;
        const mark = markOf('lag');
        const { id } = await raw.import({ content: certificate, metadata: fresh(), mark });
        const at = await raw.read(id);
        await under.settle?.();
        expect(fingerprintOf(present(await raw.read(id)).content)).toBe(fingerprintOf(asGiven(certificate)));
        await raw.updateMetadata(id, fresh({ description: 'newer' }), mark);
        const described = await raw.readMetadata(id);
        await under.settle?.();
        expect(await raw.readMetadata(id)).toMatchObject({ value: { description: 'newer' } });
        await raw.delete(id);
        const removed = await raw.readMetadata(id);
        await under.settle?.();
        expect(await raw.readMetadata(id)).toEqual(deleted);
        const shown = [at.state, present(described).description, removed.state];
        const gone = deletesSoftly ? 'vacant' : 'absent';
        expect(shown).toEqual(has('lag') ? ['absent', 'the shop', 'present'] : ['present', 'newer', gone]);
        expect(store.abilities.readSettlesMs > 0).toBe(has('lag'));
      });
    });

    describe('listings and searches', () => {
      const silent = has('silentListings');
      it(
        silent ? 'do not show that content changed, and a read of metadata does' : `show it: ${lacks.silentListings}`,
        async () => {
          expect(store.abilities.silentListings).toBe(silent ? true : undefined);
          if (!has('reimportsInPlace')) return;
          const mark = markOf('silent');
          const id = await imported(fresh(), mark);
          const before = await held(id);
          await store.reimport(id, renewed);
          const after = await held(id);
          expect([after.serial, after.notAfter]).not.toEqual([before.serial, before.notAfter]);
          const found = has('findsMarks') ? ((await store.findByMark?.(mark)) ?? []) : [];
          const shown = [...(await everything()), ...found].filter((listed) => listed.id === id);
          expect(shown).toEqual(Array.from({ length: has('findsMarks') ? 2 : 1 }, () => (silent ? before : after)));
        },
      );
    });

    it('tells what cannot be read as that, neither as absent nor in the way of the others, and it can be written anew', async () => {
      if (under.damage === undefined) return;
      const [good, bad] = [await imported(fresh(), markOf('whole')), await imported(fresh(), markOf('damaged'))];
      await under.damage(bad);
      await under.settle?.();
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
      expect(await held(bad)).toMatchObject({
        ...store.asKept(metadata, markOf('damaged')),
        mark: kept(markOf('damaged')),
      });
      expect((await listFully(store)).unreadable).toEqual([]);
    });

    describe('a place without content', () => {
      for (const why of ['deleted', 'half-made', 'empty'] as const) {
        if (!has(why)) {
          it(`is never ${why}: ${lacks[why]}`, async () => {
            expect(under.vacate?.[why]).toBeUndefined();
            const id = await imported(fresh(), markOf(`never-${why}`));
            await store.delete(id);
            if (why === 'deleted') expect(await store.read(id)).toEqual({ state: 'absent' });
            const { vacant } = await listFully(store);
            expect(vacant.filter((place) => place.why === why)).toEqual([]);
          });
          continue;
        }
        /** A copy of this certificate whose place was then left without content in that way. */
        const vacated = async (of: string) => {
          const metadata = fresh();
          const id = await imported(metadata, markOf(of));
          await under.vacate?.[why]?.(id);
          await under.settle?.();
          return { id, metadata };
        };

        it(`that is ${why} is neither there nor absent, and says whose it is`, async () => {
          const of = `vacant-${why}`;
          const { id } = await vacated(of);
          const vacant = { state: 'vacant', why, mark: kept(markOf(of)) };
          expect(await store.read(id)).toMatchObject(vacant);
          expect(await store.readMetadata(id)).toMatchObject(vacant);
          const listing = await listFully(store);
          expect(listing.certificates.map((listed) => listed.id)).not.toContain(id);
          expect(listing.unreadable.map((listed) => listed.id)).not.toContain(id);
          if (why !== 'deleted') expect(listing.vacant).toMatchObject([{ id, why, mark: kept(markOf(of)) }]);
          if (has('findsMarks')) {
            const told: VacantElement[] = [];
            expect(await store.findByMark?.(markOf(of), { vacant: (place) => told.push(place) })).toEqual([]);
            if (why !== 'deleted') expect(told).toMatchObject([{ id, why }]);
          }
          expect(await codeOf(store.reimport(id, renewed))).toBe('store_gone');
          expect(await codeOf(store.updateMetadata(id, fresh(), markOf(of)))).toBe('store_gone');
          await store.delete(id);
          if (why !== 'deleted') expect(await store.read(id)).toEqual({ state: 'absent' });
        });

        it(`that is ${why} is brought back by an import of its own certificate, as often as you like, and by no other`, async () => {
          const of = `back-${why}`;
          const { id } = await vacated(of);
          const [metadata, mark] = [fresh(), markOf(of)];
          const other = { content: renewed, metadata, mark: markOf('another'), into: id };
          expect(await codeOf(store.import(other))).toBe('store_conflict');
          expect(await codeOf(store.import({ content: renewed, metadata, into: id }))).toBe('store_conflict');
          for (const _time of ['once', 'twice']) {
            expect((await store.import({ content: renewed, metadata, mark, into: id })).id).toBe(id);
            const back = present(await store.read(id));
            expect(fingerprintOf(back.content)).toBe(fingerprintOf(asGiven(renewed)));
            expect(back.metadata).toMatchObject({ ...store.asKept(metadata, mark), mark: kept(mark) });
          }
          const listing = await listFully(store);
          expect(listing.certificates.filter((listed) => sameMark(listed.mark, mark))).toHaveLength(1);
          expect(listing.vacant.map((place) => place.id)).not.toContain(id);
          expect(await codeOf(store.import({ content: renewed, metadata: fresh(), mark, into: under.unknownId }))).toBe(
            'store_gone',
          );
        });
      }
    });

    describe('writes that the service goes on with', () => {
      if (has('longWrites'))
        it('are answered as running and not shown, until the end is told and shown', async () => {
          const { store: bare, settle } = under;
          const mark = markOf('goes-on');
          const stateOf = (asked: OperationAsked) => bare.operation?.(asked);
          const goesOn = async (kind: LongWrite, id: string | undefined, handle: string | undefined) => {
            expect(handle).toBeDefined();
            const asked = { kind, mark, ...(id && { id }), ...(handle && { handle }) };
            expect(await stateOf(asked)).toMatchObject({ state: 'running' });
            return async () => {
              await settle?.();
              expect(await stateOf(asked)).toMatchObject({ state: 'ended', id });
            };
          };
          const { id, running } = await bare.import({ content: certificate, metadata: fresh(), mark });
          const importEnds = await goesOn('import', id, running);
          expect(await bare.read(id)).toEqual({ state: 'absent' });
          await importEnds();
          expect(fingerprintOf(present(await bare.read(id)).content)).toBe(fingerprintOf(asGiven(certificate)));

          const reimportEnds = await goesOn('reimport', id, (await bare.reimport(id, renewed)).running);
          expect(fingerprintOf(present(await bare.read(id)).content)).toBe(fingerprintOf(asGiven(certificate)));
          await reimportEnds();
          expect(fingerprintOf(present(await bare.read(id)).content)).toBe(fingerprintOf(asGiven(renewed)));

          const deletionEnds = await goesOn('delete', id, (await bare.delete(id))?.running);
          expect(await bare.readMetadata(id)).toMatchObject({ state: 'present' });
          await deletionEnds();
          expect(await bare.read(id)).toEqual({ state: 'absent' });
        });
      else
        it(`lacks them: ${lacks.longWrites}`, async () => {
          expect(store.abilities.longWrites).toBeUndefined();
          expect(store.operation).toBeUndefined();
          const answer = await store.import({ content: certificate, metadata: fresh(), mark: markOf('at-once') });
          expect(answer.running).toBeUndefined();
          if (has('reimportsInPlace')) expect((await store.reimport(answer.id, renewed)).running).toBeUndefined();
          expect((await store.delete(answer.id))?.running).toBeUndefined();
          expect(await store.read(answer.id)).toEqual(deleted);
        });
    });

    it('does nothing in a call that was ended before it began', async () => {
      const id = await imported(fresh(), markOf('ended'));
      const signal = AbortSignal.abort();
      expect(await store.read(id, { signal })).toMatchObject({ state: 'unreadable' });
      expect(await store.readMetadata(id, { signal })).toMatchObject({ state: 'unreadable' });
      const entry = { content: certificate, metadata: fresh(), mark: markOf('ended') };
      for (const call of [store.import(entry, { signal }), store.delete(id, { signal }), store.list({ signal })])
        expect(await codeOf(call)).toBe('store_unavailable');
      expect((await everything()).filter(({ mark }) => sameMark(mark, markOf('ended')))).toHaveLength(1);
    });

    /**
     * What this store can give back of this: without its key where it gives none, and the chain in
     * its shape.
     */
    function asGiven({ leaf, chain, privateKey }: CertificateContent): CertificateContent {
      const shaped = under.reshaped?.(chain) ?? chain;
      return has('givesKeys') && privateKey ? { leaf, chain: shaped, privateKey } : { leaf, chain: shaped };
    }
  });
}

/**
 * The store, with every write shown by reads and listings when it is answered: most of what is
 * asserted is not about their lag.
 */
function settling({ store, settle }: StoreUnderTest): Store {
  if (settle === undefined) return store;
  const settled =
    <A extends unknown[], R>(write: (...given: A) => Promise<R>) =>
    async (...given: A): Promise<R> => {
      const answer = await write(...given);
      await settle();
      return answer;
    };
  const { import: imports, reimport, updateMetadata, delete: deletes } = store;
  return {
    ...store,
    import: settled(imports),
    reimport: settled(reimport),
    updateMetadata: settled(updateMetadata),
    delete: settled(deletes),
  };
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
  const vacant: VacantElement[] = [];
  let cursor = from;
  do {
    const page = await store.list(cursor === undefined ? {} : { cursor });
    certificates.push(...page.certificates);
    unreadable.push(...(page.unreadable ?? []));
    vacant.push(...(page.vacant ?? []));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return { certificates, unreadable, vacant };
}

/** The code with which a call fails; `succeeded` if it does not. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'succeeded',
    (thrown: unknown) => asCodedError(thrown).code,
  );
}
