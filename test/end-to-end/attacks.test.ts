import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jsonLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { testCertificate } from '../support/certificates.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import type { Arms, CallbackPost } from './attack.ts';
import { manyCertificates } from './attack-contents.ts';
import { accepted, refused } from './attack-table.ts';
import { codeOf, printedTable, send, startTrap } from './attacker.ts';
import { type Pair, startPair } from './pair.ts';
import { primaryCrn } from './program.ts';

describe('what arrives at the callback', () => {
  const signer = makeSigner();
  const stranger = makeSigner();
  const lines: string[] = [];
  const table = printedTable('what arrives', 'answer', 'calls to primary, backup, anybody else');
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
  });
  afterAll(async () => {
    await pair.close();
    await trap.close();
    table.print();
  });

  const calls = () => [pair.primaryProxy.requests.length, pair.proxy.requests.length, trap.requests()];
  /**
   * Calls that a request and everything that it set off made: to the primary, to the backup, to the
   * attacker.
   */
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
      table.add(name, `${answer.status} ${codeOf(answer.body)}`, answer.calls.join(', '));
      expect(answer).toMatchObject({ status, calls: [0, 0, 0] });
    });

    test('all 401 are the same bytes', async () => {
      const forgeries = refused.filter(({ status }) => status === 401);
      const bodies = await Promise.all(
        forgeries.map(async ({ post }) => (await send(pair.callbackUrl, post(arms))).body),
      );
      expect([...new Set(bodies)]).toEqual([
        '{"code":"notification_not_genuine","message":"the notification is not signed by the instance of this link","sender":"certificate-manager"}',
      ]);
    });

    test('five hundred forgeries at once cost nothing either', async () => {
      const post = { body: stranger.body(payloadV5({ instance: primaryCrn, ids: [arms.certificate] })) };
      const answers = await Promise.all(Array.from({ length: 500 }, () => send(pair.callbackUrl, post)));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));
    });

    test('afterwards the records are as they were, nothing is due, and no call came late', async () => {
      await systemRuntime.wait(300);
      expect(calls()).toEqual(callsBefore);
      expect(await recordOf()).toEqual(before);
      expect(await pair.program.sweep()).toMatchObject({ woken: 0 });
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
      table.add(name, `${answer.status} ${codeOf(answer.body)}`, answer.calls.join(', '));
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
      table.add('genuine, replayed ten times', '200 repeat', '0, 0, 0');
      expect(await pair.program.sweep()).toMatchObject({ woken: 1 });
      await pair.program.dispatch.idle();
    });

    test('names of control characters reach no log line as such', () => {
      expect(lines.join('')).not.toMatch(/\\u001b|\\u0000|\u202e|\u2028/);
    });

    test('100 certificates: each is looked at, and those that are not there make nothing', async () => {
      const answer = await callsOf({ body: arms.signer.body(manyCertificates(100)) });
      table.add(
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
