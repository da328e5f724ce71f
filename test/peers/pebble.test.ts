import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import type { OrderingOptions } from '../../src/instance/orders/ordering.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { backupCrn, primaryCrn, type RunningProgram, startProgram } from '../end-to-end/program.ts';
import { type Call, call, segment } from '../instance/client.ts';
import { eventually } from '../instance/orders/ordered.ts';
import { runCommand, testHost } from '../support/command.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';
import { blockedDomain, type Pebble, startPebble } from './pebble.ts';
import { requirePeer } from './peer.ts';

const install = 'apt-get install pebble';
// Neither knows its version; pebble's usage ends with 0.
const peers = [
  requirePeer('pebble', ['sh', '-c', 'pebble -h 2>&1'], install),
  requirePeer('pebble-challtestsrv', ['sh', '-c', 'pebble-challtestsrv -h 2>&1'], install),
];

const dayMs = 86_400_000;

/** What is read here of a notification. */
interface Claims {
  readonly event_type: string;
  readonly certificates: readonly { readonly name: string; readonly additional_info?: string }[];
  readonly domain?: string;
  readonly challenge?: { readonly txt_record_name: string; readonly txt_record_val: string };
}

/** Somebody who listens to a channel, and takes its word for it. */
async function listener(hear: (claims: Claims) => Promise<void>) {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    response.writeHead(200).end();
    await hear(JSON.parse(Buffer.from(JSON.parse(body).data.split('.')[1], 'base64url').toString()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/heard`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
const quick = { lookMs: 50, firstWaitMs: 50 };

describe.skipIf(peers.includes(undefined))('ordered through Pebble, over real HTTP', () => {
  const started = Date.now();
  const shown: string[] = [];
  const show = (line: string) => {
    const at = new Date().toISOString().slice(11, 23);
    shown.push(`${at}  ${line}`);
  };
  let folder: string;
  let pebble: Pebble;
  let backup: TestInstance;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-ordered-'));
    pebble = await startPebble();
    backup = await startTestInstance({ crn: backupCrn });
  });
  afterAll(async () => {
    await backup.close();
    await pebble.close();
    rmSync(folder, { recursive: true, force: true });
    console.info(['what came of it:', ...shown].join('\n'));
  });

  /** Time that can be moved on, in which a minute between two looks takes no time. */
  function movableTime(): { readonly runtime: Runtime; move(milliseconds: number): void } {
    let movedMs = 0;
    const runtime: Runtime = {
      ...systemRuntime,
      now: () => Date.now() + movedMs,
      wait: (milliseconds, signal) => systemRuntime.wait(milliseconds === 60_000 ? 100 : milliseconds, signal),
    };
    const move = (milliseconds: number): void => {
      movedMs += milliseconds;
    };
    return { runtime, move };
  }

  /** A primary that orders, a receiver that copies into the backup, and what it acknowledged. */
  async function start(name: string, ordering: OrderingOptions, runtime: Runtime = systemRuntime) {
    const primary = await startTestInstance({
      crn: primaryCrn,
      runtime,
      ordering: { acme: { directory: pebble.directory, trust: pebble.trust }, policy: quick, ...ordering },
      log: (_, event, { domains, auto, code, message, expires } = {}) => {
        if (!/^instance_(order|certificate)/.test(event)) return;
        const words = [domains, auto === true && 'by itself', expires && `until ${expires}`, code, message];
        show(`primary   ${event} ${words.filter(Boolean).join(' ')}`);
      },
    });
    const events: LifecycleEvent[] = [];
    const program: RunningProgram = await startProgram({
      primaryUrl: primary.url,
      backupUrl: backup.url,
      apiKey: apiKeyOf('manager'),
      path: join(folder, name),
      observer: {
        acknowledged: (_, event) => {
          events.push(event);
          show(`receiver  signature holds: ${event.type} ${event.certificates.map((one) => one.name).join()}`);
        },
      },
    });
    // With a token of its own for each call: the primary's clock is moved on.
    const api: Call = async (method, path, body) =>
      call(`${primary.url}/api${path}`, method, await primary.token(), body);
    const I = segment(primaryCrn);
    const addChannel = (endpoint: string) =>
      api('PUT', `/v1/instances/${I}/notifications/channels`, { type: 'url', endpoint });
    await program.program.sweep();
    for (const link of program.program.links) await program.program.reconcile(link);
    await addChannel(program.callbackUrl);
    const changes = () => events.filter(({ changes: change }) => change).map(({ type }) => type);
    return {
      api,
      I,
      addChannel,
      events,
      changes,
      order: async (given: object): Promise<string> => {
        const { status, body } = await api('POST', `/v1/${I}/certificates/order`, {
          domain_validation_method: 'dns-01',
          ...given,
        });
        expect([status, body.status, body.imported]).toEqual([200, 'pending', false]);
        show(`primary   ordered ${body.domains.join(' ')}: ${body.status}`);
        return body._id;
      },
      metadata: async (id: string) => (await api('GET', `/v1/certificate/${segment(id)}/metadata`)).body,
      download: async (id: string) => (await api('GET', `/v2/certificate/${segment(id)}`)).body.data,
      /**
       * Waits for the end of the order, then until the copy of that name in the backup has the
       * fingerprint of the primary.
       */
      copied: async (id: string): Promise<{ readonly content: string; readonly publicKey: string }> => {
        const status = async () => {
          const { body } = await api('GET', `/v1/certificate/${segment(id)}/metadata`);
          return `${body.issuance_info.status} ${body.issuance_info.code} ${body.issuance_info.additional_info}`.trim();
        };
        await eventually(status).not.toBe('pending');
        expect(await status()).toBe('valid');
        const { name, data } = (await api('GET', `/v2/certificate/${segment(id)}`)).body;
        const wanted = fingerprintOf(contentOf(data));
        await eventually(() => fingerprintInBackup(name)).toBe(wanted);
        show(`backup    holds ${name}: ${wanted.slice(0, 16)}, as the primary`);
        const publicKey = createPublicKey(data.priv_key).export({ type: 'spki', format: 'pem' }).toString();
        return { content: data.content, publicKey };
      },
      async close() {
        await primary.close();
        await program.close();
      },
    };
  }

  const contentOf = (data: { content: string; intermediate?: string }) =>
    parseContent({
      certificate: data.content,
      ...(data.intermediate !== undefined && { intermediate: data.intermediate }),
    });

  async function fingerprintInBackup(name: string): Promise<string | undefined> {
    const token = await backup.token();
    const list = await call(`${backup.url}/api/v3/${segment(backupCrn)}/certificates`, 'GET', token);
    const copies = list.body.certificates.filter((one: { name: string }) => one.name === name);
    if (copies.length !== 1) return `${copies.length} copies`;
    const copy = await call(`${backup.url}/api/v2/certificate/${segment(copies[0]._id)}`, 'GET', token);
    return fingerprintOf(contentOf(copy.body.data));
  }

  test('an order, a renewal with new keys, and one by itself with the clock moved; a DNS hook publishes', async () => {
    const { runtime, move } = movableTime();
    const side = await start(
      'hook',
      { dnsHook: { command: pebble.hook, env: {} }, dnsServer: pebble.dnsServer },
      runtime,
    );
    const domains = ['shop.example.test', '*.apps.example.test', 'apps.example.test'];
    const id = await side.order({ name: 'shop', domains, auto_renew_enabled: true });
    const first = await side.copied(id);
    expect(new X509Certificate(first.content).subjectAltName?.split(', ').sort()).toEqual(
      domains.map((domain) => `DNS:${domain}`).sort(),
    );
    expect(side.changes()).toEqual(['cert_issued']);
    expect(await side.metadata(id)).toMatchObject({ status: 'valid', has_previous: false, domains });

    show('primary   renewal with new keys is asked for');
    const renewal = await side.api('POST', `/v1/certificate/${segment(id)}/renew`, { rotate_keys: true });
    expect([renewal.status, renewal.body.status, renewal.body.issuance_info.status]).toEqual([200, 'valid', 'pending']);
    const second = await side.copied(id);
    expect(second.publicKey).not.toBe(first.publicKey);
    expect(side.changes()).toEqual(['cert_issued', 'cert_renewed']);
    expect(await side.metadata(id)).toMatchObject({ status: 'valid', has_previous: true, rotate_keys: true });

    // 90 days of validity: from 30 before its end it renews itself, and not a day after it was
    // issued.
    move(2 * dayMs);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(side.changes()).toHaveLength(2);
    show('primary   the clock is moved on by 60 days');
    move(58 * dayMs);
    await eventually(side.changes).toHaveLength(3);
    const third = await side.copied(id);
    expect(third.content).not.toBe(second.content);
    expect(side.changes()).toEqual(['cert_issued', 'cert_renewed', 'cert_renewed']);
    const { issuance_info: info } = await side.metadata(id);
    expect(info).toMatchObject({ status: 'valid', auto: true });
    expect(info.ordered_on).toBeGreaterThan(started + 59 * dayMs);
    await side.close();
  });

  test.each([
    ['rsaEncryption 2048 bit', 'rsaEncryption 2048 bit'],
    ['rsaEncryption 4096 bit', 'rsaEncryption 4096 bit'],
    ['id-ecPublicKey 256 bit', 'id-ecPublicKey 256 bit'],
    ['id-ecPublicKey 384 bit', 'id-ecPublicKey 384 bit'],
  ])(
    'a key of each algorithm: %s; whoever listens to a channel publishes, and a renewal keeps the key',
    async (key_algorithm) => {
      const side = await start(key_algorithm.replaceAll(' ', '-'), { dnsServer: pebble.dnsServer });
      const told: { type: string; domain: string }[] = [];
      const publisher = await listener(async ({ event_type: type, domain = '', challenge }) => {
        if (challenge === undefined) return;
        told.push({ type, domain });
        const name = `${challenge.txt_record_name}.${domain}`;
        if (type === 'cert_domain_validation_required') await pebble.publish(name, challenge.txt_record_val);
        else await pebble.withdraw(name);
      });
      await side.addChannel(publisher.url);
      const name = `by channel, ${key_algorithm}`;
      const id = await side.order({ name, domains: ['mail.example.test', 'mx.example.test'], key_algorithm });
      const first = await side.copied(id);
      expect(await side.metadata(id)).toMatchObject({ key_algorithm });
      await side.api('POST', `/v1/certificate/${segment(id)}/renew`, { rotate_keys: false });
      const second = await side.copied(id);
      expect(second.publicKey).toBe(first.publicKey);
      expect(second.content).not.toBe(first.content);
      expect(side.changes()).toEqual(['cert_issued', 'cert_renewed']);
      const domainsOf = (type: string) =>
        told.flatMap((one) => (one.type === `cert_domain_validation_${type}` ? [one.domain] : [])).sort();
      // Once in a hundred times Pebble takes a proof that it has for a renewal too, also where it
      // is told never to: then nobody is asked for that one again.
      const asked = domainsOf('required');
      expect(asked.length).toBeGreaterThanOrEqual(2);
      expect(new Set(asked)).toEqual(new Set(['mail.example.test', 'mx.example.test']));
      await eventually(() => domainsOf('completed')).toEqual(asked);
      publisher.close();
      await side.close();
    },
  );

  test('a domain that Pebble refuses, and a record that is not there: failed, with the reason, and told', async () => {
    const policy = { ...quick, challengeMs: 300 };
    const side = await start('refused', {
      dnsHook: { command: '/bin/true', env: {} },
      dnsServer: pebble.dnsServer,
      policy,
    });
    const told: Claims[] = [];
    const heard = await listener(async (claims) => {
      told.push(claims);
    });
    await side.addChannel(heard.url);
    const failed = async (domain: string) => {
      const id = await side.order({ name: domain, domains: [domain] });
      await eventually(async () => (await side.metadata(id)).status).toBe('failed');
      return (await side.metadata(id)).issuance_info;
    };
    expect(await failed(blockedDomain)).toMatchObject({ code: 'acme_refused' });
    expect(await failed('nowhere.example.test')).toMatchObject({
      code: 'acme_challenge_unpublished',
      additional_info: expect.stringContaining(
        '_acme-challenge.nowhere.example.test was not found in DNS within 0.3 s',
      ),
    });
    await eventually(() => told.length).toBe(2);
    expect(told.map(({ event_type, certificates: [one] }) => [event_type, one?.name, one?.additional_info])).toEqual([
      ['cert_order_failed', blockedDomain, expect.stringContaining('issuance is forbidden by policy')],
      ['cert_order_failed', 'nowhere.example.test', expect.stringContaining('was not found in DNS within 0.3 s')],
    ]);
    expect(side.changes()).toEqual([]);
    heard.close();
    await side.close();
  });

  test('an authority that makes accounts for its customers alone, as the command line is told of it', async () => {
    const closed = await startPebble({ customersOnly: true });
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const instances = join(folder, 'instances');
    const run = (...args: string[]) => runCommand(['instance', ...args, '--folder', instances]);
    await run('create');
    const served = async (options: readonly string[], work: () => Promise<void>): Promise<void> => {
      const host = testHost({ env: { PATH: process.env.PATH ?? '' } });
      const given = ['--acme-directory', closed.directory, '--acme-ca', write('ca.pem', closed.trust)];
      const dns = ['--dns-hook', closed.hook, '--dns-server', closed.dnsServer, '--acme-contact', 'ops@example.test'];
      const args = [
        'instance',
        'run',
        '--folder',
        instances,
        '--port',
        '0',
        '--log',
        'error',
        ...given,
        ...dns,
        ...options,
      ];
      const running = runCommand(args, host);
      await eventually(host.output).not.toBe('');
      await work();
      host.signal('SIGTERM');
      expect((await running).code).toBe(0);
    };
    await served([], async () => {
      const refused = await run('order', 'closed.example.test');
      expect(refused.code).toBe(4);
      expect(refused.errors).toContain('externalAccountRequired');
      expect(refused.errors).toContain('[acme_refused]');
    });
    const eab = ['--acme-eab-key-id', closed.eab.keyId, '--acme-eab-key-file', write('eab.key', closed.eab.key)];
    await served(eab, async () => {
      const tried = await run('renew', 'closed.example.test');
      expect(tried).toMatchObject({ code: 0, errors: '' });
      expect(tried.output).toMatch(
        /^the renewal of \w{32} has begun\nclosed\.example\.test: issued by Pebble Intermediate CA/,
      );
    });
    await closed.close();
  });
});
