import { describe, expect, it } from 'vitest';
import { cursorOf, fillPage, indexPosition, sortRange } from '../../src/table/paging.ts';

describe('a page', () => {
  const found = (...bytes: number[]) =>
    bytes.map((each, at) => ({ row: { partition: 'p', sort: `${at}` }, bytes: each }));
  const sorts = (limit: number, ...bytes: number[]) => {
    const { rows, cursor } = fillPage(found(...bytes), limit, (row) => `after ${row.sort}`);
    return [rows.map((row) => row.sort).join(), cursor];
  };

  it('ends at its limit, with a cursor only if there is more', () => {
    expect(sorts(2)).toEqual(['', undefined]);
    expect(sorts(2, 1)).toEqual(['0', undefined]);
    expect(sorts(2, 1, 1)).toEqual(['0,1', undefined]);
    expect(sorts(2, 1, 1, 1)).toEqual(['0,1', 'after 1']);
  });

  it('ends before it grows beyond 1 MiB, but never empty', () => {
    expect(sorts(9, 1_048_575, 1)).toEqual(['0,1', undefined]);
    expect(sorts(9, 1_048_575, 2)).toEqual(['0', 'after 0']);
    expect(sorts(9, 2_000_000, 2)).toEqual(['0', 'after 0']);
  });

  it('asks for no more rows than it needs', () => {
    let asked = 0;
    function* rows() {
      for (const each of found(1, 1, 1, 1)) {
        asked += 1;
        yield each;
      }
    }
    fillPage(rows(), 2, () => 'cursor');
    expect(asked).toBe(3);
  });
});

describe('a cursor', () => {
  it('is base64url of the key, and begins after it', () => {
    const cursor = cursorOf(['p', 's\u{1f600}']);
    expect(Buffer.from(cursor, 'base64url').toString()).toBe('["p","s\u{1f600}"]');
    expect(sortRange({ partition: 'p', limit: 1, cursor })).toEqual({ prefix: '', after: 's\u{1f600}' });
    expect(sortRange({ partition: 'p', limit: 1, cursor, after: 's\u{ffee}' }).after).toBe('s\u{1f600}');
    expect(sortRange({ partition: 'p', limit: 1, cursor, after: 't' }).after).toBe('t');
    const index = cursorOf(['p', 's', -1.5]);
    expect(indexPosition({ partition: 'p', until: 0, limit: 1, cursor: index })).toEqual({ sort: 's', wakeAt: -1.5 });
  });

  it.each([
    ['nothing', ''],
    ['not base64url', 'WyJwIiwicyJd='],
    ['not JSON', Buffer.from('["p","s"').toString('base64url')],
    ['spelt otherwise', Buffer.from('["p", "s"]').toString('base64url')],
    ['of another partition', cursorOf(['q', 's'])],
    ['of the index', cursorOf(['p', 's', 1])],
    ['too long', Buffer.from('["p","s",null]').toString('base64url')],
    ['longer still', Buffer.from('["p","s",1,2]').toString('base64url')],
    ['of a key that cannot be', cursorOf(['p', 's'.repeat(1000)])],
    ['without a sort key', Buffer.from('["p"]').toString('base64url')],
    ['an object', Buffer.from('{"0":"p","1":"s"}').toString('base64url')],
  ])('is not taken when it is %s', (_, cursor) => {
    expect(() => sortRange({ partition: 'p', limit: 1, cursor })).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  it('of a query is not taken for one of the index', () => {
    for (const json of ['["p","s"]', '["p","s","5"]', '["p","s",1e300]', '["p","s",1,2]']) {
      const query = { partition: 'p', until: 0, limit: 1, cursor: Buffer.from(json).toString('base64url') };
      expect(() => indexPosition(query)).toThrow(expect.objectContaining({ code: 'usage' }));
    }
  });
});
