import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CodedError } from '../../../src/errors.ts';
import { listCertificates } from '../../../src/instance/certificates/certificate-listing.ts';
import { type CertificateRow, openContent } from '../../../src/instance/certificates/certificate-row.ts';
import { type CertificateRows, certificateRows } from '../../../src/instance/certificates/certificate-rows.ts';
import { silentLog } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';

const sealer = testKeyring(instanceCrn);
const rowsOn = (table: Table): CertificateRows =>
  certificateRows({ table, sealer, runtime: systemRuntime, log: silentLog, instanceCrn });

/**
 * Facts and content of a certificate that expires on this day; nothing here looks inside of either.
 */
function of(day: number) {
  const facts = {
    domains: ['shop.example.test'],
    issuer: 'Test',
    serialNumber: `0${day}`,
    beginsOn: 0,
    expiresOn: day * 86_400_000,
    algorithm: 'ecdsa-with-SHA256',
    keyAlgorithm: 'id-ecPublicKey 256 bit',
  };
  return { facts, pem: { content: `leaf ${day}`, priv_key: `key ${day}` } };
}
const add = (rows: CertificateRows, name: string, day: number, maximum = Number.POSITIVE_INFINITY) =>
  rows.add({ name, description: '', ...of(day).facts }, of(day).pem, maximum);
const reimport = (rows: CertificateRows, id: string, day: number) =>
  rows.replaceContent(id, of(day).facts, of(day).pem, () => {});

/** Everything that is listed, page by page. */
async function listAll(rows: CertificateRows, size = 200): Promise<readonly CertificateRow[]> {
  const found: CertificateRow[] = [];
  let from: { id: string; expiresOn: number } | undefined;
  do {
    const page = await listCertificates(rows, { from, skip: 0, size });
    found.push(...page.certificates);
    from = page.next;
  } while (from !== undefined);
  return found;
}
async function contentsOn(table: Table): Promise<readonly string[]> {
  const page = await table.query({ partition: `instance.1/${instanceCrn}/content`, limit: 100 });
  const opened = page.rows.map(async ({ sort, sealed }) => {
    const [id = '', version = ''] = sort.split('/');
    return openContent(sealer, id, version, String(sealed));
  });
  return (await Promise.all(opened)).map(({ content }) => content);
}
async function indexOn(table: Table): Promise<number> {
  return (await table.query({ partition: `instance.1/${instanceCrn}/expiry`, limit: 100 })).rows.length;
}

/**
 * The table as a process sees it that dies at its nth write: before it, or after it without hearing
 * the answer.
 */
function dyingTable(table: Table, atWrite: number, when: 'before' | 'after') {
  let writes = 0;
  let dead = false;
  const lost = () => new CodedError('table_unavailable', 'the process is dead');
  const write =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const dies = !dead && ++writes === atWrite;
      if (dead || (dies && when === 'before')) {
        dead = true;
        throw lost();
      }
      const answer = await method(...args);
      if (!dies) return answer;
      dead = true;
      throw lost();
    };
  const read =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (dead) throw lost();
      return method(...args);
    };
  const dying: Table = {
    get: read(table.get),
    query: read(table.query),
    queryIndex: read(table.queryIndex),
    update: write(table.update),
    putIfAbsent: write(table.putIfAbsent),
    delete: write(table.delete),
    close: table.close,
  };
  return { table: dying, died: () => dead };
}

/**
 * Runs this for a process that dies at its first write, its second, ... until it lives through;
 * each time on a table of its own.
 */
async function atEachWrite(
  run: (dying: ReturnType<typeof dyingTable>['table'] | undefined, table: Table) => Promise<void>,
  prepare: (table: Table) => Promise<void>,
  check: (table: Table, where: string) => Promise<void>,
): Promise<number> {
  let crashes = 0;
  for (const when of ['before', 'after'] as const) {
    for (let atWrite = 1; ; atWrite++) {
      const table = memoryTable();
      await prepare(table);
      const dying = dyingTable(table, atWrite, when);
      await run(dying.table, table).catch((error) => expect(error).toMatchObject({ code: 'table_unavailable' }));
      await check(table, `${when} write ${atWrite}`);
      if (!dying.died()) break;
      crashes++;
    }
  }
  return crashes;
}

describe('whatever write the process dies at', () => {
  test('an import is there as a whole or not at all, and its place can be taken again', async () => {
    const crashes = await atEachWrite(
      async (dying) => void (await add(rowsOn(dying as Table), 'new', 3, 2)),
      async (table) => void (await add(rowsOn(table), 'old', 5, 2)),
      async (table, where) => {
        const rows = rowsOn(table);
        const listed = await listAll(rows);
        const names = listed.map(({ name }) => name);
        expect([['old'], ['new', 'old']], where).toContainEqual(names);
        for (const { id, name } of listed) {
          expect((await rows.read(id))?.pem, where).toEqual(of(name === 'new' ? 3 : 5).pem);
        }
        const another = add(rows, 'another', 9, 2);
        if (listed.length === 2) await expect(another, where).rejects.toMatchObject({ code: 'instance_full' });
        else expect((await another).name, where).toBe('another');
      },
    );
    expect(crashes).toBe(8);
  });

  test('a reimport leaves the old content or the new one, listed once, and the next one clears up', async () => {
    let id = '';
    const crashes = await atEachWrite(
      async (dying) => void (await reimport(rowsOn(dying as Table), id, 7)),
      async (table) => {
        id = (await add(rowsOn(table), 'shop', 3)).id;
        await reimport(rowsOn(table), id, 4);
        await add(rowsOn(table), 'other', 5);
      },
      async (table, where) => {
        const rows = rowsOn(table);
        expect(await listAll(rows), where).toHaveLength(2);
        const read = await rows.read(id);
        const day = read?.row.serialNumber === '07' ? 7 : 4;
        expect(read?.row, where).toMatchObject({ ...of(day).facts, version: day === 7 ? 3 : 2 });
        expect(read?.pem, where).toEqual(of(day).pem);
        // A row of the index that was left behind may count once more, and is gone then.
        expect(new Set((await listAll(rows, 1)).map(({ name }) => name)), where).toEqual(new Set(['shop', 'other']));
        const again = await listAll(rows, 1);
        expect(
          again.map(({ name }) => name),
          where,
        ).toEqual(day === 7 ? ['other', 'shop'] : ['shop', 'other']);
        expect(again, where).toContainEqual(read?.row);
        await reimport(rows, id, 8);
        await reimport(rows, id, 9);
        expect(
          (await listAll(rows)).map(({ serialNumber }) => serialNumber),
          where,
        ).toEqual(['05', '09']);
        expect(await contentsOn(table), where).toEqual(expect.arrayContaining(['leaf 8', 'leaf 9', 'leaf 5']));
        expect(await contentsOn(table), where).toHaveLength(3);
        expect(await indexOn(table), where).toBe(2);
      },
    );
    expect(crashes).toBeGreaterThanOrEqual(8);
  });

  test('a delete has not begun or is finished by whoever comes next, and no key stays', async () => {
    let id = '';
    for (const next of ['delete', 'list'] as const) {
      const crashes = await atEachWrite(
        async (dying) => void (await rowsOn(dying as Table).remove(id)),
        async (table) => {
          id = (await add(rowsOn(table), 'shop', 3, 1)).id;
          await reimport(rowsOn(table), id, 4);
        },
        async (table, where) => {
          const rows = rowsOn(table);
          const row = await rows.get(id);
          expect(await listAll(next === 'list' ? rows : rowsOn(memoryTable())), where).toEqual(
            next === 'list' && row ? [row] : [],
          );
          if (row !== undefined) expect((await rows.read(id))?.pem, where).toEqual(of(4).pem);
          if (row !== undefined || next === 'delete') await rows.remove(id);
          expect(await rows.get(id), where).toBeUndefined();
          expect(await listAll(rows), where).toEqual([]);
          expect(await contentsOn(table), where).toEqual([]);
          expect((await add(rows, 'another', 5, 1)).name, where).toBe('another');
        },
      );
      expect(crashes).toBeGreaterThanOrEqual(8);
    }
  });
});

test('a table that is asked again after a lost answer does not make its own write the other one', async () => {
  const table = memoryTable();
  const { id } = await add(rowsOn(table), 'shop', 3);
  // As a client of DynamoDB that repeats a request: the first was applied, the second is refused by
  // it.
  const repeating: Table = {
    ...table,
    async update(...args) {
      await table.update(...args);
      return table.update(...args);
    },
  };
  expect(await reimport(rowsOn(repeating), id, 4)).toMatchObject({ version: 2, serialNumber: '04' });
  expect((await rowsOn(table).read(id))?.pem).toEqual(of(4).pem);
});

test('a row that cannot be understood is an error, not an absence', async () => {
  const table = memoryTable();
  const rows = rowsOn(table);
  const { id } = await add(rows, 'shop', 3);
  await table.update({ partition: `instance.1/${instanceCrn}/certificate`, sort: id }, { set: { expiresOn: 'soon' } });
  for (const work of [rows.get(id), rows.read(id), listAll(rows), reimport(rows, id, 4)]) {
    await expect(work).rejects.toMatchObject({ code: 'table_row_unreadable' });
  }
});

test('certificates that nobody touches are listed once, renewed ones at least once, in every order of events', async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.integer({ min: 1, max: 3 }), async (scheduler, size) => {
      const table = memoryTable();
      const quiet = rowsOn(table);
      const renewed = (await add(quiet, 'renewed', 5)).id;
      const stays: readonly (readonly [string, number])[] = [
        ['early', 1],
        ['middle', 6],
        ['late', 10],
      ];
      for (const [name, day] of stays) await add(quiet, name, day);
      const leaving = (await add(quiet, 'leaving', 3)).id;

      const turn =
        <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
        async (...args: A): Promise<R> => {
          await scheduler.schedule(Promise.resolve());
          return method(...args);
        };
      const rows = rowsOn({
        ...table,
        get: turn(table.get),
        query: turn(table.query),
        update: turn(table.update),
        putIfAbsent: turn(table.putIfAbsent),
        delete: turn(table.delete),
      });
      const work = Promise.all([
        listAll(rows, size),
        rows.replaceContent(renewed, of(9).facts, { content: 'one' }, () => {}),
        rows.replaceContent(renewed, of(9).facts, { content: 'two' }, () => {}),
        rows.describe(renewed, { name: 'renewed and named' }),
        rows.remove(leaving),
      ]);
      await scheduler.waitFor(work);
      const [listed, one, two] = await work;

      const times = (id: string) => listed.filter((row) => row.id === id).length;
      expect(times(renewed)).toBeGreaterThanOrEqual(1);
      for (const [name] of stays) expect(listed.filter((row) => row.name === name)).toHaveLength(1);
      expect(times(leaving)).toBeLessThanOrEqual(1);

      // Both took effect, one after the other; the one before is kept, and nothing else.
      expect(one?.version).not.toBe(two?.version);
      const [last, before] = (one?.version ?? 0) > (two?.version ?? 0) ? ['one', 'two'] : ['two', 'one'];
      const read = await quiet.read(renewed);
      expect(read?.row).toMatchObject({ version: 4, name: 'renewed and named', expiresOn: of(9).facts.expiresOn });
      expect(read?.pem).toEqual({ content: last });
      const rest = (await contentsOn(table)).filter((content) => !content.startsWith('leaf'));
      expect(rest).toEqual([before, last]);
      expect(await contentsOn(table)).toHaveLength(5);
      expect(await listAll(quiet)).toHaveLength(4);
      expect(await indexOn(table)).toBe(4);
    }),
    { numRuns: 200 },
  );
});
