import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { limits } from '../../src/limits.ts';
import { idempotencyRecords } from '../../src/records/idempotency-records.ts';
import { acknowledge } from '../../src/replication/acknowledge.ts';
import { adopt } from '../../src/replication/adopt.ts';
import { watchPrimaries } from '../../src/replication/watch.ts';
import { reconcileAll, verified } from '../support/estate.ts';
import { content, described, markOf, type Setup, setup } from '../support/replication.ts';

let contents: CertificateContent[];
beforeAll(async () => {
  contents = await Promise.all([content(), content()]);
});
const [long, broken] = ['i'.repeat(1_000), 'half of a pair \ud83d'];

/** A primary with one certificate whose id fits into the table, and these. */
async function worldWith(...ids: readonly string[]): Promise<Setup> {
  const world = await setup();
  const [content] = contents as [CertificateContent];
  for (const id of ['c1', ...ids]) world.primary.store.put({ content, metadata: described(`name of ${id}`) }, id);
  return world;
}

const woken = () => {
  const certificates: (string | undefined)[] = [];
  const dispatch = async (wakes: readonly { readonly certificate: string }[]) =>
    void certificates.push(...wakes.map(({ certificate }) => certificate));
  return { dispatch: { dispatch }, certificates };
};

describe('an id of which no record can be kept', () => {
  it.each([
    ['too long', long],
    ['not well-formed', broken],
  ])('that is %s is named by a reconcile, and keeps no other from being copied', async (_, id) => {
    const world = await worldWith(id);
    const report = await reconcileAll(world);
    expect(report.asked).toEqual({ unknown: 1 });
    expect(report.notRead).toMatchObject([{ id, error: { code: 'store_name_unreadable' } }]);
    expect(world.backup.store.size()).toBe(1);
    expect(await verified(world)).toMatchObject({ counts: { same: 1 } });
  });

  it('in the mark of a copy is named, and nothing is asked for', async () => {
    const world = await worldWith();
    const [content] = contents as [CertificateContent];
    world.backup.store.put({ content, metadata: described('odd'), mark: markOf(long) }, 'odd');
    const report = await reconcileAll(world);
    expect(report.asked).toEqual({ unknown: 1 });
    expect(report.notRead).toMatchObject([{ id: long, error: { code: 'store_name_unreadable' } }]);
  });

  it('in an event has a reconcile asked for, and nobody is woken for it', async () => {
    const world = await worldWith();
    const { dispatch, certificates } = woken();
    const notifications = idempotencyRecords(world.table.tap);
    const certificatesOf = [long, 'c1'].map((id) => ({ id, name: 'a name' }));
    const about = { kind: 'reimported', changes: true, type: 'cert_reimported', version: 4 } as const;
    const event = { ...about, store: 'primary', certificates: certificatesOf, digest: 'd1' };
    await acknowledge({ ...world.worker, notifications, dispatch }, ['main'], [event]);
    expect(certificates).toEqual(['c1']);
    expect(await world.linkRecords.askedReconcile('main')).toBeDefined();
  });

  it('in a primary that is watched has a reconcile asked for, is told, and holds up no other', async () => {
    const world = await worldWith();
    let tell = (_certificate: string) => {};
    const primary = {
      ...world.primary.tap,
      watch(changed: (certificate: string) => void) {
        tell = changed;
        return { close: () => undefined };
      },
    };
    const { dispatch, certificates } = woken();
    const watch = watchPrimaries({ ...world.worker, dispatch }, [{ ...world.link, primary }]);
    for (const id of [long, 'c1']) tell(id);
    await world.later(1);
    watch.close();
    expect(certificates).toEqual(['c1']);
    expect(await world.linkRecords.askedReconcile('main')).toBeDefined();
    const told = world.lines.filter(({ event }) => event === 'change_not_noted');
    expect(told).toMatchObject([{ fields: { code: 'store_name_unreadable' } }]);
  });

  it('cannot be adopted for, given or found, and says why', async () => {
    const world = await worldWith();
    const [, other] = contents as [CertificateContent, CertificateContent];
    world.primary.store.put({ content: other, metadata: described('odd') }, long);
    world.backup.store.put({ content: other, metadata: described('by hand') }, 'byhand');
    const request = { store: world.backup.tap, copy: 'byhand', replace: false };
    for (const more of [{ of: long }, {}])
      await expect(adopt(world.worker, world.link, { ...request, ...more })).rejects.toMatchObject({
        code: 'store_name_unreadable',
        message: `no record can be kept of the id ${'i'.repeat(100)}…, of 1000 bytes`,
      });
  });

  it('is none that has a record: one that only just fits there is counted by the brake as well', async () => {
    const world = await worldWith();
    const id = 'i'.repeat(limits.tableKeyBytes - 'replication.1/main'.length);
    expect([world.records.canHold('main', id), world.records.canHold('main', `${id}i`)]).toEqual([true, false]);
    const change = { link: 'main', certificate: id, fingerprint: 'f', now: world.time.now(), allowed: 1 };
    expect(await world.linkRecords.countChange({ ...change, kind: 'unannounced' })).toBe(true);
  });
});
