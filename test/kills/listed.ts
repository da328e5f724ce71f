import type { ListPage, Store } from '../../src/store/store.ts';

/** All that a store shows. */
export async function listedFully(
  store: Store,
): Promise<Required<Pick<ListPage, 'certificates' | 'vacant' | 'unreadable'>>> {
  const pages: ListPage[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.list(cursor === undefined ? {} : { cursor });
    pages.push(page);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return {
    certificates: pages.flatMap(({ certificates }) => certificates),
    vacant: pages.flatMap(({ vacant = [] }) => vacant),
    unreadable: pages.flatMap(({ unreadable = [] }) => unreadable),
  };
}
