import { describe, expect, it } from 'vitest';
import type { Condition } from '../../src/table/table.ts';
import type { ContractOptions, Ground } from './contract-ground.ts';

/** What each kind of condition holds of. */
export function conditionsContract({ table, freshKey, freshRow }: Ground, { differs = {} }: ContractOptions): void {
  describe('conditions', () => {
    const fields = {
      zero: 0,
      seven: 7,
      nine: 9,
      seventh: 7,
      text: 'b',
      word: 'b',
      empty: '',
      smile: '\u{1f600}',
      halfwidth: '\u{ffee}',
      yes: true,
      no: false,
      nothing: null,
      list: [1],
      sameList: [1],
    };
    const cases: readonly (readonly [condition: Condition, holds: boolean])[] = [
      [{ exists: 'zero' }, true],
      [{ exists: 'nothing' }, true],
      [{ exists: 'missing' }, false],
      [{ exists: 'partition' }, true],
      [{ absent: 'missing' }, true],
      [{ absent: 'empty' }, false],
      [{ absent: 'sort' }, false],
      [{ field: 'seven', is: '=', to: 7 }, true],
      [{ field: 'seven', is: '=', to: 8 }, false],
      [{ field: 'seven', is: '=', to: '7' }, false],
      [{ field: 'seven', is: '<', to: 7 }, false],
      [{ field: 'seven', is: '<', to: 7.5 }, true],
      [{ field: 'seven', is: '<=', to: 7 }, true],
      [{ field: 'seven', is: '<=', to: 6.5 }, false],
      [{ field: 'seven', is: '>', to: 6 }, true],
      [{ field: 'seven', is: '>', to: 7 }, false],
      [{ field: 'seven', is: '>=', to: 7 }, true],
      [{ field: 'seven', is: '>=', to: 10 }, false],
      [{ field: 'zero', is: '=', to: -0 }, true],
      [{ field: 'zero', is: '=', to: false }, false],
      [{ field: 'text', is: '=', to: 'b' }, true],
      [{ field: 'text', is: '<', to: 'ba' }, true],
      [{ field: 'text', is: '>', to: 'a' }, true],
      [{ field: 'text', is: '>', to: 'b' }, false],
      [{ field: 'text', is: '<', to: 1 }, false],
      [{ field: 'empty', is: '=', to: '' }, true],
      [{ field: 'empty', is: '<', to: 'a' }, true],
      [{ field: 'sort', is: '=', to: 'row' }, true],
      [{ field: 'yes', is: '=', to: true }, true],
      [{ field: 'yes', is: '=', to: false }, false],
      [{ field: 'no', is: '=', to: false }, true],
      [{ field: 'yes', is: '>', to: false }, false],
      [{ field: 'yes', is: '>=', to: true }, false],
      [{ field: 'yes', is: '>', to: { fieldOf: 'no' } }, false],
      [{ field: 'nothing', is: '=', to: 0 }, false],
      [{ field: 'list', is: '=', to: { fieldOf: 'sameList' } }, false],
      [{ field: 'seven', is: '=', to: { fieldOf: 'seventh' } }, true],
      [{ field: 'seven', is: '<', to: { fieldOf: 'nine' } }, true],
      [{ field: 'nine', is: '<=', to: { fieldOf: 'seven' } }, false],
      [{ field: 'text', is: '=', to: { fieldOf: 'word' } }, true],
      [{ field: 'text', is: '<', to: { fieldOf: 'seven' } }, false],
      [{ field: 'seven', is: '>', to: { fieldOf: 'missing' } }, false],
      [{ field: 'missing', is: '<', to: { fieldOf: 'seven' } }, false],
      [{ field: 'missing', is: '=', to: { fieldOf: 'missing too' } }, false],
      [{ field: 'missing', is: '=', to: 0 }, false],
      [{ field: 'missing', is: '<', to: 1 }, false],
      [{ field: 'missing', is: '>=', to: '' }, false],
      [{ all: [] }, true],
      [{ any: [] }, false],
      [{ all: [{ exists: 'zero' }, { exists: 'seven' }] }, true],
      [{ all: [{ exists: 'zero' }, { exists: 'missing' }] }, false],
      [{ any: [{ exists: 'missing' }, { exists: 'seven' }] }, true],
      [{ any: [{ exists: 'missing' }, { absent: 'seven' }] }, false],
      [{ any: [{ all: [{ exists: 'zero' }, { absent: 'zero' }] }, { all: [{ any: [{ exists: 'zero' }] }] }] }, true],
      [{ all: [{ any: [{ absent: 'zero' }, { exists: 'zero' }] }, { any: [{ absent: 'zero' }, { any: [] }] }] }, false],
      [{ any: [{ all: [] }, { any: [] }] }, true],
      [{ all: [{ exists: 'zero' }, { any: [] }] }, false],
    ];

    it.each(cases)('%j holds: %s', async (condition, holds) => {
      const key = await freshRow(fields);
      const row = { ...key, ...fields };
      const change = { set: { zero: 1 } };
      expect(await table.update(key, change, condition)).toEqual(
        holds ? { applied: true, row: { ...row, zero: 1 } } : { applied: false, row },
      );
      expect(await table.get(key)).toEqual(holds ? { ...row, zero: 1 } : row);
    });

    it.skipIf(differs.textOrder).each<Condition>([
      { field: 'smile', is: '>', to: '\u{ffee}' },
      { field: 'smile', is: '>', to: { fieldOf: 'halfwidth' } },
      { field: 'halfwidth', is: '<=', to: '\u{1f600}' },
    ])('%j holds: texts are compared by their UTF-8 bytes', async (condition) => {
      expect((await table.update(await freshRow(fields), {}, condition)).applied).toBe(true);
    });

    it.each<readonly [Condition, boolean]>([
      [{ absent: 'partition' }, true],
      [{ absent: 'anything' }, true],
      [{ exists: 'partition' }, false],
      [{ field: 'count', is: '<', to: 1 }, false],
      [{ field: 'count', is: '<=', to: { fieldOf: 'other' } }, false],
      [{ all: [] }, true],
      [{ any: [] }, false],
    ])('where there is no row, %j holds: %s', async (condition, holds) => {
      const key = freshKey();
      expect(await table.update(key, { set: { a: 1 } }, condition)).toEqual(
        holds ? { applied: true, row: { ...key, a: 1 } } : { applied: false, row: undefined },
      );
      expect(await table.get(key)).toEqual(holds ? { ...key, a: 1 } : undefined);
    });
  });
}
