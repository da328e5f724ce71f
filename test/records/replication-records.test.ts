import { describe, expect, it } from 'vitest';
import { type Commit, type LeaseHolderFields, replicationRecords } from '../../src/records/replication-records.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table, Value } from '../../src/table/table.ts';

const now = 1_000_000;
const key = { partition: 'replication.1/shop', sort: 'c1' };
const nothingFound: LeaseHolderFields = { attempts: 0, backups: [] };

/** Records on a table whose one row is `fields`. */
async function withRow(fields: Readonly<Record<string, Value>>) {
  const table = memoryTable();
  await table.putIfAbsent(key, fields);
  return onTable(table);
}

function onTable(table: Table) {
  const records = replicationRecords(table);
  return {
    table,
    records,
    row: () => table.get(key),
    ask: (more: { now?: number; eventAt?: number; occurredAt?: number; doubt?: number } = {}) =>
      records.ask({ link: 'shop', certificate: 'c1', now, ...more }),
    claim: (more: { now?: number; doubt?: number; hasDied?: (owner: string) => boolean } = {}) =>
      records.claim({
        link: 'shop',
        certificate: 'c1',
        owner: 'worker',
        now,
        leaseUntil: now + 60_000,
        skewMs: 5_000,
        doubt: now + 125_000,
        ...more,
      }),
    commit: (more: Partial<Commit> = {}) =>
      records.commit({ link: 'shop', certificate: 'c1', token: 1, seen: 1, fields: nothingFound, doubts: {}, ...more }),
  };
}

const pending = { requested: 1, replicated: 0, leaseToken: 0 };
const done = { requested: 1, replicated: 1, leaseToken: 1 };
const held = { requested: 1, replicated: 0, leaseToken: 1, leaseUntil: now + 60_000, leaseOwner: 'worker' };

describe('asking', () => {
  it('makes a row that can be claimed', async () => {
    const { ask, row } = onTable(memoryTable());
    await ask();
    expect(await row()).toEqual({ ...key, requested: 1, replicated: 0, leaseToken: 0, wakeAt: now });
  });

  it('counts on, and leaves what the lease holder wrote', async () => {
    const { ask, row } = await withRow({ ...done, attempts: 3, notBefore: 5, doubt: 7, eventAt: 8, occurredAt: 9 });
    await ask();
    expect(await row()).toEqual({
      ...key,
      requested: 2,
      replicated: 1,
      leaseToken: 1,
      attempts: 3,
      notBefore: 5,
      doubt: 7,
      eventAt: 8,
      occurredAt: 9,
      wakeAt: now,
    });
  });

  it('notes when a notification was acknowledged, when it happened, and doubt', async () => {
    const { ask, row } = onTable(memoryTable());
    await ask({ eventAt: now, occurredAt: now - 10, doubt: now + 99 });
    expect(await row()).toMatchObject({ eventAt: now, occurredAt: now - 10, doubt: now + 99 });
  });

  it('forgets when an older notification happened if the new one does not say', async () => {
    const { ask, row } = await withRow({ ...done, eventAt: 1, occurredAt: 2 });
    await ask({ eventAt: now });
    expect(await row()).toEqual({ ...key, ...done, requested: 2, wakeAt: now, eventAt: now });
  });
});

describe('what may be claimed', () => {
  it.each([
    ['more was asked for than done', { ...pending }],
    ['the wake-up is due', { ...done, wakeAt: now }],
    ['its notBefore has passed', { ...pending, notBefore: now }],
  ])('is work when %s', async (_why, fields) => {
    const { claim } = await withRow(fields);
    expect((await claim()).claimed).toBe(true);
  });

  it.each([
    ['nothing was asked for since', { ...done }],
    ['the wake-up is not due', { ...done, wakeAt: now + 1 }],
    ['its notBefore has not passed', { ...pending, wakeAt: now, notBefore: now + 1 }],
    ['someone else holds it', { ...pending, leaseUntil: now + 1 }],
    ['someone else may hold it by his clock', { ...pending, leaseUntil: now - 5_000 }],
    ['a lease was abandoned, but nothing is pending', { ...done, leaseUntil: now - 60_000 }],
    ['a lease was abandoned, but its notBefore has not passed', { ...held, leaseUntil: 0, notBefore: now + 1 }],
  ])('is nothing when %s, and the row stays as it is', async (_why, fields) => {
    const { claim, row } = await withRow(fields);
    expect((await claim()).claimed).toBe(false);
    expect(await row()).toEqual({ ...key, ...fields });
  });

  it('is nothing when there is no row, and none is made', async () => {
    const { claim, row } = onTable(memoryTable());
    expect(await claim()).toEqual({ claimed: false, record: undefined });
    expect(await row()).toBeUndefined();
  });
});

describe('claiming', () => {
  it('takes the lease, counts its token up, and gives the record', async () => {
    const { claim, row } = await withRow({ ...pending, leaseToken: 6, wakeAt: now });
    const expected = { ...pending, leaseToken: 7, wakeAt: now, leaseUntil: now + 60_000, leaseOwner: 'worker' };
    expect(await claim()).toEqual({
      claimed: true,
      record: { link: 'shop', certificate: 'c1', ...expected, attempts: 0, backups: [] },
    });
    expect(await row()).toEqual({ ...key, ...expected });
  });

  it('sets no doubt when the lease before was dropped', async () => {
    const { claim } = await withRow(pending);
    expect((await claim()).record?.doubt).toBeUndefined();
  });

  it('lets one of two claims through', async () => {
    const { claim } = await withRow(pending);
    const claims = await Promise.all([claim(), claim()]);
    expect(claims.map(({ claimed }) => claimed)).toEqual([true, false]);
  });

  it('takes an abandoned lease over in doubt, one millisecond after it died by every clock', async () => {
    const { claim } = await withRow({ ...held, leaseUntil: now - 5_001 });
    expect(await claim()).toMatchObject({
      claimed: true,
      record: { leaseToken: 2, leaseUntil: now + 60_000, doubt: now + 125_000 },
    });
  });

  it('takes a lease at once whose owner is known to be dead, in doubt as ever, and no other one', async () => {
    const dead = { hasDied: (owner: string) => owner === 'worker' };
    const { claim } = await withRow(held);
    expect(await claim(dead)).toMatchObject({ claimed: true, record: { leaseToken: 2, doubt: now + 125_000 } });
    const other = await withRow({ ...held, leaseOwner: 'another worker' });
    expect((await other.claim(dead)).claimed).toBe(false);
    const { leaseOwner: _owner, ...nameless } = held;
    expect((await (await withRow(nameless)).claim(dead)).claimed).toBe(false);
  });

  it('lets one of two claims take the lease of a dead one over', async () => {
    const { claim, row } = await withRow(held);
    const claims = await Promise.all([claim({ hasDied: () => true }), claim({ hasDied: () => true })]);
    expect(claims.map(({ claimed }) => claimed)).toEqual([true, false]);
    expect((await row())?.leaseToken).toBe(2);
  });

  it('never lowers doubt', async () => {
    const { claim } = await withRow({ ...held, leaseUntil: 0, doubt: now + 125_001 });
    expect((await claim()).record?.doubt).toBe(now + 125_001);
  });

  it('lets one of two claims take an abandoned lease over', async () => {
    const { claim, row } = await withRow({ ...held, leaseUntil: 0 });
    const claims = await Promise.all([claim(), claim()]);
    expect(claims.map(({ claimed }) => claimed)).toEqual([true, false]);
    expect((await row())?.leaseToken).toBe(2);
  });

  it('does not take over in a doubt that is older than one set at that moment', async () => {
    const table = memoryTable();
    await table.putIfAbsent(key, { ...held, leaseUntil: 0 });
    const { ask } = onTable(table);
    let updates = 0;
    const { claim, row } = onTable({
      ...table,
      async update(...args) {
        updates += 1;
        if (updates === 2) await ask({ doubt: now + 300_000 });
        return table.update(...args);
      },
    });
    await claim();
    expect((await row())?.doubt).toBe(now + 300_000);
  });

  it('does not take a lease over that was dropped meanwhile', async () => {
    const table = memoryTable();
    await table.putIfAbsent(key, { ...held, leaseUntil: 0, wakeAt: now });
    const { commit } = onTable(table);
    let updates = 0;
    const { claim, row } = onTable({
      ...table,
      async update(...args) {
        updates += 1;
        if (updates === 2) await commit();
        return table.update(...args);
      },
    });
    expect((await claim()).claimed).toBe(false);
    expect(await row()).toMatchObject({ leaseToken: 1, replicated: 1 });
  });
});

describe('committing', () => {
  it('writes what was found, drops the lease, and clears doubt and wake-up', async () => {
    const { commit, row } = await withRow({ ...held, wakeAt: 1, doubt: 2, eventAt: 3, occurredAt: 4 });
    const fields: LeaseHolderFields = { attempts: 0, backups: [{ store: 'b', id: 'x', attempts: 0 }] };
    expect(await commit({ fields })).toBe('committed');
    expect(await row()).toEqual({
      ...key,
      requested: 1,
      replicated: 1,
      leaseToken: 1,
      doubtToken: 1,
      eventAt: 3,
      occurredAt: 4,
      attempts: 0,
      backups: [{ store: 'b', id: 'x', attempts: 0 }],
    });
  });

  it('sets doubt and the next wake-up', async () => {
    const { commit, row } = await withRow({ ...held, wakeAt: 1, doubt: 2 });
    const fields: LeaseHolderFields = { attempts: 0, backups: [{ store: 'b', attempts: 0 }] };
    expect(await commit({ fields, doubts: { b: 50 }, wakeAt: 60 })).toBe('committed');
    expect(await row()).toMatchObject({ doubt: 50, 'doubt/b': 50, wakeAt: 60 });
  });

  it('keeps a key that is withheld so that an older version reads it as none, and takes that word back', async () => {
    const { commit, row, records } = await withRow(held);
    const fields: LeaseHolderFields = { attempts: 0, backups: [], aside: 'withheld' };
    expect(await commit({ fields })).toBe('committed');
    expect(await row()).toMatchObject({ aside: 'keyless', primaryKeyWithheld: true });
    expect(await records.get('shop', 'c1')).toMatchObject({ aside: 'withheld' });
  });

  it('removes findings of an earlier pass that it does not mention', async () => {
    const error = { code: 'store_refused', message: 'no', at: 1 };
    const { commit, row } = await withRow({
      ...held,
      attempts: 4,
      notBefore: 1,
      lastError: error,
      absentSince: 1,
      aside: 'keyless',
      refusal: { code: 'certificate_expired', facts: 'x', since: 1, looks: 1 },
      primary: {
        name: 'n',
        fingerprint: 'f',
        metadataDigest: 'd',
        listedFacts: '||',
        notAfter: 1,
        changedAt: 1,
        changedAtFrom: 'event',
        lookedAt: 1,
      },
      backups: [{ store: 'b', attempts: 1, lastError: error }],
    });
    await commit();
    expect(await row()).toEqual({
      ...key,
      requested: 1,
      replicated: 1,
      leaseToken: 1,
      doubtToken: 1,
      attempts: 0,
      backups: [],
    });
  });

  it('keeps the wake-up of who asked meanwhile, and says so', async () => {
    const { commit, row } = await withRow({ ...held, requested: 2, wakeAt: 77 });
    expect(await commit({ wakeAt: 60 })).toBe('moved');
    expect(await row()).toEqual({
      ...key,
      requested: 2,
      replicated: 1,
      leaseToken: 1,
      doubtToken: 1,
      wakeAt: 77,
      attempts: 0,
      backups: [],
    });
  });

  it.each([
    ['is not cleared', 500, undefined, 500],
    ['is not lowered', 500, 400, 500],
    ['grows', 500, 600, 600],
    ['is set', undefined, 600, 600],
    ['stays absent', undefined, undefined, undefined],
  ])('doubt %s when more was asked for meanwhile', async (_what, before, given, after) => {
    const { commit, row } = await withRow({
      ...held,
      requested: 2,
      ...(before === undefined ? {} : { doubt: before }),
    });
    expect(await commit(given === undefined ? {} : { doubts: { b: given } })).toBe('moved');
    expect((await row())?.doubt).toBe(after);
  });

  it.each([undefined, 250, 400])('does not lower a doubt set at that moment (its own: %s)', async (doubt) => {
    const table = memoryTable();
    await table.putIfAbsent(key, { ...held, requested: 2, doubt: 200 });
    const { ask } = onTable(table);
    let updates = 0;
    const { commit, row } = onTable({
      ...table,
      async update(...args) {
        updates += 1;
        if (updates === 2) await ask({ doubt: 300 });
        return table.update(...args);
      },
    });
    expect(await commit(doubt === undefined ? {} : { doubts: { b: doubt } })).toBe('moved');
    expect(await row()).toMatchObject({ doubt: Math.max(300, doubt ?? 0), replicated: 1 });
    expect(await row()).not.toHaveProperty('leaseUntil');
  });

  it.each([
    ['someone took over', { ...held, leaseToken: 2 }],
    ['someone took over and more was asked for', { ...held, leaseToken: 2, requested: 5 }],
    ['the lease was dropped already', { ...done }],
    ['the lease was dropped already and more was asked for', { ...done, requested: 5 }],
  ])('is refused when %s, and the row stays as it is', async (_why, fields) => {
    const { commit, row } = await withRow({ ...fields, wakeAt: 3, doubt: 4 });
    expect(await commit({ doubts: { b: 50 }, wakeAt: 60 })).toBe('refused');
    expect(await row()).toEqual({ ...key, ...fields, wakeAt: 3, doubt: 4 });
  });
});

describe('finding records', () => {
  it('gives what is due, earliest first, and no more than asked for', async () => {
    const { records } = onTable(memoryTable());
    for (const [certificate, at] of [
      ['late', 30],
      ['early', 10],
      ['middle', 20],
      ['future', 41],
    ] as const)
      await records.ask({ link: 'shop', certificate, now: at });
    await records.ask({ link: 'other', certificate: 'elsewhere', now: 5 });
    expect(await records.due('shop', 40, 10)).toEqual(['early', 'middle', 'late']);
    expect(await records.due('shop', 40, 2)).toEqual(['early', 'middle']);
  });

  it('gives all records of a link, over several pages, and none of another link', async () => {
    const { records } = onTable(memoryTable());
    const ids = Array.from({ length: 1_001 }, (_, index) => `c${String(index).padStart(4, '0')}`);
    for (const certificate of ids) await records.ask({ link: 'shop', certificate, now });
    await records.ask({ link: 'shop-2', certificate: 'elsewhere', now });
    const found: string[] = [];
    for await (const { certificate, link } of records.all('shop')) found.push(`${link}/${certificate}`);
    expect(found).toEqual(ids.map((id) => `shop/${id}`));
  });
});

describe('a damaged row', () => {
  const damaged = { requested: 'many', replicated: 0, leaseToken: 0, backups: [{ store: 'b', attempts: null }] };

  it('is refused by get and names its fields', async () => {
    const { records } = await withRow(damaged);
    await expect(records.get('shop', 'c1')).rejects.toMatchObject({
      code: 'table_row_unreadable',
      message: 'the replication record of c1 of link shop is damaged',
      fields: { link: 'shop', certificate: 'c1', damaged: ['requested', 'backups.0.attempts'] },
    });
  });

  it('is refused by a claim, which leaves it as it is', async () => {
    const { claim, row } = await withRow({ ...done, wakeAt: now + 1, aside: 'nonsense' });
    await expect(claim()).rejects.toMatchObject({ code: 'table_row_unreadable', fields: { damaged: ['aside'] } });
    expect(await row()).toEqual({ ...key, ...done, wakeAt: now + 1, aside: 'nonsense' });
  });

  it('is refused when all are read', async () => {
    const { records } = await withRow(damaged);
    await expect(records.all('shop').next()).rejects.toMatchObject({ code: 'table_row_unreadable' });
  });

  it('is not a row whose error code is of a newer version', async () => {
    const { records } = await withRow({ ...done, lastError: { code: 'store_on_the_moon', message: 'm', at: 1 } });
    expect((await records.get('shop', 'c1'))?.lastError).toEqual({ code: 'internal', message: 'm', at: 1 });
  });
});
