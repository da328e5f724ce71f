import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLine } from '../../src/audit/line.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { startChild } from '../support/child.ts';
import { inShort, linesOf, trail, writersOf } from './trail.ts';

test('a process that is killed while it writes leaves a chain without a flaw, and loses nothing that was written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-audit-kills-'));
  const path = join(folder, 'table');
  try {
    const known = new Set<string>();
    for (const said of [1, 2, 7]) {
      const child = await startChild('test/audit/writer-child.ts', [path]);
      let last = 0;
      for (let line = 0; line < said; line += 1) last = Number(await child.nextLine());
      await child.kill();
      const table = lmdbTable({ path });
      try {
        // Chains of one second stand in any order.
        const fresh = (await writersOf(table)).filter((writer) => !known.has(writer));
        expect(fresh).toHaveLength(1);
        for (const writer of fresh) known.add(writer);
        const lines = (await linesOf(table, fresh[0] ?? '')).map((text) => readLine(text));
        expect(lines.map((line) => line?.certificate)).toEqual([
          undefined,
          ...Array.from({ length: lines.length - 1 }, (_, at) => `c-${at + 1}`),
        ]);
        expect(lines.length - 1).toBeGreaterThanOrEqual(last);
        expect(inShort(await trail(table).examine())).toEqual([]);
      } finally {
        await table.close();
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
