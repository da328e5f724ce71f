import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import {
  addressKind,
  checkEndpoint,
  guardedLookup,
  type Resolve,
} from '../../../src/instance/notifications/endpoint.ts';
import { createPoster } from '../../../src/instance/notifications/post.ts';

const nothing = { loopback: false, private: false };
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

test.each([
  ['8.8.8.8', 'public'],
  ['172.15.255.255', 'public'],
  ['172.32.0.0', 'public'],
  ['100.63.255.255', 'public'],
  ['100.128.0.0', 'public'],
  ['223.255.255.255', 'public'],
  ['2606:4700::1111', 'public'],
  ['::ffff:8.8.8.8', 'public'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.255', 'loopback'],
  ['0.0.0.0', 'loopback'],
  ['::1', 'loopback'],
  ['::', 'loopback'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['0.0.0.1', 'private'],
  ['10.0.0.0', 'private'],
  ['10.255.255.255', 'private'],
  ['100.64.0.0', 'private'],
  ['100.127.255.255', 'private'],
  ['169.254.169.254', 'private'],
  ['172.16.0.0', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.0.1', 'private'],
  ['198.19.255.255', 'private'],
  ['203.0.113.7', 'private'],
  ['224.0.0.1', 'private'],
  ['240.0.0.1', 'private'],
  ['255.255.255.255', 'private'],
  ['::ffff:10.0.0.1', 'private'],
  ['::ffff:a9fe:a9fe', 'private'],
  ['::10.0.0.1', 'private'],
  ['64:ff9b::a00:1', 'private'],
  ['2001::1', 'private'],
  ['2001:db8::1', 'private'],
  ['2002:a00:1::1', 'private'],
  ['fc00::1', 'private'],
  ['fdff::1', 'private'],
  ['fe80::1', 'private'],
  ['fec0::1', 'private'],
  ['ff02::1', 'private'],
])('%s is %s', (address, kind) => {
  expect(addressKind(address)).toBe(kind);
});

describe('an endpoint', () => {
  test.each([
    'https://10.0.0.1/',
    'https://0xa9.254.0251.254/latest/meta-data',
    'https://2852039166/',
    'https://[fd00::1]/',
    'https://[::ffff:192.168.0.1]/',
    'https://[::ffff:a00:1]/',
  ])('%s is refused unless private addresses are allowed, and never without TLS', (endpoint) => {
    expect(() => checkEndpoint(endpoint, nothing)).toThrow(
      expect.objectContaining({ code: 'instance_request_invalid' }),
    );
    expect(() => checkEndpoint(endpoint, { loopback: true, private: false })).toThrow();
    expect(checkEndpoint(endpoint, { loopback: false, private: true })).toBe(endpoint);
    expect(() => checkEndpoint(endpoint.replace('https', 'http'), { loopback: true, private: true })).toThrow();
  });
});

/** A name server that knows these addresses of every name. */
const resolving =
  (...addresses: string[]): Resolve =>
  (_, __, answer) =>
    answer(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );

describe('a lookup', () => {
  const look = (resolve: Resolve, all: boolean) =>
    new Promise<unknown[]>((done) =>
      guardedLookup(nothing, resolve)('name.example.test', { all }, (...args) => done(args)),
    );

  test('answers only addresses that are allowed', async () => {
    const mixed = resolving('10.0.0.1', '8.8.8.8', '2606:4700::1');
    expect(await look(mixed, false)).toEqual([null, '8.8.8.8', 4]);
    expect(await look(mixed, true)).toEqual([
      null,
      [
        { address: '8.8.8.8', family: 4 },
        { address: '2606:4700::1', family: 6 },
      ],
    ]);
  });

  test('fails where none is', async () => {
    for (const all of [true, false]) {
      expect((await look(resolving('169.254.169.254', '::ffff:10.0.0.1'), all))[0]).toMatchObject({
        code: 'instance_endpoint_forbidden',
      });
    }
  });

  test('says why a name was not found', async () => {
    const failing: Resolve = (_, __, answer) => answer(Object.assign(new Error('no'), { code: 'ENOTFOUND' }), []);
    expect((await look(failing, true))[0]).toMatchObject({ code: 'ENOTFOUND' });
  });
});

describe('a post', () => {
  async function server(): Promise<{
    readonly port: number;
    readonly hits: string[];
    readonly connections: () => number;
  }> {
    const hits: string[] = [];
    let connections = 0;
    const started: Server = createServer((request, response) => {
      hits.push(request.url ?? '');
      if (request.url === '/redirect') response.writeHead(302, { location: '/elsewhere' });
      request.resume();
      request.on('end', () => response.end('x'.repeat(request.url === '/long' ? 1_000_000 : 10)));
    });
    started.on('connection', () => connections++);
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      started.closeAllConnections();
      return new Promise((resolve) => started.close(resolve));
    });
    return { port: (started.address() as AddressInfo).port, hits, connections: () => connections };
  }

  function poster(allowed: { loopback: boolean; private: boolean }, resolve?: Resolve) {
    const made = createPoster({ allowed, now: () => 0, resolve });
    closers.push(async () => made.close());
    const { signal } = new AbortController();
    return (endpoint: string) => made.post(endpoint, '{"data":"x"}', { timeoutMs: 5_000, signal });
  }

  test('does not reach a name that stands for an address that is not allowed, and says so for good', async () => {
    const at = await server();
    const refused = { ok: false, final: true, reason: 'the endpoint is at an address that channels may not have' };
    for (const address of ['127.0.0.1', '::ffff:127.0.0.1']) {
      expect(await poster(nothing, resolving(address))(`http://name.example.test:${at.port}/`)).toEqual(refused);
    }
    expect(await poster(nothing)(`http://127.0.0.1:${at.port}/`)).toEqual(refused);
    expect(await poster(nothing)(`http://[::ffff:127.0.0.1]:${at.port}/`)).toEqual(refused);
    expect(at.hits).toEqual([]);
    const allowed = poster({ loopback: true, private: false }, resolving('127.0.0.1'));
    expect(await allowed(`http://name.example.test:${at.port}/there`)).toEqual({ ok: true });
    expect(at.hits).toEqual(['/there']);
  });

  test('looks at a name anew for each connection', async () => {
    const at = await server();
    let address = '127.0.0.1';
    const post = poster({ loopback: true, private: false }, (_, __, answer) => answer(null, [{ address, family: 4 }]));
    expect(await post(`http://name.example.test:${at.port}/`)).toEqual({ ok: true });
    address = '10.0.0.1';
    expect(await post(`http://other.example.test:${at.port}/`)).toMatchObject({ ok: false, final: true });
  });

  test('follows no redirect, keeps its connection, and reads no long answer to its end', async () => {
    const at = await server();
    const post = poster({ loopback: true, private: false });
    expect(await post(`http://127.0.0.1:${at.port}/redirect`)).toMatchObject({
      ok: false,
      final: true,
      reason: 'HTTP 302',
    });
    expect(await post(`http://127.0.0.1:${at.port}/a`)).toEqual({ ok: true });
    expect(at.connections()).toBe(1);
    expect(await post(`http://127.0.0.1:${at.port}/long`)).toEqual({ ok: true });
    expect(await post(`http://127.0.0.1:${at.port}/b`)).toEqual({ ok: true });
    expect(at.connections()).toBe(2);
    expect(at.hits).toEqual(['/redirect', '/a', '/long', '/b']);
  });
});
