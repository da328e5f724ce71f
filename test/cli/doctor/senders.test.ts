import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { awaitTest, checkSender } from '../../../src/cli/doctor/senders.ts';
import { sendersForDiagnosis } from '../../../src/compose/senders.ts';
import type { SenderConfig } from '../../../src/config.ts';
import { limits } from '../../../src/limits.ts';
import { silentLog } from '../../../src/log.ts';
import { startReceiverServer } from '../../../src/receiver/node-host.ts';
import { createReceiver } from '../../../src/receiver/receiver.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { senderOf } from '../../../src/services/standard-webhooks/sender.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

const secretOf = (byte: number) => new Secret(`whsec_${Buffer.alloc(32, byte).toString('base64')}`);
const webhook = { kind: 'standard-webhooks', name: 'hook', store: 'live', secret: secretOf(1) } as const;

async function check(config: SenderConfig, base?: string) {
  const [sender] = await sendersForDiagnosis({ senders: [config] }, systemRuntime);
  if (sender === undefined) throw new Error('no sender');
  const signal = () => AbortSignal.timeout(60_000);
  const findings = await checkSender(sender, { base, signal });
  return findings.map(({ outcome, message, remedy }) => ({ outcome, message, remedy }));
}

/** A receiver that knows the sender by this secret, `aheadMs` by its clock. */
async function receiver(secret: Secret, aheadMs = 0) {
  const sender = senderOf({ ...webhook, secret });
  const receive = createReceiver({
    callbacks: [
      {
        name: 'hook',
        told: { sender: 'hook' },
        sender,
        verificationKeys: async () => sender.keys ?? new Map(),
        acknowledge: async () => 'new',
      },
    ],
    now: () => Date.now() + aheadMs,
    log: silentLog,
  });
  const server = await startReceiverServer({ receiver: receive, host: '127.0.0.1', port: 0, log: silentLog });
  cleanUps.push(() => server.close());
  return server.url;
}

describe('a test message, followed to the table', () => {
  const signal = new AbortController().signal;
  const told = ({ outcome, message }: { outcome: string; message: string }) => `${outcome}: ${message}`;

  it('is good where it stands there, and a warning where the receiver has another one', async () => {
    const [sender] = await sendersForDiagnosis({ senders: [webhook] }, systemRuntime);
    if (sender === undefined) throw new Error('no sender');
    const base = await receiver(webhook.secret);
    const lastTests = [1, 2, 3, 3];
    const lastTestAt = async () => lastTests.shift();
    const found = async () =>
      (await checkSender(sender, { base, signal: () => AbortSignal.timeout(60_000), lastTestAt })).map(told).at(-1);
    expect(await found()).toBe(`good: a test message is taken at ${base}/callback/hook, and stands in the table`);
    expect(await found()).toBe(
      `warning: a test message is taken at ${base}/callback/hook, and this table knows nothing of it`,
    );
  });

  it('is waited for where only the sender itself can send it', async () => {
    let now = 0;
    const runtime = {
      now: () => now,
      wait: async (ms: number) => {
        now += ms;
      },
    };
    const seen = (comesAt: number) => async () => (now >= comesAt ? 7 : 3);
    const wait = (comesAt: number) =>
      awaitTest({ name: 'ci' }, { before: 3, lastTestAt: seen(comesAt), waitMs: 2_000, runtime, signal });
    expect(told(await wait(1_500))).toBe('good: its test message has come, and stands in the table');
    expect(told(await wait(Number.POSITIVE_INFINITY))).toBe('warning: no test message has come within 2.0 s');
  });
});

describe('a sender that signs with a secret', () => {
  it('is tried where the receiver is, by a message that changes nothing', async () => {
    const base = await receiver(webhook.secret);
    expect(await check(webhook, base)).toMatchObject([
      { outcome: 'good', message: `tells of live at ${base}/callback/hook` },
      { outcome: 'good', message: `a test message is taken at ${base}/callback/hook` },
    ]);
  });

  it('is not taken for good while nobody said where the receiver is', async () => {
    expect(await check(webhook)).toMatchObject([
      { outcome: 'good' },
      { outcome: 'warning', remedy: expect.stringContaining('--register') },
    ]);
  });

  it.each([
    ['another secret', async () => receiver(secretOf(2)), /put it there/],
    ['a clock that is wrong', async () => receiver(webhook.secret, 3_600_000), /Set the clocks/],
    ['no receiver', async () => 'http://127.0.0.1:9', /Nothing listens there/],
  ])('is a problem with its remedy where there is %s', async (_name, make, remedy) => {
    const [, tried] = await check(webhook, await make());
    expect(tried).toMatchObject({ outcome: 'problem', remedy: expect.stringMatching(remedy) });
    expect(JSON.stringify(tried)).not.toContain('AQEB');
  });
});

describe('a sender that only its own side can prove', () => {
  it.each([
    [
      'a public key',
      { kind: 'standard-webhooks', publicKey: 'whpk_' },
      'certstandby notify --test --to https://a/callback/x',
    ],
    ['a digest', { kind: 'shared-secret', digest: 'x' }, 'curl --fail -H "Authorization: Bearer $SECRET"'],
    ['a header of its own', { kind: 'shared-secret', digest: 'x', header: 'X-Token' }, '-H "X-Token: $SECRET"'],
  ])('is told with the line that tries it there: %s', async (_name, more, line) => {
    const found = await check({ name: 'x', store: 'live', ...more } as SenderConfig, 'https://a');
    expect(found).toMatchObject([{ outcome: 'good' }, { outcome: 'good', message: expect.stringContaining(line) }]);
  });

  it('is told with a line that a shell takes as it stands, also where nobody said where the receiver is', async () => {
    const found = await check({
      name: 'x',
      store: 'live',
      kind: 'standard-webhooks',
      publicKey: 'whpk_',
    } as SenderConfig);
    const line = found.at(-1)?.message.replace(/^.*?: /, '') ?? '';
    expect(line).toBe('certstandby notify --test --to https://PUBLIC-ADDRESS/callback/x --key file:its-private.key');
    expect(line).not.toMatch(/[<>|&;]/);
  });

  it('has more keys served than are kept: that is said', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = { ...publicKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' };
    const keys = Array.from({ length: limits.verificationKeys + 1 }, (_, at) => ({ ...key, kid: `k${at}` }));
    const server = createServer((_request, response) => response.end(JSON.stringify({ keys })));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => server.close());
    const jwks = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    const found = await check({ kind: 'oidc-token', name: 'ci', store: 'live', jwks } as unknown as SenderConfig);
    expect(found[1]).toMatchObject({
      outcome: 'warning',
      message: `${keys.length} keys are served, and only the first ${limits.verificationKeys} of them are kept`,
    });
  });

  it('has its keys fetched, and what is wrong with them said', async () => {
    const server = createServer((_request, response) => response.end('{"keys":[]}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => server.close());
    const jwks = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    const found = await check({ kind: 'oidc-token', name: 'ci', store: 'live', jwks } as unknown as SenderConfig);
    expect(found).toMatchObject([
      { outcome: 'good' },
      { outcome: 'problem', message: expect.stringContaining('no RSA key of 2048 bits or more') },
      { outcome: 'good', message: expect.stringContaining('$TOKEN') },
    ]);
  });
});
