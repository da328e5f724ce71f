import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { listAll, sharedListings } from '../../src/replication/shared-listing.ts';
import type { Mark } from '../../src/store/mark.ts';
import { memoryStore } from '../../src/store/memory.ts';
import type { CertificateMetadata, ListPage, Store } from '../../src/store/store.ts';
import { type VirtualTime, virtualTime } from '../simulation/virtual-time.ts';

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

/** Searches as looks make them, which wait for twenty seconds. */
function searching(time: VirtualTime) {
  const listings = sharedListings(time);
  return {
    marked: async (store: Store, mark: Mark) => (await listings.marked(store, mark, { patienceMs: 20_000 })).copies,
  };
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
    const { marked } = searching(time);
    const found = Promise.all([marked(store, markOf('c1')), marked(store, markOf('c9'))]);
    await time.runUntil(1_000, 100);
    expect((await found).map((copies) => copies.map(({ id }) => id))).toEqual([['x1', 'x3'], []]);
  });

  it('serve a thousand looks by two listings', async () => {
    const { store, time, counts } = listed(() => ({ certificates: [copy('x1', 'c1')] }));
    const { marked } = searching(time);
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
    const { marked } = searching(time);
    const early = marked(store, markOf('c1'));
    await time.runUntil(50, 10);
    const later = marked(store, markOf('c1'));
    await time.runUntil(1_000, 100);
    expect(await early).toEqual([]);
    expect((await later).map(({ id }) => id)).toEqual(['x1']);
  });

  it('are not two of one store at one time', async () => {
    const { store, time, counts } = listed(() => ({ certificates: [] }));
    const { marked } = searching(time);
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
    const { marked } = searching(one.time);
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
    const { marked } = searching(time);
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

describe('a listing that takes longer than a look waits', () => {
  const minute = 60_000;
  const patience = { patienceMs: 20_000 };
  /** Each listing takes a minute; the number of the listing stands in the ids. */
  function slow() {
    const time = virtualTime(0, () => 0);
    const began: number[] = [];
    const store: Store = {
      ...memoryStore({ id: 'backup', region: 'r', runtime: time }),
      async list() {
        began.push(time.now());
        const number = began.length;
        await time.wait(minute);
        return { certificates: [copy(`x${number}`, 'c1')] };
      },
    };
    return { time, began, store, listings: sharedListings(time) };
  }
  const outcome = (
    search: Promise<{ readonly copies: readonly { readonly id: string }[]; readonly beganAt: number }>,
  ) =>
    search.then(
      ({ copies, beganAt }) => ({ ids: copies.map(({ id }) => id), beganAt }),
      (thrown: CodedError) => ({ code: thrown.code, retryAfterMs: thrown.retryAfterMs }),
    );

  it('goes on without it, and a later look gets what it found, with the moment at which it began', async () => {
    const { time, began, store, listings } = slow();
    const first = outcome(listings.marked(store, markOf('c1'), patience));
    await time.runUntil(30_000, 100);
    // The first look has given up by now. Whoever asks meanwhile is told, and begins nothing.
    expect(await outcome(listings.marked(store, markOf('c1'), patience))).toEqual({
      code: 'store_search_running',
      retryAfterMs: 30_000,
    });
    await time.runUntil(70_000, 100);
    expect(await outcome(listings.marked(store, markOf('c1'), patience))).toEqual({ ids: ['x1'], beganAt: 0 });
    expect(began).toEqual([0]);
    await first;
  });

  it('is not begun anew by each look, however many there are and however often they ask', async () => {
    const { time, began, store, listings } = slow();
    const answers = new Map<string, unknown>();
    // A hundred certificates that ask every five seconds until they have an answer.
    for (let at = 0; at < 10 * minute; at += 5_000) {
      for (let number = 0; number < 100; number += 1) {
        const certificate = number === 0 ? 'c1' : `other ${number}`;
        if (answers.has(certificate)) continue;
        void outcome(listings.marked(store, markOf(certificate), patience)).then((found) => {
          if ('ids' in found) answers.set(certificate, found);
        });
      }
      await time.runUntil(at + 5_000, 1_000);
    }
    expect(answers.size).toBe(100);
    expect(began.length).toBeLessThanOrEqual(2);
  });

  it('tells nothing to who needs one that began later', async () => {
    const { time, began, store, listings } = slow();
    void outcome(listings.marked(store, markOf('c1'), patience));
    await time.runUntil(70_000, 100);
    const since = 65_000;
    const early = await outcome(listings.marked(store, markOf('c1'), { ...patience, since }));
    expect(early).toEqual({ code: 'store_search_running', retryAfterMs: 120_000 });
    await time.runUntil(200_000, 100);
    expect(await outcome(listings.marked(store, markOf('c1'), { ...patience, since }))).toEqual({
      ids: ['x2'],
      beganAt: began[1],
    });
    expect(began[1]).toBeGreaterThanOrEqual(since);
  });

  it('is told for a while to who asks again, and not to who has a reason to doubt it', async () => {
    const { time, began, store, listings } = slow();
    const ask = (since?: number) => outcome(listings.marked(store, markOf('c1'), { ...patience, since }));
    void ask();
    await time.runUntil(70_000, 100);
    expect(await ask()).toMatchObject({ ids: ['x1'] });
    await time.runUntil(16 * minute, 100);
    expect(await ask()).toEqual({ ids: ['x1'], beganAt: 0 });
    expect(began).toEqual([0]);
    expect(await ask(1)).toMatchObject({ code: 'store_search_running' });
    expect(await ask()).toMatchObject({ code: 'store_search_running' });

    await time.runUntil(18 * minute, 100);
    expect(await ask()).toMatchObject({ ids: ['x2'] });
    await time.runUntil(34 * minute, 100);
    expect(await ask()).toMatchObject({ code: 'store_search_running' });
  });
});
