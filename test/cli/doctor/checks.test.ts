import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkBackups, checkLink, checkStore, type Finding } from '../../../src/cli/doctor/checks.ts';
import type { LinkConfig } from '../../../src/config.ts';
import { CodedError, remedyOf } from '../../../src/errors.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { directoryStore } from '../../../src/services/directory/store.ts';
import type { NotificationChannel, Store, StoreDiagnosis } from '../../../src/store/store.ts';
import { asAnotherUser } from '../../support/another-user.ts';

const now = Date.UTC(2026, 0, 2, 3, 4, 5, 600);
const context = { now: () => now, wait: async () => {}, signal: () => new AbortController().signal };

function storeWith(diagnosis: Partial<StoreDiagnosis>, more: Partial<Store> = {}): Store {
  return {
    id: 'crn:store',
    list: async () => ({ certificates: [] }),
    diagnosis: { address: 'https://store.example', clock: async () => now, mayImport: async () => true, ...diagnosis },
    ...more,
  } as unknown as Store;
}

const told = (findings: readonly Finding[]) => findings.map(({ outcome, message }) => `${outcome}: ${message}`);
/** What holds for every store that says nothing of its own. */
const unauthorized = remedyOf('store_unauthorized');
const backup = { primary: false, backup: true };

test.each([
  // A Date header has whole seconds: 03:04:05 is said from 05.000 to 05.999.
  ['the same second', -600, 'good: its clock and ours agree'],
  ['5 s behind, as far as whole seconds tell', -5_999, 'good: its clock and ours agree'],
  [
    'more than 5 s behind',
    -6_000,
    'warning: its clock is 5.0 s behind ours: lag and expiry are told wrong by that much',
  ],
  ['5 s ahead', 5_000, 'good: its clock and ours agree'],
  ['an hour ahead', 3_600_000, 'warning: its clock is 1 h ahead of ours: lag and expiry are told wrong by that much'],
])('clocks: %s', async (_, apartMs, words) => {
  const findings = await checkStore('london', storeWith({ clock: async () => now + apartMs }), backup, context);
  expect(told(findings)[1]).toBe(words);
});

test('a store that is not reached is asked nothing more', async () => {
  let asked = 0;
  const store = storeWith(
    {
      clock: async () => {
        throw new CodedError('store_unavailable', 'reach at crn:store: it was not reached (ENOTFOUND)');
      },
    },
    {
      list: async () => {
        asked += 1;
        return { certificates: [] };
      },
    },
  );
  expect(await checkStore('london', store, backup, context)).toEqual([
    {
      about: 'london',
      outcome: 'problem',
      code: 'store_unavailable',
      message: 'reach at crn:store: it was not reached (ENOTFOUND)',
      remedy: 'Try it: curl -sv https://store.example',
    },
  ]);
  expect(asked).toBe(0);
});

test('a store of any kind that lets nothing be imported is mended by its own words, and never by those of another', async () => {
  const mayNot = { mayImport: async () => false };
  const remedyHere = async (diagnosis: Partial<StoreDiagnosis>) =>
    (await checkStore('nas', storeWith(diagnosis), backup, context)).find(({ outcome }) => outcome === 'problem')
      ?.remedy;
  expect(await remedyHere(mayNot)).toBe(unauthorized);
  expect(await remedyHere({ ...mayNot, rightsRemedy: (setting, rights) => `${setting}: allow ${rights}` })).toBe(
    'stores.nas: allow import',
  );
});

test('a folder that this user may not write to has the remedy of folders: nobody is sent for an API key', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-doctor-'));
  try {
    const path = join(folder, 'nas');
    mkdirSync(path, { mode: 0o555 });
    const findings = await asAnotherUser(folder, () =>
      checkStore('nas', directoryStore({ id: 'nas', path, region: 'local', runtime: systemRuntime }), backup, context),
    );
    expect(findings.at(-1)).toMatchObject({
      outcome: 'problem',
      code: 'store_not_writable',
      message: expect.stringContaining(path),
      remedy: expect.stringMatching(/^Let the user that certstandby runs as write to the folder/),
    });
    expect(JSON.stringify(findings)).not.toMatch(/apiKey|service role|API key/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a store that does not take the credentials says by its own words what they need for its parts', async () => {
  const refused = async () => {
    throw new CodedError('store_unauthorized', 'list at crn:store: it answered 401');
  };
  const diagnosis = { credentialsRemedy: (setting: string, rights: readonly string[]) => `${setting} for ${rights}` };
  const remedyHere = async (part: { primary: boolean; backup: boolean }, words: Partial<StoreDiagnosis>) =>
    (await checkStore('london', storeWith(words, { list: refused }), part, context)).at(-1)?.remedy;
  expect(await remedyHere({ primary: true, backup: true }, diagnosis)).toBe('stores.london for list,read-keys,import');
  expect(await remedyHere({ primary: true, backup: false }, diagnosis)).toBe('stores.london for list,read-keys');
  expect(await remedyHere(backup, {})).toBe(unauthorized);
});

const link: LinkConfig = {
  name: 'shop',
  primary: 'frankfurt',
  backups: ['london'],
  filter: { names: [], domains: [] },
  policy: { requireChain: false, onward: false },
};
const state = { boundTo: 'crn:store', verificationKey: undefined, lastReconcileAt: now - 1_000 };
test('a certificate that is being changed just now is waited for, and told only if it goes on', async () => {
  const waits: number[] = [];
  const changing = new CodedError('store_unavailable', 'shop is being changed', { fields: { retryAfterMs: 1_900 } });
  const primary = { primary: true, backup: false };
  const asked = (readings: readonly unknown[]) => {
    const left = [...readings];
    const store = storeWith({}, {
      list: async () => ({ certificates: [{ id: 'shop' }] }),
      read: async () => left.shift() ?? { state: 'unreadable', error: changing },
    } as unknown as Partial<Store>);
    return checkStore('certbot', store, primary, { ...context, wait: async (ms) => void waits.push(ms) });
  };
  const found = await asked([{ state: 'unreadable', error: changing }, { state: 'present' }]);
  expect(told(found).at(-1)).toBe('good: may read in full, private keys included');
  expect(waits).toEqual([1_900]);
  expect(told(await asked([])).at(-1)).toBe('problem: shop is being changed');
  expect(waits).toHaveLength(4);
});

const more = { ...context, reconcileEveryMs: 3_600_000, asks: true, registerLine: 'type this' };

const channel = (endpoint: string, active = true): NotificationChannel => ({ endpoint, active });
const withChannels = (...channels: NotificationChannel[]) => storeWith({ channels: async () => channels });

test.each<[string, NotificationChannel[], string]>([
  ['there', [channel('https://a.example/callback/shop')], 'good: the primary notifies https://a.example/callback/shop'],
  [
    'there, below a path of a platform',
    [channel('https://a.example/api/v1/web/team/certstandby/callback.http/callback/shop')],
    'good: the primary notifies https://a.example/api/v1/web/team/certstandby/callback.http/callback/shop',
  ],
  [
    'switched off',
    [channel('https://a.example/callback/shop', false)],
    'problem: the channel to https://a.example/callback/shop is switched off at the primary',
  ],
  [
    'of another link',
    [channel('https://a.example/callback/shop2')],
    'problem: the primary has no channel to …/callback/shop: nothing is told, reconcile alone finds changes',
  ],
  [
    'none, and one that is no address',
    [channel('slack')],
    'problem: the primary has no channel to …/callback/shop: nothing is told, reconcile alone finds changes',
  ],
])('a channel: %s', async (_, channels, words) => {
  expect(told(await checkLink(link, withChannels(...channels), state, more))).toContain(words);
});

test('the records of a link belong to one primary; a reconcile that is long past is told', async () => {
  const primary = withChannels(channel('https://a.example/callback/shop'));
  const findings = await checkLink(
    link,
    primary,
    { ...state, boundTo: 'crn:other', lastReconcileAt: now - 7_200_001 },
    more,
  );
  expect(told(findings)).toContain('problem: its records belong to another primary: crn:other');
  expect(findings.at(-1)).toEqual({
    about: 'link shop',
    outcome: 'warning',
    message: 'the last reconcile that succeeded began 2 h ago',
    remedy: 'certstandby reconcile --link shop',
  });
  const fine = await checkLink(link, primary, { ...state, lastReconcileAt: now - 7_200_000 }, more);
  expect(fine.every(({ outcome }) => outcome === 'good')).toBe(true);
});

test('what the records say of the backups is told of those that are configured', () => {
  const about = { message: 'it is in use', names: ['a'], since: now - 3_600_000 };
  const refusal = { ...about, code: 'store_held' as const, certificates: 1, withoutCopy: 0, stopped: 0 };
  const found = {
    refusals: ['crn:backup', 'crn:former'].map((store) => ({ ...refusal, store })),
    keptBeside: [
      { ...about, store: 'crn:backup', code: 'store_in_use' as const, copies: 2, ids: ['x', 'y'], again: now },
      {
        ...{
          ...about,
          message: 'it is for other domains',
          store: 'crn:backup',
          code: 'store_content_refused' as const,
        },
        ...{ copies: 1, ids: ['z'], again: now + 60_000 },
      },
    ],
    vacantPlaces: ['crn:backup', 'crn:former'].map((store) => ({
      ...{ store, why: 'empty' as const, places: 1, names: ['b'], ids: ['place'] },
      ...{ since: now - 7_200_000, again: now + 60_000 },
    })),
    keysNotProven: [
      { store: 'crn:backup', copies: 3 },
      { store: 'crn:former', copies: 4 },
    ],
  };
  const findings = checkBackups(link, new Map([['crn:backup', 'london']]), found, now);
  expect(told(findings)).toEqual([
    'problem: london has a place without content instead of a copy of 1 certificate since 2 h ago (b): of place: its place is there, and its content was taken out; bringing it back is tried again in 1 min',
    'problem: london does not let us write to 1 certificate since 1 h ago (a): it is in use; it rests until they change',
    'warning: london does not let go of 2 second copies since 1 h ago, of a (x, y): it is in use; tried again now',
    'warning: london takes nothing new into 1 second copy since 1 h ago, of a (z): it is for other domains; tried again in 1 min',
    'good: london: the private keys of 3 copies are not proven, as the service keeps them to itself: all else of them is compared',
  ]);
  expect(findings.map(({ code }) => code)).toEqual([
    'store_copy_vacant',
    'store_held',
    undefined,
    undefined,
    undefined,
  ]);
  expect(findings[0]?.remedy).toContain('brought back and written over by itself');
  expect(findings[1]).toMatchObject({ about: 'link shop', code: 'store_held', exit: 6 });
  expect(checkBackups(link, new Map(), undefined, now)).toEqual([]);
});
