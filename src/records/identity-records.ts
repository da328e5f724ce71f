import { CodedError } from '../errors.ts';
import type { Key, Table } from '../table/table.ts';

/**
 * Which identity each store of the configuration proved when it was first used: one row by the
 * store's id, and one by the identity, so that two settings that lead to one place are found out.
 */
export function identityRecords(table: Table) {
  const keyOf = (store: string): Key => ({ partition: 'store-identity.1', sort: `store ${store}` });
  const holderKeyOf = (identity: string): Key => ({ partition: 'store-identity.1', sort: `identity ${identity}` });

  async function text(key: Key, field: string): Promise<string | undefined> {
    const row = await table.get(key);
    if (row === undefined) return undefined;
    const value = row[field];
    if (typeof value === 'string') return value;
    throw new CodedError('table_row_unreadable', `what is kept of the identity of ${key.sort} is damaged`);
  }

  return {
    /** The identity that a store is bound to; `undefined` before its first use. */
    identityOf: (store: string): Promise<string | undefined> => text(keyOf(store), 'identity'),

    /** The id of the store that is bound to an identity; `undefined` if none is. */
    holderOf: (identity: string): Promise<string | undefined> => text(holderKeyOf(identity), 'store'),

    /**
     * Binds a store to an identity. Answers the identity that it is bound to then: another process
     * may have been first. With `instead` a store that is bound already is bound anew: a person
     * said so.
     */
    async bindIdentity(store: string, identity: string, { instead = false } = {}): Promise<string> {
      const before = await text(keyOf(store), 'identity');
      const condition = instead ? undefined : ({ absent: 'identity' } as const);
      const bound = await table.update(keyOf(store), { set: { identity } }, condition);
      if (!bound.applied) return (await text(keyOf(store), 'identity')) ?? identity;
      await table.update(holderKeyOf(identity), { set: { store } });
      if (before !== undefined && before !== identity) {
        await table.delete(holderKeyOf(before), { field: 'store', is: '=', to: store });
      }
      return identity;
    },

    /** Forgets what a store is bound to: its next write binds it anew. */
    async unbindIdentity(store: string): Promise<void> {
      const before = await text(keyOf(store), 'identity');
      if (before !== undefined) await table.delete(holderKeyOf(before), { field: 'store', is: '=', to: store });
      await table.delete(keyOf(store));
    },
  };
}
