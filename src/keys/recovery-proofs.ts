import type { Table } from '../table/table.ts';

export interface RecoveryProofs {
  /** Notes that the text was right at this moment, epoch milliseconds. */
  note(rootKey: string, at: number): Promise<void>;
  /** The moment of the last proof, `undefined` if there was none. */
  lastOf(rootKey: string): Promise<number | undefined>;
}

/**
 * When somebody has last shown the recovery text of a root key file: a text that nobody can find is
 * worth nothing, and the day on which the file is lost is a bad one to learn it. Kept on the table
 * under the id of the root key, which is no secret.
 */
export function recoveryProofs(table: Table): RecoveryProofs {
  const keyOf = (rootKey: string) => ({ partition: 'recovery.1', sort: rootKey });

  return {
    async note(rootKey: string, at: number): Promise<void> {
      await table.update(keyOf(rootKey), { set: { at, format: 1 } });
    },

    async lastOf(rootKey: string): Promise<number | undefined> {
      const at = (await table.get(keyOf(rootKey)))?.at;
      return typeof at === 'number' ? at : undefined;
    },
  };
}
