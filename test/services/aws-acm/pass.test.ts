import { afterEach, expect, test } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { replicate } from '../../../src/replication/pass/replicate.ts';
import { Secret } from '../../../src/secret.ts';
import { acmStore } from '../../../src/services/aws-acm/store.ts';
import { type FakeAcm, startFakeAcm } from '../../support/fake-acm.ts';
import { content, described, setup, startMs } from '../../support/replication.ts';

/** Whole passes with ACM as the backup: what is done after it failed, and how often. */

const account = '123456789012';
const minute = 60_000;
const fakes: FakeAcm[] = [];
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.close();
});

/** A link whose only backup is ACM, in virtual time. */
async function world({ aheadMs = 0 } = {}) {
  const own = await setup({ backups: [] });
  const { now } = own.time;
  const fake = await startFakeAcm({ now: () => now() + aheadMs });
  fakes.push(fake);
  const ids = Array.from({ length: 1_000 }, (_, index) => String(index));
  const store = acmStore({
    ...{ region: 'eu-west-1', account, endpoint: fake.url },
    key: { accessKeyId: 'testing', secretAccessKey: new Secret('testing') },
    runtime: { ...own.time, now, wait: async () => {}, newId: () => ids.pop() ?? '' },
  });
  await own.linkRecords.noteReconciled('main', [store.id], now() - 1);
  const link = { ...own.link, backups: [store] };
  return {
    ...own,
    fake,
    store,
    put: (held: CertificateContent) => void own.primary.store.put({ content: held, metadata: described('shop') }, 'c1'),
    /** Asks for a look, and makes it. */
    async look() {
      await own.ask('c1');
      await replicate(own.worker, link, 'c1').catch(() => {});
    },
    /** Looks again and again for so long, as a worker that is woken when it is due. */
    async go(forMs: number) {
      for (const until = now() + forMs; now() < until; await own.later(minute)) {
        const { wakeAt } = await own.record('c1');
        if (wakeAt !== undefined && wakeAt <= now()) await replicate(own.worker, link, 'c1').catch(() => {});
      }
    },
    serves: () => fake.leaves().map(({ fingerprint256 }) => fingerprint256),
    count: (operation: string) => fake.calls.filter((call) => call === operation).length,
    /** What the backup says of the last look; `undefined` where that went well. */
    lastError: async () => (await own.record('c1')).backups.find(({ store: of }) => of === store.id)?.lastError,
  };
}
type World = Awaited<ReturnType<typeof world>>;

const leafOf = ({ leaf }: CertificateContent) => leaf.fingerprint256;

/** A copy of the first content, at rest. */
async function copied(first: CertificateContent, given: Parameters<typeof world>[0] = {}): Promise<World> {
  const made = await world(given);
  made.put(first);
  await made.look();
  await made.go(10 * minute);
  expect(made.serves()).toEqual([leafOf(first)]);
  return made;
}

test('pitfall 4: an import whose answer is lost made a copy, which is found by its mark and not made again', async () => {
  const first = await content();
  const made = await world();
  made.put(first);
  made.fake.lose('ImportCertificate');
  await made.look();
  expect((await made.lastError())?.code).toBe('store_unanswered');
  await made.go(60 * minute);
  expect(made.serves()).toEqual([leafOf(first)]);
  expect(made.count('ImportCertificate')).toBe(1);
  expect(await made.lastError()).toBeUndefined();
});

test('pitfall 4: a renewal that fails is believed only when a read shows it, and goes in place, under its ARN', async () => {
  const [first, next] = [await content(), await content()];
  const made = await copied(first);
  const [arn] = made.fake.arns();
  made.put(next);
  made.fake.fail('ImportCertificate', 'InternalFailure');
  await made.look();
  expect(made.serves()).toEqual([leafOf(first)]);
  expect(await made.lastError()).toBeDefined();
  await made.go(60 * minute);
  expect(made.serves()).toEqual([leafOf(next)]);
  expect(made.fake.arns()).toEqual([arn]);

  // Its answer is lost: what a read shows is there already is not sent again.
  const last = await content();
  made.put(last);
  made.fake.lose('ImportCertificate');
  const imports = made.count('ImportCertificate');
  await made.look();
  await made.go(60 * minute);
  expect([made.serves(), made.fake.arns()]).toEqual([[leafOf(last)], [arn]]);
  expect(made.count('ImportCertificate') - imports).toBe(1);
  expect(made.count('DeleteCertificate')).toBe(0);
});

test('pitfall 17: a copy that reads do not find right after it was made is waited for, and not made again', async () => {
  const first = await content();
  const made = await world();
  made.fake.newHiddenMs = 20_000;
  made.put(first);
  await made.look();
  expect(made.count('ImportCertificate')).toBe(1);
  await made.go(60 * minute);
  expect(made.serves()).toEqual([leafOf(first)]);
  expect(made.count('ImportCertificate')).toBe(1);
  expect(await made.lastError()).toBeUndefined();
});

test('pitfall 17: a copy that one read does not find is not taken for gone', async () => {
  const [first, next] = [await content(), await content()];
  const made = await copied(first);
  const [arn = ''] = made.fake.arns();
  made.fake.hide(arn, true);
  made.put(next);
  await made.look();
  made.fake.hide(arn, false);
  await made.go(60 * minute);
  expect([made.serves(), made.fake.arns()]).toEqual([[leafOf(next)], [arn]]);
});

test('credentials that end between the look and the write of a pass are told, and the write is made once they are renewed', async () => {
  const [first, next] = [await content(), await content()];
  const made = await copied(first);
  const [arn] = made.fake.arns();
  made.put(next);
  made.fake.fail('ImportCertificate', 'ExpiredTokenException');
  const imports = made.count('ImportCertificate');
  await made.look();
  expect(await made.lastError()).toMatchObject({ code: 'store_unauthorized' });
  expect((await made.lastError())?.remedy).toMatch(/expired: renew them/);
  expect(made.serves()).toEqual([leafOf(first)]);
  await made.go(60 * minute);
  expect([made.serves(), made.fake.arns()]).toEqual([[leafOf(next)], [arn]]);
  expect(made.count('ImportCertificate') - imports).toBe(2);
  expect(await made.lastError()).toBeUndefined();
});

test('a clock that AWS does not take is told as that, and nothing is taken for absent or made twice', async () => {
  const [first, next] = [await content(), await content()];
  const made = await copied(first);
  const [arn] = made.fake.arns();
  made.put(next);
  for (const operation of ['DescribeCertificate', 'GetCertificate', 'ListTagsForCertificate', 'GetResources'])
    for (let times = 0; times < 4; times += 1) made.fake.fail(operation, 'RequestExpired');
  await made.look();
  expect(await made.lastError()).toMatchObject({ code: 'store_unauthorized' });
  expect((await made.lastError())?.remedy).toMatch(/clock here is wrong/);
  expect(made.count('ImportCertificate')).toBe(1);
  await made.go(120 * minute);
  expect([made.serves(), made.fake.arns()]).toEqual([[leafOf(next)], [arn]]);
});

test('a clock of ours that is behind: what ACM refuses as expired is told, and not sent for ever', async () => {
  const made = await world({ aheadMs: 400 * 86_400_000 });
  made.put(await content({ notAfter: startMs + 30 * 86_400_000 }));
  await made.look();
  expect(await made.lastError()).toMatchObject({ code: 'store_content_refused' });
  await made.go(60 * minute);
  expect(made.count('ImportCertificate')).toBeLessThanOrEqual(6);
});

test('throttling without a moment is waited out, longer each time, and ends in one copy', async () => {
  const made = await world();
  made.put(await content());
  for (let times = 0; times < 5; times += 1) made.fake.fail('ImportCertificate', 'ThrottlingException');
  await made.look();
  expect(await made.lastError()).toMatchObject({ code: 'store_limited' });
  await made.go(180 * minute);
  expect(made.fake.arns()).toHaveLength(1);
  expect(made.count('ImportCertificate')).toBe(6);
});

test('a quota of the account that is used up holds copies up, is told, and is not asked for in a loop', async () => {
  const made = await world();
  made.fake.quota = 0;
  made.put(await content());
  await made.look();
  expect(await made.lastError()).toMatchObject({ code: 'store_quota_used_up' });
  await made.go(180 * minute);
  const asked = made.count('ImportCertificate');
  expect(asked).toBeLessThanOrEqual(20);
  made.fake.quota = 1;
  await made.go(24 * 60 * minute);
  expect(made.fake.arns()).toHaveLength(1);
});
