import type { Table } from '../table/table.ts';

/**
 * When somebody has last shown the recovery text of a root key file: a text that nobody can find is none, and the day on which
 * the file is lost is a bad one to learn it. Kept on the table under the id of the root key, which is no secret.
 */
export function recoveryProofs(table: Table) {
  const keyOf = (rootKey: string) => ({ partition: 'recovery.1', sort: rootKey });

  return {
    /** Notes that the text was right at this moment, epoch milliseconds. */
    async note(rootKey: string, at: number): Promise<void> {
      await table.update(keyOf(rootKey), { set: { at, format: 1 } });
    },

    /** The moment of the last proof, `undefined` if there was none. */
    async lastOf(rootKey: string): Promise<number | undefined> {
      const at = (await table.get(keyOf(rootKey)))?.at;
      return typeof at === 'number' ? at : undefined;
    },
  };
}

export type RecoveryProofs = ReturnType<typeof recoveryProofs>;
