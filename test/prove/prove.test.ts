import { beforeAll, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { type ProveOptions, type ProveReport, proveCost, proveStore } from '../../src/prove/prove.ts';
import { type MemoryStoreOptions, memoryStore } from '../../src/store/memory.ts';
import type { CertificateMetadata, Store } from '../../src/store/store.ts';
import { seededRandom, type VirtualTime, virtualTime } from '../simulation/virtual-time.ts';
import { testCertificate } from '../support/certificates.ts';

const startMs = Date.UTC(2026, 0, 1);
const callMs = 20;

/** Made beforehand: what makes certificates runs on real time. */
let prepared: readonly CertificatePem[];
beforeAll(async () => {
  const one = ['certstandby-prove.invalid'];
  const two = [...one, 'www.certstandby-prove.invalid'];
  prepared = await Promise.all([one, one, two, two].map((domains) => testCertificate({ domains })));
});

/**
 * A store in memory whose calls take their time; `over` puts other answers in the place of some.
 */
function storeOver(
  time: VirtualTime,
  options: Partial<MemoryStoreOptions> = {},
  over: (store: Store) => Partial<Store> = () => ({}),
) {
  const inner = memoryStore({ id: 'memory:london', region: 'eu-gb', runtime: time, ...options });
  const slow = <A extends unknown[], R>(call: (...given: A) => Promise<R>) => {
    return async (...given: A): Promise<R> => {
      await time.wait(callMs);
      return call(...given);
    };
  };
  const { list, read, readMetadata, reimport, updateMetadata } = inner;
  const timed: Store = {
    ...inner,
    list: slow(list),
    read: slow(read),
    readMetadata: slow(readMetadata),
    import: slow(inner.import),
    reimport: slow(reimport),
    updateMetadata: slow(updateMetadata),
    delete: slow(inner.delete),
  };
  return { inner, store: { ...timed, ...over(timed) } };
}

/** Runs a proof to its end on virtual time. */
async function run(time: VirtualTime, store: Store, more: Partial<ProveOptions> = {}): Promise<ProveReport> {
  let next = 0;
  const issue = async () => {
    const pem = prepared[next] as CertificatePem;
    next += 1;
    return { ...pem, ...(pem.privateKey && { privateKey: pem.privateKey.copy() }) };
  };
  let ended = false;
  const proof = proveStore({ runtime: time, store, issue, ...more }).finally(() => {
    ended = true;
  });
  proof.catch(() => {});
  for (let minutes = 0; !ended && minutes < 60; minutes += 1) await time.runUntil(time.now() + 60_000, 100_000);
  expect(ended).toBe(true);
  return proof;
}

const clock = () => virtualTime(startMs, seededRandom(1));
const boundOf = ({ bounds }: ProveReport, about: string) => bounds.find((bound) => bound.about === about);
const differing = ({ abilities }: ProveReport) =>
  abilities.filter(({ outcome }) => outcome === 'differs').map(({ about }) => about);

/** Shows what was there so long ago: a replica that lags. */
function lagging(time: VirtualTime, inner: Store, lagMs: number) {
  const seen: { readonly at: number; readonly all: readonly CertificateMetadata[] }[] = [];
  return {
    async note() {
      seen.push({ at: time.now(), all: (await inner.list({})).certificates });
    },
    shown: (): readonly CertificateMetadata[] =>
      seen.findLast(({ at }) => at <= time.now() - lagMs)?.all ?? seen[0]?.all ?? [],
  };
}

test('what a store goes on with is waited for before it is measured, and nothing stays there', async () => {
  const time = clock();
  const longWrites = { import: 300_000, reimport: 300_000, delete: 300_000 };
  const { store, inner } = storeOver(time, {
    abilities: { longWrites, importIsIdempotent: true, findsMarks: true },
    longWritesTakeMs: 200_000,
  });
  const steps: string[] = [];
  const report = await run(time, store, { step: (what) => steps.push(what) });
  expect(differing(report)).toEqual([]);
  expect(report.bounds.filter(({ outcome }) => outcome === 'exceeded')).toEqual([]);
  for (const kind of ['import', 'reimport', 'delete'])
    expect(steps).toContain(`waiting until the ${kind} has ended that the service goes on with`);
  expect(inner.size()).toBe(0);
});

test('a proof that is stopped while its import goes on says that the certificate may come yet', async () => {
  const time = clock();
  const { store } = storeOver(time, { abilities: { longWrites: { import: 300_000 } }, longWritesTakeMs: 200_000 });
  const stop = new AbortController();
  const step = (what: string) => what.startsWith('waiting until the import') && stop.abort(new Error('stopped'));
  await expect(run(time, store, { signal: stop.signal, step })).rejects.toMatchObject({ code: 'prove_not_cleaned' });
});

test('a store that keeps what it states passes, and nothing stays there', async () => {
  const time = clock();
  const { store, inner } = storeOver(time, {
    abilities: { importIsIdempotent: true, uniqueNames: true, findsMarks: true },
  });
  const report = await run(time, store);
  expect(differing(report)).toEqual([]);
  expect(report.bounds.filter(({ outcome }) => outcome === 'exceeded')).toEqual([]);
  expect(report.abilities.map(({ about }) => about)).toEqual([
    'givesKeys',
    'content',
    'metadata',
    'mark',
    'importIsIdempotent',
    'uniqueNames',
    'findsMarks',
    'reimportsInPlace',
    'other names',
    'delete',
  ]);
  expect(inner.size()).toBe(0);
});

test('a store whose listings do not show that content changed passes too', async () => {
  const time = clock();
  const { store, inner } = storeOver(time, { abilities: { silentListings: true, findsMarks: true } });
  const report = await run(time, store);
  expect(differing(report)).toEqual([]);
  expect(report.bounds.filter(({ outcome }) => outcome === 'exceeded')).toEqual([]);
  expect(inner.size()).toBe(0);
});

test('it sends no more writes than it says beforehand', async () => {
  const time = clock();
  const sent = { imports: 0, reimports: 0, descriptions: 0, deletions: 0 };
  const counted = <A extends unknown[], R>(what: keyof typeof sent, call: (...given: A) => R) => {
    return (...given: A): R => {
      sent[what] += 1;
      return call(...given);
    };
  };
  const { store } = storeOver(time, { abilities: { importIsIdempotent: true, uniqueNames: true } }, (timed) => ({
    import: counted('imports', timed.import),
    reimport: counted('reimports', timed.reimport),
    updateMetadata: counted('descriptions', timed.updateMetadata),
    delete: counted('deletions', timed.delete),
  }));
  await run(time, store);
  expect(sent).toEqual(proveCost(store));
});

test('reads and listings that lag are measured, each for itself', async () => {
  const time = clock();
  const { inner } = storeOver(time);
  const reads = lagging(time, inner, 3_000);
  const listings = lagging(time, inner, 9_000);
  await reads.note();
  await listings.note();
  const written = async <T>(write: Promise<T>) => {
    const answer = await write;
    await reads.note();
    await listings.note();
    return answer;
  };
  const store: Store = {
    ...inner,
    async readMetadata(id) {
      await time.wait(callMs);
      const value = reads.shown().find((one) => one.id === id);
      return value === undefined ? { state: 'absent' } : { state: 'present', value };
    },
    async list() {
      await time.wait(callMs);
      return { certificates: listings.shown() };
    },
    import: (entry) => written(inner.import(entry)),
    reimport: (id, content) => written(inner.reimport(id, content)),
    updateMetadata: (id, metadata, mark) => written(inner.updateMetadata(id, metadata, mark)),
    delete: (id) => written(inner.delete(id)),
  };
  const report = await run(time, store);
  const [settles, lag] = [boundOf(report, 'readSettles'), boundOf(report, 'listingLag')];
  expect(settles).toMatchObject({ outcome: 'exceeded', stated: 0 });
  expect(settles?.measured).toBeGreaterThan(1_000);
  expect(settles?.measured).toBeLessThanOrEqual(3_000);
  expect(lag).toMatchObject({ outcome: 'exceeded', stated: 0 });
  expect(lag?.measured).toBeGreaterThan(6_000);
  expect(lag?.measured).toBeLessThanOrEqual(9_000);
  expect(inner.size()).toBe(0);
});

test('a bound that covers what was measured holds', async () => {
  const time = clock();
  const { inner } = storeOver(time, { abilities: { listingLagMs: 10_000 } });
  const listings = lagging(time, inner, 9_000);
  await listings.note();
  const store: Store = {
    ...inner,
    async list() {
      await time.wait(callMs);
      return { certificates: listings.shown() };
    },
    async import(entry) {
      const answer = await inner.import(entry);
      await listings.note();
      return answer;
    },
    async reimport(id, content) {
      const answer = await inner.reimport(id, content);
      await listings.note();
      return answer;
    },
    async delete(id) {
      await inner.delete(id);
      await listings.note();
    },
    async updateMetadata(id, metadata, mark) {
      const answer = await inner.updateMetadata(id, metadata, mark);
      await listings.note();
      return answer;
    },
  };
  expect(boundOf(await run(time, store), 'listingLag')).toMatchObject({ outcome: 'holds', stated: 10_000 });
});

test('a write that lands after its answer was lost is found, measured, and not doubled', async () => {
  const time = clock();
  const unanswered = new CodedError('store_unanswered', 'no answer came');
  let lost = 0;
  const { store, inner } = storeOver(time, { abilities: { settlesMs: 30_000 } }, (timed) => ({
    async import(entry) {
      if (lost === 0) {
        lost += 1;
        time.at(time.now() + 5_000, () => void timed.import(entry));
        throw unanswered;
      }
      return timed.import(entry);
    },
    async updateMetadata(id, metadata, mark) {
      time.at(time.now() + 7_000, () => void timed.updateMetadata(id, metadata, mark));
      throw unanswered;
    },
  }));
  const report = await run(time, store);
  const settles = boundOf(report, 'settles');
  expect(settles).toMatchObject({ outcome: 'holds', stated: 30_000 });
  expect(settles?.measured).toBeGreaterThan(5_000);
  expect(settles?.measured).toBeLessThan(10_000);
  expect(inner.size()).toBe(0);
});

test('what comes back changed is told', async () => {
  const time = clock();
  const { store } = storeOver(time, { marks: 'apart' }, (timed) => ({
    async read(id, call) {
      const reading = await timed.read(id, call);
      if (reading.state !== 'present') return reading;
      const { content, metadata } = reading.value;
      const { mark: _mark, ...unmarked } = metadata;
      const { privateKey: _key, ...keyless } = content;
      return { state: 'present', value: { metadata: unmarked, content: { ...keyless, chain: [] } } };
    },
  }));
  expect(differing(await run(time, store))).toEqual(['givesKeys', 'content', 'mark']);
});

test('one that is stopped takes its certificate away; one that was killed has it taken away by the next', async () => {
  const time = clock();
  const stop = new AbortController();
  const stopped = new CodedError('interrupted', 'stopped by SIGINT');
  const { store, inner } = storeOver(time);
  const step = (what: string) => {
    if (what.startsWith('describing')) stop.abort(stopped);
  };
  await expect(run(time, store, { signal: stop.signal, step })).rejects.toBe(stopped);
  expect(inner.size()).toBe(0);

  const dead = new Promise<never>(() => {});
  const { store: killed } = { store: { ...store, updateMetadata: () => dead } };
  const never = proveStore({ runtime: time, store: killed, issue: async () => prepared[0] as CertificatePem });
  never.catch(() => {});
  await time.runUntil(time.now() + 600_000, 100_000);
  expect(inner.size()).toBe(1);
  const report = await run(time, store);
  expect(report.leftoversRemoved).toBe(1);
  expect(inner.size()).toBe(0);
});

test('what cannot be cleaned up is named, with why the proof ended', async () => {
  const time = clock();
  const { store } = storeOver(time, {}, (timed) => ({
    updateMetadata: () => Promise.reject(new CodedError('store_unauthorized', 'may not describe')),
    delete: () => Promise.reject(new CodedError('store_unauthorized', 'may not delete')),
    list: timed.list,
  }));
  const end = await run(time, store).catch((thrown: CodedError) => thrown);
  expect(end).toMatchObject({
    code: 'prove_not_cleaned',
    message: expect.stringMatching(
      /^the certificate certstandby-prove \(id-\d+\) may still be in memory:london: may not delete$/,
    ),
    cause: expect.objectContaining({ message: 'may not describe' }),
  });
});

test('a store that may not be written to has nothing to be cleaned of', async () => {
  const time = clock();
  const { store } = storeOver(time, {}, () => ({
    list: () => Promise.reject(new CodedError('store_unauthorized', 'may not list')),
  }));
  await expect(run(time, store)).rejects.toMatchObject({ code: 'store_unauthorized' });
});

test('limits are waited for, and told', async () => {
  const time = clock();
  let calls = 0;
  const { store } = storeOver(time, {}, (timed) => ({
    async reimport(id, content, call) {
      calls += 1;
      if (calls === 1) throw new CodedError('store_limited', 'slowly', { fields: { retryAfterMs: 30_000 } });
      return timed.reimport(id, content, call);
    },
  }));
  expect(boundOf(await run(time, store), 'rate')?.message).toMatch(/a limit put off 1 of them$/);
});

test('the event of the renewal is waited for, where somebody listens', async () => {
  const time = clock();
  const { store } = storeOver(time, {}, (timed) => ({
    async reimport(id, content, call) {
      const answer = await timed.reimport(id, content, call);
      seenAt ??= time.now() + 800;
      return answer;
    },
  }));
  let seenAt: number | undefined;
  const heard = await run(time, store, {
    eventSeenAt: async () => (seenAt !== undefined && time.now() >= seenAt ? seenAt : undefined),
  });
  expect(boundOf(heard, 'events')).toMatchObject({ outcome: 'holds', measured: 820 });
  const deaf = await run(time, store, { eventSeenAt: async () => undefined });
  expect(boundOf(deaf, 'events')).toMatchObject({ outcome: 'not-seen' });
});
