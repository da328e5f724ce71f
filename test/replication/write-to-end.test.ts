import { beforeAll, describe, expect, it } from 'vitest';
import { planImport } from '../../src/archive/import.ts';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { CodedError } from '../../src/errors.ts';
import { type GoingOn, writtenToEnd } from '../../src/replication/write-to-end.ts';
import type { Runtime } from '../../src/runtime.ts';
import { memoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { content, described, held } from '../support/replication.ts';

const minuteMs = 60_000;
let first: CertificateContent;
let second: CertificateContent;
beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

/** A store that says it may go on for ten minutes; `takeMs`: how long it does. */
function world(takeMs: number, over: (store: Store) => Partial<Store> = () => ({})) {
  let now = Date.UTC(2026, 0, 1);
  let ids = 0;
  const runtime: Runtime = {
    now: () => now,
    random: () => 0,
    newId() {
      ids += 1;
      return `id-${ids}`;
    },
    async wait(milliseconds, signal) {
      // A deadline is aborted when what it is for has ended: it takes none of the time.
      await Promise.resolve();
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted !== true) now += milliseconds;
    },
  };
  const longWrites = { import: 10 * minuteMs, reimport: 10 * minuteMs, delete: 10 * minuteMs };
  const memory = memoryStore({
    ...{ id: 'vault', region: 'here', runtime, longWritesTakeMs: takeMs },
    abilities: { longWrites },
  });
  const sent: string[] = [];
  const store: Store = {
    ...memory,
    async import(...given) {
      sent.push('import');
      return memory.import(...given);
    },
    async reimport(...given) {
      sent.push('reimport');
      return memory.reimport(...given);
    },
    ...over(memory),
  };
  const told: GoingOn[] = [];
  const waiter = { runtime, store, goesOn: (about: GoingOn) => void told.push(about) };
  const begun = () => now;
  return { runtime, memory, store, sent, told, waiter, now: begun };
}

describe('a write that its service goes on with', () => {
  it('counts when its end was told and a read shows the content, and the wait is told once', async () => {
    const { memory, store, told, waiter, now } = world(3 * minuteMs);
    const beganAt = now();
    const answer = await store.import({ content: first, metadata: described('shop') });
    expect(memory.size()).toBe(0);
    const id = await writtenToEnd(waiter, { kind: 'import', content: first }, answer);
    expect(now() - beganAt).toBeGreaterThanOrEqual(3 * minuteMs);
    expect(fingerprintOf((await held(memory, id)).content)).toBe(fingerprintOf(first));
    expect(told).toEqual([{ store: 'vault', kind: 'import', longestMs: 10 * minuteMs }]);
  });

  it('that was done when it was answered is not waited for', async () => {
    const { told, waiter, now } = world(0);
    const beganAt = now();
    expect(await writtenToEnd(waiter, { kind: 'import', content: first }, { id: 'x' })).toBe('x');
    expect([now() - beganAt, told]).toEqual([0, []]);
  });

  it('is waited for by reads where nobody can be asked', async () => {
    const { store, waiter, now } = world(minuteMs, () => ({ operation: undefined }) as unknown as Partial<Store>);
    const beganAt = now();
    const answer = await store.import({ content: first, metadata: described('shop') });
    expect(await writtenToEnd(waiter, { kind: 'import', content: first }, answer)).toBe(answer.id);
    expect(now() - beganAt).toBeLessThan(3 * minuteMs);
  });

  it('is asked for again where the service gives no answer for a while', async () => {
    let asked = 0;
    const { store, waiter } = world(1_000, (memory) => ({
      async operation(...given) {
        asked += 1;
        if (asked < 4) throw new CodedError('store_unavailable', 'no answer');
        return (await memory.operation?.(...given)) ?? { state: 'unknown' };
      },
    }));
    const answer = await store.import({ content: first, metadata: described('shop') });
    await writtenToEnd(waiter, { kind: 'import', content: first }, answer);
    expect(asked).toBe(4);
  });

  it('is no success where it does not end in its longest time, and is not waited for any longer', async () => {
    const { store, waiter, now } = world(24 * 60 * minuteMs);
    const beganAt = now();
    const answer = await store.import({ content: first, metadata: described('shop') });
    await expect(writtenToEnd(waiter, { kind: 'import', content: first }, answer)).rejects.toMatchObject({
      code: 'store_operation_unfinished',
      fields: { store: 'vault', certificate: answer.id, operation: answer.running },
    });
    expect(now() - beganAt).toBe(10 * minuteMs);
  });

  it('is no success where it ended and a read does not show it', async () => {
    const { store, waiter } = world(0, () => ({ operation: async () => ({ state: 'ended' }) }));
    const { id } = await store.import({ content: first, metadata: described('shop') });
    await expect(
      writtenToEnd(waiter, { kind: 'reimport', content: second }, { id, running: 'operation-7' }),
    ).rejects.toMatchObject({ code: 'store_operation_failed', entry: { applied: 'no' } });
  });
});

describe('an import of an archive', () => {
  const entries = async function* () {
    yield { entry: 'shop.pem', ...described('shop'), content: { ...first, privateKey: undefined as never } };
  };

  it('is told as done when the store has ended it, and was sent once', async () => {
    const { runtime, memory, store, sent, told } = world(2 * minuteMs);
    const done: string[] = [];
    const goesOn = (about: GoingOn) => void told.push(about);
    const plan = await planImport(runtime, store, entries, {
      ...{ wanted: () => true, goesOn },
      done: ({ action }) => done.push(`${action} ${memory.size()}`),
    });
    await plan.apply();
    expect(done).toEqual(['import 1']);
    expect(sent).toEqual(['import']);
    expect(told).toHaveLength(1);
  });

  it('that does not end is told as that, and the others go on', async () => {
    const { runtime, store, sent } = world(60 * minuteMs);
    const failed: string[] = [];
    const plan = await planImport(runtime, store, entries, {
      wanted: () => true,
      failed: (_line, { code }) => failed.push(code),
    });
    await plan.apply();
    expect(failed).toEqual(['store_operation_unfinished']);
    expect(sent).toEqual(['import']);
  });
});
