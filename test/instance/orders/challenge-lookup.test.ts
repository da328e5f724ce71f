import { createSocket } from 'node:dgram';
import { setMaxListeners } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { challengeLookup } from '../../../src/instance/orders/challenge-lookup.ts';
import { type FakeDns, startFakeDns } from '../../support/fake-dns.ts';

let dns: FakeDns;
beforeEach(async () => {
  dns = await startFakeDns();
});
afterEach(() => dns.close());

/** A lookup that is not ended. */
const on = new AbortController().signal;
const name = '_acme-challenge.shop.example.test';

test('a record of that value is found, among others too; none, or another, is not', async () => {
  const holds = challengeLookup({ server: dns.address });
  expect(await holds(name, 'v1', on)).toBe(false);
  dns.txt.set(name, ['v2']);
  expect(await holds(name, 'v1', on)).toBe(false);
  dns.txt.set(name, ['v2', 'v1']);
  expect(await holds(name, 'v1', on)).toBe(true);
});

test('aliases are followed to where the record is, and not in circles', async () => {
  const holds = challengeLookup({ server: dns.address });
  dns.cname.set(name, 'shop.proofs.example.test');
  dns.cname.set('shop.proofs.example.test', 'elsewhere.example.test');
  dns.txt.set('elsewhere.example.test', ['v1']);
  expect(await holds(name, 'v1', on)).toBe(true);
  dns.cname.set('elsewhere.example.test', name);
  expect(await holds(name, 'v1', on)).toBe(false);
});

test('a server that refuses is no answer', async () => {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  socket.on('message', (query, from) => {
    const refused = Buffer.from(query);
    refused.writeUInt16BE(0x8185, 2);
    socket.send(refused, from.port, from.address);
  });
  expect(await challengeLookup({ server: `127.0.0.1:${port}` })(name, 'v1', on)).toBe(false);
  await new Promise<void>((resolve) => socket.close(() => resolve()));
});

test('a server that is silent is given up when the lookup is ended, at whatever it is asked, and is asked nothing more', async () => {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const ended = new AbortController();
  setMaxListeners(0, ended.signal);
  let asked = 0;
  socket.on('message', () => {
    asked += 1;
    if (asked === 3) ended.abort();
  });
  const holds = challengeLookup({ server: `127.0.0.1:${socket.address().port}` });
  // Were they not given up, the abort would be without effect, and more would be asked.
  expect(await Promise.all([1, 2, 3].map((each) => holds(`${each}.${name}`, 'v1', ended.signal)))).toEqual([
    false,
    false,
    false,
  ]);
  expect(await holds(name, 'v1', ended.signal)).toBe(false);
  expect(asked).toBe(3);
  await new Promise<void>((resolve) => socket.close(() => resolve()));
});
