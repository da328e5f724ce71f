import { createServer, request as httpRequest, maxHeaderSize } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, test, vi } from 'vitest';
import { composeCallback } from '../../src/compose/function-callback.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { listen } from '../../src/http/listen.ts';
import { jsonLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { verificationKeyRecords } from '../../src/records/verification-key-records.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { addressOf } from '../../src/services/event-notifications/address.ts';
import type { EventNotificationsConfig } from '../../src/services/event-notifications/settings.ts';
import * as registry from '../../src/services/registry.ts';
import type { Service } from '../../src/services/service.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { printedTable } from './attacker.ts';
import { type Headers, type Post, type ProofUnderAttack, proofsUnderAttack } from './proofs.ts';

// The callback alone, as functions run it: whatever it calls, it calls because something arrived.

const services: Readonly<Record<string, Service>> = registry;
const table = printedTable('proof', 'what arrives', 'answer', 'what the sender then does', 'calls made');
const lines: string[] = [];
const woken: Wake[] = [];
let aheadMs = 0;
let calls = 0;
let url = '';
let receive: Awaited<ReturnType<typeof composeCallback>>;
const ends: (() => unknown)[] = [];
const places = proofsUnderAttack('http://127.0.0.1:9');

beforeAll(async () => {
  const runtime = { ...systemRuntime, now: () => Date.now() + aheadMs };
  // Whoever is called, at whatever address: a connection is counted, and none is let through.
  const { host, close } = await startHost(runtime);
  ends.push(close);
  url = host;
  const connect = Socket.prototype.connect;
  vi.spyOn(Socket.prototype, 'connect').mockImplementation(function (this: Socket, ...given: unknown[]) {
    const wanted = JSON.stringify(given);
    if (!wanted.includes(`"port":"${new URL(url).port}"`) && !wanted.includes(`"port":${new URL(url).port}`))
      calls += 1;
    return connect.apply(this, given as never);
  });
});
afterAll(async () => {
  vi.restoreAllMocks();
  for (const end of ends) await end();
  table.print();
});

async function startHost(runtime: typeof systemRuntime) {
  const config = parseConfig(places.text, { env: places.env, readFile: places.readFile, path: '/c/certstandby.yaml' });
  const rows = memoryTable();
  const pem = places.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const keys = verificationKeyRecords(rows);
  const keep = async (sender: string, pem: string, from: string) =>
    keys.saveVerificationKeys(sender, await keys.verificationKeys(sender), [{ id: 'k1', pem, from }], Date.now());
  for (const sender of ['ci', 'ci2']) await keep(sender, pem, 'http://127.0.0.1:9/jwks');
  const eventsPem = places.eventsKey.export({ type: 'spki', format: 'pem' }).toString();
  const [events] = (config.senders ?? []).filter(({ name }) => name === 'events');
  await keep('events', eventsPem, addressOf(events as EventNotificationsConfig).keyFrom);
  const log = jsonLog({ least: 'debug', now: runtime.now, write: (line) => void lines.push(line) });
  receive = await composeCallback({
    config: config as unknown as Parameters<typeof composeCallback>[0]['config'] & Config,
    table: rows,
    dispatch: { dispatch: async (wakes) => void woken.push(...wakes) },
    runtime,
    log,
  });
  const server = await startReceiverServer({ receiver: receive, host: '127.0.0.1', port: 0, log });
  return { host: server.url, close: () => server.close() };
}

/** One request over HTTP, byte for byte, and what came of it. */
async function send(proof: ProofUnderAttack, post: Post) {
  const before = { calls, woken: woken.length };
  aheadMs = post.aheadMs ?? 0;
  const to = new URL(`/callback/${post.to ?? proof.callback}`, url);
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = httpRequest(
      { host: to.hostname, port: to.port, path: to.pathname, method: 'POST', agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    // Who is refused while still sending headers may find the connection closed before the answer
    // is read: no more of it was taken, which is what 431 says.
    const isTooMuch = JSON.stringify(post.headers).length > maxHeaderSize;
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (isTooMuch && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '')) resolve({ status: 431, text: '' });
      else reject(error);
    });
    request.setHeader('content-type', 'application/json');
    for (const [name, value] of Object.entries(post.headers)) request.setHeader(name, value as string | string[]);
    request.end(post.body);
  });
  aheadMs = 0;
  const { code, status: word } = text === '' ? {} : (JSON.parse(text) as { code?: string; status?: string });
  return {
    answer: `${status} ${code ?? word ?? ''}`,
    status,
    code,
    calls: calls - before.calls,
    woken: woken.length - before.woken,
  };
}

test('each service that sends is in the table', () => {
  const kinds = Object.values(services).flatMap(({ kind, sender }) => (sender === undefined ? [] : [kind]));
  expect(kinds.filter((kind) => !places.proofs.some((proof) => proof.kind === kind))).toEqual([]);
});

/** What is not taken yet, and must come again. */
const notYet = /^notification_(?:untimely|key_unknown|key_missing)$/;

describe.each(places.proofs)('$name', (proof) => {
  it('is taken where it is good, once, and calls nobody', async () => {
    const post = proof.good();
    const first = await send(proof, post);
    expect(first).toMatchObject({ answer: '202 acknowledged', calls: 0, woken: proof.links });
    table.add(proof.name, 'good', first.answer, 'nothing more', String(first.calls));
    const again = await send(proof, post);
    expect(again).toMatchObject({ answer: '200 repeat', calls: 0 });
    table.add(proof.name, 'the same again', again.answer, 'nothing more', String(again.calls));
  });

  it.each(proof.cases)('is refused: $what, $answer', async ({ what, post, answer }) => {
    const found = await send(proof, post);
    const then = proof.after(found.status);
    table.add(proof.name, what, found.answer, then, String(found.calls));
    expect(found).toMatchObject({ answer, calls: 0, woken: 0 });
    // What may be taken later is never answered so that it is dropped.
    if (notYet.test(found.code ?? '')) expect(then).toBe('tries again');
  });

  const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
  it(`is never taken by anything else, and nothing fails (seed ${seed})`, async () => {
    const before = { calls, lines: lines.length };
    await fc.assert(
      fc.asyncProperty(damaged(proof), async ({ headers, body, isGood }) => {
        const lower = new Map(Object.entries(headers));
        const header = (name: string) => [lower.get(name.toLowerCase()) ?? []].flat().join(', ') || undefined;
        const answer = await receive({
          method: 'POST',
          path: `/callback/${proof.callback}`,
          header,
          body: Buffer.from(body),
        });
        expect(answer.status === 202 || answer.status === 200 ? isGood : true).toBe(true);
        expect([200, 202, 400, 401, 403, 503]).toContain(answer.status);
      }),
      { seed, numRuns: 300 },
    );
    expect(calls - before.calls).toBe(0);
    expect(lines.slice(before.lines).join('')).not.toMatch(
      /"outcome":"failed".*"code":"(?:internal|table_unavailable)"/,
    );
  });
});

/** A good request of which a part was damaged, left out, or made up. */
function damaged(proof: ProofUnderAttack) {
  const unsigned = ['shared-secret', 'openbao-audit', 'eventbridge', 'oidc-token'].includes(proof.kind);
  const edits = fc.array(
    fc.record({ part: fc.nat(), at: fc.nat(2_000), cut: fc.nat(6), add: fc.string({ unit: 'binary', maxLength: 6 }) }),
    { minLength: 1, maxLength: 3 },
  );
  return edits.map((given) => {
    const { headers, body } = proof.good();
    const parts: Record<string, string> = { ...(headers as Record<string, string>), body: String(body) };
    const good = JSON.stringify(parts);
    const names = Object.keys(parts);
    for (const { part, at, cut, add } of given) {
      const name = names[part % names.length] ?? 'body';
      const text = parts[name] ?? '';
      const place = at % (text.length + 1);
      parts[name] = text.slice(0, place) + add + text.slice(place + cut);
    }
    const { body: damagedBody = '', ...rest } = parts;
    // What proves the sender alone says nothing of the body; and what is left as it was is good.
    const proven = unsigned && JSON.stringify(rest) === JSON.stringify(headers);
    return { headers: rest as Headers, body: damagedBody, isGood: proven || JSON.stringify(parts) === good };
  });
}

describe('addresses that a message names', () => {
  it('are asked by nobody: a server that waits for it hears nothing', async () => {
    let asked = 0;
    const server = createServer((_request, response) => {
      asked += 1;
      response.end();
    });
    const { url: trap } = await listen(server, '127.0.0.1', 0, { nextFree: false });
    ends.push(() => new Promise((resolve) => server.close(resolve)));
    for (const proof of places.proofs) {
      const { body, ...good } = proof.good();
      await send(proof, { ...good, body, headers: { ...good.headers, 'x-forwarded-host': trap, referer: trap } });
    }
    expect(asked).toBe(0);
    // What counts connections does see one.
    const before = calls;
    await fetch(trap);
    expect([asked, calls - before]).toEqual([1, 1]);
  });
});
