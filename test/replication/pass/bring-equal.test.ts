import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { CodedError } from '../../../src/errors.ts';
import { keyAnswerOf } from '../../../src/store/store.ts';
import {
  askAndPass,
  content,
  described,
  held,
  markOf,
  replicated,
  setup,
  startMs,
  told,
  writesIn,
} from '../../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

const unavailable = (message = 'not reached') => new CodedError('store_unavailable', message);

describe('the copy that the record knows', () => {
  it('gets new content under its id', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]).toMatchObject({ equal: true, actions: ['reimported'] });
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(second));
    expect((await world.record('c1')).backups[0]).toMatchObject({
      id: 'backup-1',
      fingerprint: fingerprintOf(second),
      revision: '2',
    });
  });

  it('gets another key for the same certificate facts: what looks equal is read in full', async () => {
    const world = await replicated(first);
    const copy = await held(world.backup.store, 'backup-1');
    const { privateKey: _key, ...keyless } = copy.content;
    world.backup.store.put({ content: keyless, metadata: described('shop'), mark: markOf('c1') }, 'backup-1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(first));
  });

  it('is not compared by a key that its service never gives', async () => {
    const world = await replicated(first, { backups: [{ abilities: { givesKeys: false } }] });
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({ fingerprint: fingerprintOf(first), attempts: 0 });
  });

  it('is compared by its public parts where its own key is withheld, which the record says', async () => {
    const world = await replicated(first, { backups: [{ withholds: (id) => id === 'backup-1' }] });
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({ keyWithheld: true, attempts: 0 });
  });

  it.each([
    ['gives keys', true],
    ['gives none', false],
  ])('is written anew when its key is lost, in a store that %s', async (_what, givesKeys) => {
    const world = await replicated(first, { backups: [{ abilities: { givesKeys } }] });
    const { privateKey: _key, ...keyless } = first;
    for (const times of [1, 2, 3]) {
      world.backup.store.put({ content: keyless, metadata: described('shop'), mark: markOf('c1') }, 'backup-1');
      await askAndPass(world, 'c1');
      expect(writesIn(world)).toEqual(Array.from({ length: times }, () => 'backup reimport'));
    }
    expect(keyAnswerOf(await held(world.backup.store, 'backup-1'))).toBe(givesKeys ? 'given' : 'withheld');
    expect((await world.record('c1')).backups[0]?.keyWithheld).toBe(givesKeys ? undefined : true);
  });

  it.each([
    ['name', { name: 'shop 2', description: '', tags: [] }],
    ['description', { name: 'shop', description: 'the shop', tags: [] }],
    ['tags', { name: 'shop', description: '', tags: ['a'] }],
  ])('gets another %s without a write of content', async (_what, metadata) => {
    const world = await replicated(first);
    await world.primary.store.updateMetadata('c1', metadata, undefined);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
    expect((await held(world.backup.store, 'backup-1')).metadata).toMatchObject({ ...metadata, mark: markOf('c1') });
    expect((await world.record('c1')).backups[0]).toMatchObject({ attempts: 0, revision: '2' });
  });

  it('is compared with what its service can keep of a name', async () => {
    const world = await replicated(first, { backups: [{ nameCharacters: 2 }] });
    await askAndPass(world, 'c1');
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('sh');
    expect(writesIn(world)).toEqual([]);
  });

  it('gets its mark back', async () => {
    const world = await replicated(first);
    await world.backup.store.updateMetadata('backup-1', described('shop'), undefined);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
    expect((await held(world.backup.store, 'backup-1')).metadata.mark).toEqual(markOf('c1'));
  });

  it('is left alone if it carries the mark of another certificate, and a person is told', async () => {
    const world = await replicated(first);
    await world.backup.store.updateMetadata('backup-1', described('shop'), markOf('c2'));
    world.primary.store.put({ content: second, metadata: described('shop 2') }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({
      id: 'backup-1',
      fingerprint: fingerprintOf(first),
      attempts: 1,
      lastError: {
        code: 'store_copy_not_ours',
        message: 'the copy backup-1 carries the mark of another certificate',
        at: startMs,
      },
    });
    expect(told(world)).toMatchObject([
      {
        level: 'warn',
        event: 'backup_failed',
        fields: { backup: 'backup', copy: 'backup-1', mark: 'certstandby:1 primary c2' },
      },
    ]);
  });

  it('is forgotten when it is gone, and another one is imported', async () => {
    const world = await replicated(first);
    await world.backup.store.delete('backup-1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup import']);
    expect((await world.record('c1')).backups[0]?.id).toBe('backup-2');
  });

  it('is forgotten when it vanishes before the write', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = async (proceed, ...args) => {
      await world.backup.store.delete('backup-1');
      return proceed(...args);
    };
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({ attempts: 1, lastError: { code: 'store_gone' } });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('id');
    await world.pass('c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'backup-2', attempts: 0 });
  });

  it('is forgotten when it vanishes between two reads', async () => {
    const world = await replicated(first);
    world.backup.hooks.read = async () => ({ state: 'absent' });
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({ lastError: { code: 'store_gone' } });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('id');
    expect(writesIn(world)).toEqual([]);
  });
});

describe('a copy that cannot be read', () => {
  it('is written anew when its content is damaged', async () => {
    const world = await replicated(first);
    world.backup.store.corrupt('backup-1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(first));
  });

  it('is written anew when not even its metadata makes sense, and gets its name and mark back', async () => {
    const world = await replicated(first);
    await world.backup.store.updateMetadata('backup-1', described('nonsense'), undefined);
    const error = new CodedError('store_content_unreadable', 'held, but not to be read');
    world.backup.hooks.readMetadata = async (proceed, ...args) => {
      delete world.backup.hooks.readMetadata;
      void proceed(...args);
      return { state: 'unreadable', error };
    };
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
    expect((await held(world.backup.store, 'backup-1')).metadata).toMatchObject({ name: 'shop', mark: markOf('c1') });
  });

  it('is left alone while its store is not reached', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.readMetadata = async () => ({ state: 'unreadable', error: unavailable() });
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({
      id: 'backup-1',
      fingerprint: fingerprintOf(first),
      attempts: 1,
      notBefore: startMs,
      lastError: { code: 'store_unavailable' },
    });
  });

  it('is written anew after its content could not be read three times, though its metadata could', async () => {
    const world = await replicated(first);
    world.backup.hooks.read = async () => ({ state: 'unreadable', error: unavailable() });
    await world.ask('c1');
    for (let attempts = 1; attempts <= 3; attempts += 1) {
      await world.pass('c1');
      expect((await world.record('c1')).backups[0]?.attempts).toBe(attempts);
      expect(writesIn(world)).toEqual([]);
    }
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup reimport']);
    expect((await world.record('c1')).backups[0]?.attempts).toBe(0);
  });

  it('is not written anew by a leaf alone: it may have a chain', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: { ...second, chain: [] }, metadata: described('shop') }, 'c1');
    world.backup.hooks.read = async () => ({ state: 'unreadable', error: unavailable() });
    await world.ask('c1');
    for (let attempts = 1; attempts <= 5; attempts += 1) await world.pass('c1');
    expect(writesIn(world)).toEqual([]);
  });
});

describe('what the service says it now holds', () => {
  it('is read where its answer says nothing', async () => {
    const world = await replicated(first, { backups: [{ writesAnswerMetadata: false }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    const calls = world.calls.map((call) => call.replace(/^\d+ /, '')).filter((call) => call.startsWith('backup'));
    expect(calls).toEqual(['backup readMetadata', 'backup reimport', 'backup read']);
    expect((await world.record('c1')).backups[0]).toMatchObject({ fingerprint: fingerprintOf(second), revision: '2' });
  });

  it('is not believed to be equal when its answer says something else', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    const before = await held(world.backup.store, 'backup-1');
    world.backup.hooks.reimport = async () => ({ id: 'backup-1', metadata: before.metadata });
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({
      fingerprint: fingerprintOf(first),
      attempts: 1,
      lastError: { code: 'store_holds_other', message: 'the copy backup-1 is not what was written to it' },
    });
  });

  it('is not believed to be equal when a read shows something else', async () => {
    const world = await replicated(first, { backups: [{ writesAnswerMetadata: false }] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.hooks.reimport = async () => ({ id: 'backup-1' });
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({
      fingerprint: fingerprintOf(first),
      lastError: { code: 'store_holds_other' },
    });
  });

  it('is remembered by its id even if it is something else: a copy that nobody knows would be made twice', async () => {
    const world = await setup();
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backup.hooks.import = async (proceed, entry, ...rest) => proceed({ ...entry, content: second }, ...rest);
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({
      id: 'backup-1',
      lastError: { code: 'store_holds_other' },
    });
    await world.pass('c1');
    expect(writesIn(world)).toEqual(['backup import', 'backup reimport']);
    expect(world.backup.store.size()).toBe(1);
  });
});

it('a copy that is renamed while it is written gets its name back in the same pass', async () => {
  const world = await replicated(first);
  world.backup.hooks.reimport = async (proceed, id, ...rest) => {
    await world.backup.store.updateMetadata(id, described('renamed by hand'), markOf('c1'));
    return proceed(id, ...rest);
  };
  world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
  await askAndPass(world, 'c1');
  const copy = await held(world.backup.store, 'backup-1');
  expect(copy.metadata.name).toBe('shop');
  expect((await world.record('c1')).backups[0]?.revision).toBe(copy.metadata.revision);
});

describe('a store with unique names', () => {
  const unique = { backups: [{ abilities: { uniqueNames: true } }] };

  it('gets the name with sixteen hex digits of the mark', async () => {
    const world = await replicated(first, unique);
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('shop-507c4282c15f5a6d');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
  });

  it('cuts a long name, not the digits that keep copies apart', async () => {
    const world = await setup({ backups: [{ abilities: { uniqueNames: true }, nameCharacters: 20 }] });
    world.primary.store.put({ content: first, metadata: described('a name that is long') }, 'c1');
    await askAndPass(world, 'c1');
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('a n-507c4282c15f5a6d');
  });

  it('is looked at by mark before an import, and what carries our mark is adopted, whatever it is called', async () => {
    const world = await setup(unique);
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backup.store.put(
      { content: first, metadata: described('shop-d0f631ca'), mark: markOf('c1') },
      'from-a-version-before',
    );
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'from-a-version-before', attempts: 0 });
  });

  it('is looked at by mark after a conflict, and what carries our mark is adopted', async () => {
    const world = await setup(unique);
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backup.store.put(
      { content: first, metadata: described('shop-507c4282c15f5a6d'), mark: markOf('c1') },
      'from-an-earlier-life',
    );
    // A listing that does not show it yet.
    world.backup.hooks.list = async () => ({ certificates: [] });
    await askAndPass(world, 'c1');
    delete world.backup.hooks.list;
    expect(await world.record('c1')).toMatchObject({
      doubt: startMs + 5_000,
      backups: [{ attempts: 1, lastError: { code: 'store_conflict' } }],
    });
    await world.pass('c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'from-an-earlier-life', attempts: 0 });
    expect(world.backup.store.size()).toBe(1);
  });

  it('gets another replacement where somebody has damaged the one that nobody remembers', async () => {
    const world = await replicated(first, unique);
    const { store, hooks } = world.backup;
    hooks.reimport = async () => {
      throw new CodedError('store_content_refused', 'the domains differ');
    };
    hooks.import = async (proceed, ...rest) => {
      await proceed(...rest);
      throw new CodedError('store_unanswered', 'no answer');
    };
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    hooks.import = async (proceed, ...rest) => proceed(...rest);
    hooks.read = async (proceed, id) =>
      id === 'backup-2'
        ? { state: 'unreadable', error: new CodedError('store_content_unreadable', 'damaged') }
        : proceed(id);
    for (let count = 0; count < 4; count += 1) {
      await world.later(300_000);
      await world.pass('c1');
    }
    expect(await world.record('c1')).toMatchObject({ backups: [{ id: 'backup-3', attempts: 0 }] });
    expect(store.size()).toBe(1);
    const { content, metadata } = await held(store, 'backup-3');
    expect(metadata.name).toBe('shop-507c4282c15f5a6d');
    expect(fingerprintOf(content)).toBe(fingerprintOf(second));
  });

  it('leaves a certificate that is not ours and has the name', async () => {
    const world = await setup(unique);
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backup.store.put({ content: second, metadata: described('shop-507c4282c15f5a6d') }, 'foreign');
    await askAndPass(world, 'c1');
    await world.later(5_000);
    await world.pass('c1');
    expect(fingerprintOf((await held(world.backup.store, 'foreign')).content)).toBe(fingerprintOf(second));
    expect(world.backup.store.size()).toBe(1);
  });
});

describe('a store whose import is idempotent', () => {
  it('gets a token derived from the certificate, the same each time', async () => {
    const world = await setup({ backups: [{ abilities: { importIsIdempotent: true } }] });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    const tokens: (string | undefined)[] = [];
    world.backup.hooks.import = async (proceed, entry, ...rest) => {
      tokens.push(entry.token);
      await proceed(entry, ...rest);
      throw new CodedError('store_unanswered', 'no answer');
    };
    await askAndPass(world, 'c1');
    await world.later(5_000);
    world.backup.hooks.list = async () => ({ certificates: [] });
    await world.pass('c1');
    expect(tokens).toEqual(Array(2).fill('4577d97d9892a207ccf6f62a64ea78b7f557e61c48524de21c46b64cdc935609'));
    expect(world.backup.store.size()).toBe(1);
  });
});
