import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeSigner } from '../support/notifications.ts';
import { eventBody, holds, inParallel, makeSubjects, plainCopy, signIn } from './bench.ts';
import { startRelay } from './relay.ts';
import { createReport } from './report.ts';
import { type RestClient, sameContent } from './rest.ts';
import { startServers } from './servers.ts';
import { quantile, seededRandom, shuffled } from './statistics.ts';
import { straightforwardFunction } from './straightforward.ts';

const signer = makeSigner();
let servers: Awaited<ReturnType<typeof startServers>>;
let primary: RestClient;
let backup: RestClient;

beforeAll(async () => {
  const signingKey = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  servers = await startServers({ signingKey, oneWayMs: 1 });
  primary = await signIn(servers.near.primary);
  backup = await signIn(servers.near.backup);
});
afterAll(() => servers.close());

test('the straightforward function copies what was imported and what was reimported, by five requests each', async () => {
  const copies = new Map<string, string>();
  const replicate = straightforwardFunction(servers.pair, copies);
  const [subject] = await makeSubjects(primary, 'shop', 1);
  if (subject === undefined) throw new Error('no certificate was made');
  const { id, versions } = subject;

  servers.takeCounts();
  await replicate(eventBody(signer, 'cert_imported', subject));
  expect(servers.takeCounts()).toEqual({ public_key: 1, token: 2, download: 1, import: 1 });
  const copy = copies.get(id) ?? '';
  expect(await holds(backup, copy, versions[0])).toBe(true);
  expect(await holds(backup, copy, versions[1])).toBe(false);

  await primary.reimport(id, versions[1]);
  servers.takeCounts();
  await replicate(eventBody(signer, 'cert_reimported', subject));
  expect(servers.takeCounts()).toEqual({ public_key: 1, token: 2, download: 1, reimport: 1 });
  expect(copies.get(id)).toBe(copy);
  expect(await holds(backup, copy, versions[1])).toBe(true);
});

test('the straightforward function refuses what the primary did not sign', async () => {
  const replicate = straightforwardFunction(servers.pair);
  const forged = eventBody(makeSigner(), 'cert_imported', { id: 'a', name: 'a' });
  await expect(replicate(forged)).rejects.toThrow('invalid signature');
});

test('the floor is one download and one reimport', async () => {
  const [subject] = await makeSubjects(primary, 'floor', 1);
  if (subject === undefined) throw new Error('no certificate was made');
  const copy = await backup.import('floor', subject.versions[1]);
  const replicate = await plainCopy(servers.pair, new Map([[subject.id, copy]]));
  const importedAt = servers.backupWroteAt();
  servers.takeCounts();
  await replicate(subject.id);
  expect(servers.takeCounts()).toEqual({ download: 1, reimport: 1 });
  expect(await holds(backup, copy, subject.versions[0])).toBe(true);

  const reimportedAt = servers.backupWroteAt();
  expect(reimportedAt).toBeGreaterThan(importedAt);
  await primary.reimport(subject.id, subject.versions[1]);
  await primary.download(subject.id);
  expect(servers.backupWroteAt(), 'a write to the primary is none to the backup').toBe(reimportedAt);
});

test('contents are the same wherever their lines break, and differ by their key alone', () => {
  const content = { content: 'A\r\nB\r\n', intermediate: 'C\n', priv_key: 'D\n' };
  expect(sameContent(content, { content: 'A\nB\n', intermediate: 'C', priv_key: 'D' })).toBe(true);
  expect(sameContent(content, { content: 'A\nB\n', intermediate: 'C', priv_key: 'E' })).toBe(false);
  expect(sameContent(content, { content: 'A\nB\n', intermediate: 'C' })).toBe(false);
});

test.each([
  [[5, 1, 4, 2, 3], 0.5, 3],
  [[4, 1, 3, 2], 0.5, 2],
  [[7], 0.99, 7],
  [Array.from({ length: 200 }, (_, index) => index + 1), 0.99, 198],
  [[1, 2], 1, 2],
])('the quantile of %j at %d is %d', (values, share, expected) => {
  expect(quantile(values, share)).toBe(expected);
});

test('there is no quantile of no values', () => {
  expect(() => quantile([], 0.5)).toThrow(RangeError);
});

test('an order made by chance is the same in each run, and loses nothing', () => {
  const items = [1, 2, 3, 4, 5, 6, 7, 8];
  const order = shuffled(items, seededRandom(1));
  expect(order).toEqual(shuffled(items, seededRandom(1)));
  expect(order).not.toEqual(items);
  expect(order.toSorted()).toEqual(items);
});

test('work goes on so many at a time, each item once', async () => {
  const seen: number[] = [];
  let underWay = 0;
  let most = 0;
  await inParallel([1, 2, 3, 4, 5], 2, async (item) => {
    underWay += 1;
    most = Math.max(most, underWay);
    await Promise.resolve();
    seen.push(item);
    underWay -= 1;
  });
  expect(seen.toSorted()).toEqual([1, 2, 3, 4, 5]);
  expect(most).toBe(2);
});

test('a relay passes everything on, in order, both ways', async () => {
  const server = createServer((request, response) => {
    request.pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const relay = await startRelay((server.address() as AddressInfo).port, 1);
  const body = 'x'.repeat(300_000) + 'y'.repeat(300_000);
  const answer = await fetch(`http://127.0.0.1:${relay.port}/`, { method: 'POST', body });
  expect(await answer.text()).toBe(body);
  await relay.close();
  server.closeAllConnections();
  server.close();
});

test('a report says what was met, what was missed and what was wrong', () => {
  const lines: string[] = [];
  const report = createReport((text) => lines.push(text.replace(/ +/g, ' ')));
  report.line('a', '1', { value: 1.5, atMost: 1.5 });
  report.line('b', '1', { value: 1.51, atMost: 1.5 });
  report.line('c', '1', { value: 2, atLeast: 2 });
  report.line('d', '1', { value: 1.99, atLeast: 2 });
  report.line('e', '1', { value: 3 });
  report.wrong('a copy is missing');
  expect(lines).toEqual([
    ' a 1 1.50 x target <= 1.5: met\n',
    ' b 1 1.51 x target <= 1.5: missed\n',
    ' c 1 2.00 x target >= 2: met\n',
    ' d 1 1.99 x target >= 2: missed\n',
    ' e 1 3.00 x\n',
    ' WRONG: a copy is missing\n',
  ]);
  expect(report.failures).toEqual(['a copy is missing']);
});
