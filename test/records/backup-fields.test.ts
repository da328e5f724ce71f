import { describe, expect, it } from 'vitest';
import { doubtOf } from '../../src/records/replication-record.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { memoryTable } from '../../src/table/memory.ts';

const now = 1_000_000;
const key = { partition: 'replication.1/shop', sort: 'c1' };
const request = { link: 'shop', certificate: 'c1', now } as const;
const written = { id: 'x', at: now, fingerprint: 'f', metadataDigest: 'd', revision: '7' };
const refusal = { code: 'store_content_refused', facts: 'x', since: now, looks: 1, until: now + 9 } as const;

/** A certificate that this version has passed once, leaving this much doubt of each backup. */
async function passed(doubts: Readonly<Record<string, number>>) {
  const table = memoryTable();
  const records = replicationRecords(table);
  const claim = () => records.claim({ ...request, owner: 'w', leaseUntil: now + 60_000, skewMs: 5_000, doubt: now });
  await records.ask(request);
  await claim();
  const backups = [
    { store: 'a', id: 'x', attempts: 0, written, refusal },
    { store: 'b', attempts: 0 },
  ];
  await records.commit({ ...request, token: 1, seen: 1, fields: { attempts: 0, backups }, doubts, wakeAt: now });
  /**
   * What a worker of the version before does in a pass: it knows neither the new fields nor that
   * they are there.
   */
  const oldPass = async (doubt?: number) => {
    const claimed = await table.update(key, { add: { leaseToken: 1 }, set: { leaseUntil: now + 60_000 } });
    const requested = claimed.row?.requested as number;
    const nested = [
      { store: 'a', id: 'x', attempts: 0 },
      { store: 'b', id: 'y', attempts: 0 },
    ];
    await table.update(key, {
      set: { replicated: requested, backups: nested, ...(doubt === undefined ? {} : { doubt }) },
      remove: ['leaseUntil', ...(doubt === undefined ? ['doubt'] : [])],
    });
  };
  const record = async () => {
    const found = await records.get('shop', 'c1');
    if (found === undefined) throw new Error('there is no record');
    return found;
  };
  return { table, records, claim, oldPass, record };
}

describe('the doubt of one backup', () => {
  it('is its own, and no other has it', async () => {
    const { record } = await passed({ a: now + 500 });
    expect([doubtOf(await record(), 'a'), doubtOf(await record(), 'b')]).toEqual([now + 500, undefined]);
    expect((await record()).doubt).toBe(now + 500);
  });

  it('is still its own in the hands of the next worker', async () => {
    const { claim } = await passed({ a: now + 500 });
    const { record } = await claim();
    expect(record && [doubtOf(record, 'a'), doubtOf(record, 'b')]).toEqual([now + 500, undefined]);
  });

  it('is that of all where a lease was taken over', async () => {
    const { records, claim } = await passed({});
    await claim();
    const later = { ...request, now: now + 100_000, leaseUntil: now + 160_000, skewMs: 5_000, owner: 'w' };
    const { record } = await records.claim({ ...later, doubt: now + 300_000 });
    expect(record && [doubtOf(record, 'a'), doubtOf(record, 'b')]).toEqual([now + 300_000, now + 300_000]);
  });

  it('grows by what is asked for one backup, and never shrinks', async () => {
    const { records, record } = await passed({ a: now + 500 });
    await records.ask({ ...request, doubts: { a: now + 100, b: now + 200 } });
    expect([doubtOf(await record(), 'a'), doubtOf(await record(), 'b')]).toEqual([now + 500, now + 200]);
    expect(await record()).toMatchObject({ requested: 2, doubt: now + 500 });
  });

  it('is not lowered by a commit that finds more asked for', async () => {
    const { records, claim, record } = await passed({ a: now + 500 });
    await claim();
    await records.ask({ ...request, doubts: { b: now + 200 } });
    const fields = { attempts: 0, backups: [{ store: 'a', attempts: 0 }] };
    expect(await records.commit({ ...request, token: 2, seen: 1, fields, doubts: {} })).toBe('moved');
    expect([doubtOf(await record(), 'a'), doubtOf(await record(), 'b')]).toEqual([now + 500, now + 200]);
  });
});

describe('a worker of the version before beside this one', () => {
  it('leaves what is kept for each backup in fields of the row', async () => {
    const { oldPass, record } = await passed({ a: now + 500 });
    await oldPass(now + 500);
    expect((await record()).backups).toMatchObject([{ id: 'x', written, refusal }, { id: 'y' }]);
    expect(doubtOf(await record(), 'a')).toBe(now + 500);
  });

  it('sets a doubt that counts for every backup, even one no later than what is known', async () => {
    const { oldPass, record } = await passed({ a: now + 500 });
    await oldPass(now + 500);
    expect(doubtOf(await record(), 'b')).toBe(now + 500);
  });

  it('knows the latest doubt of all, and loses nothing that was asked for', async () => {
    const { records, table } = await passed({ a: now + 500, b: now + 900 });
    await records.ask(request);
    expect(await table.get(key)).toMatchObject({ doubt: now + 900, requested: 2, replicated: 1, wakeAt: now });
  });

  it('reads as damaged what is damaged in such a field, and names it', async () => {
    const { table, record } = await passed({});
    await table.update(key, { set: { 'written/a': 'nonsense', 'doubt/b': 'soon' } });
    await expect(record()).rejects.toMatchObject({
      code: 'table_row_unreadable',
      fields: { damaged: ['doubt/b', 'written/a'] },
    });
  });
});
