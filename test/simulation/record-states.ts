import type { Row, Table } from '../../src/table/table.ts';

/** The table, with a note of each shape that a replication record takes in it. */
export function noting(table: Table, states: Set<string>, now: () => number): Table {
  return {
    ...table,
    async update(key, change, condition) {
      const outcome = await table.update(key, change, condition);
      if (outcome.applied && key.partition.startsWith('replication.')) states.add(stateOf(outcome.row, now()));
      return outcome;
    },
  };
}

/**
 * What matters to the next step: which fields are there and on which side of now they are, not what
 * they hold.
 */
function stateOf(row: Row, now: number): string {
  const side = (name: string) => {
    const value = row[name];
    return typeof value !== 'number' ? '-' : value > now ? 'ahead' : 'past';
  };
  const backups = Array.isArray(row.backups) ? (row.backups as readonly Readonly<Record<string, unknown>>[]) : [];
  const primary = row.primary as { readonly fingerprint?: unknown } | undefined;
  const codeOf = (error: unknown) => (error as { readonly code?: string } | undefined)?.code ?? '-';
  return [
    Number(row.requested) > Number(row.replicated) ? 'pending' : 'done',
    ...['wakeAt', 'doubt', 'leaseUntil', 'notBefore', 'absentSince'].map((name) => `${name}:${side(name)}`),
    row.aside ?? '-',
    codeOf(row.refusal),
    codeOf(row.lastError),
    ...backups.map(
      ({ id, fingerprint, lastError, notBefore }) =>
        `${id === undefined ? 'none' : fingerprint === primary?.fingerprint ? 'equal' : 'other'}/${codeOf(lastError)}/${
          typeof notBefore === 'number' && notBefore > now ? 'waits' : '-'
        }`,
    ),
  ].join(' ');
}
