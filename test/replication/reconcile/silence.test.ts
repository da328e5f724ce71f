import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { checkLink } from '../../../src/cli/doctor/checks.ts';
import { judgeStatus } from '../../../src/findings/status-words.ts';
import { reconcile } from '../../../src/replication/reconcile/reconcile.ts';
import { statusOf } from '../../../src/replication/status.ts';
import { eventGraceMs } from '../../../src/replication/timing.ts';
import { content, described, replicated, type Setup } from '../../support/replication.ts';

let contents: CertificateContent[];
beforeAll(async () => {
  contents = await Promise.all([content(), content(), content(), content()]);
});
const contentAt = (at: 0 | 1 | 2 | 3) => contents[at] as CertificateContent;

const dispatch = { dispatch: async () => {} };
const hour = 3_600_000;

async function world() {
  const found = await replicated(contentAt(0));
  const link = { ...found.link, toldBy: ['events'] };
  /** The primary gets other content; an hour later everything is compared, and looked at. */
  const changed = async (to: CertificateContent, { told = false, late = false } = {}) => {
    if (late) await found.later(hour);
    found.primary.store.put({ content: to, metadata: described('shop') }, 'c1');
    if (told) {
      await found.ask('c1', { eventAt: found.time.now() });
      await found.pass('c1');
    }
    if (!late) await found.later(hour);
    await reconcile({ ...found.worker, dispatch }, link);
    await found.pass('c1');
  };
  const words = async (asked = link) => {
    const status = await statusOf(found.worker, asked);
    const { wrong } = judgeStatus(status, hour, (store) => store);
    return wrong.map((one) => one.words).filter((one) => one.startsWith('notifications'));
  };
  return { ...found, link, changed, words };
}

const findingsOf = async ({ linkRecords, link, time, primary }: Setup & { link: Setup['link'] }, toldBy: string[]) => {
  const { silence } = await linkRecords.reconcileState(link.name);
  const state = { boundTo: undefined, verificationKey: undefined, lastReconcileAt: time.now(), silence };
  const config = { name: 'main', primary: 'primary', backups: ['backup'] } as never;
  const context = {
    now: time.now,
    signal: () => AbortSignal.abort(),
    reconcileEveryMs: hour,
    asks: false,
    registerLine: '',
    toldBy,
  };
  return (await checkLink(config, primary.tap, state, context)).filter(({ message }) =>
    message.includes('do not arrive'),
  );
};

describe('events that do not arrive', () => {
  it('are told when reconcile finds, twice in a row, what none told of; by status, and by doctor', async () => {
    const at = await world();
    await at.changed(contentAt(1));
    expect(await at.words()).toEqual([]);
    await at.changed(contentAt(2));
    expect(await at.words()).toEqual([
      expect.stringMatching(
        /^notifications do not arrive \(events\): the last 2 reconciles .* since 1 h ago, 1 certificate at last\n {2}See whether it still sends here/,
      ),
    ]);
    expect(await findingsOf(at, ['events'])).toMatchObject([
      { outcome: 'warning', remedy: expect.stringContaining('paused') },
    ]);
    // A reconcile that finds nothing proves nothing.
    await at.later(hour);
    await reconcile({ ...at.worker, dispatch }, at.link);
    expect(await at.words()).toHaveLength(1);
  });

  it('are no longer told of when one arrives', async () => {
    const at = await world();
    await at.changed(contentAt(1));
    await at.changed(contentAt(2));
    expect(await at.words()).toHaveLength(1);
    await at.changed(contentAt(3), { told: true });
    expect(await at.words()).toEqual([]);
    await at.changed(contentAt(1));
    expect(await at.words()).toEqual([]);
  });

  it('are no longer told of when one arrives of a sender that does not sign what it says', async () => {
    const at = await world();
    await at.changed(contentAt(1));
    await at.changed(contentAt(2));
    at.primary.store.put({ content: contentAt(3), metadata: described('shop') }, 'c1');
    const told = { link: 'main', certificate: 'c1', now: at.time.now(), everyMs: at.timing.toldEveryMs };
    expect(await at.records.tell(told)).toBe('asked');
    await at.pass('c1');
    await at.later(hour);
    await reconcile({ ...at.worker, dispatch }, at.link);
    expect(await at.words()).toEqual([]);
  });

  it('are not missed where one has arrived, and what it told of is still to be looked at', async () => {
    const at = await world();
    at.primary.store.put({ content: contentAt(1), metadata: described('shop') }, 'c1');
    await at.ask('c1', { eventAt: at.time.now() });
    for (let times = 0; times < 2; times += 1) {
      await at.later(hour);
      await reconcile({ ...at.worker, dispatch }, at.link);
    }
    expect(await at.words()).toEqual([]);
  });

  it('are missed by nobody where nobody tells', async () => {
    const at = await world();
    await at.changed(contentAt(1));
    await at.changed(contentAt(2));
    const { toldBy: _, ...silent } = at.link;
    expect(await at.words(silent as typeof at.link)).toEqual([]);
    expect(await findingsOf(at, [])).toEqual([]);
  });

  it('may be under way for a while', async () => {
    const at = await world();
    await at.changed(contentAt(1), { late: true });
    await at.changed(contentAt(2), { late: true });
    expect(await at.words()).toEqual([]);
    expect(eventGraceMs).toBeLessThan(hour);
  });

  it('are not missed of names and descriptions: of these not every sender tells', async () => {
    const at = await world();
    for (const name of ['other', 'third']) {
      at.primary.store.put({ content: contentAt(0), metadata: described(name) }, 'c1');
      await at.later(hour);
      await reconcile({ ...at.worker, dispatch }, at.link);
      await at.pass('c1');
    }
    expect(await at.words()).toEqual([]);
  });
});
