import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { type EventRow, eventTable, type ReadBack } from '../../../src/cli/up/event-table.ts';
import { CodedError } from '../../../src/errors.ts';
import type { BackupOutcome } from '../../../src/replication/pass/backup-outcome.ts';
import type { Verdict } from '../../../src/replication/pass/judge.ts';
import type { PassReport } from '../../../src/replication/pass/replicate.ts';
import type { LifecycleEvent } from '../../../src/sender/event.ts';
import { content, described } from '../../support/replication.ts';

let sound: Verdict;

beforeAll(async () => {
  const held: CertificateContent = await content();
  const metadata = { id: 'c1', ...described('shop'), domains: [] };
  sound = { kind: 'sound', metadata, content: held, fingerprint: 'f', metadataDigest: 'd' };
});

const changedAt = Date.UTC(2026, 0, 1, 12, 30, 15, 250);

function eventOf(...certificates: { id: string; name: string }[]): LifecycleEvent {
  return {
    kind: 'imported',
    changes: true,
    type: 'cert_imported',
    version: 4,
    store: 'primary',
    certificates,
    digest: 'd',
  };
}

const shop = { id: 'c1', name: 'shop' };

function backupOf(store: string, more: Partial<BackupOutcome> = {}): BackupOutcome {
  const state = { store, attempts: 0, replicatedAt: changedAt + 420 };
  return { state, actions: [], equal: true, wrote: true, doubtful: false, ...more };
}

function reportOf(verdict: Verdict, backups: readonly BackupOutcome[] = [backupOf('b')], name = 'shop'): PassReport {
  const asked = { link: 'main', certificate: 'c1', requested: 1, leaseToken: 1, attempts: 0, backups: [] };
  return {
    link: 'main',
    certificate: 'c1',
    verdict,
    backups,
    record: { ...asked, replicated: 0 },
    beganAt: changedAt,
    answer: 'committed',
    after: { ...asked, replicated: 1 },
    committedAt: changedAt + 500,
    primary: {
      name,
      fingerprint: 'f',
      metadataDigest: 'd',
      listedFacts: '||',
      changedAt,
      changedAtFrom: 'last-modified',
      lookedAt: changedAt,
    },
  };
}

/** A table on an output that keeps what is written. */
function tableOn(
  screen: { columns?: number; rows?: number; isTTY?: boolean } = {},
  readBack: ReadBack = async () => true,
) {
  const written: string[] = [];
  const output = { ...screen, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream;
  return { written, ...eventTable(output, readBack) };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** The last cell of the one row after one pass. */
async function outcomeOf(report: PassReport, readBack?: ReadBack): Promise<EventRow | undefined> {
  const table = tableOn({}, readBack);
  table.acknowledged('main', eventOf(shop), 'new');
  table.passed(report);
  await settle();
  const [row] = await table.rowsDone(0, 0);
  return row;
}

describe('where it is no terminal', () => {
  it('prints a heading, and a line for each row when it is complete', async () => {
    const { written, start, acknowledged, passed } = tableOn();
    start();
    acknowledged('main', eventOf(shop), 'new');
    passed(reportOf(sound));
    await settle();
    expect(written).toEqual([
      'EVENT      CERTIFICATE           CHANGED      IN THE BACKUP LAG     FINGERPRINTS\n',
      'imported   shop                  12:30:15.250 12:30:15.670  420 ms  equal\n',
    ]);
  });

  it('prints the line once, though two passes are told before the copies are read back', async () => {
    const { written, acknowledged, passed } = tableOn();
    acknowledged('main', eventOf(shop), 'new');
    passed(reportOf(sound));
    passed(reportOf(sound));
    await settle();
    expect(written).toHaveLength(1);
  });

  it('prints nothing while a row waits', async () => {
    const { written, acknowledged, passed } = tableOn();
    acknowledged('main', eventOf(shop), 'new');
    passed(reportOf(sound, [backupOf('b', { equal: false })]));
    await settle();
    expect(written).toEqual([]);
  });
});

describe('on a terminal', () => {
  it('shows rows at once, draws them again in place, and cuts them to its width', async () => {
    const { written, acknowledged, passed } = tableOn({ isTTY: true, columns: 60, rows: 24 });
    acknowledged('main', eventOf(shop, { id: 'c2', name: 'api' }), 'new');
    expect(written).toEqual([`${'imported   shop'.padEnd(58)}…\n${'imported   api'.padEnd(58)}…\n`]);
    passed(reportOf(sound));
    await settle();
    expect(written[1]).toBe('\u001b[2A\u001b[0J');
    expect(written[2]).toMatch(/^imported {3}shop.{43}…\n/);
  });

  it('shows no more rows than fit, and five at least', () => {
    for (const [rows, shown] of [
      [24, 10],
      [10, 5],
    ] as const) {
      const { written, acknowledged } = tableOn({ isTTY: true, columns: 80, rows });
      const many = Array.from({ length: 30 }, (_, index) => ({ id: `c${index}`, name: `n${index}` }));
      acknowledged('main', eventOf(...many), 'new');
      expect(written[0]?.trimEnd().split('\n')).toHaveLength(shown);
      expect(written[0]).toContain('n29');
    }
  });
});

describe('what stands in the last column', () => {
  const refused = new CodedError('certificate_expired', 'it expired');
  const unreachable = new CodedError('store_unavailable', 'not reached');

  it.each<readonly [string, Verdict]>([
    ['not copied: certificate_expired', { kind: 'refused', error: refused, facts: 'f' }],
    ['primary: store_unavailable', { kind: 'unreadable', error: unreachable }],
    ['gone from the primary; copies stay', { kind: 'absent' }],
    ['not copied: has no private key', { kind: 'aside', why: 'keyless' }],
    ['not included', { kind: 'aside', why: 'excluded' }],
    ['is itself a copy', { kind: 'aside', why: 'marked' }],
  ])('is "%s", and the row is done', async (outcome, verdict) => {
    expect(await outcomeOf(reportOf(verdict))).toMatchObject({ outcome, done: true, equal: false });
  });

  it('is what reading back shows, not what the pass says', async () => {
    expect(await outcomeOf(reportOf(sound))).toMatchObject({ outcome: 'equal', equal: true, done: true });
    const different = await outcomeOf(reportOf(sound), async () => false);
    expect(different).toMatchObject({ outcome: 'DIFFERENT', equal: false, done: true });
    const unread = await outcomeOf(reportOf(sound), () => Promise.reject(unreachable));
    expect(unread).toMatchObject({ outcome: 'could not be read back', equal: false, done: true });
  });

  it('is why a backup waits, and the row is not done', async () => {
    const failed = backupOf('b2', { equal: false, error: unreachable });
    expect(await outcomeOf(reportOf(sound, [backupOf('b'), failed]))).toMatchObject({
      outcome: 'store_unavailable',
      done: false,
    });
    expect(await outcomeOf(reportOf(sound, [backupOf('b', { equal: false })]))).toMatchObject({ outcome: 'waiting' });
  });
});

describe('the rows', () => {
  it('are of new notifications only, one for each certificate', async () => {
    const { acknowledged, rowsDone } = tableOn();
    acknowledged('main', eventOf(shop, { id: 'c2', name: 'api' }), 'new');
    acknowledged('main', eventOf(shop), 'repeat');
    expect((await rowsDone(0, 0)).map(({ certificate }) => certificate)).toEqual(['c1', 'c2']);
  });

  it('are changed only by passes of their certificate and link', async () => {
    const { acknowledged, passed, rowsDone } = tableOn();
    acknowledged('other', eventOf(shop), 'new');
    acknowledged('main', eventOf({ id: 'c2', name: 'api' }), 'new');
    passed(reportOf({ kind: 'absent' }));
    expect((await rowsDone(0, 0)).map(({ done }) => done)).toEqual([false, false]);
  });

  it('are in the backups when the last of these is', async () => {
    const late = { ...backupOf('b2'), state: { store: 'b2', attempts: 0, replicatedAt: changedAt + 900 } };
    expect(await outcomeOf(reportOf(sound, [backupOf('b'), late]))).toMatchObject({
      changedAt,
      replicatedAt: changedAt + 900,
    });
  });

  it('are the last thousand', async () => {
    const { acknowledged, rowsDone } = tableOn();
    for (let index = 0; index < 1_001; index += 1) acknowledged('main', eventOf({ id: `c${index}`, name: '' }), 'new');
    const rows = await rowsDone(0, 0);
    expect(rows).toHaveLength(1_000);
    expect(rows[0]?.certificate).toBe('c1');
  });

  it('keep foreign names in their column and control characters from the terminal', async () => {
    const { written, acknowledged, passed } = tableOn();
    acknowledged('main', eventOf({ id: 'c1', name: 'x' }), 'new');
    passed(reportOf({ kind: 'absent' }, [], 'red \u001b[31m\u0007\u009b alert, and a name that is long'));
    expect(written).toEqual([
      `imported   red \\u{1b}[31m\\u{7}\\… ${' '.repeat(35)}gone from the primary; copies stay\n`,
    ]);
  });

  it('are waited for until so many are done', async () => {
    const { acknowledged, passed, rowsDone } = tableOn();
    acknowledged('main', eventOf(shop, { id: 'c2', name: 'api' }), 'new');
    let resolved = false;
    const waiting = rowsDone(1, 60_000).then((rows) => {
      resolved = true;
      return rows;
    });
    await settle();
    expect(resolved).toBe(false);
    passed(reportOf(sound));
    expect((await waiting).map(({ done }) => done)).toEqual([true, false]);
  });

  it('are given as they are when the time is over', async () => {
    const { acknowledged, rowsDone } = tableOn();
    acknowledged('main', eventOf(shop), 'new');
    expect((await rowsDone(1, 1)).map(({ done, outcome }) => [done, outcome])).toEqual([[false, '…']]);
  });
});
