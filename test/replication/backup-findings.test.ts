import { describe, expect, it } from 'vitest';
import type { BackupState, PrimaryState, Refusal, ReplicationRecord } from '../../src/records/replication-record.ts';
import { backupFindings } from '../../src/replication/backup-findings.ts';
import { isOverwritten, noteOverwritten } from '../../src/replication/pass/overwritten.ts';

const now = Date.UTC(2026, 0, 1);
const dayMs = 86_400_000;

const primary = (name: string): PrimaryState => ({
  name,
  fingerprint: 'new',
  metadataDigest: 'm',
  listedFacts: '1|2|3',
  notAfter: now + 90 * dayMs,
  changedAt: 0,
  changedAtFrom: 'event',
  lookedAt: 0,
});
const record = (certificate: string, more: Partial<ReplicationRecord> = {}): ReplicationRecord => ({
  link: 'main',
  certificate,
  requested: 1,
  replicated: 1,
  leaseToken: 1,
  attempts: 0,
  primary: primary(`name ${certificate}`),
  backups: [],
  ...more,
});
const refusal = (more: Partial<Refusal> = {}): Refusal => ({
  code: 'store_content_refused',
  facts: 'f',
  since: now - dayMs,
  looks: 1,
  ...more,
});
const refused = (certificate: string, more: Partial<BackupState> = {}, message = 'too large'): BackupState => ({
  store: 'A',
  id: `copy-${certificate}`,
  fingerprint: 'old',
  attempts: 0,
  refusal: refusal(),
  lastError: { code: more.refusal?.code ?? 'store_content_refused', message, at: now },
  ...more,
});

function found(...all: readonly (readonly [ReplicationRecord, BackupState])[]) {
  const findings = backupFindings(now);
  for (const [of, state] of all) findings.add(of, state);
  return findings.result();
}

describe('what the backups do not take', () => {
  it('is nothing where nothing is refused', () => {
    expect(found([record('c1'), { store: 'A', id: 'copy', attempts: 0 }])).toEqual({});
  });

  it('is one finding for one cause, with the day on which the first copy that stays stops serving', () => {
    const of = (certificate: string, notAfter: number): [ReplicationRecord, BackupState] => [
      record(certificate),
      refused(certificate, { notAfter }, `the chain of copy-${certificate} is too long`),
    ];
    const { refusals } = found(
      ...Array.from({ length: 200 }, (_, index) => of(`c${index}`, now + (index + 7) * dayMs)),
    );
    expect(refusals).toMatchObject([
      {
        store: 'A',
        code: 'store_content_refused',
        certificates: 200,
        names: ['name c0', 'name c1', 'name c2'],
        since: now - dayMs,
        withoutCopy: 0,
        stopped: 0,
        stops: { certificate: 'c0', name: 'name c0', at: now + 7 * dayMs },
      },
    ]);
  });

  it('is told for each backup, each code and each cause, what serves nobody first', () => {
    const { id: _id, ...none } = refused('c4', { store: 'B' });
    const { refusals = [] } = found(
      [record('c1'), refused('c1', { notAfter: now + 30 * dayMs }, 'it is too large')],
      [record('c2'), refused('c2', { notAfter: now + 9 * dayMs }, 'it has an Ed25519 key')],
      [record('c3'), refused('c3', { refusal: refusal({ code: 'store_held' }), notAfter: now - 1 }, 'locked')],
      [record('c4'), none],
    );
    expect(
      refusals.map(({ store, code, message, withoutCopy, stopped }) => [store, code, message, withoutCopy, stopped]),
    ).toEqual([
      ['A', 'store_held', 'locked', 0, 1],
      ['B', 'store_content_refused', 'too large', 1, 0],
      ['A', 'store_content_refused', 'it has an Ed25519 key', 0, 0],
      ['A', 'store_content_refused', 'it is too large', 0, 0],
    ]);
  });

  it('is one cause whatever names, numbers and domains stand in what the service says', () => {
    const { refusals } = found(
      ...[1, 2, 3].map((number): [ReplicationRecord, BackupState] => [
        record(`c${number}`),
        refused(`c${number}`, {}, `it answered 400: request 4f${number} for shop-${number}.example.test is too large.`),
      ]),
    );
    expect(refusals).toMatchObject([{ certificates: 3 }]);
  });

  it('does not grow with the number of different messages of one code', () => {
    const { refusals = [] } = found(
      ...Array.from({ length: 50 }, (_, index): [ReplicationRecord, BackupState] => [
        record(`c${index}`),
        refused(`c${index}`, {}, `refused ${'again '.repeat(index)}`),
      ]),
    );
    expect(refusals).toHaveLength(4);
    expect(refusals.reduce((sum, { certificates }) => sum + certificates, 0)).toBe(50);
  });

  it('says when it ends by itself, and when it is tried again', () => {
    const until = now + 31 * dayMs;
    expect(
      found([record('c1', { wakeAt: until + 5 }), refused('c1', { refusal: refusal({ until }) })]).refusals,
    ).toMatchObject([{ until, again: until + 5 }]);
  });

  it('counts a copy that its service keeps in another shape as one that serves as long as the primary’s', () => {
    const state = refused('c1', { fingerprint: 'new', refusal: refusal({ code: 'store_rewrites_content' }) });
    expect(found([record('c1'), state]).refusals).toMatchObject([{ stops: { at: now + 90 * dayMs } }]);
  });

  it('names the copies that are not let go, by their ids', () => {
    const unremovable = ['x', 'y'].map((id) => ({
      id,
      code: 'store_in_use' as const,
      message: 'a load balancer uses it',
      since: now - 5,
      again: now + 5,
    }));
    expect(found([record('c1'), { store: 'A', id: 'copy', attempts: 0, unremovable }])).toEqual({
      keptBeside: [
        {
          store: 'A',
          code: 'store_in_use',
          message: 'a load balancer uses it',
          copies: 2,
          names: ['name c1'],
          ids: ['x', 'y'],
          since: now - 5,
          again: now + 5,
        },
      ],
    });
  });
});

describe('places without content', () => {
  const vacant = (id: string, more: object = {}): BackupState => ({
    ...{ store: 'A', id, fingerprint: 'new', attempts: 1 },
    vacant: { id, why: 'empty', since: now - 7, ...more },
  });

  it('are one finding for a store and a cause, with when they are tried again', () => {
    expect(
      found(
        [record('c1', { wakeAt: now + 9 }), vacant('x')],
        [record('c2', { wakeAt: now + 5 }), vacant('y', { since: now - 9 })],
        [record('c3'), vacant('z', { why: 'deleted' })],
      ),
    ).toEqual({
      vacantPlaces: [
        {
          ...{ store: 'A', why: 'empty', places: 2, names: ['name c1', 'name c2'], ids: ['x', 'y'] },
          ...{ since: now - 9, again: now + 5 },
        },
        { store: 'A', why: 'deleted', places: 1, names: ['name c3'], ids: ['z'], since: now - 7 },
      ],
    });
  });

  it('are no copy that stays and serves', () => {
    const { refusals } = found([record('c1'), { ...vacant('x'), refusal: refusal(), notAfter: now + 9 * dayMs }]);
    expect(refusals).toMatchObject([{ withoutCopy: 1, stopped: 0 }]);
    expect(refusals?.[0]).not.toHaveProperty('stops');
  });
});

describe('keys that nobody can prove', () => {
  it('are counted for each store', () => {
    const of = (store: string): BackupState => ({ store, id: 'x', attempts: 0, keyWithheld: true });
    expect(found([record('c1'), of('A')], [record('c2'), of('B')], [record('c3'), of('B')])).toEqual({
      keysNotProven: [
        { store: 'B', copies: 2 },
        { store: 'A', copies: 1 },
      ],
    });
  });
});

describe('copies that somebody else keeps changing', () => {
  it('are told after the third time within a week of each other, and never after one edit', () => {
    let overwritten = noteOverwritten(undefined, true, now);
    expect(isOverwritten(overwritten, now)).toBe(false);
    overwritten = noteOverwritten(overwritten, false, now + 1);
    overwritten = noteOverwritten(overwritten, true, now + dayMs);
    expect(isOverwritten(overwritten, now + dayMs)).toBe(false);
    overwritten = noteOverwritten(overwritten, true, now + 2 * dayMs);
    expect(isOverwritten(overwritten, now + 2 * dayMs)).toBe(true);
    expect(overwritten).toEqual({ times: 3, since: now, lastAt: now + 2 * dayMs });
    expect(isOverwritten(overwritten, now + 10 * dayMs)).toBe(false);
  });

  it('are counted anew where a week passed without one', () => {
    const before = { times: 2, since: now, lastAt: now };
    expect(noteOverwritten(before, false, now + 8 * dayMs)).toBeUndefined();
    expect(noteOverwritten(before, true, now + 8 * dayMs)).toMatchObject({ times: 1 });
  });

  it('are one finding for a store', () => {
    const overwritten = { times: 3, since: now - 9, lastAt: now - 1 };
    const state: BackupState = { store: 'A', id: 'copy', attempts: 0, overwritten };
    expect(found([record('c1'), state], [record('c2'), state])).toEqual({
      overwritten: [
        { store: 'A', certificates: 2, names: ['name c1', 'name c2'], times: 6, since: now - 9, lastAt: now - 1 },
      ],
    });
  });
});
