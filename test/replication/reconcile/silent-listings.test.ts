import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { adopt } from '../../../src/replication/adopt.ts';
import { replicate } from '../../../src/replication/pass/replicate.ts';
import { limitedStore } from '../../../src/store/limited.ts';
import { reconcileAll } from '../../support/estate.ts';
import type { Setup } from '../../support/replication.ts';
import { content, described, held, markOf, replicated, setup } from '../../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;
beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

const silent = { abilities: { silentListings: true } } as const;
const asks = ({ calls }: Setup, store: string) =>
  calls.filter((call) => call.endsWith(` ${store} readMetadata`)).length;

describe('where listings do not show that content changed', () => {
  it('a certificate that changed in the primary without an event is found by the next reconcile', async () => {
    const world = await replicated(first, { primary: silent });
    expect((await reconcileAll(world)).asked).toEqual({});
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    expect((await reconcileAll(world)).asked).toEqual({ different: 1 });
    const copy = await held(world.backup.store, 'backup-1');
    expect(fingerprintOf(copy.content)).toBe(fingerprintOf(second));
    expect((await reconcileAll(world)).asked).toEqual({});
  });

  it('a copy that changed behind our back is found by the next reconcile', async () => {
    const world = await replicated(first, { backups: [silent] });
    expect((await reconcileAll(world)).asked).toEqual({});
    world.backup.store.put({ content: second, metadata: described('shop'), mark: markOf('c1') }, 'backup-1');
    expect((await reconcileAll(world)).asked).toEqual({ 'changed-at-the-backup': 1 });
  });

  it('one version is asked for of each certificate that the filter may include, and no key is read', async () => {
    const world = await setup({ primary: silent, backups: [silent], filter: { names: ['shop*'] } });
    for (const id of ['c1', 'c2']) world.primary.store.put({ content: first, metadata: described(`shop ${id}`) }, id);
    world.primary.store.put({ content: first, metadata: described('mail') }, 'c3');
    await reconcileAll(world);
    world.backup.store.put({ content: first, metadata: described('not ours') }, 'foreign');
    world.calls.length = 0;
    await reconcileAll(world);
    expect([asks(world, 'primary'), asks(world, 'backup')]).toEqual([2, 2]);
    expect(world.calls.filter((call) => call.endsWith(' read'))).toEqual([]);
  });

  it('one whose version cannot be read is looked at, and holds up no other', async () => {
    const world = await setup({ primary: silent });
    for (const id of ['c1', 'c2', 'c3']) world.primary.store.put({ content: first, metadata: described(id) }, id);
    await reconcileAll(world);
    world.primary.store.put({ content: second, metadata: described('c3') }, 'c3');
    world.primary.hooks.readMetadata = (proceed, id, call) =>
      id === 'c1' ? Promise.reject(new Error('a bug of this kind')) : proceed(id, call);
    expect((await reconcileAll(world)).asked).toEqual({ 'revision-moved': 1, different: 1 });
  });

  it('versions leave half of the requests to passes', async () => {
    const world = await replicated(first, { primary: silent });
    const store = limitedStore(world.primary.tap, { runtime: world.time, requestsPerSecond: 10 });
    const answers = await Promise.all(Array.from({ length: 10 }, () => store.readMetadata('c1', { lists: true })));
    expect(answers.filter(({ state }) => state === 'present')).toHaveLength(5);
    expect((await store.read('c1')).state).toBe('present');
  });

  it('a certificate with the leaf of a copy is found for it, whatever was there first', async () => {
    const world = await setup({ primary: silent });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    world.backup.store.put({ content: second, metadata: described('shop') }, 'made-by-hand');
    const request = { store: world.backup.tap, copy: 'made-by-hand', replace: false };
    expect(await adopt(world.worker, world.link, request)).toMatchObject({ certificate: 'c1' });
    await replicate(world.worker, world.link, 'c1');
    expect((await world.record('c1')).backups[0]).toMatchObject({ id: 'made-by-hand', attempts: 0 });
  });
});
