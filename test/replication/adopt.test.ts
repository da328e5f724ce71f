import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { adopt } from '../../src/replication/adopt.ts';
import { mismatchedKey } from '../support/certificates.ts';
import { fill, reconcileAll, verified, workOffAll } from '../support/estate.ts';
import { content, described, held, markOf, type Setup, setup, writesIn } from '../support/replication.ts';

let contents: CertificateContent[];
let wrongKey: CertificateContent;
beforeAll(async () => {
  contents = await Promise.all([content(), content(), content()]);
  wrongKey = parseContent(await mismatchedKey());
});

/**
 * A world with two certificates in the primary and none in the backup but what a person put there
 * as `byhand`.
 */
async function withStranger(stranger: CertificateContent): Promise<Setup> {
  const world = await setup();
  fill(world, contents.slice(0, 2));
  world.backup.store.put({ content: stranger, metadata: described('by hand', 'a note') }, 'byhand');
  return world;
}

const take = (world: Setup, more: { of?: string; replace?: boolean } = {}) =>
  adopt(world.worker, world.link, { store: world.backup.tap, copy: 'byhand', replace: false, ...more });

describe('adopt', () => {
  it('takes a copy with the same content: it gets our mark and name, and is the copy from then on', async () => {
    const world = await withStranger(contents[0] as CertificateContent);
    expect(await take(world)).toEqual({
      certificate: 'c1',
      name: 'name 1',
      differs: 'it is named by hand instead of name 1; its description is another one',
    });
    expect(writesIn(world)).toEqual([]);
    await workOffAll(world);
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
    expect((await held(world.backup.store, 'byhand')).metadata).toMatchObject({ name: 'name 1', mark: markOf('c1') });
    expect((await reconcileAll(world)).asked).toEqual({ unknown: 1 });
    expect(await verified(world)).toMatchObject({ counts: { same: 2 }, problems: 0 });
    expect(world.backup.store.size()).toBe(2);
  });

  it('writes over a copy that differs only when it is told to', async () => {
    const world = await withStranger(contents[2] as CertificateContent);
    await expect(take(world)).rejects.toMatchObject({
      code: 'adopt_refused',
      message: 'no certificate of the primary has this leaf: say with --of which one it is a copy of',
    });
    await expect(take(world, { of: 'c2' })).rejects.toThrow(
      /^byhand differs from name 2: .*To have it written over, add --replace$/,
    );
    expect((await world.records.get('main', 'c2'))?.backups ?? []).toEqual([]);
    await take(world, { of: 'c2', replace: true });
    await workOffAll(world);
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
    expect((await held(world.backup.store, 'byhand')).content.leaf.raw).toEqual(contents[1]?.leaf.raw);
  });

  it('takes nothing that carries a mark, is not there, or whose original would not serve or is not there', async () => {
    const world = await withStranger(contents[0] as CertificateContent);
    await expect(take(world, { of: 'c7' })).rejects.toThrow('primary holds no certificate c7');
    world.primary.store.put({ content: wrongKey, metadata: described('broken') }, 'c3');
    await expect(take(world, { of: 'c3', replace: true })).rejects.toThrow(
      'broken in the primary: what the private key signs does not hold for the certificate',
    );
    await world.backup.store.updateMetadata('byhand', described('x'), { store: 'elsewhere', certificate: 'c1' });
    await expect(take(world)).rejects.toThrow('byhand carries a mark already: certstandby:1 elsewhere c1');
    await world.backup.store.delete('byhand');
    await expect(take(world)).rejects.toThrow('backup holds no certificate byhand');
    expect(writesIn(world)).toEqual([]);
  });

  it('makes no second copy', async () => {
    const world = await withStranger(contents[0] as CertificateContent);
    await reconcileAll(world);
    await expect(take(world)).rejects.toThrow(/^backup holds a copy of c1 already: backup-\d$/);
    expect(world.backup.store.size()).toBe(3);
  });

  it('asks which one, where several certificates have the same leaf', async () => {
    const world = await withStranger(contents[0] as CertificateContent);
    world.primary.store.put({ content: contents[0] as CertificateContent, metadata: described('twin') }, 'c9');
    await expect(take(world)).rejects.toThrow('2 certificates (c1, c9) of the primary have this leaf');
    expect((await take(world, { of: 'c9' })).name).toBe('twin');
  });

  it('waits while a pass works on the certificate', async () => {
    const world = await withStranger(contents[0] as CertificateContent);
    await world.ask('c1');
    const now = world.time.now();
    await world.records.claim({
      link: 'main',
      certificate: 'c1',
      owner: 'another',
      now,
      leaseUntil: now + 2_500,
      skewMs: 0,
      doubt: now,
    });
    await world.finish(take(world), 10_000);
    expect(world.time.now() - now).toBeGreaterThan(2_500);
    expect((await world.record('c1')).backups[0]).toEqual({ store: 'backup', id: 'byhand', attempts: 0 });
  });
});
