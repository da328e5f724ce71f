import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemRuntime } from '../../../src/runtime.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../../store/scripted-server.ts';
import { failure, listOf, storeAt } from './objects.ts';

let server: ScriptedServer;
let told: string[];
const watches: { close(): void }[] = [];
/** Pauses last no time: what is looked at is what is asked, and in which order. */
const runtime = { ...systemRuntime, random: () => 0 };

beforeEach(async () => {
  server = await startScriptedServer();
  told = [];
});
afterEach(async () => {
  for (const watch of watches.splice(0)) watch.close();
  await server.close();
});

const object = (name: string, resourceVersion: string, uid = `u-${name}`) => ({
  metadata: { name, namespace: 'web', uid, resourceVersion },
});
const event = (type: string, given: object) => `${JSON.stringify({ type, object: given })}\n`;
const bookmark = (resourceVersion: string) => event('BOOKMARK', { metadata: { resourceVersion } });
const expired = event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' });

/** An answer that goes on for as long as the server does not end it. */
const streams = (...lines: readonly string[]): Step & { response?: ServerResponse } =>
  ((_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(lines.join(''));
  }) as Step;
/** The same, ended cleanly after these lines. */
const ends = (...lines: readonly string[]): Step =>
  ((_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(lines.join(''));
  }) as Step;

function watch(options: Parameters<typeof storeAt>[1] = {}): void {
  const store = storeAt(server.url, { runtime, ...options });
  const watching = store.watch?.((id) => void told.push(id));
  if (watching !== undefined) watches.push(watching);
}
/** What the watch was asked for: from where on, of each of its connections. */
const versions = () =>
  server.requests
    .filter(({ url }) => url.includes('watch=1'))
    .map(({ url }) => new URL(url, server.url).searchParams.get('resourceVersion'));
const listings = () => server.requests.filter(({ url }) => url.includes('limit=')).length;

it('tells of what changes after it began, once each, and of nothing that was there', async () => {
  server.answers(
    listOf([object('old', '5')], { resourceVersion: '10' }),
    streams(
      event('ADDED', object('old', '5')),
      event('ADDED', object('new', '11')),
      event('MODIFIED', object('old', '12')),
      event('MODIFIED', object('old', '12')),
      event('DELETED', object('new', '13')),
    ),
  );
  watch();
  await expect.poll(() => told).toEqual(['web/new', 'web/old', 'web/new']);
  const [, request] = server.requests;
  expect(decodeURIComponent(request?.url ?? '')).toContain('labelSelector=!certstandby/mark');
  expect(request?.url).toContain('allowWatchBookmarks=true');
  expect(request?.headers.accept).toContain('PartialObjectMetadata;');
});

it('goes on where it was when the server ends it, from the last bookmark', async () => {
  server.answers(
    listOf([], { resourceVersion: '10' }),
    ends(event('ADDED', object('one', '11')), bookmark('20')),
    ends(),
    streams(event('ADDED', object('two', '21'))),
  );
  watch();
  await expect.poll(() => told).toEqual(['web/one', 'web/two']);
  expect(versions()).toEqual(['10', '20', '20']);
  expect(listings()).toBe(1);
});

it('lists again where the server no longer knows where it was, and tells of all that differs', async () => {
  server.answers(
    listOf([object('same', '1'), object('changed', '2'), object('gone', '3'), object('anew', '4', 'u-before')]),
    ends(expired),
    listOf([object('same', '1'), object('changed', '9'), object('anew', '4', 'u-after'), object('came', '8')], {
      resourceVersion: '30',
    }),
    streams(),
  );
  watch();
  await expect.poll(versions).toEqual(['10', '30']);
  expect(told.toSorted()).toEqual(['web/anew', 'web/came', 'web/changed', 'web/gone']);
});

it.each([
  ['a 410 in the place of a watch', failure(410, 'Expired', 'too old')],
  ['a line that is no event', ends('{"type":"NEW"}\n')],
])('lists again after %s', async (_, answer) => {
  server.answers(listOf([]), answer, listOf([object('one', '1')], { resourceVersion: '30' }), streams());
  watch();
  await expect.poll(versions).toEqual(['10', '30']);
  expect(told).toEqual(['web/one']);
});

it('pitfalls 5, 12: lists again after a silence, as of a server that was set back to an older state', async () => {
  server.answers(listOf([object('one', '1')]), streams(), listOf([], { resourceVersion: '3' }), streams());
  watch({ watchQuietMs: 300 });
  await expect.poll(versions).toEqual(['10', '3']);
  expect(told).toEqual(['web/one']);
});

it('is not silent while lines come, whatever they say', async () => {
  let lines = 0;
  server.answers(listOf([]), ((_request: unknown, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const timer = setInterval(() => {
      lines += 1;
      response.write(bookmark(String(100 + lines)));
    }, 50);
    response.on('close', () => clearInterval(timer));
  }) as Step);
  watch({ watchQuietMs: 1_000 });
  await expect.poll(() => lines).toBeGreaterThan(30);
  expect(listings()).toBe(1);
});

it('pitfall 12: comes back after failures, with the version that it had, and never gives up', async () => {
  const dropped = ((request: { url: string }, response: ServerResponse) => {
    response.socket?.destroy();
    return request;
  }) as unknown as Step;
  server.answers(
    failure(403, 'Forbidden', 'User "x" cannot list resource "secrets"'),
    { status: 503 },
    listOf([]),
    dropped,
    { status: 500, body: 'a page\nof several lines' },
    streams(event('ADDED', object('one', '11'))),
  );
  watch();
  await expect.poll(() => told).toEqual(['web/one']);
  expect(new Set(versions())).toEqual(new Set(['10']));
});

it('watches each namespace by one connection, and one that fails holds up no other', async () => {
  const handle = ((request: { url: string }, response: ServerResponse) => {
    const url = new URL(request.url, server.url);
    if (url.pathname.includes('/broken/')) return void response.writeHead(500).end();
    response.writeHead(200, { 'content-type': 'application/json' });
    if (url.searchParams.get('watch') === null)
      response.end(JSON.stringify({ kind: 'SecretList', metadata: { resourceVersion: '1' }, items: null }));
    else response.write(event('ADDED', object('one', '11')));
  }) as unknown as Step;
  server.answers(...Array.from({ length: 1_000 }, () => handle));
  watch({ namespaces: ['broken', 'web'], runtime: systemRuntime });
  await expect.poll(() => told).toEqual(['web/one']);
});

it('is quiet and asks nothing more when it is closed', async () => {
  server.answers(listOf([]), streams());
  watch();
  await expect.poll(() => server.requests.length).toBe(2);
  for (const watching of watches.splice(0)) watching.close();
  server.answers(...Array.from({ length: 10 }, () => listOf([object('late', '1')])));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(server.requests).toHaveLength(2);
  expect(told).toEqual([]);
});
