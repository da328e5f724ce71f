import { describe, expect, it } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { judgeStatus } from '../../src/findings/status-words.ts';
import { statusOf } from '../../src/replication/status.ts';
import { type CertificateOptions, certifyLeaf } from '../support/bundles.ts';
import { reconcileAll, workOffAll } from '../support/estate.ts';
import { described, replicated, type SetupOptions, setup, writesIn } from '../support/replication.ts';

/** Signed by itself, as root certificates and those of appliances are. */
const selfSigned = async (options: Partial<CertificateOptions>) => parseContent(await certifyLeaf(undefined, options));
const authority = () => selfSigned({ authority: true, keyUsage: 'keyCertSign' });

async function looked(options: Partial<CertificateOptions>, more: SetupOptions = {}) {
  const world = await setup(more);
  world.primary.store.put({ content: await selfSigned(options), metadata: described('root') }, 'c1');
  await world.ask('c1');
  await world.pass('c1');
  return world;
}

describe('the key of an authority', () => {
  it('is not copied, and status says so, with what to do about it', async () => {
    const world = await looked({ authority: true, keyUsage: 'keyCertSign' });
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).aside).toBe('authority');
    const status = await statusOf(world.worker, world.link);
    expect(status.authorities).toEqual({ count: 1, names: ['root'] });
    expect(status.stuck).toEqual([]);
    const { good } = judgeStatus(status, 3_600_000, (store) => store);
    expect(good).toContain('1 authority not copied (root): filter.names has to name one exactly');
  });

  it.each([
    ['exactly', ['root'], 1],
    ['in other letters', ['ROOT'], 1],
    ['by a pattern', ['roo*'], 0],
    ['by the pattern for everything', ['*'], 0],
  ])('is copied only where the filter names it exactly: %s', async (_how, names, imports) => {
    const world = await looked({ authority: true, keyUsage: 'keyCertSign' }, { filter: { names } });
    expect(writesIn(world)).toHaveLength(imports);
  });

  it('is one only where basic constraints and key usage both say so', async () => {
    const others: readonly Partial<CertificateOptions>[] = [
      { authority: 'none' },
      { authority: false },
      { authority: false, keyUsage: 'keyCertSign' },
    ];
    for (const options of others) expect(writesIn(await looked(options))).toEqual(['backup import']);
  });

  it('is copied by the next reconcile once the filter names it', async () => {
    const world = await looked({ authority: true, keyUsage: 'keyCertSign' });
    await reconcileAll({ ...world, link: { ...world.link, filter: { names: ['root'], domains: [] } } });
    expect(writesIn(world)).toEqual(['backup import']);
  });

  it('that was copied before is told to a person: nobody keeps the copy equal', async () => {
    const world = await replicated(await selfSigned({ authority: false }));
    world.primary.store.put({ content: await authority(), metadata: described('shop') }, 'c1');
    await world.ask('c1');
    await workOffAll(world);
    expect(writesIn(world)).toEqual([]);
    const { stuck } = await statusOf(world.worker, world.link);
    expect(stuck).toMatchObject([{ code: 'certificate_authority_key', names: ['shop'] }]);
  });

  it('is excluded to a worker of the version before', async () => {
    const world = await looked({ authority: true, keyUsage: 'keyCertSign' });
    const row = await world.table.tap.get({ partition: 'replication.1/main', sort: 'c1' });
    expect(row).toMatchObject({ aside: 'excluded', primaryIsAuthority: true });
  });
});
