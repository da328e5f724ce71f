import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { compactDecrypt } from 'jose';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { hasDataKeys, type KeyringOptions, keyring, type Place } from '../../src/keys/keyring.ts';
import type { LogFields } from '../../src/log.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { startChild } from '../support/child.ts';
import { manualClock } from './clock.ts';
import { fakeRootKey } from './fake-root-key.ts';

const minute = 60_000;
const tenant = 'crn:v1:one';
const place: Place = { certificate: 'c1', field: 'private-key', version: '1' };
const content = Buffer.from('what must not be seen');
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** Keyrings on one table and one clock; one of them, `first`, is there already. */
function ground(options: Partial<KeyringOptions> = {}) {
  const clock = manualClock();
  const table = options.table ?? memoryTable();
  const root = fakeRootKey('fake:a');
  const lines: { readonly event: string; readonly fields: LogFields | undefined }[] = [];
  const open = (given: Partial<KeyringOptions> = {}) =>
    keyring({
      table,
      tenant,
      rootKeys: [root],
      runtime: clock,
      log: (_, event, fields) => lines.push({ event, fields }),
      ...options,
      ...given,
    });
  const rows = async () => (await table.query({ partition: `keys.1/${tenant}`, limit: 100 })).rows;
  return { clock, table, root, open, rows, lines, first: open() };
}

/** A table of which the method fails from the nth call on, or once. */
function failingTable(table: Table, failsAt: (call: number) => 'before' | 'after' | undefined): Table {
  let calls = 0;
  async function through<Result>(work: () => Promise<Result>): Promise<Result> {
    calls += 1;
    const when = failsAt(calls);
    const lost = new CodedError('table_unavailable', 'the table fails, as the test wants');
    if (when === 'before') throw lost;
    const result = await work();
    if (when === 'after') throw lost;
    return result;
  }
  return {
    ...table,
    get: (key) => through(() => table.get(key)),
    query: (query) => through(() => table.query(query)),
    update: (...given) => through(() => table.update(...given)),
    putIfAbsent: (...given) => through(() => table.putIfAbsent(...given)),
    delete: (...given) => through(() => table.delete(...given)),
  };
}

describe('a keyring', () => {
  it('opens what it sealed, in another process too, and asks the root key once for each data key and period', async () => {
    const { first, open, root, clock } = ground();
    const sealed = await Promise.all(Array.from({ length: 50 }, () => first.seal(place, content)));
    expect(first.status().calls).toEqual({ wrap: 1, unwrap: 1, rewrap: 0 });
    const second = open();
    await Promise.all(sealed.map(async (value) => expect(text(await second.open(place, value))).toBe(text(content))));
    expect(second.status().calls).toEqual({ wrap: 0, unwrap: 1, rewrap: 0 });
    for (let passed = 0; passed < 60; passed += 1) {
      await clock.pass(minute / 4);
      await second.open(place, sealed[0] ?? '');
    }
    // 15 minutes: at the beginning, and at the end of each five.
    expect(second.status().calls).toEqual({ wrap: 0, unwrap: 4, rewrap: 0 });
    expect(root.calls.wrap).toBe(1);
  });

  it('keeps on the table what this program, and others, can count on for good', async () => {
    const { first, rows, table } = ground();
    expect(await hasDataKeys(table, tenant)).toBe(false);
    const id = await first.currentDataKey();
    expect(await hasDataKeys(table, tenant)).toBe(true);
    expect(await hasDataKeys(table, 'crn:v1:other')).toBe(false);
    expect(id).toMatch(/^1-[0-9a-f]{8}$/);
    expect(await rows()).toEqual([
      {
        partition: 'keys.1/crn:v1:one',
        sort: '000000001',
        format: 1,
        id,
        createdAt: 1_000_000,
        'wrap/fake:a': expect.any(String),
      },
    ]);
    // Tenant and data key are bound to what the root key wraps.
    const [, , , boundTo] = JSON.parse(String((await rows())[0]?.['wrap/fake:a']));
    expect(JSON.parse(boundTo)).toEqual([
      ['dataKey', id],
      ['tenant', 'crn:v1:one'],
    ]);
  });

  it('binds what it seals to its place and its tenant', async () => {
    const { first, open, table } = ground();
    const sealed = await first.seal(place, content);
    for (const other of [
      { ...place, certificate: 'c2' },
      { ...place, field: 'chain' },
      { ...place, version: '2' },
    ])
      await expect(first.open(other, sealed)).rejects.toMatchObject({ code: 'sealed_unreadable' });
    const stranger = open({ tenant: 'crn:v1:two' });
    await expect(stranger.open(place, sealed)).rejects.toMatchObject({ code: 'sealed_unreadable' });
    // Not even with the data key of the other tenant moved to this one.
    const [row] = (await table.query({ partition: `keys.1/${tenant}`, limit: 1 })).rows;
    const { partition: _, sort, ...fields } = row ?? { partition: '', sort: '' };
    await table.putIfAbsent({ partition: 'keys.1/crn:v1:two', sort }, fields);
    await expect(stranger.open(place, sealed)).rejects.toMatchObject({ code: 'keys_unreadable' });
  });

  it('refuses whatever is not, or no longer, what it sealed', async () => {
    const { first } = ground();
    const sealed = await first.seal(place, content);
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 127 }), async (at, change) => {
        const broken = sealed.slice(0, at) + String.fromCharCode(sealed.charCodeAt(at) ^ change) + sealed.slice(at + 1);
        await expect(first.open(place, broken)).rejects.toMatchObject({ code: 'sealed_unreadable' });
      }),
    );
    expect(first.status().state).toBe('ready');
  });

  it('lets one of several processes make the first data key, and all use it', async () => {
    const { open, rows } = ground();
    const rings = Array.from({ length: 5 }, () => open());
    const sealed = await Promise.all(rings.flatMap((ring) => [ring.seal(place, content), ring.seal(place, content)]));
    expect(await rows()).toHaveLength(1);
    for (const ring of rings)
      for (const value of sealed) expect(text(await ring.open(place, value))).toBe(text(content));
  });

  it('wipes every data key that a root key gave it, and lets no one have it once closed', async () => {
    const { first, open, root, clock } = ground();
    const sealed = await first.seal(place, content);
    const second = open();
    await second.open(place, sealed);
    await second.check();
    await second.rewrap();
    await second.rotate();
    await second.open(place, sealed);
    await second.close();
    await first.close();
    expect(root.given.length).toBeGreaterThan(4);
    for (const key of [...root.given, ...root.taken]) expect(Buffer.from(key)).toEqual(Buffer.alloc(32));
    await expect(second.open(place, sealed)).rejects.toMatchObject({ code: 'keys_unavailable' });
    await clock.pass(60 * minute);
  });

  it.each<readonly [string, Partial<KeyringOptions>]>([
    ['no root key', { rootKeys: [] }],
    ['three root keys', { rootKeys: ['fake:a', 'fake:b', 'fake:c'].map((id) => fakeRootKey(id)) }],
    ['the same root key twice', { rootKeys: [fakeRootKey('fake:a'), fakeRootKey('fake:a')] }],
    ['a tenant without a name', { tenant: '' }],
    ['a tenant with a space', { tenant: 'a b' }],
    ['a tenant too long', { tenant: 'x'.repeat(201) }],
    ['no time in memory', { cacheMs: 999 }],
    ['too much time in memory', { cacheMs: 60 * minute + 1 }],
    ['less than no time in an outage', { outageMs: -1 }],
    ['too much time in an outage', { outageMs: 24 * 60 * minute + 1 }],
    ['a time that is none', { outageMs: Number.NaN }],
  ])('is not made with %s', (_, given) => {
    expect(() => ground(given)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }));
  });

  it('is made with what is just within the limits', () => {
    ground({ tenant: 'x'.repeat(200), cacheMs: 1_000, outageMs: 0 });
    ground({ cacheMs: 60 * minute, outageMs: 24 * 60 * minute });
  });
});

describe('a data key on the table', () => {
  it('in a later format is refused by name, and neither used nor replaced', async () => {
    const { first, open, table, rows } = ground();
    const sealed = await first.seal(place, content);
    await table.update({ partition: `keys.1/${tenant}`, sort: '000000001' }, { set: { format: 2 } });
    const before = await rows();
    const second = open();
    for (const call of [
      () => second.open(place, sealed),
      () => second.seal(place, content),
      () => second.rotate(),
      () => second.rewrap(),
      () => second.check(),
    ]) {
      const failure = expect(call()).rejects;
      await failure.toMatchObject({
        code: 'table_row_unreadable',
        message: /has the format 2, and this version knows 1/,
      });
    }
    expect(await rows()).toEqual(before);
  });

  it.each<readonly [string, Record<string, string | number>, readonly string[]]>([
    ['of another version', { id: '2-00000000' }, []],
    ['without its id', {}, ['id']],
    ['without a wrap', {}, ['wrap/fake:a']],
  ])('%s is not taken for one', async (_, set, remove) => {
    const { open, first, table } = ground();
    await first.currentDataKey();
    await table.update({ partition: `keys.1/${tenant}`, sort: '000000001' }, { set, remove });
    await expect(open().seal(place, content)).rejects.toMatchObject({ code: 'table_row_unreadable' });
  });

  it('of which the root key makes another length than a data key has does not open', async () => {
    const { first, open, root } = ground();
    const sealed = await first.seal(place, content);
    const short = { ...root, unwrap: async () => ({ dataKey: new Uint8Array(16).fill(1) }) };
    await expect(open({ rootKeys: [short] }).open(place, sealed)).rejects.toMatchObject({ code: 'keys_unreadable' });
  });

  it('put there for a data key that was erased opens nothing of it', async () => {
    const { first, open } = ground();
    const sealed = await first.seal(place, content);
    await first.destroy();
    const second = open();
    await second.seal(place, content);
    await expect(second.open(place, sealed)).rejects.toMatchObject({
      code: 'sealed_unreadable',
      message: /there is no data key 1-/,
    });
  });

  it('that its root key never wrapped, or wrapped for something else, does not open', async () => {
    const { first, open, table } = ground();
    const sealed = await first.seal(place, content);
    await table.update({ partition: `keys.1/${tenant}`, sort: '000000001' }, { set: { 'wrap/fake:a': 'damaged' } });
    await expect(open().open(place, sealed)).rejects.toMatchObject({ code: 'keys_unreadable' });
  });
});

describe('two root keys', () => {
  const two = () => {
    const [a, b] = [fakeRootKey('fake:a'), fakeRootKey('fake:b')];
    return { a, b, ...ground({ rootKeys: [a, b] }) };
  };

  it.each(['keys_unavailable', 'keys_refused', 'keys_unreadable'] as const)(
    'either of them opens while the other one says %s',
    async (code) => {
      for (const gone of [0, 1]) {
        const { a, b, first, open, lines } = two();
        const sealed = await first.seal(place, content);
        [a, b][gone]?.fail(code);
        const second = open();
        expect(text(await second.open(place, sealed))).toBe(text(content));
        // The other one alone, too: the failed one is not needed for anything.
        const alone = open({ rootKeys: [gone === 0 ? b : a] });
        expect(text(await alone.open(place, sealed))).toBe(text(content));
        expect(second.status().state).toBe(gone === 0 ? 'degraded' : 'ready');
        expect(lines.filter(({ event }) => event === 'root_key_failed')).toHaveLength(gone === 0 ? 1 : 0);
      }
    },
  );

  it('the one that worked last is asked first', async () => {
    const { a, b, open, first, clock } = two();
    const sealed = await first.seal(place, content);
    await first.rotate();
    const resealed = await first.seal(place, content);
    a.fail('keys_unavailable');
    const second = open();
    const before = [a.calls.unwrap, b.calls.unwrap];
    await second.open(place, sealed);
    await second.open(place, resealed);
    expect([a.calls.unwrap - (before[0] ?? 0), b.calls.unwrap - (before[1] ?? 0)]).toEqual([1, 2]);
    // And the first one again, once the second one fails.
    a.fail(undefined);
    b.fail('keys_unavailable');
    await clock.pass(5 * minute);
    expect(text(await second.open(place, resealed))).toBe(text(content));
    expect(second.status().rootKeys.map(({ state }) => state)).toEqual(['opens', 'unavailable']);
  });

  it('that failed is asked again beside the other one, so that it is seen to be back', async () => {
    const { a, first, open, clock, lines } = two();
    const sealed = await first.seal(place, content);
    await first.close();
    a.fail('keys_unavailable');
    const second = open();
    await second.open(place, sealed);
    const calls = a.calls.unwrap;
    await clock.pass(4 * minute);
    await second.open(place, sealed);
    await clock.pass(minute);
    expect(a.calls.unwrap).toBe(calls + 1);
    expect(second.status().state).toBe('degraded');
    a.fail(undefined);
    await second.open(place, sealed);
    await clock.pass(5 * minute);
    expect(a.calls.unwrap).toBe(calls + 2);
    expect(second.status().state).toBe('ready');
    expect(a.given.at(-1)).toEqual(new Uint8Array(32));
    expect(lines.at(-1)).toMatchObject({ event: 'root_key_opens_again', fields: { rootKey: 'fake:a' } });
  });

  it('are both wanted when a data key is made, and proven to open it', async () => {
    const { b, first, rows, clock } = two();
    b.fail('keys_unavailable', 'wrap');
    await expect(first.seal(place, content)).rejects.toMatchObject({ code: 'keys_unavailable' });
    b.fail('keys_refused', 'unwrap');
    await clock.pass(5_000);
    await expect(first.seal(place, content)).rejects.toMatchObject({ code: 'keys_refused' });
    expect(await rows()).toEqual([]);
    b.fail(undefined);
    await clock.pass(5_000);
    await first.seal(place, content);
    expect(Object.keys((await rows())[0] ?? {})).toEqual(expect.arrayContaining(['wrap/fake:a', 'wrap/fake:b']));
  });

  it('that both fail: what may pass by itself is said first, and both are named', async () => {
    const { a, b, first, open } = two();
    const sealed = await first.seal(place, content);
    a.fail('keys_refused');
    b.fail('keys_unavailable');
    const failure = await open()
      .open(place, sealed)
      .catch((thrown: unknown) => thrown as CodedError);
    expect(failure).toMatchObject({
      code: 'keys_unavailable',
      fields: { rootKeys: ['fake:a keys_refused', 'fake:b keys_unavailable'] },
    });
    expect((failure as CodedError).entry).toMatchObject({ status: 503, retry: true });
    b.fail('keys_unreadable');
    await expect(open().open(place, sealed)).rejects.toMatchObject({ code: 'keys_refused' });
  });

  it('of which none is configured any more: it is said which ones would open', async () => {
    const { first, open } = two();
    const sealed = await first.seal(place, content);
    await expect(open({ rootKeys: [fakeRootKey('fake:c')] }).open(place, sealed)).rejects.toMatchObject({
      code: 'keys_unreadable',
      fields: { wrappedBy: ['fake:a', 'fake:b'] },
    });
  });
});

describe('while the root key service is down', () => {
  it('reads and writes go on with what is in memory for ten minutes more, and the state is visible', async () => {
    const { first, root, clock } = ground();
    const sealed = await first.seal(place, content);
    root.fail('keys_unavailable');
    await clock.pass(5 * minute);
    expect(text(await first.open(place, sealed))).toBe(text(content));
    expect(text(await first.open(place, await first.seal(place, content)))).toBe(text(content));
    expect(first.status()).toEqual({
      state: 'outage',
      rootKeys: [{ id: 'fake:a', state: 'unavailable', since: 1_000_000 + 5 * minute }],
      dataKeysInMemory: 1,
      servesUntil: 1_000_000 + 15 * minute,
      calls: { wrap: 1, unwrap: 2, rewrap: 0 },
    });
    await clock.pass(10 * minute);
    await expect(first.open(place, sealed)).rejects.toMatchObject({ code: 'keys_unavailable' });
    await expect(first.seal(place, content)).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(first.status()).toMatchObject({ state: 'failed', dataKeysInMemory: 0 });
    root.fail(undefined);
    await clock.pass(5_000);
    expect(text(await first.open(place, sealed))).toBe(text(content));
    expect(first.status()).toMatchObject({ state: 'ready', rootKeys: [{ state: 'opens' }] });
  });

  it('a refusal ends that at once', async () => {
    const { first, root, clock } = ground();
    const sealed = await first.seal(place, content);
    root.fail('keys_refused');
    await clock.pass(5 * minute);
    await expect(first.open(place, sealed)).rejects.toMatchObject({ code: 'keys_refused', entry: { status: 503 } });
    expect(first.status()).toMatchObject({ state: 'failed', dataKeysInMemory: 0 });
  });

  it('a new tenant gets no data key, and nothing is written', async () => {
    const { first, root, rows, clock } = ground();
    root.fail('keys_unavailable');
    for (let turn = 0; turn < 5; turn += 1)
      await expect(first.seal(place, content)).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(await rows()).toEqual([]);
    // Who asks again within five seconds hears the same, and no root key does.
    expect(root.calls.wrap).toBe(1);
    root.fail(undefined);
    await clock.pass(5_000);
    await first.seal(place, content);
  });
});

describe('rotation of the data key', () => {
  it('seals what is new with the new one, and still opens the old', async () => {
    const { first, open, clock, root } = ground();
    const old = await first.seal(place, content);
    const other = open();
    await other.open(place, old);
    const id = await first.rotate();
    expect(id).toMatch(/^2-/);
    const fresh = await first.seal(place, content);
    expect(first.sealedWith(fresh)).toBe(id);
    expect(first.sealedWith(old)).toMatch(/^1-/);
    expect(await first.currentDataKey()).toBe(id);
    for (const ring of [first, other, open()])
      for (const value of [old, fresh]) expect(text(await ring.open(place, value))).toBe(text(content));
    // The other process goes on with the old one for as long as its cache says, no longer.
    await other.seal(place, content);
    await clock.pass(5 * minute);
    expect(other.sealedWith(await other.seal(place, content))).toBe(id);
    expect(root.calls.wrap).toBe(2);
  });

  it('by several at once makes data keys that all open', async () => {
    const { first, open, rows } = ground();
    await first.seal(place, content);
    const rings = [open(), open(), open()];
    const ids = await Promise.all(rings.map((ring) => ring.rotate()));
    expect((await rows()).at(-1)?.id).toBe(await open().currentDataKey());
    expect(ids.every((id) => /^[2-4]-/.test(id))).toBe(true);
    const sealed = await Promise.all(rings.map((ring) => ring.seal(place, content)));
    for (const value of sealed) expect(text(await first.open(place, value))).toBe(text(content));
  });

  it('wipes what was in memory of the old one at once', async () => {
    const { first, open, root } = ground();
    const sealed = await first.seal(place, content);
    const second = open();
    await second.open(place, sealed);
    const [kept] = root.given.slice(-1);
    expect(kept).not.toEqual(new Uint8Array(32));
    await second.rotate();
    expect(kept).toEqual(new Uint8Array(32));
    expect(text(await second.open(place, sealed))).toBe(text(content));
  });

  it('disturbs no request that is under way', async () => {
    const { first } = ground();
    const sealed = await first.seal(place, content);
    const work = Array.from({ length: 200 }, async (_, at) => {
      if (at % 20 === 0) await first.rotate();
      return text(await first.open(place, at % 2 ? sealed : await first.seal(place, content)));
    });
    expect(new Set(await Promise.all(work))).toEqual(new Set([text(content)]));
  });

  it('is not undone by who looked for the current data key before it', async () => {
    const table = memoryTable();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let holding = false;
    const slow: Table = {
      ...table,
      async query(query) {
        const page = await table.query(query);
        if (holding) {
          holding = false;
          await held;
        }
        return page;
      },
    };
    const { first, open } = ground({ table: slow });
    await first.currentDataKey();
    const second = open();
    holding = true;
    const early = second.currentDataKey();
    const rotated = await second.rotate();
    release();
    expect(await early).toBe(rotated);
    expect(await second.currentDataKey()).toBe(rotated);
  });

  it('is of one tenant', async () => {
    const { first, open } = ground();
    const other = open({ tenant: 'crn:v1:two' });
    const before = await other.currentDataKey();
    await first.rotate();
    expect(await open({ tenant: 'crn:v1:two' }).currentDataKey()).toBe(before);
  });
});

describe('a rotated root key', () => {
  it('gives a renewed wrap, which takes the place of the old one', async () => {
    const { first, open, root, rows, lines } = ground();
    const sealed = await first.seal(place, content);
    const before = (await rows())[0]?.['wrap/fake:a'];
    root.rotate();
    expect(text(await open().open(place, sealed))).toBe(text(content));
    const after = (await rows())[0]?.['wrap/fake:a'];
    expect(after).not.toBe(before);
    expect(lines.filter(({ event }) => event === 'data_key_renewed')).toHaveLength(1);
    expect(text(await open().open(place, sealed))).toBe(text(content));
    expect((await rows())[0]?.['wrap/fake:a']).toBe(after);
  });

  it('is kept renewed from the beginning, if it was rotated just when the data key was made', async () => {
    const root = fakeRootKey('fake:a');
    const rotating = {
      ...root,
      async wrap(...given: Parameters<typeof root.wrap>) {
        const wrapped = await root.wrap(...given);
        root.rotate();
        return wrapped;
      },
    };
    const { first, rows } = ground({ rootKeys: [rotating] });
    const id = await first.currentDataKey();
    const wrapped = String((await rows())[0]?.['wrap/fake:a']);
    expect((await root.unwrap(wrapped, { tenant, dataKey: id })).renewed).toBeUndefined();
  });

  it('two processes that hear of it at the same time both go on', async () => {
    const { first, open, root, lines } = ground();
    const sealed = await first.seal(place, content);
    root.rotate();
    const release = root.hold();
    const both = [open().open(place, sealed), open().open(place, sealed)];
    release();
    expect((await Promise.all(both)).map(text)).toEqual([text(content), text(content)]);
    expect(lines.filter(({ event }) => event === 'data_key_renewed')).toHaveLength(1);
  });

  it('a renewed wrap that cannot be kept costs nothing but the next one', async () => {
    const table = memoryTable();
    const { first, open, root, lines } = ground({ table });
    const sealed = await first.seal(place, content);
    root.rotate();
    const broken = { ...table, update: () => Promise.reject(new CodedError('table_unavailable', 'no writes')) };
    expect(text(await open({ table: broken }).open(place, sealed))).toBe(text(content));
    expect(lines.map(({ event }) => event)).toContain('data_key_not_renewed');
  });
});

describe('rewrap', () => {
  const [a, b] = [() => fakeRootKey('fake:a'), () => fakeRootKey('fake:b')];

  it('moves all data keys to another root key in two steps, while the servers go on', async () => {
    const [old, fresh] = [a(), b()];
    const { first, open, rows } = ground({ rootKeys: [old] });
    const sealed = [await first.seal(place, content)];
    await first.rotate();
    sealed.push(await first.seal(place, content));
    const ids = (await rows()).map(({ id }) => id);
    const both = open({ rootKeys: [fresh, old] });
    expect(await both.rewrap()).toEqual({
      complete: true,
      dataKeys: ids.map((id) => ({ id, wrapped: ['fake:b', 'fake:a'], dropped: [], failed: [] })),
    });
    const alone = open({ rootKeys: [fresh] });
    for (const value of sealed) expect(text(await alone.open(place, value))).toBe(text(content));
    expect(await alone.rewrap()).toEqual({
      complete: true,
      dataKeys: ids.map((id) => ({ id, wrapped: ['fake:b'], dropped: ['fake:a'], failed: [] })),
    });
    for (const row of await rows())
      expect(Object.keys(row).filter((name) => name.startsWith('wrap/'))).toEqual(['wrap/fake:b']);
    await expect(open({ rootKeys: [old] }).open(place, sealed[0] ?? '')).rejects.toMatchObject({
      code: 'keys_unreadable',
    });
    for (const ring of [both, open({ rootKeys: [fresh] })])
      for (const value of sealed) expect(text(await ring.open(place, value))).toBe(text(content));
  });

  it('lets the service rewrap by itself, where it can', async () => {
    const root = fakeRootKey('fake:a', { rewraps: true });
    const { first, rows } = ground({ rootKeys: [root] });
    await first.currentDataKey();
    const before = (await rows())[0]?.['wrap/fake:a'];
    root.rotate();
    expect(await first.rewrap()).toMatchObject({ complete: true });
    expect(root.calls).toMatchObject({ wrap: 1, rewrap: 1 });
    expect((await rows())[0]?.['wrap/fake:a']).not.toBe(before);
  });

  it.each([true, false])('mends a damaged wrap from the other one (a service that rewraps: %s)', async (rewraps) => {
    const [one, two] = [fakeRootKey('fake:a', { rewraps }), fakeRootKey('fake:b', { rewraps })];
    const { first, open, table } = ground({ rootKeys: [one, two] });
    const sealed = await first.seal(place, content);
    await table.update({ partition: `keys.1/${tenant}`, sort: '000000001' }, { set: { 'wrap/fake:a': 'damaged' } });
    expect(await first.check()).toMatchObject({
      sound: false,
      dataKeys: [
        {
          wraps: [
            { rootKey: 'fake:a', state: 'unreadable' },
            { rootKey: 'fake:b', state: 'opens' },
          ],
        },
      ],
    });
    expect(await first.rewrap()).toMatchObject({ complete: true });
    expect(text(await open({ rootKeys: [one] }).open(place, sealed))).toBe(text(content));
  });

  it('drops no wrap while a configured root key could not be proven', async () => {
    const [old, fresh] = [a(), b()];
    const { first, open, rows } = ground({ rootKeys: [old, fresh] });
    await first.seal(place, content);
    fresh.fail('keys_unavailable', 'wrap');
    const alone = open({ rootKeys: [fresh] });
    const report = await alone.rewrap();
    expect(report).toMatchObject({
      complete: false,
      dataKeys: [{ wrapped: [], dropped: [], failed: [{ rootKey: 'fake:b', state: 'unavailable' }] }],
    });
    fresh.fail('keys_refused', 'unwrap');
    expect(await alone.rewrap()).toMatchObject({ complete: false, dataKeys: [{ failed: [{ state: 'refused' }] }] });
    expect(Object.keys((await rows())[0] ?? {})).toContain('wrap/fake:a');
  });

  it('does not believe a root key that gives back another key than it got', async () => {
    const [old, liar] = [a(), b()];
    const { first, open, rows } = ground({ rootKeys: [old] });
    await first.seal(place, content);
    const lying = { ...liar, unwrap: async () => ({ dataKey: randomBytes(32) }) };
    expect(await open({ rootKeys: [old, lying] }).rewrap()).toMatchObject({
      complete: false,
      dataKeys: [{ wrapped: ['fake:a'], failed: [{ rootKey: 'fake:b', state: 'unreadable' }] }],
    });
    expect(Object.keys((await rows())[0] ?? {})).not.toContain('wrap/fake:b');
    const short = { ...liar, unwrap: async () => ({ dataKey: randomBytes(16) }) };
    expect(await open({ rootKeys: [old, short] }).rewrap()).toMatchObject({ complete: false });
  });

  it('interrupted at any step, by a lost write or a lost answer, leaves every data key open and is finished by the next run', async () => {
    for (const when of ['before', 'after'] as const)
      for (let step = 1, finished = false; !finished; step += 1) {
        const table = memoryTable();
        const [old, fresh] = [a(), b()];
        const { first, open } = ground({ table, rootKeys: [old] });
        const sealed = [await first.seal(place, content)];
        await first.rotate();
        sealed.push(await first.seal(place, content));
        await open({ rootKeys: [fresh, old] }).rewrap();
        let calls = 0;
        const flaky = failingTable(table, (call) => {
          calls = call;
          return call === step ? when : undefined;
        });
        const outcome = open({ table: flaky, rootKeys: [fresh] }).rewrap();
        finished = await outcome.then(
          () => true,
          () => false,
        );
        expect(finished, `${when} step ${step}`).toBe(calls < step);
        const alone = open({ rootKeys: [fresh] });
        for (const value of sealed) expect(text(await alone.open(place, value))).toBe(text(content));
        expect(await alone.rewrap()).toMatchObject({ complete: true });
        expect(await alone.check()).toMatchObject({
          sound: true,
          dataKeys: [{ alsoWrappedBy: [] }, { alsoWrappedBy: [] }],
        });
        expect(step).toBeLessThan(20);
      }
  });

  it('by two with different root keys never leaves a data key without a wrap', async () => {
    const [old, fresh] = [a(), b()];
    const { first, open, rows } = ground({ rootKeys: [old, fresh] });
    const sealed = await first.seal(place, content);
    await Promise.all(
      [open({ rootKeys: [old] }).rewrap(), open({ rootKeys: [fresh] }).rewrap()].map((run) => run.catch(() => {})),
    );
    const left = Object.keys((await rows())[0] ?? {}).filter((name) => name.startsWith('wrap/'));
    expect(left.length).toBeGreaterThan(0);
    expect(text(await open({ rootKeys: [old, fresh] }).open(place, sealed))).toBe(text(content));
  });

  it('goes on beside servers that renew wraps in between', async () => {
    const { first, open, root } = ground();
    const sealed = await first.seal(place, content);
    root.rotate();
    const runs = [first.rewrap(), open().open(place, sealed), open().rewrap(), open().open(place, sealed)];
    await Promise.all(runs);
    expect(await first.check()).toMatchObject({ sound: true });
  });
});

describe('check', () => {
  it('says of each data key how it stands with each root key, and changes nothing', async () => {
    const [one, two] = [fakeRootKey('fake:a'), fakeRootKey('fake:b')];
    const { first, open, rows } = ground({ rootKeys: [one] });
    await first.seal(place, content);
    const id = await first.rotate();
    await open({ rootKeys: [one, two] }).rotate();
    two.fail('keys_unavailable');
    const before = await rows();
    const checked = await open({ rootKeys: [two] }).check();
    expect(await rows()).toEqual(before);
    expect(checked.sound).toBe(false);
    expect(checked.dataKeys.map(({ wraps, alsoWrappedBy, current }) => ({ wraps, alsoWrappedBy, current }))).toEqual([
      { wraps: [{ rootKey: 'fake:b', state: 'missing' }], alsoWrappedBy: ['fake:a'], current: false },
      { wraps: [{ rootKey: 'fake:b', state: 'missing' }], alsoWrappedBy: ['fake:a'], current: false },
      {
        wraps: [
          {
            rootKey: 'fake:b',
            state: 'unavailable',
            found: 'fake:b fails, as the test wants',
            remedy: expect.stringMatching(/^Check that the root key service can be reached/),
          },
        ],
        alsoWrappedBy: ['fake:a'],
        current: true,
      },
    ]);
    expect(checked.dataKeys[1]?.id).toBe(id);
    expect(await open({ rootKeys: [one] }).check()).toMatchObject({ sound: true });
  });

  it('finds two wraps that hold different keys', async () => {
    const [one, two] = [fakeRootKey('fake:a'), fakeRootKey('fake:b')];
    const { first, table } = ground({ rootKeys: [one, two] });
    const id = await first.currentDataKey();
    const other = await two.wrap(randomBytes(32), { tenant, dataKey: id });
    await table.update({ partition: `keys.1/${tenant}`, sort: '000000001' }, { set: { 'wrap/fake:b': other } });
    expect(await first.check()).toMatchObject({
      sound: false,
      dataKeys: [{ wraps: [{ state: 'opens' }, { state: 'unreadable' }] }],
    });
  });

  it('has nothing against a tenant without data keys', async () => {
    expect(await ground().first.check()).toEqual({ sound: true, dataKeys: [] });
  });
});

describe('erasure', () => {
  it('leaves nothing that would open, and goes through many data keys, of any format', async () => {
    const { first, open, table, rows } = ground();
    const sealed = await first.seal(place, content);
    await table.putIfAbsent({ partition: `keys.1/${tenant}`, sort: '000000002' }, { format: 99 });
    await first.destroy();
    expect(await rows()).toEqual([]);
    for (const call of [
      () => first.open(place, sealed),
      () => first.seal(place, content),
      () => first.rotate(),
      () => first.currentDataKey(),
    ])
      await expect(call()).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(await rows()).toEqual([]);
    await expect(open().open(place, sealed)).rejects.toMatchObject({ code: 'sealed_unreadable' });
  });
});

describe('a sealed value', () => {
  it('is opened by another JOSE tool with nothing but the unwrapped data key', async () => {
    const { first, root, rows } = ground();
    const sealed = await first.seal(place, content);
    const [row] = await rows();
    const { dataKey } = await root.unwrap(String(row?.['wrap/fake:a']), { tenant, dataKey: String(row?.id) });
    const { plaintext } = await compactDecrypt(sealed, dataKey);
    expect(text(plaintext)).toBe(text(content));
  });
});

describe('several processes on one table on disk', () => {
  it('make one first data key, and each opens what the others sealed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'certstandby-keys-'));
    const paths = [join(folder, 'table'), join(folder, 'root.key')];
    try {
      const children = await Promise.all(
        [1, 2, 3].map(() => startChild('test/keys/keyring-child.ts', ['seal', ...paths])),
      );
      for (const child of children) expect(await child.nextLine()).toBe('ready');
      for (const child of children) child.send('go');
      const said = await Promise.all(children.map(async (child) => JSON.parse(await child.nextLine())));
      expect(await Promise.all(children.map((child) => child.ended()))).toEqual([0, 0, 0]);
      expect(said.filter(({ shown }) => shown)).toHaveLength(1);
      expect(new Set(said.map(({ rootKey }) => rootKey)).size).toBe(1);
      const table = lmdbTable({ path: paths[0] ?? '' });
      const opener = await startChild('test/keys/keyring-child.ts', ['open', ...paths]);
      expect(await opener.nextLine()).toBe('ready');
      opener.send(JSON.stringify(said.map(({ sealed }) => sealed)));
      expect(JSON.parse(await opener.nextLine())).toEqual(['sealed here', 'sealed here', 'sealed here']);
      expect(await opener.ended()).toBe(0);
      expect((await table.query({ partition: `keys.1/${tenant}`, limit: 10 })).rows).toHaveLength(1);
      await table.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
