import { auditRows } from '../../src/audit/audit-rows.ts';
import { auditWriter } from '../../src/audit/writer.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { passOf } from './trail.ts';

/**
 * Tells facts without an end, and says of each the number once it is on the table. Usage: <folder
 * of the table>.
 */
const [path = ''] = process.argv.slice(2);
const rows = auditRows(lmdbTable({ path }));
const writer = auditWriter({ rows, runtime: systemRuntime, log: silentLog, program: 'child' });
for (let number = 1; ; number += 1) {
  writer.add(passOf(number), number % 3 === 0 ? { user: 'sam' } : undefined);
  if (number % 2 === 1) continue;
  await writer.flush(60_000);
  process.stdout.write(`${number}\n`);
}
