import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { asCodedError, CodedError } from '../../src/errors.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { limitedStore } from '../../src/store/limited.ts';
import { isOwnLimit } from '../../src/store/own-limit.ts';
import { content, described, markOf, replicated, setup, startMs, writesIn } from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;
beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

const oneAMinute = { rates: [{ operations: ['import', 'reimport'] as const, count: 1, perMs: 60_000 }] };

describe('where writes are scarce', () => {
  it('a pass that has no turn yet does not look, is no failed attempt, and comes exactly when it may write', async () => {
    const world = await setup({ backups: [{ abilities: oneAMinute }] });
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    const limited = limitedStore(backup, { runtime: world.time });
    const link = { ...world.link, backups: [limited] };
    for (const [index, given] of [first, second, first, second].entries()) {
      world.primary.store.put({ content: given, metadata: described(`name ${index}`) }, `c${index}`);
      await world.ask(`c${index}`);
      await replicate(world.worker, link, `c${index}`);
    }
    expect(writesIn(world)).toEqual(['backup import']);
    const looked = () => world.calls.filter((call) => call.includes(' backup ')).length;
    const before = looked();
    for (const [index, minutes] of [1, 2, 3].entries()) {
      const record = await world.record(`c${index + 1}`);
      expect(record.wakeAt).toBe(startMs + minutes * 60_000);
      expect(record.backups[0]).toMatchObject({ attempts: 0, notBefore: startMs + minutes * 60_000 });
      expect(record.backups[0]).not.toHaveProperty('lastError');
    }
    for (let minute = 1; minute <= 3; minute += 1) {
      await world.later(60_000);
      for (const certificate of await world.records.due('main', world.time.now(), 10))
        await replicate(world.worker, link, certificate);
      expect(writesIn(world)).toHaveLength(minute + 1);
    }
    expect(looked() - before).toBe(3);
  });

  it('a copy that the service refuses new content for is replaced with the next turn, and not asked again', async () => {
    const world = await replicated(first, { backups: [{ abilities: oneAMinute }] });
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    world.backup.hooks.reimport = () => Promise.reject(new CodedError('store_content_refused', 'other domains'));
    const link = { ...world.link, backups: [limitedStore(backup, { runtime: world.time })] };
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await replicate(world.worker, link, 'c1');
    // The refused write took the turn, and the new copy waits for the next one.
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect(await world.record('c1')).toMatchObject({ wakeAt: startMs + 60_000 });
    await world.later(60_000);
    await replicate(world.worker, link, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup import']);
    const [state] = (await world.record('c1')).backups;
    expect(state).toMatchObject({ id: 'backup-2', attempts: 0 });
    expect(state).not.toHaveProperty('replacing');
  });

  it('each of two copies that refuse new content is asked once, before a new one takes their place', async () => {
    const world = await replicated(first, { backups: [{ abilities: oneAMinute }] });
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    const double = { content: first, metadata: described('shop'), mark: markOf('c1') };
    world.backup.store.put(double, 'zz-double');
    const asked: unknown[] = [];
    world.backup.hooks.reimport = (_proceed, id) => {
      asked.push(id);
      return Promise.reject(new CodedError('store_content_refused', 'other domains'));
    };
    const link = { ...world.link, backups: [limitedStore(backup, { runtime: world.time })] };
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1', { doubt: startMs });
    for (let minute = 0; minute < 3; minute += 1) {
      await replicate(world.worker, link, 'c1');
      await world.later(60_000);
    }
    expect(asked).toEqual(['backup-1', 'zz-double']);
    expect(writesIn(world)).toEqual(['backup reimport', 'backup reimport', 'backup import']);
  });

  it('a copy that refuses new content and cannot be removed is asked once in a pass, which then rests', async () => {
    const world = await replicated(first, { backups: [{ abilities: oneAMinute }] });
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    world.backup.store.put({ content: second, metadata: described('shop'), mark: markOf('c1') }, 'zz-double');
    world.backup.hooks.reimport = () => Promise.reject(new CodedError('store_content_refused', 'other domains'));
    world.backup.hooks.delete = () => Promise.reject(new CodedError('store_in_use', 'it is in use'));
    const link = { ...world.link, backups: [limitedStore(backup, { runtime: world.time })] };
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1', { doubt: startMs });
    await replicate(world.worker, link, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup delete']);
    const [state] = (await world.record('c1')).backups;
    expect(state).toMatchObject({ id: 'zz-double', attempts: 0, unremovable: [{ id: 'backup-1' }] });
    expect(state).not.toHaveProperty('notBefore');
  });

  it('a copy that somebody holds does not keep the turn from the copy beside it for ever', async () => {
    const world = await replicated(first, { backups: [{ abilities: oneAMinute }] });
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    world.backup.store.put({ content: first, metadata: described('shop'), mark: markOf('c1') }, 'zz-double');
    const asked: unknown[] = [];
    world.backup.hooks.reimport = (proceed, id, given, call) => {
      asked.push(id);
      if (id === 'zz-double') return proceed(id, given, call);
      return Promise.reject(new CodedError('store_held', 'it is locked'));
    };
    const link = { ...world.link, backups: [limitedStore(backup, { runtime: world.time })] };
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1', { doubt: startMs });
    await replicate(world.worker, link, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({ refusal: { code: 'store_held' } });
    await world.later(10 * 60_000);
    await replicate(world.worker, link, 'c1');
    expect(asked).toEqual(['backup-1', 'zz-double']);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'zz-double', attempts: 0 });
    // The one that is held is asked again by a later look, and stays.
    await world.later(10 * 60_000);
    await world.ask('c1', { doubt: world.time.now() });
    await replicate(world.worker, link, 'c1');
    expect(asked).toEqual(['backup-1', 'zz-double', 'backup-1']);
    expect((await world.backup.store.list({})).certificates.map(({ id }) => id)).toEqual(['backup-1', 'zz-double']);
  });

  it('a turn that was not used is free for the next one', () => {
    const { store, time } = bare();
    const names = (original: string) => ({ original, copy: undefined });
    expect(store.slots?.take(names('a'))).toBe(startMs);
    expect(store.slots?.take(names('a'))).toBe(startMs);
    expect(store.slots?.take(names('b'))).toBe(startMs + 60_000);
    store.slots?.giveBack(names('b'));
    expect(store.slots?.take(names('c'))).toBe(startMs + 60_000);
    expect(time.now()).toBe(startMs);
  });

  it('a turn counts for whichever copy of the certificate is written to, once', async () => {
    const { store } = bare();
    store.slots?.take({ original: 'a', copy: 'copy-2' });
    store.slots?.extend({ original: 'a', copy: 'copy-1' });
    await store.reimport('copy-1', first);
    const thrown = await store.reimport('copy-2', first).catch((error: unknown) => error);
    expect(asCodedError(thrown).retryAfterMs).toBe(60_000);
  });

  it('where a copy of an unknown id is found it is written to with the turn that the pass had', async () => {
    const world = await setup({ backups: [{ abilities: oneAMinute }] });
    const { store } = world.backup;
    const limited = limitedStore(world.link.backups[0] as never, { runtime: world.time });
    const mark = { store: world.link.primary.id, certificate: 'c1' };
    store.put({ content: second, metadata: described('shop'), mark }, 'found');
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await world.ask('c1', { doubt: startMs });
    await replicate(world.worker, { ...world.link, backups: [limited] }, 'c1');
    expect(writesIn(world)).toContain('backup reimport');
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'found', attempts: 0 });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('notBefore');
  });

  it('a pass whose write another limit of ours keeps back gives its turn to the next certificate', async () => {
    const world = await replicated(first, { backups: [{ abilities: oneAMinute }] });
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    // One write of a certificate in four minutes.
    const limits = { runtime: world.time, writesPerCertificatePerMinute: 0.25 };
    const link = { ...world.link, backups: [limitedStore(backup, limits)] };
    const change = async (certificate: string, given: CertificateContent) => {
      world.primary.store.put(
        { content: given, metadata: described(certificate === 'c1' ? 'shop' : 'other') },
        certificate,
      );
      await world.ask(certificate);
      await replicate(world.worker, link, certificate);
    };
    await change('c1', second);
    await world.later(60_000);
    await change('c1', first);
    expect((await world.record('c1')).backups[0]).toMatchObject({ notBefore: startMs + 4 * 60_000 });
    await change('c2', second);
    expect(writesIn(world)).toEqual(['backup reimport', 'backup import']);
  });

  it('a write without a turn waits for one, and is told as our own limit', async () => {
    const { store } = bare();
    store.slots?.take({ original: 'a', copy: undefined });
    const thrown = await store.reimport('other', first).catch((error: unknown) => error);
    expect(isOwnLimit(asCodedError(thrown))).toBe(true);
    expect(asCodedError(thrown).retryAfterMs).toBe(60_000);
  });

  function bare() {
    const calls = { now: () => startMs };
    const store = limitedStore({ id: 'scarce', abilities: oneAMinute, reimport: async () => ({ id: 'x' }) } as never, {
      runtime: calls as never,
    });
    return { store, time: calls };
  }
});

describe('waiting for our own limit', () => {
  it('is no failed attempt, of a backup or of the primary, and lasts exactly as long as it says', async () => {
    const world = await replicated(first);
    const [backup] = world.link.backups;
    if (backup === undefined) throw new Error('there is no backup');
    const limited = limitedStore(backup, { runtime: world.time, writesPerCertificatePerMinute: 1 });
    const link = { ...world.link, backups: [limited] };
    for (const given of [second, first]) {
      world.primary.store.put({ content: given, metadata: described('shop') }, 'c1');
      await world.ask('c1');
      await replicate(world.worker, link, 'c1');
    }
    expect((await world.record('c1')).backups[0]).toMatchObject({ attempts: 0, notBefore: startMs + 60_000 });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('lastError');

    const primary = limitedStore(world.link.primary, { runtime: world.time, requestsPerSecond: 0.1 });
    await primary.read('c1');
    await world.ask('c1');
    await replicate(world.worker, { ...link, primary }, 'c1');
    expect(await world.record('c1')).toMatchObject({ attempts: 0, notBefore: startMs + 10_000 });
  });

  it('a listing leaves half of the requests to passes', async () => {
    const world = await replicated(first);
    const store = limitedStore(world.backup.store, { runtime: world.time, requestsPerSecond: 10 });
    const pages = await Promise.allSettled(Array.from({ length: 10 }, () => store.list({})));
    expect(pages.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    const reads = await Promise.all(Array.from({ length: 6 }, () => store.read('backup-1')));
    expect(reads.map(({ state }) => state)).toEqual([...Array(5).fill('present'), 'unreadable']);
  });
});
