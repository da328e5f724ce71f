import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { quotaRecords } from '../../src/records/quota-records.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { ownLimit } from '../../src/store/own-limit.ts';
import { quotaStore, quotasLeft } from '../../src/store/quota.ts';
import type { Quota, Store } from '../../src/store/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { virtualTime } from '../simulation/virtual-time.ts';
import { content } from '../support/replication.ts';

const dayMs = 86_400_000;
const yearMs = 365 * dayMs;
const startMs = Date.UTC(2026, 0, 1);
let given: CertificateContent;
beforeAll(async () => {
  given = await content();
});

const yearly: Quota = { operations: ['import', 'reimport'], count: 5, perMs: yearMs, reserve: 2 };

/** A store with this quota, used by two processes of one table. */
function setup(quota: Partial<Quota> = {}) {
  let now = startMs;
  const runtime = { ...virtualTime(startMs, () => 0), now: () => now };
  const table = memoryTable();
  const abilities = { quotas: [{ ...yearly, ...quota }] };
  const plain = memoryStore({ id: 'scarce', region: 'here', runtime, abilities });
  const book = quotaRecords(table);
  const [store, other] = [book, quotaRecords(table)].map((each) => quotaStore(plain, { runtime, book: each })) as [
    Store,
    Store,
  ];
  const metadata = { name: 'shop', description: '', tags: [] };
  const add = (to = store) => to.import({ content: given, metadata });
  return {
    plain,
    store,
    other,
    add,
    book,
    left: () => quotasLeft(plain, book, now),
    to: (moment: number) => (now = moment),
  };
}

describe('a quota', () => {
  it('is counted before anything is sent, over all processes of a table', async () => {
    const world = setup();
    await world.add();
    await world.add(world.other);
    await world.add();
    await expect(world.add(world.other)).rejects.toMatchObject({
      code: 'store_quota_used_up',
      entry: { applied: 'no' },
      fields: { store: 'scarce', operation: 'import' },
    });
    expect(world.plain.size()).toBe(3);
  });

  it('keeps its reserve for the content of copies that are there', async () => {
    const world = setup();
    const { id } = await world.add();
    await world.add();
    await world.add();
    await expect(world.add()).rejects.toMatchObject({ code: 'store_quota_used_up' });
    await world.store.reimport(id, given);
    await world.store.reimport(id, given);
    await expect(world.store.reimport(id, given)).rejects.toMatchObject({ code: 'store_quota_used_up' });
    // What it does not speak of is as free as ever.
    await world.store.updateMetadata(id, { name: 'other', description: '', tags: [] }, undefined);
    await world.store.delete(id);
  });

  it('is not exceeded in any year, wherever that begins, and tells when there is room again', async () => {
    const world = setup({ reserve: 0, count: 3 });
    const sent: number[] = [];
    for (let day = 0; day < 4 * 365; day += 5) {
      world.to(startMs + day * dayMs);
      await world.add().then(
        () => sent.push(day),
        () => {},
      );
    }
    for (const day of sent) expect(sent.filter((other) => other >= day && other < day + 365).length).toBeLessThan(4);
    expect(sent.length).toBeGreaterThanOrEqual(9);

    const told = setup({ reserve: 0, count: 1 });
    await told.add();
    const refused = await told.add().catch((thrown: { fields: { until: number } }) => thrown);
    const { until } = (refused as { fields: { until: number } }).fields;
    expect(until).toBeGreaterThan(startMs + yearMs);
    expect(until).toBeLessThan(startMs + yearMs + 6 * dayMs);
    told.to(until - 1);
    await expect(told.add()).rejects.toMatchObject({ code: 'store_quota_used_up' });
    told.to(until);
    await told.add();
  });

  it('of zero sends nothing, and says that it never will', async () => {
    const world = setup({ count: 0, reserve: 0 });
    const refused = await world.add().catch((thrown: { fields: object; message: string }) => thrown);
    expect((refused as { fields: object }).fields).not.toHaveProperty('until');
    expect((refused as { message: string }).message).toContain('it allows none');
    expect(await world.left()).toMatchObject([{ left: 0 }]);
  });

  it('is counted on when the clock is set back', async () => {
    const world = setup({ reserve: 0, count: 2 });
    await world.add();
    world.to(startMs - 30 * dayMs);
    await world.add();
    await expect(world.add()).rejects.toMatchObject({ code: 'store_quota_used_up' });
  });

  it.each([
    ['gets back what a limit of ours kept from being sent', ownLimit('no room', { retryAfterMs: 1_000 }), 2],
    ['gets back what the service refused', new CodedError('store_content_refused', 'other domains'), 2],
    ['keeps counted what may have had an effect', new CodedError('store_unanswered', 'no answer'), 1],
  ])('%s', async (_, failure, left) => {
    const world = setup({ reserve: 0, count: 2 });
    const failing = quotaStore(
      { ...world.plain, import: () => Promise.reject(failure) },
      { runtime: { ...virtualTime(startMs, () => 0), now: () => startMs }, book: world.book },
    );
    await expect(world.add(failing)).rejects.toBe(failure);
    expect(await world.left()).toMatchObject([{ left }]);
  });

  it('is not used by what another quota of the store keeps from being sent', async () => {
    const world = setup({ reserve: 0, count: 2 });
    const daily: Quota = { operations: ['import'], count: 0, perMs: dayMs, reserve: 0 };
    const abilities = { ...world.plain.abilities, quotas: [{ ...yearly, reserve: 0, count: 2 }, daily] };
    const both = quotaStore(
      { ...world.plain, abilities },
      { runtime: { ...virtualTime(startMs, () => 0), now: () => startMs }, book: world.book },
    );
    await expect(world.add(both)).rejects.toMatchObject({ code: 'store_quota_used_up' });
    expect(await world.left()).toMatchObject([{ left: 2 }]);
    expect(world.plain.size()).toBe(0);
  });

  it('is shown with what is left and when there will be more', async () => {
    const world = setup();
    expect(await world.left()).toEqual([{ ...yearly, left: 5 }]);
    await world.add();
    const [left] = await world.left();
    expect(left).toMatchObject({ left: 4 });
    expect(left?.moreAt).toBeGreaterThan(startMs + yearMs);
  });

  it('is counted right by many at once', async () => {
    const world = setup({ count: 10, reserve: 0 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 30 }, (_, index) => world.add([world.store, world.other][index % 2])),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    expect(world.plain.size()).toBe(10);
  });
});
