import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { CodedError } from '../../../src/errors.ts';
import { certificateCrn, isInstanceCrn, parseCertificateCrn } from '../../../src/instance/rows/crn.ts';
import { lanes } from '../../../src/instance/rows/lane.ts';
import { rateLimit } from '../../../src/instance/rows/rate.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { startTestInstance } from '../../support/instance.ts';
import { clientOf, segment } from '../client.ts';

describe('CRNs', () => {
  const crn = 'crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:11-22::';

  test('come apart and together', () => {
    expect(isInstanceCrn(crn)).toBe(true);
    expect(certificateCrn(crn, 'ab')).toBe('crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:11-22:certificate:ab');
    expect(parseCertificateCrn(certificateCrn(crn, 'ab'))).toEqual({ instanceCrn: crn, id: 'ab' });
  });

  test.each([
    [''],
    ['crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:11-22:'],
    ['crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:11-22:::'],
    ['crn:v1:bluemix:public:cloudcerts::a/0a:11-22::'],
    ['crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:::'],
    ['crn:v2:bluemix:public:cloudcerts:eu-de:a/0a:11-22::'],
    ['crn:v1:bluemix:public:secrets-manager:eu-de:a/0a:11-22::'],
    ['crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:11-22::\n'],
    ['crn:v1:bluemix:public:cloudcerts:eu-de:a/0a:11-22:certificate:ab'],
  ])('%j is not the CRN of an instance', (text) => {
    expect(isInstanceCrn(text)).toBe(false);
    expect(parseCertificateCrn(`${text.slice(0, -1)}certificate:../x`)).toBeUndefined();
  });
});

describe('a rate', () => {
  const limit = (count: number, now: () => number, table = memoryTable()) =>
    rateLimit({ table, partition: 'rates', name: 'changes', count, windowMs: 60_000, now });

  test('lets so many through in any minute, and says how long to wait', async () => {
    let time = 1_000_000;
    const rate = limit(2, () => time);
    expect(await rate.take('a')).toBe(0);
    time += 40_000;
    expect(await rate.take('a')).toBe(0);
    expect([await rate.take('a'), await rate.take('b')]).toEqual([20_000, 0]);
    time += 20_000;
    // The first is a minute old; the refusal was not counted.
    expect([await rate.take('a'), await rate.take('a')]).toEqual([0, 40_000]);
    time += 500_000;
    expect([await rate.take('a'), await rate.take('a'), await rate.take('a')]).toEqual([0, 0, 60_000]);
  });

  test('is counted for all processes of a table together, also when they count at once', async () => {
    const table = memoryTable();
    const processes = [1, 2, 3].map(() => limit(5, () => 1_000_000, table));
    const waits = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7, 8].map((number) => processes[number % 3]?.take('a')));
    expect(waits.filter((wait) => wait === 0)).toHaveLength(5);
    expect(waits.filter((wait) => wait === 60_000)).toHaveLength(4);
  });

  test('without end lets everything through, and keeps nothing', async () => {
    const table = memoryTable();
    const rate = limit(Number.POSITIVE_INFINITY, () => 0, table);
    const waits = await Promise.all(Array.from({ length: 100 }, () => rate.take('a')));
    expect(waits.every((wait) => wait === 0)).toBe(true);
    expect((await table.query({ partition: 'rates', limit: 1 })).rows).toEqual([]);
  });
});

test('a lane holds so many at once, in the order they came, and goes on after a failure', async () => {
  const lane = lanes(2);
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const runs = [0, 1, 2, 3].map((n) =>
    lane.run('a', async () => {
      begun.push(n);
      await new Promise<void>((resolve, reject) => ends.push(n === 0 ? () => reject(new Error('no')) : resolve));
      return n;
    }),
  );
  const other = lane.run('b', async () => 'at once');
  expect(await other).toBe('at once');
  expect(begun).toEqual([0, 1]);
  ends[0]?.();
  await expect(runs[0]).rejects.toThrow('no');
  expect(begun).toEqual([0, 1, 2]);
  ends[1]?.();
  expect(await runs[1]).toBe(1);
  expect(begun).toEqual([0, 1, 2, 3]);
  ends[2]?.();
  ends[3]?.();
  expect(await Promise.all(runs.slice(2))).toEqual([2, 3]);
});

describe('when the table fails', () => {
  const failing = (code: 'table_unavailable' | 'table_row_unreadable'): Table => {
    const fail = async () => {
      throw new CodedError(code, 'secret detail of the table', { cause: new Error('ECONNRESET') });
    };
    return { ...memoryTable(), get: fail, query: fail, update: fail, putIfAbsent: fail, delete: fail };
  };

  test.each([
    ['table_unavailable', 503, '1'],
    ['table_row_unreadable', 500, null],
  ] as const)('%s is answered with %i', async (code, status, retryAfter) => {
    const instance = await startTestInstance({ table: failing(code), runtime: systemRuntime });
    const api = await clientOf(instance);
    const answer = await api('GET', `/v3/${segment(instance.crn)}/certificates`);
    expect([answer.status, answer.body.code, answer.headers.get('retry-after')]).toEqual([status, code, retryAfter]);
    expect(Object.keys(answer.body)).toEqual(['code', 'message']);
    expect(answer.body.message).not.toContain('secret detail');
    await instance.close();
  });

  test('what is no coded error is answered with 500 and no detail', async () => {
    const broken = { ...memoryTable(), query: () => Promise.reject(new TypeError('secret detail')) };
    const instance = await startTestInstance({ table: broken });
    const answer = await (await clientOf(instance))('GET', `/v3/${segment(instance.crn)}/certificates`);
    expect([answer.status, answer.body.code]).toEqual([500, 'internal']);
    expect(answer.body.message).not.toContain('secret detail');
    await instance.close();
  });
});

describe('the server goes on', () => {
  test('after a body far too large, a body that ends early, and what is no HTTP', async () => {
    const instance = await startTestInstance();
    const api = await clientOf(instance);
    const target = `/api/v3/${segment(instance.crn)}/certificates/import`;
    const headers = `host: x\r\nauthorization: Bearer ${await instance.token()}\r\n`;
    const sent = async (text: string, end: boolean) => {
      const socket = connect(Number(new URL(instance.url).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      await once(socket, 'connect');
      socket.write(text);
      if (end) setImmediate(() => socket.destroy());
      await new Promise((resolve) => socket.on('close', resolve));
    };
    await sent(`POST ${target} HTTP/1.1\r\n${headers}content-length: 9000000\r\n\r\n${'x'.repeat(9_000_000)}`, false);
    await sent(`POST ${target} HTTP/1.1\r\n${headers}content-length: 100\r\n\r\n{"name"`, true);
    await sent('\0\0\0\r\n\r\n', false);
    expect((await api('GET', `/v3/${segment(instance.crn)}/certificates`)).body.totalScannedDocs).toBe(0);
    await instance.close();
  });

  test('closing lets a request under way come to its end', async () => {
    const table = memoryTable();
    let go: () => void = () => {};
    const reached = new Promise<void>((resolve) => {
      go = resolve;
    });
    let release: () => void = () => {};
    const slow: Table = {
      ...table,
      async query(query) {
        go();
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return table.query(query);
      },
    };
    const instance = await startTestInstance({ table: slow });
    const api = await clientOf(instance);
    const answer = api('GET', `/v3/${segment(instance.crn)}/certificates`);
    await reached;
    const closed = instance.close();
    release();
    expect((await answer).status).toBe(200);
    await closed;
    await expect(api('GET', `/v3/${segment(instance.crn)}/certificates`)).rejects.toThrow();
  });
});
