import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { certificateRows } from '../../../src/instance/certificates/certificate-rows.ts';
import type { OrderPolicy } from '../../../src/instance/orders/order-policy.ts';
import type { OrderingOptions } from '../../../src/instance/orders/ordering.ts';
import { certificateUpkeep } from '../../../src/instance/upkeep/certificate-upkeep.ts';
import { type LogFields, silentLog } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { type FakeAcme, startFakeAcme } from '../../support/fake-acme.ts';
import { type FakeDns, startFakeDns } from '../../support/fake-dns.ts';
import { startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { type Call, call, segment } from '../client.ts';

/** The claims of a notification, as far as they are looked at. */
export interface Claims {
  readonly event_type: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any member
  readonly [claim: string]: any;
}

/** Waits until it is so, on a busy machine too. */
export function eventually<T>(read: () => T | Promise<T>) {
  return expect.poll(read, { interval: 20 });
}

/** Everything in it takes milliseconds where the real thing takes minutes. */
const quickPolicy: Partial<OrderPolicy> = {
  lookEveryMs: 5,
  firstWaitMs: 5,
  longestWaitMs: 40,
  orderMs: 60_000,
  challengeMs: 60_000,
};

/**
 * An authority, DNS, and somebody who publishes what a channel asks for; instances on one table,
 * one after the other or at once.
 */
export async function orderedWorld(options: { readonly table?: Table } = {}) {
  const table = options.table ?? memoryTable();
  const acme: FakeAcme = await startFakeAcme();
  const dns: FakeDns = await startFakeDns();
  const keyring = testKeyring(instanceCrn);
  const told: Claims[] = [];
  const world = { publishes: true };
  const publisher = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const claims = JSON.parse(Buffer.from(JSON.parse(body).data.split('.')[1], 'base64url').toString()) as Claims;
    told.push(claims);
    const { event_type, domain, challenge } = claims;
    const name = `${challenge?.txt_record_name}.${domain}`;
    const before = dns.txt.get(name) ?? [];
    if (event_type === 'cert_domain_validation_required' && world.publishes) publish(claims);
    if (event_type === 'cert_domain_validation_completed')
      dns.txt.set(
        name,
        before.filter((value) => value !== challenge.txt_record_val),
      );
    response.writeHead(200).end();
  });
  /** Publishes a value beside those that are there. */
  function publish({ domain, challenge }: Claims): void {
    const name = `${challenge.txt_record_name}.${domain}`;
    dns.txt.set(name, [...(dns.txt.get(name) ?? []), challenge.txt_record_val]);
  }
  await new Promise<void>((resolve) => publisher.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(publisher.address() as AddressInfo).port}/told`;
  const closers: (() => Promise<unknown>)[] = [];

  /** One more server of the same table; the channel is made by the first. */
  async function start(
    ordering: OrderingOptions = {},
    given: TestInstanceOptions & { readonly channel?: boolean } = {},
  ) {
    const { channel = closers.length === 0, ...rest } = given;
    const logged: { readonly event: string; readonly fields: LogFields }[] = [];
    const instance: TestInstance = await startTestInstance({
      table,
      keyringOf: () => keyring,
      log: (_, event, fields = {}) => logged.push({ event, fields }),
      ordering: {
        acme: { directory: acme.directory },
        dnsServer: dns.address,
        ...ordering,
        policy: { ...quickPolicy, ...ordering.policy },
      },
      ...rest,
    });
    let closed: Promise<void> | undefined;
    const close = () => {
      closed ??= instance.close();
      return closed;
    };
    closers.push(close);
    // With a token of its own for each call: clocks are moved.
    const api: Call = async (method, path, body) =>
      call(`${instance.url}/api${path}`, method, await instance.token(), body);
    const I = segment(instance.crn);
    if (channel) await api('PUT', `/v1/instances/${I}/notifications/channels`, { type: 'url', endpoint });
    const metadata = async (id: string) => (await api('GET', `/v1/certificate/${segment(id)}/metadata`)).body;
    return {
      instance,
      api,
      I,
      logged,
      close,
      metadata,
      download: async (id: string) => (await api('GET', `/v2/certificate/${segment(id)}`)).body,
      order: (given: object = {}) =>
        api('POST', `/v1/${I}/certificates/order`, {
          name: 'shop',
          domains: ['shop.example.test', '*.shop.example.test'],
          domain_validation_method: 'dns-01',
          key_algorithm: 'id-ecPublicKey 256 bit',
          ...given,
        }),
      renew: (id: string, rotate_keys = false) => api('POST', `/v1/certificate/${segment(id)}/renew`, { rotate_keys }),
      /** The metadata, once no order or renewal is under way. */
      async settled(id: string) {
        await eventually(async () => (await metadata(id)).issuance_info.status).not.toBe('pending');
        return metadata(id);
      },
    };
  }

  return {
    table,
    acme,
    dns,
    /** What the channel was told. */
    told,
    toldOf: (type: string) => told.filter(({ event_type }) => event_type === type),
    world,
    /** Publishes, however late, all that the channel was asked for. */
    publishAll() {
      for (const claims of told) if (claims.event_type === 'cert_domain_validation_required') publish(claims);
    },
    start,
    /** Where the channel leads. */
    endpoint,
    keyring,
    /** Work on all certificates of the instance, as commands do it. */
    upkeep: () => {
      const its = { table, sealer: keyring, runtime: systemRuntime, log: silentLog, instanceCrn };
      return certificateUpkeep({ ...its, rows: certificateRows(its) });
    },
    /** Rows of the instance in a partition. */
    rowsOf: async (what: string) =>
      (await table.query({ partition: `instance.1/${instanceCrn}/${what}`, limit: 100 })).rows,
    async close() {
      for (const each of closers.splice(0).reverse()) await each();
      publisher.closeAllConnections();
      await new Promise((resolve) => publisher.close(resolve));
      await acme.close();
      await dns.close();
    },
  };
}

export type OrderedWorld = Awaited<ReturnType<typeof orderedWorld>>;
