import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../../src/certificate/pem.ts';
import { parseConfig } from '../../../src/config.ts';
import { asCodedError } from '../../../src/errors.ts';
import { quotaWords } from '../../../src/findings/quota-words.ts';
import { quotaRecords } from '../../../src/records/quota-records.ts';
import { rehearsal } from '../../../src/replication/reconcile/rehearsal.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { acmDiagnosis } from '../../../src/services/aws-acm/diagnosis.ts';
import { type AcmOptions, acmStore } from '../../../src/services/aws-acm/store.ts';
import { quotaStore, quotasLeft } from '../../../src/store/quota.ts';
import type { Store } from '../../../src/store/store.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import { startScriptedServer } from '../../store/scripted-server.ts';
import { testCertificate } from '../../support/certificates.ts';
import { type FakeAcm, startFakeAcm } from '../../support/fake-acm.ts';

const account = '123456789012';
const mark = { store: 'primary', certificate: 'one' };
const metadata = { name: 'shop', description: 'the shop', tags: [] };
const balancer = `arn:aws:elasticloadbalancing:eu-west-1:${account}:loadbalancer/app/shop/1`;

let fake: FakeAcm;
beforeEach(async () => {
  fake = await startFakeAcm();
});
afterEach(() => fake.close());

const optionsOf = (given: Partial<AcmOptions> = {}): AcmOptions => ({
  region: 'eu-west-1',
  account,
  endpoint: fake.url,
  key: { accessKeyId: 'testing', secretAccessKey: new Secret('testing') },
  runtime: { ...systemRuntime, wait: async () => {} },
  ...given,
});
const storeAt = (given: Partial<AcmOptions> = {}): Store => acmStore(optionsOf(given));
const content = async (...given: Parameters<typeof testCertificate>) => parseContent(await testCertificate(...given));

/** A self-signed certificate with these usages; `undefined`: without that extension. */
async function withUsages(
  kind: 'rsa' | 'ec',
  { usage, extended }: { readonly usage?: number; readonly extended?: readonly string[] },
): Promise<CertificateContent> {
  const algorithm =
    kind === 'ec'
      ? { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
      : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false),
    new SubjectAlternativeNameExtension([{ type: 'dns', value: 'shop.example.test' }]),
    ...(usage === undefined ? [] : [new KeyUsagesExtension(usage)]),
    ...(extended === undefined ? [] : [new ExtendedKeyUsageExtension([...extended])]),
  ];
  const made = await X509CertificateGenerator.createSelfSigned({
    ...{ name: 'CN=shop.example.test', keys, extensions, signingAlgorithm: algorithm },
    ...{ notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 86_400_000) },
  });
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
  return parseContent({ certificate: made.toString('pem'), privateKey: new Secret(key) });
}

const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';
const { digitalSignature, keyEncipherment } = KeyUsageFlags;

test('pitfall 1: a listing shows every kind of key that ACM takes, which it does not by itself', async () => {
  const store = storeAt();
  for (const keyKind of ['rsa-2048', 'p-256', 'p-384', 'p-521'] as const)
    await store.import({ content: await content({ keyKind }), metadata, mark });
  expect((await store.list({})).certificates).toHaveLength(4);
});

test('pitfall 2: a copy whose ARN is lost is found by its mark, and not what used to carry it', async () => {
  const { id } = await storeAt().import({ content: await content(), metadata, mark });
  const other = await storeAt().import({ content: await content(), metadata, mark: { ...mark, certificate: 'two' } });
  const gone = await storeAt().import({ content: await content(), metadata, mark });
  const untagged = await storeAt().import({ content: await content(), metadata, mark });
  await storeAt().delete(gone.id);
  fake.untag(untagged.id, 'certstandby:mark');
  const found = await storeAt().findByMark?.(mark);
  expect(found?.map((copy) => copy.id)).toEqual([id]);
  expect(found?.[0]?.mark).toEqual(mark);
  expect(other.id).not.toBe(id);
});

test('pitfall 3: a reimport goes without tags, and the mark is there afterwards', async () => {
  const store = storeAt();
  const { id } = await store.import({ content: await content(), metadata, mark });
  await store.reimport(id, await content());
  expect(await store.readMetadata(id)).toMatchObject({ value: { mark, name: 'shop', description: 'the shop' } });
});

test.each([
  [
    'another kind of key',
    { kind: 'ec', usage: digitalSignature, extended: [serverAuth] },
    /the new one is ECDSA P-256/,
  ],
  ['a key usage less', { kind: 'rsa', usage: digitalSignature, extended: [serverAuth] }, /lacks keyEncipherment/],
  [
    'an extended key usage less',
    { kind: 'rsa', usage: digitalSignature | keyEncipherment, extended: [clientAuth] },
    /lacks serverAuth/,
  ],
] as const)(
  'pitfall 5: a renewal with %s is foreseen by a plan, told with the ARN and its users, and makes nothing twice',
  async (_what, { kind, ...usages }, why) => {
    const store = storeAt();
    const all = digitalSignature | keyEncipherment;
    const was = await withUsages('rsa', { usage: all, extended: [serverAuth, clientAuth] });
    const { id } = await store.import({ content: was, metadata, mark });
    fake.use(id, balancer);
    const next = await withUsages(kind, usages);
    expect(store.refuses?.(next, Date.now())).toBeUndefined();
    expect(store.refuses?.(next, Date.now(), was)?.message).toMatch(why);
    await expect(rehearsal(store, Date.now).store.reimport(id, next)).rejects.toMatchObject({
      code: 'store_content_refused',
    });
    const sent = fake.calls.length;
    const error = asCodedError(await store.reimport(id, next).catch((thrown: unknown) => thrown));
    expect(error.code).toBe('store_content_refused');
    expect(error.message).toMatch(why);
    expect(error.fields).toMatchObject({ certificate: id, inUseBy: [balancer] });
    expect(error.remedy).toContain('move what uses the old ARN');
    expect(fake.calls.slice(sent)).not.toContain('ImportCertificate');
    expect(fake.arns()).toEqual([id]);
  },
);

test('what may go at a reimport is not foreseen as a refusal: client authentication, and key encipherment of ECDSA', async () => {
  const store = storeAt();
  const all = digitalSignature | keyEncipherment;
  const was = await withUsages('ec', { usage: all, extended: [serverAuth, clientAuth] });
  const { id } = await store.import({ content: was, metadata, mark });
  const next = await withUsages('ec', { usage: digitalSignature, extended: [serverAuth] });
  expect(store.refuses?.(next, Date.now(), was)).toBeUndefined();
  await store.reimport(id, next);
  const reading = await store.read(id);
  expect(reading.state === 'present' && reading.value.content.leaf.raw.equals(next.leaf.raw)).toBe(true);
  const bare = await withUsages('ec', {});
  expect(store.refuses?.(was, Date.now(), bare)?.message).toContain('where there was none');
});

test('what nobody foresaw and ACM refuses names the ARN, its users and the reason', async () => {
  const store = storeAt();
  const { id } = await store.import({ content: await content(), metadata, mark });
  fake.use(id, balancer);
  const next = await content({ domains: ['elsewhere.example.test'] });
  const error = asCodedError(await store.reimport(id, next).catch((thrown: unknown) => thrown));
  expect(error.code).toBe('store_content_refused');
  for (const part of [id, balancer, 'All domain names were removed']) expect(error.message).toContain(part);
});

test('pitfall 6: leaf and chain go in fields of their own, and an absent chain in none', async () => {
  const store = storeAt();
  for (const intermediates of [0, 2]) {
    const given = await content({ intermediates });
    const reading = await store.read((await store.import({ content: given, metadata, mark })).id);
    const { leaf, chain } = given;
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf({ leaf, chain }));
  }
});

test('pitfall 7: a listing of several pages ends, and sends no empty token', async () => {
  const store = storeAt({ pageSize: 2 });
  for (let made = 0; made < 3; made += 1) await store.import({ content: await content(), metadata, mark });
  const first = await store.list({});
  expect((await store.list({ ...(first.cursor && { cursor: first.cursor }) })).cursor).toBeUndefined();
});

test('pitfall 8: a removal that is refused names who uses the copy, and is not repeated by itself', async () => {
  const store = storeAt();
  const { id } = await store.import({ content: await content(), metadata, mark });
  fake.use(id, balancer);
  await expect(store.delete(id)).rejects.toMatchObject({ code: 'store_in_use', fields: { inUseBy: [balancer] } });
  expect(fake.calls.filter((call) => call === 'DeleteCertificate')).toHaveLength(1);
});

test('pitfall 9: imports are counted over a year before they are sent, with a reserve for copies that are there', async () => {
  const store = storeAt({ importsPerYear: 10 });
  const book = quotaRecords(memoryTable());
  const counted = quotaStore(store, { runtime: systemRuntime, book });
  const given = await content();
  const { id } = await counted.import({ content: given, metadata, mark });
  for (let more = 0; more < 8; more += 1) await counted.reimport(id, given);
  await expect(counted.import({ content: given, metadata, mark })).rejects.toMatchObject({
    code: 'store_quota_used_up',
  });
  await counted.reimport(id, given);
  await expect(counted.reimport(id, given)).rejects.toMatchObject({ code: 'store_quota_used_up' });
  expect(fake.calls.filter((call) => call === 'ImportCertificate')).toHaveLength(10);
  expect((await quotasLeft(store, book, Date.now()))[0]).toMatchObject({ count: 10, left: 0 });
});

test('a quota of the account that is used up is told as that, and is no throttling', async () => {
  fake.quota = 0;
  await expect(storeAt().import({ content: await content(), metadata, mark })).rejects.toMatchObject({
    code: 'store_quota_used_up',
  });
});

test('throttling that says no moment is a limit, and is not sent again at once', async () => {
  fake.importsPerSecond = 0;
  const error = asCodedError(
    await storeAt()
      .import({ content: await content(), metadata, mark })
      .catch((thrown: unknown) => thrown),
  );
  expect([error.code, error.retryAfterMs]).toEqual(['store_limited', undefined]);
  expect(fake.calls.filter((call) => call === 'ImportCertificate')).toHaveLength(1);
});

test.each([
  ['GetResources', 'tag:GetResources', (store: Store) => store.findByMark?.(mark)],
  ['DeleteCertificate', 'acm:DeleteCertificate', (store: Store) => store.delete(fake.arns()[0] ?? '')],
] as const)('a role without the right for %s is told which one it lacks', async (operation, right, call) => {
  const store = storeAt();
  await store.import({ content: await content(), metadata, mark });
  fake.fail(operation, 'AccessDeniedException');
  await expect(call(store)).rejects.toMatchObject({ code: 'store_unauthorized', fields: { right } });
});

test('a certificate whose tags are kept from us is named by a listing, with the right that is lacking', async () => {
  const store = storeAt();
  const { id } = await store.import({ content: await content(), metadata, mark });
  fake.fail('ListTagsForCertificate', 'AccessDeniedException');
  expect(await store.list({})).toMatchObject({
    certificates: [],
    unreadable: [{ id, error: { code: 'store_unauthorized', fields: { right: 'acm:ListTagsForCertificate' } } }],
  });
});

test('what a listing names by an ARN of elsewhere is told as unreadable, and hides no other', async () => {
  const server = await startScriptedServer();
  const own = `arn:aws:acm:eu-west-1:${account}:certificate/1`;
  const foreign = `arn:aws-iso:acm:eu-west-1:${account}:certificate/2`;
  const named = [foreign, own].map((CertificateArn) => ({ CertificateArn, Status: 'ISSUED' }));
  server.answers(
    { body: `<R><Account>${account}</Account></R>` },
    { body: { CertificateSummaryList: named } },
    { body: { Tags: [] } },
  );
  const page = await storeAt({ endpoint: server.url }).list({});
  await server.close();
  expect(page).toMatchObject({
    certificates: [{ id: own }],
    unreadable: [{ place: foreign, error: { code: 'store_nonsense' } }],
  });
  expect(page.unreadable?.[0]?.id).toBeUndefined();
});

test('credentials that end in the middle of a listing are told as that', async () => {
  const store = storeAt();
  await store.import({ content: await content(), metadata, mark });
  fake.fail('ListTagsForCertificate', 'ExpiredTokenException');
  const error = asCodedError(await store.list({}).catch((thrown: unknown) => thrown));
  expect([error.code, error.remedy]).toEqual(['store_unauthorized', expect.stringContaining('expired')]);
});

test('what ACM issued as exportable comes with its key, and everything else without it', async () => {
  const given = await testCertificate();
  const { certificate, intermediate = '', privateKey } = toPem(parseContent(given));
  const pem = { certificate, chain: intermediate, key: privateKey?.reveal() ?? '' };
  const [exportable, plain] = [fake.issue({ pem, exportable: true }), fake.issue({ pem })];
  const imported = (await storeAt().import({ content: parseContent(given), metadata, mark })).id;
  const store = storeAt({ exports: true });
  const keys: unknown[] = [];
  for (const id of [exportable, plain, imported]) {
    const reading = await store.read(id);
    if (reading.state === 'present')
      keys.push([reading.value.content.privateKey !== undefined, reading.value.keyWithheld]);
  }
  expect(keys).toEqual([
    [true, undefined],
    [false, true],
    [false, true],
  ]);
  expect(await storeAt().read(exportable)).toMatchObject({ value: { keyWithheld: true } });
});

test('what is not issued yet is passed over by a listing, and unreadable to a look, never absent', async () => {
  const pending = fake.issue({});
  const store = storeAt();
  // Without the filter of keys it would be shown.
  expect((await store.list({})).certificates).toEqual([]);
  expect((await store.read(pending)).state).toBe('unreadable');
});

test('what ACM issued is nothing to import over', async () => {
  const { certificate, intermediate = '', privateKey } = toPem(await content());
  const id = fake.issue({ pem: { certificate, chain: intermediate, key: privateKey?.reveal() ?? '' } });
  await expect(storeAt().reimport(id, await content())).rejects.toMatchObject({ code: 'store_held' });
});

test('doctor asks for the right to import with nothing that ACM would take', async () => {
  const { mayImport } = acmDiagnosis(optionsOf());
  expect(await mayImport()).toBe(true);
  fake.fail('ImportCertificate', 'AccessDeniedException');
  expect(await mayImport()).toBe(false);
  expect(fake.arns()).toEqual([]);
});

test('doctor says which region CloudFront reads, and what it takes there', async () => {
  const remarks = async (region: string) => acmDiagnosis({ ...optionsOf(), region }).remarks?.();
  expect(await remarks('eu-west-1')).toEqual([{ message: expect.stringMatching(/CloudFront reads us-east-1/) }]);
  expect(await remarks('us-east-1')).toEqual([{ message: expect.stringMatching(/CloudFront reads this region/) }]);
});

test('the configuration of its page is a good one', () => {
  const page = readFileSync(new URL('../../../src/services/aws-acm/README.md', import.meta.url), 'utf8');
  const [, text = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const config = parseConfig(text, { path: '/etc/c.yaml', env: { FRANKFURT_API_KEY: 'key' }, readFile: () => '' });
  expect(config.stores.at(-1)).toMatchObject({ kind: 'aws-acm', region: 'eu-west-1', account, requestsPerSecond: 8 });
});

test('a year of 600 certificates of 47 days: what is left is told, a warning in time, and when copies wait', async () => {
  const day = 86_400_000;
  let now = Date.UTC(2026, 11, 1);
  const store = storeAt();
  const book = quotaRecords(memoryTable());
  const sent = { import: 0, reimport: 0 };
  const counting: Store = {
    ...store,
    import: async () => ({ id: `copy ${++sent.import}` }),
    reimport: async (id) => {
      sent.reimport += 1;
      return { id };
    },
  };
  const counted = quotaStore(counting, { runtime: { ...systemRuntime, now: () => now }, book });
  const given = await content();
  const waits: string[] = [];
  let warned: string | undefined;
  const date = () => new Date(now).toISOString().slice(0, 10);
  for (let copy = 0; copy < 600; copy += 1) await counted.import({ content: given, metadata, mark });
  // Each is renewed two weeks before its end: after 33 days, some each day.
  for (let today = 0; today < 365; today += 1) {
    now += day;
    const due = Math.floor(((today + 1) * 600) / 33) - Math.floor((today * 600) / 33);
    for (let copy = 0; copy < due; copy += 1)
      await counted.reimport(`copy ${copy}`, given).catch((thrown: unknown) => {
        const { code, fields } = asCodedError(thrown);
        waits.push(`${date()} ${code} until ${new Date(Number(fields.until)).toISOString().slice(0, 10)}`);
      });
    const [left] = await quotasLeft(store, book, now);
    if (warned === undefined && left !== undefined && quotaWords(left).includes('four fifths are used'))
      warned = `${date()} ${quotaWords(left)}`;
  }
  expect(sent).toEqual({ import: 600, reimport: 4_400 });
  // Eight weeks before the first copy waits.
  expect(warned).toBe(
    '2027-06-06 of 5000 (import, reimport) in 365 d there are 1000 left, 500 of them kept for copies that are there, four fifths are used: have it raised in time; more at 2027-12-06T14:15:00.000Z',
  );
  expect(waits[0]).toBe('2027-08-01 store_quota_used_up until 2027-12-06');
});
