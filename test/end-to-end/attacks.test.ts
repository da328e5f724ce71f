import { generateKeyPairSync } from 'node:crypto';
import { createServer, request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jsonLog } from '../../src/log.ts';
import { listen } from '../../src/receiver/listen.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { testCertificate } from '../support/certificates.ts';
import { certificateId, makeSigner, payloadV5, type Signer } from '../support/notifications.ts';
import { type Arms, accepted, type CallbackPost, manyCertificates, refused } from './attack-table.ts';
import type { Behaviour } from './faulty-proxy.ts';
import { type Pair, startPair } from './pair.ts';
import { primaryCrn } from './program.ts';

/** With ATTACKS_TABLE=1 the tests print what they saw. */
const rows: string[] = [];
afterAll(() => {
  if (process.env.ATTACKS_TABLE === '1') process.stdout.write(`\n${rows.join('\n')}\n`);
});
const note = (name: string, answer: string, calls: string) =>
  void rows.push(`| ${name.replaceAll('|', '\\|')} | ${answer} | ${calls} |`);

/** One request as it is, and its answer. */
function send(callbackUrl: string, { body, method = 'POST', path, headers }: CallbackPost) {
  const url = new URL(callbackUrl);
  return new Promise<{ readonly status: number; readonly body: string }>((resolve, reject) => {
    const request = httpRequest(
      {
        host: url.hostname,
        port: url.port,
        path: path ?? url.pathname,
        method,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

const codeOf = (body: string): string => {
  const { code, status } = JSON.parse(body) as { readonly code?: string; readonly status?: string };
  return code ?? status ?? '';
};

/** A server of the attacker's that offers his key under every path. */
async function startTrap(signer: Signer) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ publicKey: signer.publicKeyPem }));
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  return { url, requests: () => requests, close: () => new Promise((resolve) => server.close(resolve)) };
}

describe('what arrives at the callback', () => {
  const signer = makeSigner();
  const stranger = makeSigner();
  const lines: string[] = [];
  let trap: Awaited<ReturnType<typeof startTrap>>;
  let pair: Pair;
  let arms: Arms;
  beforeAll(async () => {
    trap = await startTrap(stranger);
    const log = jsonLog({ least: 'debug', now: systemRuntime.now, write: (line) => void lines.push(line) });
    pair = await startPair({ signingKey: signer.privateKey, sweeps: false, log });
    const pem = await testCertificate();
    const certificate = await pair.import('shop', pem);
    await pair.copied('shop', pem);
    await pair.program.dispatch.idle();
    arms = { signer, stranger, trapUrl: trap.url, certificate };
    rows.push('| what arrives | answer | calls to primary, backup, anybody else |', '|---|---|---|');
  });
  afterAll(async () => {
    await pair.close();
    await trap.close();
  });

  const calls = () => [pair.primaryProxy.requests.length, pair.proxy.requests.length, trap.requests()];
  /** Calls that a request and everything that it set off made: to the primary, to the backup, to the attacker. */
  async function callsOf(post: CallbackPost) {
    const before = calls();
    const answer = await send(pair.callbackUrl, post);
    await pair.program.dispatch.idle();
    return { ...answer, calls: calls().map((count, index) => count - (before[index] ?? 0)) };
  }
  const recordOf = async () => {
    const [link] = pair.program.links;
    const records = [];
    if (link) for await (const record of pair.program.records(link)) records.push(record);
    return records;
  };

  describe('is refused, and costs no call to any service', () => {
    let before: unknown;
    let callsBefore: number[];
    beforeAll(async () => {
      before = await recordOf();
      callsBefore = calls();
    });

    test.each(refused)('$name: $status', async ({ name, status, post }) => {
      const answer = await callsOf(post(arms));
      note(name, `${answer.status} ${codeOf(answer.body)}`, answer.calls.join(', '));
      expect(answer).toMatchObject({ status, calls: [0, 0, 0] });
    });

    test('all 401 are the same bytes', async () => {
      const forgeries = refused.filter(({ status }) => status === 401);
      const bodies = await Promise.all(
        forgeries.map(async ({ post }) => (await send(pair.callbackUrl, post(arms))).body),
      );
      expect([...new Set(bodies)]).toEqual([
        '{"code":"notification_not_genuine","message":"the notification is not signed by the instance of this link"}',
      ]);
    });

    test('a thousand forgeries at once cost nothing either', async () => {
      const post = { body: stranger.body(payloadV5({ instance: primaryCrn, ids: [arms.certificate] })) };
      const answers = await Promise.all(Array.from({ length: 1_000 }, () => send(pair.callbackUrl, post)));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));
    });

    test('afterwards the records are as they were, nothing is due, and no call came late', async () => {
      await systemRuntime.wait(300);
      expect(calls()).toEqual(callsBefore);
      expect(await recordOf()).toEqual(before);
      expect(await pair.program.sweep()).toEqual({ woken: 0 });
    });

    test('the log says which, on one line each, and nothing of what was sent', () => {
      const text = lines.join('');
      expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
      expect(text).not.toMatch(/eyJ|passwd|PUBLIC KEY|trap/);
      expect(text).not.toContain(trap.url);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      expect(text.replaceAll('\n', '')).not.toMatch(/[\0-\x1f\x7f-\x9f\u202e\u2028]/);
    });
  });

  describe('is genuine, however it looks', () => {
    test.each(accepted)('$name: $status', async ({ name, status, post }) => {
      const answer = await callsOf(post(arms));
      note(name, `${answer.status} ${codeOf(answer.body)}`, answer.calls.join(', '));
      expect(answer.status).toBe(status);
      const [toPrimary = 0, toBackup = 0, toAttacker] = answer.calls;
      expect(toAttacker).toBe(0);
      // The one read of the original, and at the most metadata and content of the copy.
      if (status === 202) expect([toPrimary, toBackup >= 1 && toBackup <= 2]).toEqual([1, true]);
      else expect([toPrimary, toBackup]).toEqual([0, 0]);
    });

    test('a replay is 200 and costs no call; the sweep looks once', async () => {
      const body = arms.signer.body(payloadV5({ instance: primaryCrn, ids: [arms.certificate], eventId: 'replayed' }));
      expect((await callsOf({ body })).status).toBe(202);
      for (let times = 0; times < 10; times += 1) {
        expect(await callsOf({ body })).toMatchObject({ status: 200, calls: [0, 0, 0] });
      }
      note('genuine, replayed ten times', '200 repeat', '0, 0, 0');
      expect(await pair.program.sweep()).toEqual({ woken: 1 });
      await pair.program.dispatch.idle();
    });

    test('names of control characters reach no log line as such', () => {
      expect(lines.join('')).not.toMatch(/\\u001b|\\u0000|\u202e|\u2028/);
    });

    test('100 certificates: each is looked at, and those that are not there make nothing', async () => {
      const answer = await callsOf({ body: arms.signer.body(manyCertificates(100)) });
      note(
        'genuine, 100 certificates that do not exist',
        `${answer.status} ${codeOf(answer.body)}`,
        answer.calls.join(', '),
      );
      expect(answer.status).toBe(202);
      const [toPrimary = 0, toBackup] = answer.calls;
      expect(toPrimary).toBeGreaterThanOrEqual(100);
      expect([toBackup, answer.calls[2]]).toEqual([0, 0]);
      expect((await pair.backup.list({})).certificates.map(({ name }) => name)).toEqual(['shop']);
    });
  });
});

describe('the public key endpoint of the primary', () => {
  const signer = makeSigner();
  const successor = makeSigner();
  const stranger = makeSigner();
  const table = memoryTable();
  const stored = () => linkRecords(table).verificationKey('main');
  let aheadMs = 0;
  const runtime: Runtime = { ...systemRuntime, now: () => Date.now() + aheadMs };
  let trap: Awaited<ReturnType<typeof startTrap>>;
  let pair: Pair;
  beforeAll(async () => {
    trap = await startTrap(stranger);
    pair = await startPair({ signingKey: signer.privateKey, sweeps: false, table, runtime });
    rows.push('', '| the public key endpoint | key kept | genuine, forged |', '|---|---|---|');
  });
  afterAll(async () => {
    await pair.close();
    await trap.close();
  });

  let events = 0;
  /** How a notification by this key is answered. It informs only, so that no look begins. */
  async function answerTo(by: Signer): Promise<number> {
    events += 1;
    const ids = [certificateId(events)];
    const payload = payloadV5({
      instance: primaryCrn,
      ids,
      type: 'cert_expired_reimport_required',
      eventId: `${events}`,
    });
    return (await send(pair.callbackUrl, { body: by.body(payload) })).status;
  }
  /** What the endpoint does from now on. */
  function endpoint(behaviour: Behaviour): void {
    pair.primaryProxy.behave = ({ path }) => (path.includes('/notifications/publicKey') ? behaviour : 'pass');
  }
  const saying = (publicKey: unknown): Behaviour => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ publicKey }),
  });
  /** The receiver's key is older than it may be, and is loaded anew at the next notification. */
  const later = () => {
    aheadMs += 20_000;
  };
  const spki = (type: 'ec' | 'rsa' | 'rsa-pss' | 'ed25519', options: object) =>
    generateKeyPairSync(type as 'rsa', options as { modulusLength: number }).publicKey.export({
      type: 'spki',
      format: 'pem',
    });

  const bad: Readonly<Record<string, () => Behaviour>> = {
    'is down': () => 'drop',
    'answers 500': () => ({ status: 500, body: 'oops' }),
    'answers 404': () => ({ status: 404, body: '{"code":"x","message":"no such instance"}' }),
    'redirects to another server (302)': () => ({ status: 302, headers: { location: `${trap.url}/key` } }),
    'redirects to another server (307)': () => ({ status: 307, headers: { location: `${trap.url}/key` } }),
    'answers a page': () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Log in</html>' }),
    'answers nothing': () => ({ status: 200, body: '' }),
    'answers 9 MiB': () => saying(`${signer.publicKeyPem}${' '.repeat(9 * 1024 * 1024)}`),
    'gives null': () => saying(null),
    'gives a list with another key': () => saying([stranger.publicKeyPem]),
    'gives a URL of another key': () => saying(`${trap.url}/key`),
    'gives half a key': () => saying(signer.publicKeyPem.slice(0, 200)),
    'gives a private key': () => saying(stranger.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    'gives an RSA key of 1,024 bits': () => saying(spki('rsa', { modulusLength: 1024 })),
    'gives an EC key': () => saying(spki('ec', { namedCurve: 'P-256' })),
    'gives an Ed25519 key': () => saying(spki('ed25519', {})),
    'gives an RSA-PSS key': () => saying(spki('rsa-pss', { modulusLength: 2048 })),
  };
  test.each(Object.keys(bad))('%s: the good key stays, in the table too', async (name) => {
    endpoint(bad[name]?.() ?? 'pass');
    await pair.program.sweep();
    later();
    const [genuine, forged] = [await answerTo(signer), await answerTo(stranger)];
    const kept = (await stored()) === signer.publicKeyPem;
    note(name, kept ? 'yes' : 'NO', `${genuine}, ${forged}`);
    expect([genuine, forged, kept, trap.requests()]).toEqual([200, 401, true, 0]);
  });

  test('is slow: notifications are judged meanwhile', async () => {
    endpoint({ delayMs: 1_000 });
    let swept = false;
    const sweeping = pair.program.sweep().then(() => {
      swept = true;
    });
    later();
    const [genuine, forged] = [await answerTo(signer), await answerTo(stranger)];
    expect([genuine, forged, swept]).toEqual([200, 401, false]);
    note('is slow (answered while the sweep waited)', 'yes', `${genuine}, ${forged}`);
    await sweeping;
  });

  test('a notification never has it asked, whatever it looks like', async () => {
    const before = pair.primaryProxy.requests.length;
    later();
    await Promise.all([answerTo(signer), answerTo(stranger), answerTo(successor)]);
    expect(pair.primaryProxy.requests.length).toBe(before);
  });

  test('changes its key: the pinned one judges until the sweep has fetched the other', async () => {
    endpoint(saying(successor.publicKeyPem));
    later();
    expect([await answerTo(signer), await answerTo(successor)]).toEqual([200, 401]);
    await pair.program.sweep();
    expect(await stored()).toBe(successor.publicKeyPem);
    later();
    expect([await answerTo(signer), await answerTo(successor), await answerTo(stranger)]).toEqual([401, 200, 401]);
    note('changes its key; before the sweep', 'yes', '200 by the old, 401 by the new');
    note('changes its key; after the sweep', 'the new', '401 by the old, 200 by the new');
  });
});
