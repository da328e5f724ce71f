import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Row, Table, WriteOutcome } from '../../src/table/table.ts';
import { type Operation, operation } from './arbitraries.ts';
import { type ContractOptions, eventually, type Ground, readAll } from './contract-ground.ts';
import { byBytes, emptyModel, type Model } from './model.ts';

/** Any sequence of writes, compared with the model after each. */
export function modelContract({ table, freshPartition }: Ground, { runs = 100, differs = {} }: ContractOptions): void {
  it('does what a simple model does', async () => {
    // Not by expect(): it takes a field that is called `constructor` for the type of the object.
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
        const partition = freshPartition();
        const model = emptyModel(differs.textOrder?.order ?? byBytes);
        for (const each of operations) {
          const expected = onModel(model, partition, each);
          const outcome = onTable(table, partition, each);
          if (expected === 'fault') await expect(outcome).rejects.toMatchObject({ code: 'internal' });
          else deepStrictEqual(await outcome, expected);
        }
        const all = await readAll((cursor) => table.query({ partition, limit: 3, ...cursor }));
        deepStrictEqual(all, model.all(partition));
        await eventually(async () => {
          const due = await readAll((cursor) => table.queryIndex({ partition, until: 1, limit: 2, ...cursor }));
          deepStrictEqual(inModelOrder(due), model.due(partition, 1));
        });
      }),
      { numRuns: runs },
    );
  });
}

/** Rows of one moment come in any order. */
function inModelOrder(rows: readonly Row[]): Row[] {
  const wakeAts = rows.map((row) => row.wakeAt as number);
  expect(wakeAts).toEqual([...wakeAts].sort((a, b) => a - b));
  return [...rows].sort(
    (a, b) => (a.wakeAt as number) - (b.wakeAt as number) || Buffer.compare(Buffer.from(a.sort), Buffer.from(b.sort)),
  );
}

function onModel(model: Model, partition: string, does: Operation): WriteOutcome | 'fault' {
  const key = { partition, sort: does.sort };
  if (does.does === 'update') return model.update(key, does.change, does.condition);
  return does.does === 'put' ? model.putIfAbsent(key, does.fields) : model.delete(key, does.condition);
}

function onTable(table: Table, partition: string, does: Operation): Promise<WriteOutcome> {
  const key = { partition, sort: does.sort };
  if (does.does === 'update') return table.update(key, does.change, does.condition);
  return does.does === 'put' ? table.putIfAbsent(key, does.fields) : table.delete(key, does.condition);
}
