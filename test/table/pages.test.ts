import { expect, test } from 'vitest';
import { memoryTable } from '../../src/table/memory.ts';
import { pagesOf, type Query } from '../../src/table/table.ts';

async function withRows(sorts: readonly string[]) {
  const table = memoryTable();
  for (const sort of sorts) await table.putIfAbsent({ partition: 'p', sort }, { is: 'there' });
  const asked: Query[] = [];
  const query = (request: Query) => {
    asked.push(request);
    return table.query(request);
  };
  return { asked, pages: (wanted: Omit<Query, 'cursor'>) => pagesOf({ query }, wanted) };
}

test('all pages of a query come, one after the other, and each row once', async () => {
  const { pages } = await withRows(['a1', 'a2', 'a3', 'a4', 'a5', 'b1']);
  const found: string[][] = [];
  for await (const rows of pages({ partition: 'p', beginsWith: 'a', limit: 2 }))
    found.push(rows.map(({ sort }) => sort));
  expect(found.flat()).toEqual(['a1', 'a2', 'a3', 'a4', 'a5']);
  expect(found.every((rows) => rows.length <= 2)).toBe(true);
});

test('a page that nobody asks for is not read', async () => {
  const { pages, asked } = await withRows(['a1', 'a2', 'a3']);
  for await (const rows of pages({ partition: 'p', limit: 1 })) if (rows.length > 0) break;
  expect(asked).toHaveLength(1);
});
