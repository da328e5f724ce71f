import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { Named } from '../../src/sender/change-message.ts';
import { notify } from '../../src/sender/notify.ts';
import { senderOf } from '../../src/services/standard-webhooks/sender.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { freePort } from '../support/free-port.ts';
import { liveFolder } from '../support/live-folder.ts';

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-notify-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A folder with certificates and one with their copies, and a hook that tells of the first. */
function configuration(port: number, sender: string): string {
  const root = mkdtempSync(join(folder, 'site-'));
  mkdirSync(join(root, 'copies'), { mode: 0o700 });
  writeFileSync(
    join(root, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
receiver: { port: ${port} }
worker: { sweepEvery: 1s }
serve: { metrics: { port: 0 } }
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 200ms }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies] } }
senders: { certbot: { kind: standard-webhooks, store: live, ${sender} } }
`,
  );
  return root;
}

const copiesOf = (root: string) =>
  readdirSync(join(root, 'copies'))
    .filter((id) => !id.startsWith('.'))
    .map((id) => readFileSync(join(root, 'copies', id, 'current', 'fullchain.pem'), 'utf8'));

describe('a hook of a tool that renews certificates', () => {
  it('tells of a renewal while the receiver is down, and ends well once it is taken; the copy follows', async () => {
    const port = await freePort();
    const made = await runCommand(['notify', '--new-key', join(folder, 'hook.key'), '--json']);
    expect(made.code).toBe(0);
    expect(statSync(join(folder, 'hook.key')).mode & 0o777).toBe(0o600);
    const { publicKey } = JSON.parse(made.output) as { publicKey: string };
    const root = configuration(port, `publicKey: ${publicKey}`);
    const certbot = liveFolder(root);
    certbot.renew('shop', await testCertificate());

    const serve = () => {
      const host = testHost();
      const ended = runCommand(['serve', '--config', join(root, 'certstandby.yaml')], host);
      const stop = () => {
        host.signal('SIGTERM');
        return ended;
      };
      return { host, stop };
    };
    const first = serve();
    await expect.poll(() => copiesOf(root).length).toBe(1);
    expect((await first.stop()).code).toBe(0);

    const renewed = await testCertificate();
    certbot.renew('shop', renewed);
    const env = { CERTSTANDBY_NOTIFY_TO: `http://127.0.0.1:${port}/callback/certbot` };
    const hook = testHost({ env: { ...env, CERTSTANDBY_NOTIFY_KEY: `file:${join(folder, 'hook.key')}` } });
    const told = runCommand(['notify', 'shop'], hook);
    await expect.poll(() => hook.errors()).toContain('ECONNREFUSED');
    const second = serve();
    cleanUps.push(() => second.stop());
    expect(await told).toMatchObject({ code: 0, output: expect.stringContaining('says acknowledged: 1 certificate') });
    const wanted = renewed.certificate + (renewed.intermediate ?? '');
    await expect.poll(() => copiesOf(root)).toEqual([wanted]);
    expect(second.host.errors()).toMatch(/"sender":"certbot".*"outcome":"acknowledged"/);
    expect(hook.errors() + hook.output()).not.toContain('whsk_');
    // doctor sends no test where only the sender has the key; it waits for one, and sees it come.
    const looking = testHost();
    const base = env.CERTSTANDBY_NOTIFY_TO.replace(/\/callback.*/, '');
    const doctor = runCommand(
      ['doctor', '--register', base, '--wait', '60', '--config', join(root, 'certstandby.yaml')],
      looking,
    );
    await expect.poll(() => looking.output()).toContain('to try it, where it is: certstandby notify --test');
    await runCommand(['notify', '--test'], testHost({ env: hook.env as Record<string, string> }));
    expect((await doctor).output).toContain('its test message has come, and stands in the table');
    // Who told of it is in the answer, in the records, and in the figures.
    const { output } = await runCommand(['events', '--json', '--config', join(root, 'certstandby.yaml')]);
    expect(JSON.parse(output)).toMatchObject({ certificate: 'shop', sender: 'certbot' });
    const monitor = /"monitor":"([^"]+)"/.exec(second.host.errors())?.[1];
    const figures = await (await fetch(`${monitor}/metrics`)).text();
    expect(figures).toContain('certstandby_callback_answers_total{status="202",sender="certbot"} 1\n');
    expect(figures).toMatch(
      /certstandby_notifications_total\{link="web",kind="other",answer="new",sender="certbot"\} 1\n/,
    );
  });
});

/** A receiver that answers as scripted, and keeps what came; time goes by as one waits. */
async function scripted(answers: readonly (number | 'break' | 'page')[]) {
  const came: { headers: IncomingMessage['headers']; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      came.push({ headers: request.headers, body });
      const answer = answers[came.length - 1] ?? 500;
      if (answer === 'break') return void request.socket.destroy();
      if (answer === 'page') return void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>Soon.</p>');
      response.writeHead(answer, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(answer < 300 ? { status: 'acknowledged' } : { code: 'some_code', message: 'said so' }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    server.closeAllConnections();
    server.close();
  });
  let now = Date.parse('2026-11-30T08:00:00Z');
  const waits: number[] = [];
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => now,
    // What limits a request is real time; what passes between tries is not.
    wait: async (ms, signal) => {
      if (ms === 20_000) return systemRuntime.wait(ms, signal);
      waits.push(ms);
      now += ms;
    },
  };
  const to = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback/certbot`;
  const send = (withinMs = 300_000, certificates: readonly Named[] = [{ name: 'shop' }]) =>
    notify({
      to,
      key: new Secret(secret),
      certificates,
      withinMs,
      runtime,
      signal: new AbortController().signal,
    });
  return { came, waits, send, now: () => now };
}

describe('a message that is not taken at once', () => {
  it('is sent again after no answer and after answers that may change, signed anew under one id', async () => {
    const { came, waits, send, now } = await scripted([503, 'break', 401, 404, 429, 202]);
    expect(await send()).toEqual({ status: 'acknowledged', tries: 6 });
    expect(waits).toEqual([1_000, 2_000, 5_000, 10_000, 30_000]);
    expect(new Set(came.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(came.map(({ body }) => body)).size).toBe(1);
    expect(new Set(came.map(({ headers }) => headers['webhook-timestamp'])).size).toBe(6);
    const sender = senderOf({ kind: 'standard-webhooks', name: 'certbot', store: 'site', secret: new Secret(secret) });
    const digests = came.map(({ headers, body }) => {
      const header = (name: string) => headers[name] as string | undefined;
      const received = sender.receive({ header, body: Buffer.from(body) }, sender.keys ?? new Map(), now());
      return 'events' in received ? received.events[0]?.digest : undefined;
    });
    expect(new Set(digests).size).toBe(1);
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([400, 403, 405, 413, 415, 302])('is given up after %i, which does not change', async (status) => {
    const { came, send } = await scripted([status]);
    await expect(send()).rejects.toMatchObject({ code: 'notify_refused', fields: { status } });
    expect(came).toHaveLength(1);
  });

  it('is not taken by a page that answers 200 in the place of a receiver', async () => {
    const { came, send } = await scripted(['page', 'page', 202]);
    expect(await send()).toEqual({ status: 'acknowledged', tries: 3 });
    expect(came).toHaveLength(3);
    const elsewhere = await scripted(['page']);
    await expect(elsewhere.send(0)).rejects.toMatchObject({
      code: 'notify_failed',
      message: expect.stringMatching(/answered 200, but not what a receiver of certstandby says$/),
      remedy: expect.stringContaining('Something else answers there'),
    });
  });

  it('says that something has changed where it would name more than a message holds', async () => {
    const names = Array.from({ length: 101 }, (_, at) => ({ name: `shop-${at}` }));
    const { came, send } = await scripted([202, 202]);
    await send(0, names.slice(1));
    await send(0, names);
    expect(came.map(({ body }) => JSON.parse(body).data.certificates?.length)).toEqual([100, undefined]);
  });

  it('is given up when its time is over, and says what it was told last', async () => {
    const { came, send } = await scripted([]);
    await expect(send(10_000)).rejects.toMatchObject({
      code: 'notify_failed',
      message: expect.stringMatching(/answered 500: said so$/),
    });
    // At 0, 1, 3, 8 and, for the last time, 10 seconds.
    expect(came).toHaveLength(5);
  });
});

describe('the command', () => {
  it.each([
    [[], {}, 'where to is not said'],
    [['--to', 'http://example.com/callback/x', '--key', 'env:K'], {}, 'must begin with https://'],
    [['--to', 'example.com/callback/x', '--key', 'env:K'], {}, 'is not an address'],
    [['--to', 'https://example.com/callback/x'], {}, 'no key is given'],
    [['--to', 'https://example.com/callback/x', '--key', secret], {}, 'never the key itself'],
    [['--to', 'https://example.com/callback/x', '--key', 'env:K'], {}, 'K, which holds the key, is not set'],
    [['--to', 'https://example.com/callback/x', '--key', 'env:K'], { K: 'secret' }, 'neither whsec_ nor whsk_'],
    [['--to', 'https://example.com/callback/x', '--key', 'file:/nowhere'], {}, 'cannot be read from /nowhere'],
    [['--to', 'https://example.com/callback/x', '--key', 'env:K', ''], { K: secret }, 'a name is empty'],
    [['--new-key', '/nowhere/in/it.key'], {}, 'the folder in which /nowhere/in/it.key is to be written is not there'],
  ])('says what is wrong with %j', async (args, env, words) => {
    const { code, errors } = await runCommand(['notify', ...args], testHost({ env: env as Record<string, string> }));
    expect(code).toBe(2);
    expect(errors).toContain(words);
    expect(errors).not.toContain(secret.slice(6));
  });

  it('writes no key over another file', async () => {
    writeFileSync(join(folder, 'there'), 'mine');
    const { code, errors } = await runCommand(['notify', '--new-key', join(folder, 'there')]);
    expect(code).toBe(2);
    expect(errors).toContain('there is there already, and no key is written over a file');
    expect(readFileSync(join(folder, 'there'), 'utf8')).toBe('mine');
  });
});
