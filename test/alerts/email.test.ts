import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { afterEach, expect, it } from 'vitest';
import type { Message, Told } from '../../src/alerts/message.ts';
import { email } from '../../src/alerts/registry.ts';
import { httpClient } from '../../src/http/client.ts';
import { Secret } from '../../src/secret.ts';
import { testCertificate } from '../support/certificates.ts';
import { startMs } from './world.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const told: Told = {
  id: 'shop/brake',
  link: 'shop',
  event: 'began',
  severity: 'critical',
  since: startMs,
  words: ['the brake holds (évil\r\nBcc: everybody@example.test)', 'Meant? Say so.'],
};
const message = (...all: readonly Told[]): Message => ({ id: 'msg_1', at: startMs, told: all });

/** A mail server of its own kind, and what it has taken. */
async function mailServer(options: SMTPServerOptions = {}) {
  const taken: { readonly to: readonly string[]; readonly user: unknown; readonly text: string }[] = [];
  const server = new SMTPServer({
    authOptional: true,
    allowInsecureAuth: true,
    hideSTARTTLS: true,
    onAuth: ({ username, password }, _, callback) =>
      password === 'right' ? callback(null, { user: username }) : callback(new Error('Invalid login')),
    onRcptTo: ({ address }, _, callback) =>
      address.startsWith('gone@') ? callback(new Error('no such mailbox')) : callback(),
    onData(stream, { envelope, user }, callback) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const to = envelope.rcptTo.map(({ address }) => address);
        taken.push({ to, user, text: Buffer.concat(chunks).toString() });
        callback();
      });
    },
    ...options,
  });
  // What is wrong with a connection is what the test is about.
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { taken, port: (server.server.address() as AddressInfo).port };
}

const lines: unknown[] = [];

async function send(given: object, ...all: readonly Told[]): Promise<unknown> {
  const settings = {
    host: '127.0.0.1',
    security: 'none',
    from: 'standby@example.test',
    to: ['ops@example.test'],
    ...given,
  };
  const password = 'password' in given ? String(given.password) : '';
  const config = email.toConfig(settings as never, { name: 'mail', secret: () => new Secret(password) });
  const now = () => startMs;
  const means = {
    http: httpClient({ runtime: { now }, requestTimeoutMs: 1 }),
    now,
    log: (...line: unknown[]) => void lines.push(line),
    signal: 'signal' in given ? (given.signal as AbortSignal) : new AbortController().signal,
  };
  return email.send(config as never, message(...all), means).catch((thrown: unknown) => thrown);
}

it('a mail server gets plain text, under one id, to each address; what others wrote makes no header', async () => {
  const { taken, port } = await mailServer();
  expect(
    await send({ port, to: ['ops@example.test', 'lab@example.test'], user: 'me', password: 'right' }, told),
  ).toBeUndefined();
  const [{ to, user, text }] = taken as [(typeof taken)[number]];
  expect([to, user]).toEqual([['ops@example.test', 'lab@example.test'], 'me']);
  const [head = '', body = ''] = text.split('\r\n\r\n');
  expect(head).toContain('From: certstandby <standby@example.test>');
  expect(head).toContain('Message-ID: <msg_1@example.test>');
  expect(head).toContain('Date: Thu, 01 Jan 2026 00:00:00 +0000');
  expect(head).toContain('Auto-Submitted: auto-generated');
  expect(head).toContain('Content-Type: text/plain; charset=utf-8');
  expect(head).not.toMatch(/^bcc/im);
  const plain = Buffer.from(
    body.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  expect(plain.toString().trimEnd().split('\r\n')).toEqual([
    'certstandby: shop: critical: the brake holds (évil\\u{d}\\u{a}Bcc: everybody@example.test)',
    '  Meant? Say so.',
    '  since 2026-01-01 00:00 UTC; finding shop/brake',
  ]);
});

it('what a mail server does not take is told with what mends it, and without the password', async () => {
  const { port } = await mailServer();
  const wrong = await send({ port, user: 'me', password: 'wrong-secret' }, told);
  expect(wrong).toMatchObject({
    code: 'alert_refused',
    message: 'the channel mail (email, 127.0.0.1) answered 535',
    remedy: 'The server does not let that user in: see to user and password of alerts.channels.mail.',
  });
  expect(JSON.stringify([wrong, (wrong as Error).message])).not.toContain('wrong-secret');
  expect(await send({ port, to: ['gone@example.test'] }, told)).toMatchObject({
    code: 'alert_refused',
    message: expect.stringContaining('no such mailbox'),
  });
  // One address of several that is wrong keeps the others from nothing; a test tells of it.
  const some = { port, to: ['ops@example.test', 'gone@example.test'] };
  lines.length = 0;
  expect(await send(some, told)).toBeUndefined();
  expect(lines).toEqual([['warn', 'alert_addresses_refused', { channel: 'mail', message: 'msg_1', addresses: 1 }]]);
  expect(await send(some, { ...told, event: 'test' })).toMatchObject({
    code: 'alert_refused',
    message: 'the channel mail (email, 127.0.0.1) takes nothing for gone@example.test',
  });
});

it('nothing is sent without encryption where it is wanted, or to a server that nobody vouches for', async () => {
  const plain = await mailServer({ disabledCommands: ['STARTTLS'] });
  expect(await send({ port: plain.port, security: 'starttls' }, told)).toMatchObject({
    code: 'alert_refused',
    remedy: expect.stringContaining('offers no STARTTLS'),
  });
  const { certificate: cert, privateKey: key } = await testCertificate();
  const unknown = await mailServer({ hideSTARTTLS: false, cert, key: key.reveal() });
  expect(await send({ port: unknown.port, security: 'starttls' }, told)).toMatchObject({
    code: 'alert_unavailable',
    remedy: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
  });
  expect([plain.taken, unknown.taken]).toEqual([[], []]);
});

it('what a server repeats of a password is not told', async () => {
  const password = 'very-secret';
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const forms = [password, base64(password), base64(`\0me\0${password}`)];
  const echo = Object.assign(new Error(`got ${forms.join(' ')}`), { responseCode: 550 });
  const { port } = await mailServer({
    onAuth: (_, __, callback) => callback(null, { user: 'me' }),
    onMailFrom: (_, __, callback) => callback(echo),
  });
  const refused = await send({ port, user: 'me', password }, told);
  expect(refused).toMatchObject({ message: 'the channel mail (email, 127.0.0.1) answered 550 got … … …' });
});

it('a mail that is given up is not delivered when the server is ready for it later', async () => {
  const stop = new AbortController();
  let goOn = (): void => undefined;
  let finish = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const { port, taken } = await mailServer({
    onMailFrom: (_, __, callback) => {
      goOn = callback;
      stop.abort(new Error('given up'));
    },
    onClose: () => finish(),
  });
  expect(await send({ port, signal: stop.signal }, told)).toMatchObject({ code: 'alert_unavailable' });
  goOn();
  await ended;
  expect(taken).toEqual([]);
});

it('a mail that is refused once its text was there is about that mail: others may be taken', async () => {
  const { port } = await mailServer({ onData: refusing(552) });
  expect(await send({ port }, told)).toMatchObject({
    code: 'alert_refused',
    message: 'the channel mail (email, 127.0.0.1) answered 552 no such words',
    fields: { aboutMessage: true },
  });
});

function refusing(responseCode: number): NonNullable<SMTPServerOptions['onData']> {
  return (stream, _, callback) => {
    stream.on('end', () => callback(Object.assign(new Error('no such words'), { responseCode })));
    stream.resume();
  };
}

it('a mail server that is not there, or is busy, is tried again', async () => {
  expect(await send({ port: 1 }, told)).toMatchObject({
    code: 'alert_unavailable',
    message: 'the channel mail (email, 127.0.0.1) was not reached: ECONNREFUSED',
  });
  const busy = Object.assign(new Error('try again later'), { responseCode: 451 });
  const { port } = await mailServer({ onMailFrom: (_, __, callback) => callback(busy) });
  expect(await send({ port }, told)).toMatchObject({
    code: 'alert_unavailable',
    message: expect.stringContaining('answered 451'),
  });
});

it('mistakes of its settings are named', () => {
  expect(email.mistakes?.({ host: 'mail.example.test', security: 'none', user: 'me' })).toEqual([
    { setting: 'security', what: 'must be starttls or tls; none is allowed on loopback only' },
    { setting: 'password', what: 'is missing: user and password go together' },
  ]);
  expect(email.mistakes?.({ host: '127.0.0.1', security: 'none' })).toEqual([]);
});

it('whether a mail server can be reached is asked without a mail: the login too, and TLS as it is demanded', async () => {
  const { taken, port } = await mailServer();
  const reach = async (given: object, signal = new AbortController().signal) => {
    const settings = { host: '127.0.0.1', security: 'none', from: 'a@example.test', to: ['b@example.test'], ...given };
    const password = 'password' in given ? String(given.password) : '';
    const config = email.toConfig(settings as never, { name: 'mail', secret: () => new Secret(password) });
    return email.reach(config as never, { signal }).catch((thrown: unknown) => thrown);
  };
  expect(await reach({ port })).toBe(`can be reached at 127.0.0.1, port ${port}`);
  expect(await reach({ port, user: 'me', password: 'right' })).toBe(
    `can be reached at 127.0.0.1, port ${port}, and does not refuse the login of me`,
  );
  expect(await reach({ port, user: 'me', password: 'wrong' })).toMatchObject({
    code: 'alert_refused',
    remedy: expect.stringContaining('see to user and password of alerts.channels.mail'),
  });
  expect(await reach({ port, security: 'starttls' })).toMatchObject({
    message: expect.stringContaining('the channel mail'),
  });
  const gaveUp = new AbortController();
  gaveUp.abort(new DOMException('late', 'TimeoutError'));
  expect(await reach({ port }, gaveUp.signal)).toMatchObject({ code: 'alert_unavailable' });
  expect(taken).toEqual([]);
});
