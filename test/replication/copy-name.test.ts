import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { reconcileAll, verified, workOffAll } from '../support/estate.ts';
import type { SetupOptions } from '../support/replication.ts';
import { askAndPass, content, described, held, markOf, replicated, setup, writesIn } from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

const unique: SetupOptions = { backups: [{ abilities: { uniqueNames: true } }] };
/** As versions before named the copy of `c1`: by the certificate alone. */
const formerName = `shop-${createHash('sha256').update('c1').digest('hex').slice(0, 8)}`;
const newName = 'shop-507c4282c15f5a6d';

/** A world with a copy that a version before has made and knows. */
async function madeBefore() {
  const world = await replicated(first, unique);
  const { store } = world.backup;
  await store.updateMetadata('backup-1', described(formerName), markOf('c1'));
  await askAndPass(world, 'c1');
  world.calls.length = 0;
  return world;
}

describe('the name of a copy where names are unique', () => {
  it('follows from the store and the certificate: two primaries with equal ids and names do not meet', async () => {
    const [one, other] = [await setup(unique), await setup(unique)];
    for (const world of [one, other]) world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await askAndPass(one, 'c1');
    // The other primary copies into the same backup, by a link and a table of its own.
    const { store } = one.backup;
    const elsewhere = { ...other.link, primary: { ...other.primary.tap, id: 'primary-2' }, backups: [store] };
    await other.linkRecords.noteReconciled('main', ['backup'], other.time.now());
    Object.assign(other.link, elsewhere);
    await askAndPass(other, 'c1');
    const { certificates } = await store.list({});
    expect(certificates.map(({ mark }) => mark)).toEqual([markOf('c1'), { store: 'primary-2', certificate: 'c1' }]);
    const names = certificates.map(({ name }) => name);
    expect(names[0]).toBe(newName);
    expect(names[1]).toMatch(/^shop-[0-9a-f]{16}$/);
    expect(names[1]).not.toBe(names[0]);
  });

  it('of a version before stays until the copy is written, whatever looks at it', async () => {
    const world = await madeBefore();
    await askAndPass(world, 'c1');
    await reconcileAll(world, { full: true });
    expect(writesIn(world)).toEqual([]);
    expect((await verified(world)).findings).toEqual([]);
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe(formerName);
  });

  it('of a version before is renewed when the content is written', async () => {
    const world = await madeBefore();
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
    const { content: copy, metadata } = await held(world.backup.store, 'backup-1');
    expect(metadata.name).toBe(newName);
    expect(fingerprintOf(copy)).toBe(fingerprintOf(second));
  });

  it('of a version before is renewed when the original is renamed', async () => {
    const world = await madeBefore();
    world.primary.store.put({ content: first, metadata: described('store') }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('store-507c4282c15f5a6d');
  });

  it('of a version before is no other copy where the record is lost', async () => {
    const world = await setup({ ...unique, reconciled: false });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.backup.store.put({ content: first, metadata: described(formerName), mark: markOf('c1') }, 'old');
    await reconcileAll(world);
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]?.id).toBe('old');
  });
});

describe('a mark that a version before has written', () => {
  const outdated = { ...markOf('münchen'), outdated: true } as const;

  it('is found, stays as it is while nothing is written, and is renewed with the next content', async () => {
    const world = await setup({ reconciled: false });
    const put = (it: CertificateContent) =>
      world.primary.store.put({ content: it, metadata: described('shop') }, 'münchen');
    put(first);
    world.backup.store.put({ content: first, metadata: described('shop') }, 'old');
    // As a store reads a text of `certstandby:1` with an id that is encoded today.
    const readAs = (metadata: object) => Object.assign(metadata, { mark: outdated });
    let isOld = true;
    world.backup.hooks.list = async (proceed, ...rest) => {
      const page = await proceed(...rest);
      return isOld ? { ...page, certificates: page.certificates.map((one) => ({ ...one, mark: outdated })) } : page;
    };
    world.backup.hooks.read = async (proceed, ...rest) => {
      const reading = await proceed(...rest);
      if (isOld && reading.state === 'present') readAs(reading.value.metadata);
      return reading;
    };
    world.backup.hooks.readMetadata = async (proceed, ...rest) => {
      const reading = await proceed(...rest);
      if (isOld && reading.state === 'present') readAs(reading.value);
      return reading;
    };
    world.backup.hooks.reimport = async (proceed, ...rest) => {
      const answer = await proceed(...rest);
      if (answer.metadata !== undefined) readAs(answer.metadata);
      return answer;
    };
    world.backup.hooks.updateMetadata = async (proceed, ...rest) => {
      isOld = false;
      return proceed(...rest);
    };
    await reconcileAll(world);
    await reconcileAll(world, { full: true });
    expect(writesIn(world)).toEqual([]);
    put(second);
    await askAndPass(world, 'münchen');
    await workOffAll(world);
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
    expect((await held(world.backup.store, 'old')).metadata.mark).toEqual(markOf('münchen'));
    await askAndPass(world, 'münchen');
    expect(writesIn(world)).toHaveLength(2);
  });
});

describe('a link that names copies exactly', () => {
  const exact = async (options: SetupOptions = unique) => {
    const world = await setup(options);
    Object.assign(world.link, { naming: 'exact' });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    return world;
  };

  it('gives the copy the name of its original, and renames it with that', async () => {
    const world = await exact();
    await askAndPass(world, 'c1');
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('shop');
    world.primary.store.put({ content: first, metadata: described('store') }, 'c1');
    await askAndPass(world, 'c1');
    expect((await held(world.backup.store, 'backup-1')).metadata.name).toBe('store');
    expect((await verified(world)).findings).toEqual([]);
  });

  it('does not take a name that something else has: it says whose it is, rests, and goes on when the name is free', async () => {
    const world = await exact();
    world.backup.store.put({ content: second, metadata: described('shop') }, 'foreign');
    await askAndPass(world, 'c1');
    const { backups } = await world.record('c1');
    expect(backups[0]).toMatchObject({
      refusal: { code: 'store_name_taken' },
      lastError: {
        message: 'the name shop is taken in backup, by foreign, which is not ours',
        remedy: 'Rename or remove it there, or take naming: exact off the link.',
      },
      attempts: 0,
    });
    expect(fingerprintOf((await held(world.backup.store, 'foreign')).content)).toBe(fingerprintOf(second));
    expect(world.backup.store.size()).toBe(1);
    await world.backup.store.delete('foreign');
    await workOffAll(world);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'backup-1' });
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('refusal');
  });

  it('tells of another link, or another deployment, with the same name', async () => {
    const world = await exact();
    const mark = { store: 'primary-2', certificate: 'c7' };
    world.backup.store.put({ content: second, metadata: described('shop'), mark }, 'theirs');
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]?.lastError?.message).toBe(
      'the name shop is taken in backup, by theirs, the copy of c7 of primary-2: another link, or another deployment, copies into it too',
    );
    expect((await held(world.backup.store, 'theirs')).metadata.mark).toEqual(mark);
  });

  it('keeps its copy under the old name where the new one is taken, and its content equal', async () => {
    const world = await exact();
    await askAndPass(world, 'c1');
    world.backup.store.put({ content: first, metadata: described('store') }, 'foreign');
    world.primary.store.put({ content: second, metadata: described('store') }, 'c1');
    await askAndPass(world, 'c1');
    const { content: copy, metadata } = await held(world.backup.store, 'backup-1');
    expect(metadata.name).toBe('shop');
    expect(fingerprintOf(copy)).toBe(fingerprintOf(second));
    expect((await world.record('c1')).backups[0]?.refusal?.code).toBe('store_name_taken');
  });

  it('still adopts a copy of its own that a lost answer has left', async () => {
    const world = await exact();
    world.backup.store.put({ content: first, metadata: described('shop'), mark: markOf('c1') }, 'lost');
    world.backup.hooks.list = async () => ({ certificates: [] });
    await askAndPass(world, 'c1');
    delete world.backup.hooks.list;
    expect((await world.record('c1')).backups[0]).toMatchObject({ lastError: { code: 'store_conflict' } });
    await workOffAll(world);
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'lost', attempts: 0 });
  });
});

describe('a store that keeps only the digest of a mark', () => {
  const little: SetupOptions = { backups: [{ markCharacters: 63 }] };
  const long = 'x'.repeat(300);

  it('gets one copy, found again by the digest, whatever becomes of the records', async () => {
    const world = await setup({ ...little, reconciled: false });
    world.primary.store.put({ content: first, metadata: described('shop') }, long);
    await reconcileAll(world);
    expect(world.backup.store.size()).toBe(1);
    expect((await held(world.backup.store, 'backup-1')).metadata.mark).toMatchObject({ digest: expect.any(String) });
    await world.records.forget('main', long);
    await reconcileAll(world);
    expect(world.backup.store.size()).toBe(1);
    expect((await world.record(long)).backups[0]?.id).toBe('backup-1');
    expect((await verified(world)).findings).toEqual([]);
  });

  it('has a second copy removed, and the copy of what is gone kept', async () => {
    const world = await setup({ ...little, reconciled: false });
    world.primary.store.put({ content: first, metadata: described('shop') }, long);
    world.primary.store.put({ content: second, metadata: described('stays') }, 'c2');
    await reconcileAll(world);
    const mark = { store: 'primary', certificate: long };
    world.backup.store.put({ content: first, metadata: described('shop'), mark }, 'zz-double');
    await reconcileAll(world);
    expect(world.backup.store.size()).toBe(2);
    await world.primary.store.delete(long);
    await reconcileAll(world);
    expect((await held(world.backup.store, 'backup-2')).metadata.description).toMatch(/^Retained since/);
  });

  it('is told of copies whose certificate nobody knows any more, and they stay', async () => {
    const world = await setup({ ...little, reconciled: false });
    const mark = { store: 'primary', certificate: long };
    world.backup.store.put({ content: first, metadata: described('shop'), mark }, 'orphan');
    const { notRead } = await reconcileAll(world);
    expect(notRead).toMatchObject([{ id: 'orphan', error: { code: 'store_mark_unknown' } }]);
    expect((await verified(world)).findings).toMatchObject([{ copy: 'orphan', state: 'unreadable', problem: true }]);
    expect(world.backup.store.size()).toBe(1);
  });
});
