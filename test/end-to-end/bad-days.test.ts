import { createServer } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { listen } from '../../src/http/listen.ts';
import { brokenChain, mismatchedKey, testCertificate } from '../support/certificates.ts';
import type { Behaviour } from '../support/faulty-proxy.ts';
import { type Pair, startPair } from './pair.ts';

let pair: Pair;
beforeEach(async () => {
  pair = await startPair();
});
afterEach(() => pair.close());

const isImport = ({ method, path }: { method: string; path: string }) => method === 'POST' && path.endsWith('/import');
const isReimport = ({ method }: { method: string }) => method === 'PUT';

/** Does this to the first so many requests of a kind, and passes everything else. */
function first(count: number, of: (request: { method: string; path: string }) => boolean, behaviour: Behaviour) {
  let left = count;
  pair.proxy.behave = (request) => {
    if (!of(request) || left === 0) return 'pass';
    left -= 1;
    return behaviour;
  };
}

test('an imported and then a renewed certificate arrives, key included', async () => {
  const id = await pair.import('shop', await testCertificate());
  const renewed = await testCertificate();
  await pair.primary.reimport(id, parseContent(renewed));
  await pair.copied('shop', renewed);
});

describe('the backup has a bad day, and one copy is there in the end', () => {
  const bad: Readonly<Record<string, Behaviour>> = {
    'is down': 'drop',
    'drops the connection after applying the import': 'drop-after',
    'answers 429 with Retry-After': {
      status: 429,
      headers: { 'retry-after': '1' },
      body: '{"code":"limit","message":"slow down"}',
    },
    'answers 429 without Retry-After': { status: 429 },
    'answers 500': { status: 500, body: 'oops' },
    'answers nonsense': { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>It works!</html>' },
    'answers after the pass gave up': { delayMs: 4_000 },
  };
  for (const [name, behaviour] of Object.entries(bad)) {
    test(`it ${name}`, async () => {
      first(2, isImport, behaviour);
      const pem = await testCertificate();
      await pair.import('shop', pem);
      await pair.copied('shop', pem);
    });
  }

  test('a renewal that was applied but not answered is not the last word when the certificate changes again', async () => {
    const [one, two, three] = await Promise.all([testCertificate(), testCertificate(), testCertificate()]);
    const id = await pair.import('shop', one);
    await pair.copied('shop', one);
    first(1, isReimport, 'drop-after');
    await pair.primary.reimport(id, parseContent(two));
    await pair.primary.reimport(id, parseContent(three));
    await pair.copied('shop', three);
  });

  test('it was down for everything, and comes back', async () => {
    pair.proxy.behave = () => 'drop';
    const pem = await testCertificate();
    await pair.import('shop', pem);
    await new Promise((resolve) => setTimeout(resolve, 800));
    pair.proxy.behave = () => 'pass';
    await pair.copied('shop', pem);
  });

  test('it lost everything: a reconcile has all imported anew', async () => {
    const [shop, api] = await Promise.all([testCertificate(), testCertificate({ domains: ['api.example.test'] })]);
    await pair.import('shop', shop);
    await pair.import('api', api);
    await pair.copied('shop', shop);
    await pair.copied('api', api);
    await pair.restartBackup();
    const [link] = pair.program.links;
    const report = link && (await pair.program.reconcile(link));
    expect(report?.asked).toEqual({ missing: 2 });
    await pair.copied('shop', shop);
    await pair.copied('api', api);
  });
});

test('what would not serve is not copied; the copy stays, and the record says why', async () => {
  const good = await testCertificate();
  const id = await pair.import('shop', good);
  await pair.copied('shop', good);
  // The instance itself refuses a foreign key; half a chain it takes, as Certificate Manager does.
  await expect(pair.primary.reimport(id, parseContent(await mismatchedKey()))).rejects.toMatchObject({
    code: 'store_content_refused',
  });
  await pair.primary.reimport(id, parseContent(await brokenChain()));

  const [link] = pair.program.links;
  await expect
    .poll(async () => (link && (await pair.program.record(link, id)))?.lastError?.code)
    .toBe('certificate_chain_broken');
  await pair.copied('shop', good);
});

test('the same event a hundred times: one import, one reimport, and the looks are few', async () => {
  const captured: string[] = [];
  const callback = await captureCallbacks(captured);
  await pair.addChannel(callback.url);
  const [one, renewed] = await Promise.all([testCertificate(), testCertificate()]);
  const id = await pair.import('shop', one);
  await pair.copied('shop', one);
  await pair.primary.reimport(id, parseContent(renewed));
  await pair.copied('shop', renewed);
  await expect.poll(() => captured.length).toBe(2);
  await callback.close();

  const body = captured.find((text) => payloadOf(text).event_type === 'cert_reimported') ?? '';
  const before = pair.proxy.requests.length;
  const beganAt = Date.now();
  const answers = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const answer = await fetch(pair.callbackUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      return answer.status;
    }),
  );
  expect(new Set(answers)).toEqual(new Set([200]));
  await new Promise((resolve) => setTimeout(resolve, 600));

  const writes = pair.proxy.requests.filter((request) => /^(POST .*import|PUT )/.test(request));
  expect(writes.map((request) => request.split(' ')[0])).toEqual(['POST', 'PUT']);
  // Each sweep looks once at the most, at metadata and content of the one copy; there is one each
  // 200 ms, however long this machine takes.
  const sweeps = Math.ceil((Date.now() - beganAt) / 200) + 1;
  expect(pair.proxy.requests.length - before).toBeLessThanOrEqual(2 * sweeps);
});

/** A second callback beside the real one, which keeps what it is sent. */
async function captureCallbacks(bodies: string[]) {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      bodies.push(body);
      response.end();
    });
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  return { url, close: () => new Promise((resolve) => server.close(resolve)) };
}

function payloadOf(body: string): { readonly event_type?: string } {
  const { data } = JSON.parse(body) as { data: string };
  return JSON.parse(Buffer.from(data.split('.')[1] ?? '', 'base64url').toString());
}
