import type { FoundMark } from '../../src/store/mark.ts';
import { isWhole, markDigest } from '../../src/store/mark.ts';
import type { SimulatedStore } from './simulated-store.ts';

/** One link of a world, by its stores. */
export interface Route {
  readonly link: string;
  readonly primary: SimulatedStore;
  readonly backups: readonly SimulatedStore[];
  /** Copies are copied onward. */
  readonly onward: boolean;
}

/** Which certificate of which primary a copy is of, as the oracle counts it. */
export function originalOf(mark: FoundMark | undefined): string {
  if (mark === undefined) return 'nothing';
  return isWhole(mark) ? `${mark.store} ${mark.certificate}` : markDigest(mark);
}

/**
 * The links that lead back: from the first backup to the primary, or by a store between them, all
 * of them copying onward. Each is a deployment's own matter; together they are a circle.
 */
export function wayBack(
  primary: SimulatedStore,
  [first]: readonly SimulatedStore[],
  between: SimulatedStore | undefined,
): readonly Route[] {
  if (first === undefined) return [];
  if (between === undefined) return [{ link: 'back', primary: first, backups: [primary], onward: true }];
  return [
    { link: 'further', primary: first, backups: [between], onward: true },
    { link: 'back', primary: between, backups: [primary], onward: true },
  ];
}

/**
 * Notes in `broken` every copy that is imported into a store from which its original came. Where a
 * copy came from is followed from mark to mark, as long as the store that a mark names still holds
 * that certificate. `stores`: all stores of the circle.
 */
export function watchCircle(stores: readonly SimulatedStore[], broken: string[]): void {
  const byId = new Map(stores.map((store) => [store.id, store]));
  for (const store of stores) {
    const before = store.onWrite;
    store.onWrite = (operation, id, was, becomes) => {
      before?.(operation, id, was, becomes);
      let mark = operation === 'import' ? becomes?.mark : undefined;
      for (let step = 0; mark !== undefined && isWhole(mark) && step < stores.length; step += 1) {
        if (mark.store === store.id) {
          broken.push(`bound: ${store.id} got a copy of what came from it, as ${id}`);
          return;
        }
        mark = byId.get(mark.store)?.rows().get(mark.certificate)?.mark;
      }
    };
  }
}
