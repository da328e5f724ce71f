import { setMaxListeners } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Live, liveEvents } from '../../src/console/live.ts';
import type { Session } from '../../src/console/sessions.ts';
import { eventStreams } from '../../src/console/stream.ts';
import { limits } from '../../src/limits.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { startMs } from '../support/replication.ts';

// Streams alone on a server that keeps count of what goes wrong with each answer: in the program an
// error that nobody hears would end the process.

const large = 'x'.repeat(32 * 1024 * 1024);
let live: Live;
let server: Server;
let port: number;
let ending: AbortController;
const errors: Error[] = [];
const seen = { asked: 0, refused: 0 };
beforeEach(async () => {
  errors.length = 0;
  Object.assign(seen, { asked: 0, refused: 0 });
  live = liveEvents({
    now: () => startMs,
    links: [],
    record: async () => undefined,
    firstReconciledAt: () => undefined,
    failed: (thrown) => errors.push(thrown as Error),
  });
  ending = new AbortController();
  setMaxListeners(0, ending.signal);
  const streams = eventStreams({ live, now: () => startMs, headers: {}, beatMs: 5, partingMs: 20 });
  const session: Session = { formToken: '', until: startMs + 1, ended: ending.signal };
  server = createServer((request, response) => {
    response.on('error', (error) => errors.push(error));
    seen.asked += 1;
    if (request.url === '/large') return response.end(large);
    if (streams.open(request, response, session)) return response;
    seen.refused += 1;
    return response.writeHead(503).end();
  });
  server.on('connection', (socket) => socket.setMaxListeners(0));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterEach(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

const imported: LifecycleEvent = {
  kind: 'imported',
  changes: true,
  type: '',
  version: 4,
  store: 'primary',
  certificates: [{ id: 'c1', name: 'shop.example' }],
  digest: 'd',
};

/** Asks for these paths at once, on one connection. What comes is read only where that is asked. */
function pipelined(paths: readonly string[], { reads }: { readonly reads: boolean }) {
  const heard = { text: '', isClosed: false };
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.on('close', () => {
    heard.isClosed = true;
  });
  if (reads)
    socket.setEncoding('latin1').on('data', (text: string) => {
      heard.text += text;
    });
  else socket.pause();
  socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`).join(''));
  return { heard, leave: () => socket.destroy() };
}
const connections = () =>
  new Promise<number>((resolve, reject) =>
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );

test('what happens at the moment at which a session ends is not written after the end of its streams', async () => {
  const page = pipelined(['/events'], { reads: true });
  await expect.poll(() => page.heard.text).toContain('event: start');
  ending.abort();
  live.acknowledged('main', imported, 'new');
  await expect.poll(() => page.heard.text).toContain('event: over');
  expect(page.heard.text).not.toContain('event: row');
  expect(errors).toEqual([]);
  page.leave();
});

test('a page that reads nothing and whose session ends is cut off, whatever stands before its stream', async () => {
  const page = pipelined(['/large', '/events'], { reads: false });
  await expect.poll(() => seen.asked).toBe(2);
  ending.abort();
  live.acknowledged('main', imported, 'new');
  await expect.poll(connections).toBe(0);
  expect(errors).toEqual([]);
  page.leave();
});

test('streams that wait behind another answer give their room back when their connection ends', async () => {
  const waiting = Array.from({ length: limits.consoleStreams }, () => '/events');
  const page = pipelined(['/large', ...waiting], { reads: false });
  await expect.poll(() => seen.asked).toBe(waiting.length + 1);
  ending.abort();
  page.leave();
  await expect.poll(connections).toBe(0);
  const next = pipelined(['/events'], { reads: true });
  await expect.poll(() => next.heard.text).toContain('event: start');
  expect(seen.refused).toBe(0);
  next.leave();
});
