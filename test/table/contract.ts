import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conditionsContract } from './contract-conditions.ts';
import { type ContractOptions, groundOn, type TableUnderTest } from './contract-ground.ts';
import { modelContract } from './contract-model.ts';
import { queriesContract } from './contract-queries.ts';
import { valuesContract } from './contract-values.ts';
import { writesContract } from './contract-writes.ts';

/**
 * The suite of the contract `Table`. One table serves all tests, so each has a partition of its
 * own.
 */
export function tableContract(kind: string, make: () => Promise<TableUnderTest>, options: ContractOptions = {}): void {
  describe(`the table contract: ${kind}`, () => {
    let under: TableUnderTest;
    const ground = groundOn(() => under.table);
    const { table, freshKey } = ground;

    beforeAll(async () => {
      under = await make();
    });
    afterAll(async () => {
      await under.table.close();
      await under.dispose?.();
    });

    it('knows nothing of a row that was never written', async () => {
      const key = freshKey();
      expect(await table.get(key)).toBeUndefined();
      expect(await table.query({ partition: key.partition, limit: 10 })).toEqual({ rows: [] });
      expect(await table.queryIndex({ partition: key.partition, until: 1e15, limit: 10 })).toEqual({ rows: [] });
    });

    writesContract(ground);
    conditionsContract(ground, options);
    queriesContract(ground);
    valuesContract(ground, options);
    modelContract(ground, options);

    it('throws once it has been closed', async () => {
      const other = await make();
      const key = { partition: 'closed', sort: 'row' };
      await other.table.putIfAbsent(key, { a: 1 });
      await other.table.close();
      const calls = [
        () => other.table.get(key),
        () => other.table.update(key, {}),
        () => other.table.putIfAbsent(key, {}),
        () => other.table.delete(key),
        () => other.table.query({ partition: 'closed', limit: 1 }),
        () => other.table.queryIndex({ partition: 'closed', until: 1, limit: 1 }),
      ];
      for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'table_unavailable' });
      await other.table.close();
      await other.dispose?.();
    });
  });
}
