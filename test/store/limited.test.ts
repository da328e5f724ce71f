import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { asCodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { type LimitedStoreOptions, limitedStore } from '../../src/store/limited.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { testCertificate } from '../support/certificates.ts';

let content: CertificateContent;
beforeAll(async () => {
  content = parseContent(await testCertificate());
});

const metadata = { name: 'shop', description: '', tags: [] };

function limited(options: Omit<LimitedStoreOptions, 'runtime'>) {
  const clock = { now: 1_700_000_000_000 };
  const runtime = { ...systemRuntime, now: () => clock.now };
  const inner = memoryStore({
    id: 'm',
    region: 'eu-de',
    runtime,
    abilities: { findsMarks: true, requestsPerSecond: 7 },
  });
  const store = limitedStore({ ...inner, notificationKey: async () => 'pem' }, { runtime, ...options });
  return { clock, inner, store };
}

/** The wait that a refused call asks for; `undefined` if it is not refused. */
async function waitOf(call: Promise<unknown>): Promise<number | undefined> {
  try {
    await call;
    return undefined;
  } catch (thrown) {
    const error = asCodedError(thrown);
    expect(error.code).toBe('store_limited');
    return error.retryAfterMs;
  }
}

describe('writes of one certificate', () => {
  it('are taken five times a minute, and each place comes back a minute later', async () => {
    const { store, inner, clock } = limited({ writesPerCertificatePerMinute: 5 });
    const id = inner.put({ content, metadata });
    for (let n = 0; n < 5; n++) {
      expect(await waitOf(store.reimport(id, content))).toBeUndefined();
      clock.now += 1000;
    }
    expect(await waitOf(store.reimport(id, content))).toBe(55_000);
    clock.now += 54_999;
    expect(await waitOf(store.updateMetadata(id, metadata, undefined))).toBe(1);
    clock.now += 1;
    expect(await waitOf(store.updateMetadata(id, metadata, undefined))).toBeUndefined();
    expect(await waitOf(store.delete(id))).toBe(1000);
  });

  it('do not count for other certificates, for imports or for reads', async () => {
    const { store, inner } = limited({ writesPerCertificatePerMinute: 1 });
    const [one, two] = [inner.put({ content, metadata }), inner.put({ content, metadata })];
    await store.reimport(one, content);
    expect(await waitOf(store.reimport(one, content))).toBe(60_000);
    expect(await waitOf(store.reimport(two, content))).toBeUndefined();
    expect(await waitOf(store.import({ content, metadata }))).toBeUndefined();
    expect(await store.read(one)).toMatchObject({ state: 'present' });
  });

  it('that are refused are not sent', async () => {
    const { store, inner } = limited({ writesPerCertificatePerMinute: 1 });
    const id = inner.put({ content, metadata });
    await store.updateMetadata(id, { ...metadata, name: 'sent' }, undefined);
    await waitOf(store.updateMetadata(id, { ...metadata, name: 'not sent' }, undefined));
    await waitOf(store.delete(id));
    expect(await inner.readMetadata(id)).toMatchObject({ value: { name: 'sent' } });
  });

  it('that failed were sent, and count', async () => {
    const { store } = limited({ writesPerCertificatePerMinute: 1 });
    await expect(store.reimport('nowhere', content)).rejects.toMatchObject({ code: 'store_gone' });
    expect(await waitOf(store.reimport('nowhere', content))).toBe(60_000);
  });

  it('are forgotten for the certificate written to longest ago, one above the limit', async () => {
    const { store } = limited({ writesPerCertificatePerMinute: 1 });
    const write = (n: number) => waitOf(store.delete(String(n)));
    for (let n = 1; n <= limits.limitedCertificates; n++) await write(n);
    expect(await write(1)).toBe(60_000);
    await write(0);
    expect(await write(1)).toBe(60_000);
    expect(await write(2)).toBeUndefined();
  });
});

describe('requests to the store', () => {
  it('are limited whatever they are: reads are unreadable, all others throw', async () => {
    const { store, inner } = limited({ requestsPerSecond: 1 });
    const id = inner.put({ content, metadata });
    await store.notificationKey?.();
    for (const reading of [await store.read(id), await store.readMetadata(id)])
      expect(reading).toMatchObject({
        state: 'unreadable',
        error: { code: 'store_limited', fields: { retryAfterMs: 1000, store: 'm' } },
      });
    const mark = { store: 'p', certificate: 'c' };
    for (const call of [
      () => store.list({}),
      () => store.import({ content, metadata }),
      () => store.reimport(id, content),
      () => store.updateMetadata(id, metadata, mark),
      () => store.delete(id),
      async () => store.findByMark?.(mark),
      async () => store.notificationKey?.(),
    ])
      expect(await waitOf(call())).toBe(1000);
    expect(inner.size()).toBe(1);
  });

  it('pass through otherwise', async () => {
    const { store } = limited({ requestsPerSecond: 100 });
    const mark = { store: 'p', certificate: 'c' };
    const { id } = await store.import({ content, metadata, mark });
    expect(await store.findByMark?.(mark)).toMatchObject([{ id, mark }]);
    expect(await store.notificationKey?.()).toBe('pem');
    expect(store.asKept(metadata, mark)).toEqual(metadata);
  });

  it('may be fewer than one a second', async () => {
    const { store, clock } = limited({ requestsPerSecond: 0.5 });
    await store.delete('a');
    clock.now += 500;
    expect(await waitOf(store.delete('a'))).toBe(1500);
    clock.now += 1500;
    expect(await waitOf(store.delete('a'))).toBeUndefined();
  });

  it('take no place of a certificate when they are refused', async () => {
    const { store, clock } = limited({ requestsPerSecond: 1, writesPerCertificatePerMinute: 1 });
    await store.list({});
    expect(await waitOf(store.delete('a'))).toBe(1000);
    clock.now += 1000;
    expect(await waitOf(store.delete('a'))).toBeUndefined();
  });

  it('never wait longer than one period, should the clock be set back', async () => {
    const { store, clock } = limited({ requestsPerSecond: 1 });
    await store.delete('a');
    clock.now -= 3_600_000;
    expect(await waitOf(store.delete('a'))).toBe(1000);
    await expect(waitOf(store.list({}))).resolves.toBe(1000);
  });

  it('are never more than the rate in any span of one period', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 60 }),
        async (rate, gaps) => {
          const { store, clock } = limited({ requestsPerSecond: rate });
          const sent: number[] = [];
          for (const gap of gaps) {
            clock.now += gap;
            if ((await waitOf(store.list({}))) === undefined) sent.push(clock.now);
          }
          for (const start of sent)
            expect(sent.filter((at) => at >= start && at < start + 1000).length).toBeLessThanOrEqual(rate);
        },
      ),
    );
  });
});

describe('options', () => {
  it('replace what the store says of its limits', () => {
    expect(limited({ writesPerCertificatePerMinute: 5 }).store.abilities).toMatchObject({
      writesPerCertificatePerMinute: 5,
    });
    expect(limited({}).store.abilities).not.toHaveProperty('requestsPerSecond');
  });

  it('absent, limit nothing', async () => {
    const { store } = limited({});
    for (let n = 0; n < 100; n++) expect(await waitOf(store.delete('a'))).toBeUndefined();
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('are checked when the store is made: %d', (rate) => {
    const invalid = expect.objectContaining({ code: 'configuration_invalid' });
    expect(() => limited({ requestsPerSecond: rate })).toThrow(invalid);
    expect(() => limited({ writesPerCertificatePerMinute: rate })).toThrow(invalid);
  });
});
