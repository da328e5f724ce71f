import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { keyIdOf } from '../../src/records/verification-key-records.ts';
import { keySourceOf, refreshedKeys, refreshVerificationKeys } from '../../src/replication/verification-keys.ts';
import { setup } from '../support/replication.ts';

const pemOf = (modulusLength = 2048) =>
  generateKeyPairSync('rsa', { modulusLength }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
const [one, two] = [pemOf(), pemOf()];

async function refresherOf() {
  const world = await setup();
  const serving = { pem: one, fail: undefined as CodedError | undefined };
  const primary = {
    ...world.link.primary,
    notificationKey: async () => {
      if (serving.fail !== undefined) throw serving.fail;
      return serving.pem;
    },
  };
  const parts = { linkRecords: world.linkRecords, runtime: world.time, log: world.log };
  return {
    ...world,
    serving,
    refresh: async () => {
      const source = keySourceOf({ ...world.link, primary });
      if (source !== undefined) await refreshVerificationKeys(parts, source);
    },
    ids: async () => (await world.linkRecords.verificationKeys('main')).keys.map(({ id }) => id),
  };
}

describe('refreshing the keys that verify notifications', () => {
  it('writes only when the set is another one', async () => {
    const { refresh, serving, table, ids } = await refresherOf();
    let writes = 0;
    table.hooks.update = (proceed, ...args) => {
      writes += 1;
      return proceed(...args);
    };
    await refresh();
    await refresh();
    expect([await ids(), writes]).toEqual([[keyIdOf(one)], 1]);
    serving.pem = two;
    await refresh();
    await refresh();
    expect([await ids(), writes]).toEqual([[keyIdOf(two), keyIdOf(one)], 2]);
  });

  it('keeps a key for an hour after its sender ceased to serve it', async () => {
    const { refresh, serving, later, ids } = await refresherOf();
    await refresh();
    serving.pem = two;
    await refresh();
    await later(limits.goneKeyMs - 1);
    await refresh();
    expect(await ids()).toEqual([keyIdOf(two), keyIdOf(one)]);
    await later(1);
    await refresh();
    expect(await ids()).toEqual([keyIdOf(two)]);
  });

  it('says which sender it is that keys are fetched for, and where not all of them are kept', async () => {
    const { linkRecords, time: runtime, log, lines } = await setup();
    const many = Array.from({ length: limits.verificationKeys + 1 }, (_, at) => ({ id: `k${at}`, pem: one }));
    const source = { name: 'ci', told: { sender: 'ci' }, fetch: async () => many };
    await refreshVerificationKeys({ linkRecords, runtime, log }, source);
    const message = `${many.length} keys are served, and the first ${limits.verificationKeys} of them are kept`;
    expect(lines).toMatchObject([
      { level: 'warn', event: 'verification_keys_left_out', fields: { sender: 'ci', message } },
    ]);
    expect(lines[0]?.fields).not.toHaveProperty('link');
    expect((await linkRecords.verificationKeys('ci')).keys).toHaveLength(limits.verificationKeys);
  });

  it('keeps the last keys when none can be had, and says so', async () => {
    const { refresh, serving, ids, lines } = await refresherOf();
    await refresh();
    serving.fail = new CodedError('store_unavailable', 'not reached');
    await refresh();
    expect(await ids()).toEqual([keyIdOf(one)]);
    expect(lines).toMatchObject([{ level: 'warn', event: 'verification_key_not_refreshed' }]);
  });

  it('takes no key that is too small, and keeps the one it has', async () => {
    const { refresh, serving, ids, lines } = await refresherOf();
    await refresh();
    serving.pem = pemOf(1024);
    await refresh();
    expect(await ids()).toEqual([keyIdOf(one)]);
    expect(lines).toMatchObject([{ event: 'verification_key_not_refreshed', fields: { code: 'store_nonsense' } }]);
  });

  it('brings no key back that a person dropped, and says so as long as it is served', async () => {
    const { refresh, serving, linkRecords, ids, lines, time } = await refresherOf();
    await refresh();
    serving.pem = two;
    await refresh();
    await linkRecords.dropVerificationKey('main', keyIdOf(one), time.now());
    serving.pem = one;
    await refresh();
    expect(await ids()).toEqual([keyIdOf(two)]);
    expect(lines).toMatchObject([{ level: 'error', event: 'verification_key_dropped', fields: { key: keyIdOf(one) } }]);
  });

  it('asks nothing of a primary that sends no notifications', async () => {
    const { link, calls } = await refresherOf();
    expect(keySourceOf(link)).toBeUndefined();
    expect(calls).toEqual([]);
  });
});

it('of too many keys those are kept that were served last', () => {
  const gone = Array.from({ length: 36 }, (_, index) => ({ id: `${index}`, pem: `p${index}`, goneAt: index }));
  const kept = refreshedKeys(gone, [{ id: 'new', pem: 'new' }], [], 20);
  expect(kept).toHaveLength(32);
  expect(kept.slice(0, 4).map(({ id }) => id)).toEqual(['new', '35', '34', '33']);
  expect(kept.at(-1)?.id).toBe('5');
});
