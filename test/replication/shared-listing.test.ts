import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { listAll, sharedListings } from '../../src/replication/shared-listing.ts';
import type { Mark } from '../../src/store/mark.ts';
import { memoryStore } from '../../src/store/memory.ts';
import type { CertificateMetadata, ListPage, Store } from '../../src/store/store.ts';
import { virtualTime } from '../simulation/virtual-time.ts';

const markOf = (certificate: string): Mark => ({ store: 'primary', certificate });
const copy = (id: string, certificate?: string): CertificateMetadata => ({
  id,
  name: id,
  description: '',
  tags: [],
  domains: [],
  ...(certificate === undefined ? {} : { mark: markOf(certificate) }),
});

/** A store of which only listings are asked; each takes 100 virtual milliseconds. */
function listed(answer: (cursor: string | undefined, listing: number) => ListPage | Promise<ListPage>) {
  const time = virtualTime(0, () => 0);
  const counts = { pages: 0, listings: 0 };
  const store: Store = {
    ...memoryStore({ id: 'backup', region: 'r', runtime: time }),
    async list({ cursor }) {
      counts.pages += 1;
      if (cursor === undefined) counts.listings += 1;
      const listing = counts.listings;
      await time.wait(100);
      return answer(cursor, listing);
    },
  };
  return { time, counts, store };
}

async function idsOf(store: Store): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of listAll(store, { unreadable: () => undefined })) ids.push(id);
  return ids;
}

describe('listing all', () => {
  it('goes through every page, an empty one too', async () => {
    const pages: Record<string, ListPage> = {
      start: { certificates: [copy('a'), copy('b')], cursor: '2' },
      2: { certificates: [], cursor: '3' },
      3: { certificates: [copy('c')] },
    };
    const { store, time } = listed((cursor) => pages[cursor ?? 'start'] ?? { certificates: [] });
    const ids = idsOf(store);
    await time.runUntil(1_000, 100);
    expect(await ids).toEqual(['a', 'b', 'c']);
  });

  it('ends when it runs in a circle', async () => {
    const store: Store = {
      ...memoryStore({ id: 'backup', region: 'r', runtime: virtualTime(0, () => 0) }),
      list: async () => ({ certificates: [], cursor: 'again' }),
    };
    await expect(idsOf(store)).rejects.toMatchObject({
      code: 'store_nonsense',
      message: 'the listing of backup does not end after 10000 pages',
      fields: { store: 'backup' },
    });
  });
});

describe('shared listings', () => {
  it('find the copies with a mark, over pages, each once', async () => {
    const { store, time } = listed((cursor) =>
      cursor === undefined
        ? { certificates: [copy('x1', 'c1'), copy('foreign'), copy('x2', 'c2')], cursor: '2' }
        : { certificates: [copy('x1', 'c1'), copy('x3', 'c1')] },
    );
    const { marked } = sharedListings();
    const found = Promise.all([marked(store, markOf('c1')), marked(store, markOf('c9'))]);
    await time.runUntil(1_000, 100);
    expect((await found).map((copies) => copies.map(({ id }) => id))).toEqual([['x1', 'x3'], []]);
  });

  it('serve a thousand looks by two listings', async () => {
    const { store, time, counts } = listed(() => ({ certificates: [copy('x1', 'c1')] }));
    const { marked } = sharedListings();
    const looks = [marked(store, markOf('c1'))];
    await time.runUntil(50, 10);
    for (let count = 1; count < 1_000; count += 1) looks.push(marked(store, markOf('c1')));
    await time.runUntil(1_000, 100);
    const found = await Promise.all(looks);
    expect(found.every((copies) => copies[0]?.id === 'x1')).toBe(true);
    expect(counts.listings).toBe(2);
  });

  it('never serve a look by a listing that began before it', async () => {
    const { store, time } = listed((_cursor, listing) => ({
      certificates: listing === 1 ? [] : [copy('x1', 'c1')],
    }));
    const { marked } = sharedListings();
    const early = marked(store, markOf('c1'));
    await time.runUntil(50, 10);
    const later = marked(store, markOf('c1'));
    await time.runUntil(1_000, 100);
    expect(await early).toEqual([]);
    expect((await later).map(({ id }) => id)).toEqual(['x1']);
  });

  it('are not two of one store at one time', async () => {
    const { store, time, counts } = listed(() => ({ certificates: [] }));
    const { marked } = sharedListings();
    const looks = [marked(store, markOf('c1'))];
    await time.runUntil(50, 10);
    looks.push(marked(store, markOf('c1')));
    await time.runUntil(99, 10);
    expect(counts.listings).toBe(1);
    await time.runUntil(1_000, 100);
    await Promise.all(looks);
  });

  it('are apart for each store', async () => {
    const [one, other] = [listed(() => ({ certificates: [copy('x1', 'c1')] })), listed(() => ({ certificates: [] }))];
    const { marked } = sharedListings();
    const looks = Promise.all([marked(one.store, markOf('c1')), marked(other.store, markOf('c1'))]);
    await one.time.runUntil(1_000, 100);
    await other.time.runUntil(1_000, 100);
    expect((await looks).map((copies) => copies.length)).toEqual([1, 0]);
  });

  it('fail for all who wait for one that fails, and not for the next', async () => {
    const { store, time } = listed((_cursor, listing) => {
      if (listing === 1) throw new CodedError('store_unavailable', 'not reached');
      return { certificates: [copy('x1', 'c1')] };
    });
    const { marked } = sharedListings();
    const first = Promise.allSettled([marked(store, markOf('c1')), marked(store, markOf('c2'))]);
    await time.runUntil(50, 10);
    const next = marked(store, markOf('c1'));
    await time.runUntil(1_000, 100);
    expect((await first).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await next).map(({ id }) => id)).toEqual(['x1']);
    const after = marked(store, markOf('c1'));
    await time.runUntil(2_000, 100);
    expect(await after).toHaveLength(1);
  });
});
