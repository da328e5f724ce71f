import { CodedError } from '../../errors.ts';
import { type Key, pagesOf, type Table } from '../../table/table.ts';

/**
 * How many certificates an instance may hold, counted in one row, so that an import does not count
 * them all.
 */
export interface CertificatePlaces {
  /**
   * Takes one place of at most so many (`Infinity`: as many as you like). Throws `instance_full`.
   */
  take(maximum: number): Promise<void>;
  /** Gives one place back. */
  free(): Promise<void>;
  /**
   * How many are taken: as many as there are certificates, and those of imports that died until
   * somebody counts anew.
   */
  taken(): Promise<number>;
}

/**
 * An import that dies leaves its place taken; so before refusing, the certificates are counted, and
 * the count is put right. Imports under way in that moment are not seen: the limit may then be
 * passed by as many.
 */
export function certificatePlaces(context: {
  table: Table;
  counter: Key;
  /** The partition of the certificates' rows. */
  certificates: string;
}): CertificatePlaces {
  const { table, counter, certificates } = context;

  async function count(): Promise<number> {
    let found = 0;
    for await (const rows of pagesOf(table, { partition: certificates, limit: 1000 }))
      found += rows.filter((row) => row.state === 'live').length;
    return found;
  }

  return {
    async take(maximum) {
      const isBelowLimit =
        maximum === Number.POSITIVE_INFINITY
          ? undefined
          : { any: [{ absent: 'count' }, { field: 'count', is: '<' as const, to: maximum }] };
      for (;;) {
        const outcome = await table.update(counter, { add: { count: 1 } }, isBelowLimit);
        if (outcome.applied) return;
        const found = await count();
        if (found >= maximum) {
          throw new CodedError('instance_full', `the instance holds ${found} certificates of at most ${maximum}`);
        }
        const refused = Number(outcome.row?.count);
        await table.update(counter, { set: { count: found } }, { field: 'count', is: '=', to: refused });
      }
    },

    async free() {
      await table.update(counter, { add: { count: -1 } });
    },

    async taken() {
      return Number((await table.get(counter))?.count ?? 0);
    },
  };
}
