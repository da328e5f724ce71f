import { expect, test } from 'vitest';
import { linkFigures } from '../../src/monitor/figures.ts';
import type { BackupState, PrimaryState, ReplicationRecord } from '../../src/records/replication-record.ts';
import { backupFindings } from '../../src/replication/backup-findings.ts';
import type { Link } from '../../src/replication/link.ts';
import { vanishedTally } from '../../src/replication/vanished.ts';

const link = {
  name: 'main',
  primary: { id: 'P' },
  backups: [{ id: 'A' }, { id: 'B' }],
  filter: { names: [], domains: [] },
  policy: {},
} as unknown as Link;

const primary: PrimaryState = {
  name: 'shop',
  fingerprint: 'f1',
  metadataDigest: 'm1',
  listedFacts: '1|2|3',
  notAfter: 9_000,
  changedAt: 500,
  changedAtFrom: 'event',
  lookedAt: 600,
};
const copy = (store: string, more: Partial<BackupState> = {}): BackupState => ({
  store,
  id: `copy-in-${store}`,
  fingerprint: 'f1',
  attempts: 0,
  ...more,
});
const record = (more: Partial<ReplicationRecord> = {}): ReplicationRecord => ({
  link: 'main',
  certificate: 'c',
  requested: 1,
  replicated: 1,
  leaseToken: 1,
  attempts: 0,
  primary,
  backups: [copy('A'), copy('B')],
  ...more,
});

async function* stream(records: readonly ReplicationRecord[]) {
  yield* records;
}
const figuresOf = (...records: ReplicationRecord[]) =>
  linkFigures(link, stream(records), { lost: vanishedTally(link, 1_000, undefined), standing: undefined });
const lastError = { code: 'store_unavailable', message: '', at: 800 } as const;

test('a certificate that is equal in every backup is neither pending nor failing', async () => {
  const { failing, ...figures } = await figuresOf(record());
  expect(figures).toEqual({
    states: { equal: 1, behind: 0, refused: 0, keyless: 0, withheld: 0, excluded: 0, marked: 0, authority: 0, gone: 0 },
    pending: 0,
    pendingSince: undefined,
    vanished: 0,
    earliestExpiry: 9_000,
  });
  expect(failing.size).toBe(0);
});

test.each<[string, Partial<ReplicationRecord>]>([
  ['a copy is missing', { backups: [copy('A')] }],
  ['a copy holds something else', { backups: [copy('A'), copy('B', { fingerprint: 'f0' })] }],
  ['the last attempt there failed', { backups: [copy('A'), copy('B', { lastError })] }],
  ['it has never been looked at', { primary: undefined as unknown as PrimaryState }],
  ['the primary could not be read', { lastError }],
])('behind, and pending: %s', async (_, more) => {
  const { states, pending } = await figuresOf(record(more));
  expect([states.behind, states.equal, pending]).toEqual([1, 0, 1]);
});

test('equal as last seen but asked for again: pending', async () => {
  const { states, pending, pendingSince } = await figuresOf(record({ requested: 2, eventAt: 700 }));
  expect([states.equal, pending, pendingSince]).toEqual([1, 1, 700]);
});

test('what is set aside, refused or gone waits for nobody', async () => {
  const refusal = { code: 'certificate_expired', facts: '', since: 1, looks: 1 } as const;
  const { states, pending, earliestExpiry } = await figuresOf(
    record({ aside: 'keyless' }),
    record({ aside: 'withheld' }),
    record({ aside: 'authority' }),
    record({ aside: 'excluded' }),
    record({ aside: 'marked' }),
    record({ refusal, backups: [] }),
    record({ absentSince: 5, primary: { ...primary, notAfter: 1 }, backups: [] }),
  );
  expect(states).toEqual({
    equal: 0,
    behind: 0,
    refused: 1,
    keyless: 1,
    withheld: 1,
    excluded: 1,
    marked: 1,
    authority: 1,
    gone: 1,
  });
  expect(pending).toBe(0);
  expect(earliestExpiry).toBe(9_000);
});

test('failures are counted by store and code, and the one that waits longest says since when', async () => {
  const there = record({ eventAt: 900, backups: [copy('A'), copy('B', { lastError })] });
  const { failing, pendingSince } = await figuresOf(there, { ...there, eventAt: 750 }, record({ lastError }));
  expect([...failing.values()]).toEqual([
    { store: 'B', code: 'store_unavailable', count: 2 },
    { store: 'P', code: 'store_unavailable', count: 1 },
  ]);
  expect(pendingSince).toBe(500);
});

test('what is gone is a figure where it is a finding: by the records, or as the last reconcile saw it', async () => {
  const gone = record({ absentSince: 900 });
  expect((await figuresOf(gone, gone)).vanished).toBe(2);
  expect((await figuresOf(gone, record())).vanished).toBe(0);
  const standing = { id: 'x', at: 900, since: 900, gone: 3, of: 3, names: [] };
  const lost = vanishedTally(link, 1_000, standing);
  expect((await linkFigures(link, stream([record()]), { lost, standing })).vanished).toBe(3);
});

test('what the backups refuse is gathered only where somebody asks for it', async () => {
  const refusal = { code: 'store_held', facts: 'f', since: 1, looks: 1 } as const;
  const held = record({ backups: [copy('A', { refusal, lastError }), copy('B')] });
  expect(await figuresOf(held)).not.toHaveProperty('findings');
  const findings = backupFindings(1_000);
  const lost = vanishedTally(link, 1_000, undefined);
  const figures = await linkFigures(link, stream([held]), { lost, standing: undefined, findings });
  expect(figures.findings).toMatchObject({ refusals: [{ store: 'A', code: 'store_held', certificates: 1 }] });
});
