import { describe, expect, it } from 'vitest';
import { judgeStatus, silentListingWords } from '../../src/findings/status-words.ts';
import type { LinkStatus } from '../../src/replication/status.ts';

const now = Date.UTC(2026, 0, 1);
const hourMs = 3_600_000;
const good: LinkStatus = {
  link: 'shop',
  now,
  counts: { equal: 3, aside: 0, gone: 0, refused: 0, failing: 0, waiting: 0 },
  authorities: { count: 0, names: [] },
  expired: 0,
  unproven: 0,
  circles: 0,
  backups: [],
  stuck: [],
  reconcile: { notListed: [], notRead: 0, notReadFirst: [], completedAt: now - hourMs },
};
const wrongIn = (change: Partial<LinkStatus>) =>
  judgeStatus({ ...good, ...change }, hourMs, (store) => `the ${store}`).wrong.map(({ words, exit }) => [exit, words]);
const reconcile = (change: Partial<LinkStatus['reconcile']>) => ({ reconcile: { ...good.reconcile, ...change } });

describe('a status', () => {
  it('is good when all was looked at and is equal', () => {
    expect(wrongIn({})).toEqual([]);
    expect(wrongIn(reconcile({ completedAt: now - 2 * hourMs }))).toEqual([]);
  });

  it('tells how far it is proven, and when there is nothing to prove', () => {
    const goodIn = (change: Partial<LinkStatus>) =>
      judgeStatus({ ...good, ...change }, hourMs, (store) => `the ${store}`).good;
    const verify = {
      startedAt: now - 2_000,
      completedAt: now - 1_000,
      certificates: 3,
      counts: { same: 3 },
      withoutKeys: 0,
      problems: 0,
      examples: [],
    };
    const notYet = 'not proven yet: certstandby verify reads every copy back';
    const equal = '3 certificates equal in every backup, compared 1 h ago';
    expect(goodIn({ unproven: 3 })).toBe(`${equal}; ${notYet}`);
    expect(goodIn({ unproven: 3, verify })).toBe(`${equal}; ${notYet}`);
    expect(goodIn({ unproven: 1, verify })).toBe(
      `${equal}; proven by reading everything back 1.0 s ago, except 1 copied since`,
    );
    expect(goodIn({ verify })).toBe(`${equal}; proven by reading everything back 1.0 s ago`);
    expect(goodIn({ counts: { ...good.counts, equal: 0 } })).toBe('there is nothing to copy, compared 1 h ago');
  });

  it('is not good where a place of ours holds nothing, and says why and what mends it', () => {
    const place = {
      store: 'nas',
      why: 'half-made' as const,
      places: 1,
      names: ['web'],
      ids: ['x'],
      since: now - hourMs,
    };
    expect(wrongIn({ vacantPlaces: [place] })).toEqual([
      [
        6,
        'the nas has a place without content instead of a copy of 1 certificate since 1 h ago (web)\n' +
          '  of x: its creation was begun, and its content never came [store_copy_vacant]; ' +
          'bringing it back is tried again when it is next looked at\n' +
          '  Its place is occupied and holds no content. Where it carries our mark it is brought back and written over ' +
          'by itself; certstandby reconcile asks for that.',
      ],
    ]);
  });

  it('is good still where an end is near, and says so', () => {
    const near = (change: Partial<LinkStatus>) => {
      const judged = judgeStatus({ ...good, ...change }, hourMs, (store) => `the ${store}`);
      expect(judged.wrong).toEqual([]);
      // One that was just renewed is of unknown length until it is copied.
      expect(
        judged.near.map(({ name, mayPass }) => mayPass === (name === 'expiring' ? true : undefined)),
      ).not.toContain(false);
      return judged.near.map(({ name, words }) => [name, words]);
    };
    const first = { certificate: 'c1', name: 'web', at: now + 5 * 24 * hourMs };
    expect(near({ expiring: { count: 4, names: ['web', 'b\u001b', 'c'], first } })).toEqual([
      [
        'expiring',
        '4 certificates of the primary expire soon (web, b\\u{1b}, c and 1 more), the first web in 5 d (2026-01-06): no renewal was seen\n' +
          '  See why what renews it has not; a renewal in the primary is copied by itself.',
      ],
    ]);
    const quota = { store: 'acm', operations: ['import' as const], count: 100, perMs: 365 * 24 * hourMs, reserve: 5 };
    expect(
      near({
        quotas: [
          { ...quota, left: 20 },
          { ...quota, store: 'other', left: 21 },
        ],
      }),
    ).toMatchObject([
      ['quota/the acm/import', expect.stringContaining('the acm is near the end of a quota: of 100 (import)')],
    ]);
    const forecast = { expected: 8_760, usedUpAt: Date.parse('2026-07-04') };
    const renewals = { perYear: 8_760, unknown: 1 };
    expect(near({ renewals, quotas: [{ ...quota, left: 21, forecast: { expected: 99 } }] })).toEqual([]);
    expect(near({ renewals, quotas: [{ ...quota, left: 21, forecast }] })).toEqual([
      [
        'quota/the acm/import',
        'the acm will run out of a quota: renewals of this link, each after two thirds of a life, take about 8,760 in 365 d, ' +
          'and those of 1 certificate whose life is not known yet: used up about 2026-07-04\n' +
          '  Have it raised before then, or have less renewed there: renewals are not copied once it is used up.',
      ],
    ]);
    expect(near({ renewals, quotas: [{ ...quota, left: 20, forecast }] })).toEqual([
      ['quota/the acm/import', expect.stringMatching(/near the end of a quota.*\n {2}renewals.*about 2026-07-04$/)],
    ]);
    // At its end it is the same finding, and no longer good.
    const judged = judgeStatus({ ...good, quotas: [{ ...quota, left: 5 }] }, hourMs, (store) => `the ${store}`);
    expect([judged.near, judged.wrong.map(({ name }) => name)]).toEqual([[], ['quota/the acm/import']]);
  });

  it('names what it finds the same, whatever its words and numbers are', () => {
    const failing = (certificates: number, at: number) =>
      judgeStatus(
        {
          ...good,
          stuck: [
            { code: 'store_unavailable', store: 'b1', message: `try ${at}`, certificates, names: ['web'], lastAt: at },
          ],
        },
        hourMs,
        (store) => `the ${store}`,
      ).wrong.map(({ name, mayPass }) => [name, mayPass]);
    expect(failing(1, now)).toEqual([['stuck/the b1/store_unavailable', true]]);
    expect(failing(7, now - hourMs)).toEqual(failing(1, now));
  });

  it('is good where a service keeps private keys to itself', () => {
    expect(wrongIn({ keysNotProven: [{ store: 'nas', copies: 2 }] })).toEqual([]);
  });

  it.each<[Partial<LinkStatus>, number, string]>([
    [reconcile({ completedAt: undefined }), 6, 'nothing has ever been compared: certstandby reconcile does that'],
    [reconcile({ completedAt: now - 2 * hourMs - 60_000 }), 6, 'nothing has been compared since 2 h 1 min ago'],
    [
      reconcile({ completedAt: now - 3 * hourMs, stoppedAt: now - hourMs }),
      6,
      'nothing has been compared since 3 h ago; the last one was stopped 1 h ago',
    ],
    [
      reconcile({
        failure: { at: now - 5_000, code: 'store_unavailable', message: 'it was not reached', store: 'b1' },
      }),
      4,
      'the last reconcile failed 5.0 s ago at the b1: it was not reached [store_unavailable]\n  Check that the store can be reached from here.',
    ],
    [
      reconcile({ listed: 4, included: 0 }),
      6,
      'nothing is copied: the filter includes none of the 4 certificates in the primary\n  Mend links.shop.filter.',
    ],
    [
      {
        drill: {
          completedAt: now - 1_000,
          kept: 3,
          served: 3,
          failed: 0,
          notDrilled: 1,
          examples: ['the b1 was not reached'],
        },
      },
      4,
      'the last drill, 1.0 s ago: 1 backup could not be drilled\n  the b1 was not reached',
    ],
    [reconcile({ notListed: ['b1', 'b2'] }), 4, 'the last reconcile could not compare the b1, the b2'],
    [
      {
        vanished: {
          id: '4f1c0a9b2d3e5f60',
          at: now,
          since: now - hourMs,
          gone: 3,
          of: 3,
          names: ['a', 'b\u001b', 'c'],
        },
        ...reconcile({ brake: { at: now - hourMs, changing: 0, vanishing: 3, copied: 3, allowed: 10 } }),
      },
      6,
      'all 3 certificates of the primary are gone, the first 1 h ago (a, b\\u{1b}, c); their copies are kept\n' +
        '  Lost, as by a disk that is not mounted, or a wrong folder or account? Bring them back; certstandby reconcile looks again.\n' +
        '  Meant? certstandby reconcile --link shop --accept-vanished 4f1c0a9b2d3e5f60',
    ],
    [
      reconcile({ brake: { at: now - hourMs, changing: 30, vanishing: 2, copied: 100, allowed: 20 } }),
      6,
      'the brake holds since 1 h ago: a reconcile would write over 30 of 100 copies, and 2 originals are gone; 20 are allowed without a person\n' +
        '  Look at certstandby reconcile --plan. If that is what you want: certstandby reconcile --apply <plan>, or --yes-change <number>.',
    ],
    [
      {
        counts: { ...good.counts, waiting: 2 },
        oldestUnreplicated: { certificate: 'c', name: 'bill\u0007ing', since: now - 90_000 },
      },
      6,
      '2 certificates waiting to be copied; the oldest, bill\\u{7}ing, changed 1 min 30 s ago',
    ],
    [{ expired: 1 }, 6, '1 certificate expired in the primary'],
    [
      {
        stuck: [
          {
            code: 'certificate_key_mismatch',
            store: 'primary',
            message: 'the key is another one',
            certificates: 5,
            names: ['a', 'b', 'c'],
            lastAt: now - 1_000,
          },
        ],
      },
      6,
      '5 certificates stuck at the primary (a, b, c and 2 more), last 1.0 s ago: the key is another one [certificate_key_mismatch]\n' +
        '  Import the private key that belongs to this certificate.',
    ],
    [
      {
        quotas: [
          { store: 'b1', operations: ['import'], count: 500, perMs: 365 * 24 * hourMs, reserve: 50, left: 50 },
          { store: 'b1', operations: ['reimport'], count: 500, perMs: 24 * hourMs, reserve: 0, left: 7 },
        ],
      },
      6,
      'the b1 has no quota left for new copies: of 500 (import) in 365 d there are 50 left, 50 of them kept for copies that are there, four fifths are used: have it raised in time [store_quota_used_up]\n' +
        '  A quota of the store is used up. Have it raised, or wait until it begins anew.',
    ],
    [
      {
        refusals: [
          {
            store: 'b1',
            code: 'store_content_refused',
            message: 'it is too new',
            certificates: 200,
            names: ['a', 'b\u001b', 'c'],
            since: now - hourMs,
            until: now + 31 * 24 * hourMs,
            withoutCopy: 4,
            stopped: 1,
            stops: { certificate: 'x', name: 'x', at: now + 12 * 24 * hourMs },
          },
        ],
      },
      6,
      'the b1 does not take 200 certificates since 1 h ago (a, b\\u{1b}, c and 197 more)\n' +
        '  it is too new [store_content_refused]; it ends by itself in 31 d (2026-02-01)\n' +
        '  no copy is there of 4; 1 copy that stays has expired; the copy of x stays, and is the first to stop serving, in 12 d (2026-01-13)\n' +
        '  The store does not take this content; read its reason. The copy there stays as it is until the certificate changes.',
    ],
    [
      {
        overwritten: [
          { store: 'b1', certificates: 2, names: ['a', 'b'], times: 7, since: now - 3 * hourMs, lastAt: now - 60_000 },
        ],
      },
      6,
      'somebody else keeps changing 2 copies in the b1 (a, b)\n' +
        '  7 times since 3 h ago, each time after it was equal [store_copy_overwritten]; the last time 1 min ago\n' +
        '  Somebody else changes copies there again and again: a second deployment on the same stores, a script, or the service. Look at its audit log, and have one of them stop.',
    ],
    [
      {
        verify: {
          startedAt: now - 2_000,
          completedAt: now - 1_000,
          certificates: 3,
          counts: { same: 2, older: 1 },
          withoutKeys: 0,
          problems: 1,
          examples: ['shop: older, an older version'],
        },
      },
      6,
      'the last verify found 1 problem 1.0 s ago; it has to be run again to prove them mended\n  shop: older, an older version',
    ],
  ])('is not good: %j', (change, exit, words) => {
    expect(wrongIn(change)).toEqual([[exit, words]]);
  });
});

describe('a store whose listings do not show that content changed', () => {
  it('is told with what each reconcile asks it, and for how long', () => {
    const nameOf = () => 'vault';
    const words = 'vault: its listings do not show that content changed; each reconcile asks for';
    expect(silentListingWords({ store: 'v', versions: 1_200 }, nameOf)).toBe(`${words} 1,200 versions`);
    expect(silentListingWords({ store: 'v', versions: 1_200, atLeastMs: 240_000 }, nameOf)).toBe(
      `${words} 1,200 versions, in 4 min at the least`,
    );
  });
});
