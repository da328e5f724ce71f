import { expect, test } from 'vitest';
import { stopWithin } from '../../src/cli/serve.ts';
import { programAudit } from '../../src/compose/audit.ts';
import { defaultAudit } from '../../src/config.ts';
import { CodedError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { testHost } from '../support/command.ts';

const audit = (table: Table, log: string[]) =>
  programAudit({
    table,
    audit: defaultAudit,
    runtime: systemRuntime,
    log: (_level, event, fields) => void log.push(`${event} ${fields?.lines ?? ''}`.trim()),
    program: 'serve',
  });

test('lines that are lost with the process are counted in its log', async () => {
  const table = memoryTable();
  const failing = new Proxy(table, {
    get: (target, name: keyof Table) =>
      name === 'update' ? () => Promise.reject(new CodedError('table_unavailable', 'no disk')) : target[name],
  });
  const log: string[] = [];
  const trail = audit(failing, log);
  trail.add({ kind: 'settings' });
  trail.add({ kind: 'settings' });
  await trail.close(1);
  expect(log).toContain('audit_lost 3');
});

test('a stop that takes too long does not end the process before what was done is told', async () => {
  const table = memoryTable();
  const trail = audit(table, []);
  const never = () => new Promise(() => {});
  const stopped = stopWithin([never], 1, silentLog, testHost(), async () => {
    trail.add({ kind: 'settings' });
    await trail.close();
  });
  await expect(stopped).rejects.toThrow('exit 0');
  const { rows } = await table.query({ partition: 'audit-chains.1', limit: 2 });
  expect(rows.map(({ last }) => last)).toEqual([2]);
});
