import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { type FoundMark, sameMark, wholeMark } from '../../src/store/mark.ts';
import type { Quota, Rate } from '../../src/store/store.ts';
import { originalOf } from './routes.ts';
import type { Held, SimulatedStore } from './simulated-store.ts';

/** What the brake and scarce writes are measured by. */

interface Stores {
  readonly primary: SimulatedStore;
  readonly backups: readonly SimulatedStore[];
}

/** So many certificates may go back in time, or change without a word, within an hour. */
export const allowedAtOnce = 1;

/** The year of a yearly quota, and the minute of a rate, of a store whose writes are scarce. */
export const scarce: { readonly quota: Quota; readonly rate: Rate } = {
  quota: { operations: ['import', 'reimport'], count: 5, perMs: 3_600_000, reserve: 2 },
  rate: { operations: ['import', 'reimport'], count: 1, perMs: 20_000 },
};

/**
 * Of how many certificates of the primary some backup has no copy, several, or one with other
 * content; and how many are gone from it, of which no copy says so yet.
 */
export function differing(stores: Stores): number {
  const { primary, backups } = stores;
  const originals = [...primary.rows().values()];
  const isThere = (mark: FoundMark) =>
    originals.some(({ id }) => sameMark(mark, { store: primary.id, certificate: id }));
  const gone = backups.flatMap((store) =>
    [...store.rows().values()].flatMap(({ mark, metadata }) => {
      const isOurs = mark !== undefined && (wholeMark(mark)?.store ?? primary.id) === primary.id;
      return isOurs && !isThere(mark) && !metadata.description.startsWith('Retained') ? [originalOf(mark)] : [];
    }),
  );
  return originals.filter((original) => differs(stores, original)).length + new Set(gone).size;
}

/** Whether some backup has no copy of this certificate, several, or one with other content. */
export function differs({ backups }: Pick<Stores, 'backups'>, original: Held): boolean {
  return backups.some((store) => {
    const copies = [...store.rows().values()].filter(({ mark }) => wholeMark(mark)?.certificate === original.id);
    const wanted = fingerprintOf(store.asStored(original.content));
    return (
      copies.length !== 1 || copies.some((copy) => copy.unreadable === true || fingerprintOf(copy.content) !== wanted)
    );
  });
}
