import { createPublicKey } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRuntime } from '../../../src/runtime.ts';
import { testCertificate } from '../../support/certificates.ts';
import { problem } from '../../support/fake-acme.ts';
import { dataOf, segment } from '../client.ts';
import { eventually, type OrderedWorld, orderedWorld } from './ordered.ts';

// Against Pebble the real thing is tried (test/peers/pebble.test.ts); here only what goes wrong.

let world: OrderedWorld;
beforeEach(async () => {
  world = await orderedWorld();
});
afterEach(() => world.close());

/** A server with a certificate that was ordered and issued, and its content. */
async function issued(options: Parameters<OrderedWorld['start']>[0] = {}) {
  const server = await world.start(options);
  const { body } = await server.order();
  expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
  return { ...server, id: body._id as string, before: (await server.download(body._id)).data };
}

/** A certificate of somebody else for the domains that are ordered. */
const reimportable = () =>
  testCertificate({ domains: ['shop.example.test', '*.shop.example.test'], notAfter: Date.now() + 90 * 86_400_000 });

describe('what may pass is waited for', () => {
  test('a directory that is down at first', async () => {
    let requests = 0;
    world.acme.faults.answer = () => (requests++ < 6 ? 'drop' : undefined);
    const server = await world.start();
    const { body } = await server.order();
    expect(await server.settled(body._id)).toMatchObject({
      status: 'valid',
      issuance_info: { status: 'valid', code: '' },
    });
  });

  test('one that is too slow, answers 500, or refuses a nonce', async () => {
    const plan = [
      'hang',
      { status: 500 },
      undefined,
      undefined,
      problem(400, 'badNonce', 'too old'),
      { status: 503, headers: { 'retry-after': '0' } },
      { status: 200, body: { what: 'a page of somebody else' } },
    ] as const;
    let requests = 0;
    world.acme.faults.answer = () => plan[requests++];
    const server = await world.start({ acme: { directory: world.acme.directory, requestMs: 500 } });
    const { body } = await server.order();
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
    expect(requests).toBeGreaterThan(plan.length);
  });

  test('an order that is long in processing, and one that the authority forgets: it is begun anew', async () => {
    world.acme.faults.processing = 5;
    world.acme.faults.forgets = true;
    const server = await world.start();
    const { body } = await server.order();
    await eventually(() => world.acme.asked.filter((one) => one === 'newOrder').length).toBeGreaterThan(1);
    world.acme.faults.forgets = false;
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
    expect(world.acme.issued()).toBe(1);
  });

  test('an account that the authority forgets is made anew', async () => {
    const server = await issued();
    let refused = 0;
    world.acme.faults.answer = (resource) =>
      resource === 'newOrder' && refused++ === 0 ? problem(400, 'accountDoesNotExist', 'who?') : undefined;
    await server.renew(server.id);
    expect(await server.settled(server.id)).toMatchObject({ issuance_info: { status: 'valid' }, has_previous: true });
    expect(world.acme.asked.filter((one) => one === 'account')).toHaveLength(2);
  });

  test('an order that is ready for one server of the authority, and not yet for another', async () => {
    let refused = 0;
    world.acme.faults.answer = (resource) =>
      resource === 'finalize' && refused++ < 2 ? problem(403, 'orderNotReady', 'it is pending') : undefined;
    const server = await world.start();
    const { body } = await server.order();
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid', issuance_info: { code: '' } });
    expect(world.acme.asked.filter((one) => one === 'newOrder')).toHaveLength(1);
  });

  test('name servers that are silent for some of the domains: the others are proven meanwhile, and nobody takes the order over', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `${name}.example.test`);
    for (const name of names.slice(0, 5)) world.dns.silent.add(`_acme-challenge.${name}`);
    const server = await world.start({ policy: { lookupMs: 50, leaseMs: 2_000 } });
    const { body } = await server.order({ domains: names });
    // The first five stand before the one that can be found.
    await eventually(() => world.acme.asked.includes('challenge')).toBe(true);
    expect((await server.metadata(body._id)).issuance_info.status).toBe('pending');
    world.dns.silent.clear();
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
    expect(world.acme.asked.filter((one) => one === 'challenge')).toHaveLength(6);
  });

  test('a limit that is over in time', async () => {
    let limited = 0;
    world.acme.faults.answer = (resource) =>
      resource === 'newOrder' && limited++ < 2
        ? problem(429, 'rateLimited', 'slow down', { 'retry-after': '0' })
        : undefined;
    const server = await world.start();
    const { body } = await server.order();
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid' });
  });
});

describe('what does not pass ends the renewal with a code, is told, and leaves the certificate as it was', () => {
  const cases: readonly {
    readonly name: string;
    readonly code: string;
    readonly says: string;
    readonly breaks: () => void;
    readonly policy?: object;
  }[] = [
    {
      name: 'the directory stays down',
      code: 'acme_unavailable',
      says: 'no answer',
      breaks: () => {
        world.acme.faults.answer = () => 'drop';
      },
      policy: { orderMs: 200 },
    },
    {
      name: 'a limit that is not over in time',
      code: 'acme_limited',
      says: 'too many certificates already issued',
      breaks: () => {
        world.acme.faults.answer = (resource) =>
          resource === 'newOrder'
            ? problem(429, 'rateLimited', 'too many certificates already issued', { 'retry-after': '86400' })
            : undefined;
      },
    },
    {
      name: 'a refused domain',
      code: 'acme_refused',
      says: 'rejectedIdentifier',
      breaks: () => {
        world.acme.faults.answer = (resource) =>
          resource === 'newOrder' ? problem(403, 'rejectedIdentifier', 'not this one') : undefined;
      },
    },
    {
      name: 'a proof that the authority does not find',
      code: 'acme_challenge_failed',
      says: 'Incorrect TXT record found',
      breaks: () => {
        world.acme.faults.refusesProofs = true;
      },
    },
    {
      name: 'a record that nobody publishes',
      code: 'acme_challenge_unpublished',
      says: '_acme-challenge.shop.example.test was not found in DNS within 0.1 s',
      breaks: () => {
        world.world.publishes = false;
      },
      policy: { challengeMs: 100 },
    },
    {
      name: 'an authority that does not come to an end',
      code: 'acme_overdue',
      says: 'was not done',
      breaks: () => {
        world.acme.faults.processing = 1_000_000;
      },
      policy: { orderMs: 200 },
    },
    {
      name: 'an order that stays ready however often it is finalized',
      code: 'acme_overdue',
      says: 'was not done',
      breaks: () => {
        world.acme.faults.answer = (resource) =>
          resource === 'finalize' ? { status: 200, body: { status: 'ready' } } : undefined;
      },
      policy: { orderMs: 200 },
    },
    ...(
      [
        ['for another key', 'private key'],
        ['for another domain', 'elsewhere.example.test'],
        ['expired', 'expired'],
        ['nonsense', 'no certificate was found'],
      ] as const
    ).map(([issues, says]) => ({
      name: `a certificate ${issues}`,
      code: 'acme_certificate_wrong',
      says,
      breaks: () => {
        world.acme.faults.issues = issues;
      },
    })),
  ];

  test.each(cases)('$name', async ({ code, says, breaks, policy = {} }) => {
    const first = await issued();
    const metadata = await first.metadata(first.id);
    await first.close();
    const server = { ...first, ...(await world.start({ policy })) };
    breaks();
    expect((await server.renew(server.id, true)).status).toBe(200);
    const after = await server.settled(server.id);
    expect(after.issuance_info).toMatchObject({
      status: 'failed',
      code,
      additional_info: expect.stringContaining(says),
    });
    const { issuance_info: _, last_modified: __, rotate_keys: ___, downloaded: ____, ...same } = after;
    expect(metadata).toMatchObject(same);
    expect((await server.download(server.id)).data).toEqual(server.before);
    await eventually(() => world.toldOf('cert_renew_failed').length).toBe(1);
    expect(world.toldOf('cert_renew_failed')[0]?.certificates).toEqual([
      {
        cert_crn: server.id,
        domains: 'shop.example.test,*.shop.example.test',
        expires_on: after.expires_on,
        name: 'shop',
        additional_info: after.issuance_info.additional_info,
        auto_renewed: false,
      },
    ]);
    // Whatever was published is taken back, and nothing of the order is left.
    await eventually(() => world.rowsOf('order')).toEqual([]);
    await eventually(() => [...world.dns.txt.values()].flat()).toEqual([]);
    expect(world.toldOf('cert_renewed')).toEqual([]);
  });

  test('an order that failed has no certificate, says so, can be tried again, and deleted', async () => {
    world.acme.faults.refusesProofs = true;
    const server = await world.start();
    const { body } = await server.order();
    const failed = await server.settled(body._id);
    expect(failed).toMatchObject({
      status: 'failed',
      issuance_info: { status: 'failed', code: 'acme_challenge_failed' },
    });
    await eventually(() => world.toldOf('cert_order_failed').length).toBe(1);
    expect(world.toldOf('cert_order_failed')[0]?.certificates[0]).not.toHaveProperty('expires_on');
    const download = await server.api('GET', `/v2/certificate/${segment(body._id)}`);
    expect([download.status, download.body.code]).toEqual([409, 'instance_not_issued']);
    const list = await server.api('GET', `/v3/${server.I}/certificates`);
    expect(list.body.certificates).toEqual([failed]);

    world.acme.faults.refusesProofs = false;
    expect((await server.renew(body._id)).body).toMatchObject({
      status: 'pending',
      issuance_info: { status: 'pending' },
    });
    expect(await server.settled(body._id)).toMatchObject({ status: 'valid', has_previous: false });
    await eventually(() => world.toldOf('cert_issued').length).toBe(1);
    expect((await server.api('DELETE', `/v2/certificate/${segment(body._id)}`)).status).toBe(200);
    expect((await server.api('GET', `/v3/${server.I}/certificates`)).body.certificates).toEqual([]);
  });

  test.each([
    'shop.example.test 60 TXT "x"\nupdate delete example.test. A\n',
    'elsewhere.example.test',
    '*.shop.example.test',
    '--help',
    '',
  ])('an authority that calls the domain %j: nobody is asked to publish that', async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-hook-'));
    const command = join(folder, 'hook');
    writeFileSync(command, `#!/bin/sh\ntouch ${folder}/called\n`, { mode: 0o700 });
    world.acme.faults.namesDomain = name;
    for (const hook of [{}, { dnsHook: { command, env: {} } }]) {
      const server = await world.start(hook);
      const { body } = await server.order();
      expect((await server.settled(body._id)).issuance_info).toMatchObject({
        code: 'acme_refused',
        additional_info: expect.stringContaining(JSON.stringify(name)),
      });
      await eventually(() => world.rowsOf('order')).toEqual([]);
      await server.close();
    }
    expect(world.told.map(({ event_type }) => event_type)).not.toContain('cert_domain_validation_required');
    expect(existsSync(join(folder, 'called'))).toBe(false);
    rmSync(folder, { recursive: true, force: true });
  });

  test('a DNS hook that fails: what it says is for the log alone, not for callers and channels', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-hook-'));
    const command = join(folder, 'hook');
    writeFileSync(command, '#!/bin/sh\necho "401 for the token t0ken" >&2\nexit 1\n', { mode: 0o700 });
    const server = await world.start({ dnsHook: { command, env: {} }, policy: { orderMs: 200 } });
    const { body } = await server.order();
    const failed = await server.settled(body._id);
    expect(failed.issuance_info).toMatchObject({
      code: 'acme_hook_failed',
      additional_info: "the DNS hook (add _acme-challenge.shop.example.test) ended with 1; see the server's log",
    });
    await eventually(() => world.toldOf('cert_order_failed').length).toBe(1);
    expect(JSON.stringify([failed, world.told])).not.toContain('t0ken');
    const said = server.logged.filter(({ event }) => event === 'instance_dns_hook_failed');
    expect(said[0]?.fields).toMatchObject({ stderr: '401 for the token t0ken' });
    rmSync(folder, { recursive: true, force: true });
  });

  test('nobody to publish: neither hook nor channel', async () => {
    const server = await world.start({}, { channel: false });
    const { body } = await server.order();
    expect((await server.settled(body._id)).issuance_info).toMatchObject({ code: 'acme_no_publisher' });
  });

  test('what an authority issued is not renewed by the development CA, because a setting is missing', async () => {
    const { id, close, before } = await issued();
    await close();
    const without = await world.start({ acme: undefined });
    await without.renew(id);
    expect((await without.settled(id)).issuance_info).toMatchObject({
      status: 'failed',
      code: 'instance_not_configured',
      additional_info: expect.stringContaining(`was issued by ${world.acme.directory}`),
    });
    expect((await without.download(id)).data).toEqual(before);
  });
});

describe('what was reimported is never replaced by the development CA', () => {
  test('though that had issued it: its automatic renewal is switched off, and a renewal fails', async () => {
    const server = await world.start({ acme: undefined });
    const { body } = await server.order({ auto_renew_enabled: true });
    expect(await server.settled(body._id)).toMatchObject({ order_policy: { auto_renew_enabled: true } });
    const own = dataOf(await reimportable());
    const put = await server.api('PUT', `/v1/certificate/${segment(body._id)}`, own);
    expect(put.body).toMatchObject({ imported: false, order_policy: { auto_renew_enabled: false } });
    await server.renew(body._id);
    expect((await server.settled(body._id)).issuance_info).toMatchObject({
      code: 'instance_not_configured',
      additional_info: expect.stringContaining('was reimported, and no ACME directory is configured'),
    });
    expect((await server.download(body._id)).data).toEqual(own);
  });

  test('nor by itself: a policy that is set again ends in a failure that is told', async () => {
    let movedMs = 0;
    const runtime = {
      ...systemRuntime,
      now: () => Date.now() + movedMs,
      wait: (milliseconds: number, signal?: AbortSignal) =>
        systemRuntime.wait(milliseconds === 60_000 ? 20 : milliseconds, signal),
    };
    const server = await world.start({ acme: undefined }, { runtime });
    const { body } = await server.order();
    await server.settled(body._id);
    const own = dataOf(await reimportable());
    await server.api('PUT', `/v1/certificate/${segment(body._id)}`, own);
    await server.api('PUT', `/v1/certificate/${segment(body._id)}/order/policy`, { auto_renew_enabled: true });
    movedMs = 80 * 86_400_000;
    await eventually(async () => (await server.metadata(body._id)).issuance_info).toMatchObject({
      status: 'failed',
      code: 'instance_not_configured',
      auto: true,
    });
    await eventually(() => world.toldOf('cert_renew_failed').length).toBe(1);
    expect((await server.download(body._id)).data).toEqual(own);
  });

  test('where a real authority issues, automatic renewal stays on', async () => {
    const server = await world.start();
    const { body } = await server.order({ auto_renew_enabled: true });
    await server.settled(body._id);
    const put = await server.api('PUT', `/v1/certificate/${segment(body._id)}`, dataOf(await reimportable()));
    expect(put.body).toMatchObject({ order_policy: { auto_renew_enabled: true } });
  });
});

describe('one at a time', () => {
  test('two orders for the same domains: the second is refused until the first has ended', async () => {
    world.world.publishes = false;
    const server = await world.start();
    const first = await server.order();
    const again = await server.order({ domains: ['*.shop.example.test', 'SHOP.example.test'] });
    expect([again.status, again.body.code]).toEqual([409, 'instance_order_running']);
    expect((await server.order({ domains: ['other.example.test'] })).status).toBe(200);
    world.world.publishes = true;
    world.publishAll();
    await server.settled(first.body._id);
    const later = await server.order();
    expect(later.status).toBe(200);
    expect(await server.settled(later.body._id)).toMatchObject({ status: 'valid' });
  });

  test('a renewal while one is under way is refused', async () => {
    const server = await issued();
    world.world.publishes = false;
    expect((await server.renew(server.id)).status).toBe(200);
    const second = await server.renew(server.id);
    expect([second.status, second.body.code]).toEqual([409, 'instance_order_running']);
    world.dns.txt.clear();
  });

  test('a certificate that is deleted while it is renewed stays deleted', async () => {
    const server = await issued();
    world.world.publishes = false;
    await server.renew(server.id);
    await eventually(() => world.toldOf('cert_domain_validation_required').length).toBeGreaterThan(2);
    await server.api('DELETE', `/v2/certificate/${segment(server.id)}`);
    await eventually(() => world.rowsOf('order')).toEqual([]);
    expect((await server.api('GET', `/v3/${server.I}/certificates`)).body.certificates).toEqual([]);
    expect(await world.rowsOf('certificate')).toEqual([]);
    expect(await world.rowsOf('content')).toEqual([]);
  });

  test('a reimport while it is renewed stays: the renewal has failed, and the key before does not come back', async () => {
    const server = await issued();
    world.world.publishes = false;
    await server.renew(server.id);
    await eventually(() => world.toldOf('cert_domain_validation_required').length).toBe(4);
    const own = dataOf(await reimportable());
    const put = await server.api('PUT', `/v1/certificate/${segment(server.id)}`, own);
    expect(put.status).toBe(200);
    expect(put.body).toMatchObject({
      status: 'valid',
      issuance_info: {
        status: 'failed',
        code: 'instance_reimported',
        additional_info: expect.stringContaining('it was reimported'),
      },
    });
    // The record appears all the same.
    for (const { domain, challenge } of world.toldOf('cert_domain_validation_required')) {
      const name = `${challenge.txt_record_name}.${domain}`;
      world.dns.txt.set(name, [...(world.dns.txt.get(name) ?? []), challenge.txt_record_val]);
    }
    await eventually(() => world.rowsOf('order')).toEqual([]);
    expect((await server.download(server.id)).data).toEqual(own);
    expect(await server.metadata(server.id)).toMatchObject({ issuance_info: put.body.issuance_info });
    expect(world.toldOf('cert_renewed')).toEqual([]);
    // Asked again, the authority renews it, with the key that was reimported.
    world.world.publishes = true;
    await server.renew(server.id);
    expect(await server.settled(server.id)).toMatchObject({ issuance_info: { status: 'valid' } });
    const { data } = await server.download(server.id);
    expect(data.content).not.toBe(own.content);
    expect(createPublicKey(data.priv_key).equals(createPublicKey(String(own.priv_key)))).toBe(true);
  });

  test('an order that is reimported before it is issued is what was reimported', async () => {
    world.world.publishes = false;
    const server = await world.start();
    const { body } = await server.order();
    await eventually(() => world.toldOf('cert_domain_validation_required').length).toBe(2);
    const own = dataOf(await reimportable());
    expect((await server.api('PUT', `/v1/certificate/${segment(body._id)}`, own)).body).toMatchObject({
      status: 'valid',
      issuance_info: { code: 'instance_reimported' },
    });
    await eventually(() => world.rowsOf('order')).toEqual([]);
    expect((await server.download(body._id)).data).toEqual(own);
  });

  test('the limits: five of one set of domains in a week, whatever else', async () => {
    const server = await world.start({ acme: undefined }, { limits: { ordersPerMinute: 1000 } });
    for (let order = 1; order <= 5; order++) {
      const { status, body } = await server.order();
      expect(status).toBe(200);
      await server.settled(body._id);
    }
    const sixth = await server.order();
    expect([sixth.status, sixth.body.code]).toEqual([429, 'instance_limited']);
    expect(Number(sixth.headers.get('retry-after'))).toBeGreaterThan(6.9 * 86_400);
    expect((await server.order({ domains: ['other.example.test'] })).status).toBe(200);
  });

  test('the limits: five orders and five renewals in a minute', async () => {
    const server = await world.start({ acme: undefined }, { limits: {} });
    const statuses: number[] = [];
    for (let order = 1; order <= 6; order++) {
      statuses.push((await server.order({ domains: [`n${order}.example.test`] })).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
  });
});
