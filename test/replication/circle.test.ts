import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { standingOf } from '../../src/replication/standing.ts';
import { statusOf } from '../../src/replication/status.ts';
import { formatMark, type Mark, markOfCopy, mostOrigins, storeDigest } from '../../src/store/mark.ts';
import { planned, reconcileAll, verified } from '../support/estate.ts';
import { askAndPass, content, described, held, type Setup, setup, writesIn } from '../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

const onward = { policy: { onward: true } };
const put = (world: Setup, mark?: Mark, it = first) =>
  world.primary.store.put({ content: it, metadata: described('shop'), ...(mark && { mark }) }, 'c1');
/** The mark of what came from `far-away` through `middle` into the primary. */
const through = (...stores: string[]): Mark => ({
  store: 'middle',
  certificate: 'x',
  ...(stores.length > 0 && { origins: stores.map(storeDigest) }),
});

describe('a certificate that is a copy itself, where copies are copied onward', () => {
  it('is copied with what it came through in its mark', async () => {
    const world = await setup(onward);
    put(world, through('far-away'));
    await askAndPass(world, 'c1');
    const { mark } = (await held(world.backup.store, 'backup-1')).metadata;
    expect(mark).toEqual({
      store: 'primary',
      certificate: 'c1',
      origins: [storeDigest('middle'), storeDigest('far-away')],
    });
    expect((await verified(world)).findings).toEqual([]);
  });

  it.each([
    ['from', { store: 'backup', certificate: 'x' }],
    ['through', through('far-away', 'backup')],
  ])('is not copied into the store that it came %s', async (_, mark) => {
    const world = await setup(onward);
    put(world, mark);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    const record = await world.record('c1');
    expect(record).toMatchObject({ aside: 'circle', replicated: 1 });
    expect(record).not.toHaveProperty('wakeAt');
    expect(standingOf(world.link, record)).toEqual({ kind: 'aside', why: 'circle' });
    expect((await planned(world, { full: true })).lines.get('c1')).toMatchObject({ outcome: 'nothing' });
    expect((await verified(world)).findings).toEqual([]);
    expect(await statusOf(world.worker, world.link)).toMatchObject({ circles: 1 });
  });

  it('is copied into the other backups, and is equal then', async () => {
    const world = await setup({ ...onward, backups: [{}, {}] });
    put(world, { store: 'backup', certificate: 'x' });
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup2 import']);
    const record = await world.record('c1');
    expect(record.backups[0]).toMatchObject({ aside: 'circle' });
    expect(standingOf(world.link, record)).toEqual({ kind: 'equal' });
    expect(await statusOf(world.worker, world.link)).toMatchObject({ circles: 1, counts: { equal: 1 } });
    put(world, { store: 'backup', certificate: 'x' }, second);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup2 import', 'backup2 reimport']);
  });

  it('is copied once it is an original: a restore takes the mark off', async () => {
    const world = await setup(onward);
    put(world, { store: 'backup', certificate: 'x' });
    await askAndPass(world, 'c1');
    put(world);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup import']);
    expect((await world.record('c1')).aside).toBeUndefined();
  });

  it('is not asked for again and again while it rests, and is when the link gets another backup', async () => {
    const world = await setup({ ...onward, backups: [{}, {}] });
    const [one, other] = world.link.backups;
    Object.assign(world.link, { backups: [one] });
    put(world, { store: 'backup', certificate: 'x' });
    await reconcileAll(world);
    expect((await reconcileAll(world)).woken).toEqual([]);
    Object.assign(world.link, { backups: [one, other] });
    await reconcileAll(world);
    expect(writesIn(world)).toEqual(['backup2 import']);
  });

  it('gets what it came through into a mark that an older version wrote without it', async () => {
    const world = await setup(onward);
    put(world);
    await askAndPass(world, 'c1');
    put(world, through('far-away'));
    await askAndPass(world, 'c1');
    expect((await held(world.backup.store, 'backup-1')).metadata.mark).toHaveProperty('origins');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup import', 'backup updateMetadata']);
  });

  it('goes no further than a mark can tell of', async () => {
    let mark: Mark = { store: 'store-0', certificate: 'x' };
    for (let step = 1; step <= mostOrigins; step += 1)
      mark = markOfCopy({ store: `store-${step}`, certificate: 'x' }, mark);
    expect(mark.origins).toHaveLength(mostOrigins);
    expect(formatMark(markOfCopy({ store: 'p', certificate: 'x' }, mark)).split(' ')).toHaveLength(3 + mostOrigins);
    const world = await setup(onward);
    put(world, mark);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({ aside: 'circle' });
  });
});

describe('a record of a certificate in a circle', () => {
  it('is one of a copy to a worker of the version before', async () => {
    const world = await setup(onward);
    put(world, { store: 'backup', certificate: 'x' });
    await askAndPass(world, 'c1');
    const row = await world.table.tap.get({ partition: 'replication.1/main', sort: 'c1' });
    expect(row).toMatchObject({ aside: 'marked', circle: true });
  });
});
