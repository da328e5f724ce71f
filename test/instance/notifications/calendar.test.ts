import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { OrderedFields } from '../../../src/instance/certificates/certificate-row.ts';
import { type CertificateRows, certificateRows } from '../../../src/instance/certificates/certificate-rows.ts';
import { calendar } from '../../../src/instance/notifications/calendar.ts';
import { dayMs } from '../../../src/instance/notifications/calendar-days.ts';
import type { InstanceEvent } from '../../../src/instance/notifications/events.ts';
import {
  type NotificationRows,
  notificationRows,
  onceId,
  type Pending,
} from '../../../src/instance/notifications/notification-rows.ts';
import { silentLog } from '../../../src/log.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { startTestInstance } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';
import { clientOf, segment } from '../client.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const at = (text: string): number => Date.parse(text.length === 10 ? `${text}T00:00:00Z` : `${text}Z`);

/** Certificates of an instance, without HTTP, by name. */
function estate(table: Table, runtime: Runtime) {
  const rows = certificateRows({ table, sealer: testKeyring(instanceCrn), runtime, log: silentLog, instanceCrn });
  const ids = new Map<string, string>();
  const idOf = (name: string) => ids.get(name) ?? '';
  const facts = (name: string, expires: string) => ({
    domains: [`${name}.example.test`],
    issuer: 'CA',
    serialNumber: '1',
    beginsOn: 0,
    expiresOn: at(`${expires}T12:00:00`),
    algorithm: 'x',
    keyAlgorithm: 'y',
  });
  const replace = (name: string, expires: string, further?: OrderedFields) =>
    rows.replaceContent(
      idOf(name),
      facts(name, expires),
      { content: 'pem' },
      () => {},
      undefined,
      (row) => ({ ...further, ...(further && { previousExpiresOn: row.expiresOn }) }),
    );
  return {
    rows,
    async imports(name: string, expires: string) {
      const entry = { ...facts(name, expires), name, description: '' };
      ids.set(name, (await rows.add(entry, { content: 'pem' }, Number.POSITIVE_INFINITY)).id);
    },
    reimports: (name: string, expires: string) => replace(name, expires),
    async issues(name: string, expires: string) {
      const entry = { id: name, name, description: '', domains: [`${name}.example.test`], keyAlgorithm: 'y' };
      ids.set(name, name);
      await rows.reserve({ ...entry, imported: false, downloaded: false }, Number.POSITIVE_INFINITY);
      const issued = { imported: false, downloaded: false, issuedAt: runtime.now() };
      await rows.replaceContent(
        idOf(name),
        facts(name, expires),
        { content: 'pem' },
        () => {},
        undefined,
        () => issued,
      );
    },
    renews: (name: string, expires: string, auto = false) => {
      const issuance = { order: 'o', status: 'valid', code: '', info: '', auto, orderedOn: runtime.now() } as const;
      return replace(name, expires, { downloaded: false, issuedAt: runtime.now(), issuance });
    },
    async downloads(name: string) {
      const row = await rows.get(idOf(name));
      if (row !== undefined) await rows.noteDownload(row);
    },
    deletes: (name: string) => rows.remove(idOf(name)),
  };
}
type Estate = ReturnType<typeof estate>;

/** A clock that the test sets, and a round of the server's minute that the test begins. */
function rounds(start: number) {
  let time = start;
  const waiting: (() => void)[] = [];
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => time,
    wait(milliseconds, signal) {
      if (milliseconds !== 60_000) return systemRuntime.wait(milliseconds, signal);
      return new Promise((resolve, reject) => {
        const onAbort = () => reject(signal?.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
        waiting.push(() => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
      });
    },
  };
  return {
    runtime,
    set: (moment: number) => {
      time = moment;
    },
    /** Everything that a server does each minute is done once. */
    async round() {
      const begun = waiting.splice(0);
      for (const begin of begun) begin();
      while (waiting.length < begun.length) await new Promise(setImmediate);
    },
  };
}

/** Counts what arrives at a channel: the payloads of version 5, in the order of their moments. */
async function receiver() {
  const arrived: { event_id: string; event_time: number; event_type: string; certificates: { name: string }[] }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const [, claims = ''] = JSON.parse(body).data.split('.');
    arrived.push(JSON.parse(Buffer.from(claims, 'base64url').toString()));
    response.writeHead(200).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { arrived, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** What happens in the year, and when; all of it at ten in the morning. */
const year: Readonly<Record<string, (its: Estate) => readonly Promise<unknown>[]>> = {
  '2030-01-01': (its) => [
    its.imports('alpha', '2030-12-31'),
    its.imports('bravo', '2030-04-11'),
    its.imports('delta', '2030-01-05'),
    its.imports('echo', '2030-04-01'),
  ],
  '2030-01-02': (its) => [
    its.issues('foxtrot', '2030-04-02'),
    its.issues('golf', '2030-03-03'),
    its.issues('hotel', '2030-04-02'),
    its.issues('juliet', '2030-04-12'),
  ],
  '2030-01-03': (its) => [its.downloads('golf')],
  '2030-01-07': (its) => [its.reimports('delta', '2032-01-05')],
  '2030-01-10': (its) => [its.imports('charlie', '2030-02-26')],
  '2030-01-12': (its) => [its.renews('juliet', '2031-10-01')],
  '2030-01-20': (its) => [its.deletes('hotel')],
  '2030-02-10': (its) => [its.downloads('foxtrot')],
  '2030-02-28': (its) => [its.reimports('charlie', '2030-04-16')],
  '2030-03-04': (its) => [its.deletes('golf')],
  '2030-03-15': (its) => [its.deletes('charlie')],
  '2030-03-20': (its) => [its.reimports('bravo', '2031-03-20')],
  '2030-03-25': (its) => [its.renews('foxtrot', '2030-06-23', true), its.deletes('echo')],
  '2030-05-01': (its) => [its.issues('india', '2030-05-07')],
  '2030-05-08': (its) => [its.renews('india', '2031-12-01')],
  '2030-05-25': (its) => [its.renews('foxtrot', '2030-08-23', true)],
  '2030-06-14': (its) => [its.downloads('foxtrot')],
  '2030-08-14': (its) => [its.renews('foxtrot', '2031-12-01', true)],
  '2030-08-15': (its) => [its.downloads('foxtrot')],
};

/**
 * What the specification says of that year, worked out by hand: each event with the certificates
 * that it names.
 */
const eventsOfTheYear = [
  '2030-01-04 cert_about_to_expire_reimport_required delta',
  '2030-01-05 cert_expired_reimport_required delta',
  '2030-01-06 cert_expired_reimport_required delta',
  '2030-01-07 cert_expired_reimport_required delta',
  '2030-01-11 cert_about_to_expire_reimport_required bravo',
  '2030-01-27 cert_about_to_expire_reimport_required charlie',
  '2030-01-31 cert_about_to_expire_reimport_required echo',
  '2030-02-01 cert_about_to_expire_renew_required golf',
  '2030-02-01 cert_issued_not_downloaded foxtrot',
  '2030-02-10 cert_about_to_expire_reimport_required bravo',
  '2030-02-16 cert_about_to_expire_reimport_required charlie',
  '2030-02-21 cert_about_to_expire_renew_required golf',
  '2030-02-25 cert_about_to_expire_reimport_required charlie',
  '2030-02-26 cert_expired_reimport_required charlie',
  '2030-02-27 cert_expired_reimport_required charlie',
  '2030-02-28 cert_expired_reimport_required charlie',
  '2030-03-02 cert_about_to_expire_reimport_required echo',
  '2030-03-02 cert_about_to_expire_renew_required golf',
  '2030-03-03 cert_about_to_expire_renew_required foxtrot',
  '2030-03-03 cert_expired_renew_required golf',
  '2030-03-04 cert_expired_renew_required golf',
  '2030-03-12 cert_about_to_expire_reimport_required bravo',
  '2030-03-13 cert_renewed_not_downloaded juliet',
  '2030-03-22 cert_about_to_expire_reimport_required echo',
  '2030-03-23 cert_about_to_expire_renew_required foxtrot',
  '2030-04-01 cert_renewed_not_downloaded foxtrot',
  '2030-04-02 cert_renewed_not_downloaded foxtrot',
  '2030-04-02 cert_renewed_not_downloaded juliet',
  '2030-04-11 cert_renewed_not_downloaded juliet',
  '2030-04-12 cert_renewed_not_downloaded juliet',
  '2030-05-06 cert_about_to_expire_renew_required india',
  '2030-05-07 cert_expired_renew_required india',
  '2030-05-08 cert_expired_renew_required india',
  '2030-05-24 cert_about_to_expire_renew_required foxtrot',
  '2030-06-13 cert_renewed_not_downloaded foxtrot',
  '2030-07-24 cert_about_to_expire_renew_required foxtrot',
  '2030-08-13 cert_about_to_expire_renew_required foxtrot',
  '2030-10-02 cert_about_to_expire_reimport_required alpha',
  '2030-11-01 cert_about_to_expire_reimport_required alpha',
  '2030-12-01 cert_about_to_expire_reimport_required alpha',
  '2030-12-20 cert_about_to_expire_reimport_required bravo',
  '2030-12-21 cert_about_to_expire_reimport_required alpha',
  '2030-12-30 cert_about_to_expire_reimport_required alpha',
  '2030-12-31 cert_expired_reimport_required alpha',
];

test('a year of calendar for ten certificates: what arrives at a channel of two servers is what the specification says', async () => {
  const { runtime, set, round } = rounds(at('2030-01-01T00:00:30'));
  const table = memoryTable();
  const its = estate(table, runtime);
  const { arrived, endpoint } = await receiver();
  const servers = await Promise.all([1, 2].map(() => startTestInstance({ table, runtime })));
  for (const server of servers) closers.push(server.close);
  const [first] = servers;
  if (first === undefined) throw new Error('no server');
  const api = await clientOf(first);
  await api('PUT', `/v1/instances/${segment(instanceCrn)}/notifications/channels`, { type: 'url', endpoint });

  for (let midnight = at('2030-01-01'); midnight < at('2031-01-01'); midnight += dayMs) {
    // What is done each minute, a minute after midnight; what people do at ten; and a minute later
    // still nothing is new.
    set(midnight + 60_000);
    await round();
    set(midnight + 10 * 3_600_000);
    const happens = year[new Date(midnight).toISOString().slice(0, 10)];
    await Promise.all(happens?.(its) ?? []);
    set(midnight + 10 * 3_600_000 + 60_000);
    await round();
  }
  await expect.poll(() => arrived.length).toBeGreaterThanOrEqual(eventsOfTheYear.length);
  const told = arrived
    .map(({ event_time, event_type, certificates }) =>
      [new Date(event_time).toISOString().slice(0, 10), event_type, ...certificates.map(({ name }) => name)].join(' '),
    )
    .sort();
  expect(told).toEqual(eventsOfTheYear);
  expect(new Set(arrived.map(({ event_id }) => event_id)).size).toBe(arrived.length);
  const renewed = arrived.filter(({ event_type }) => event_type === 'cert_renewed_not_downloaded');
  expect(renewed[1]?.certificates).toMatchObject([
    { auto_renewed: true, previous_expires_on: at('2030-04-02T12:00:00') },
  ]);
});

/**
 * The calendar of an instance, and what it has told: the first time that each event of a channel is
 * put, as the table does it.
 */
function told(table: Table, runtime: Runtime, rows: CertificateRows) {
  const events = new Map<string, InstanceEvent>();
  const deliveries = {
    async publishOnce(event: InstanceEvent) {
      if (!events.has(event.id)) events.set(event.id, event);
    },
  };
  const lines = () =>
    [...events.values()].map(({ type, items }) => `${type} ${items.map(({ name }) => name).join(' ')}`);
  return {
    calendar: calendar({ instanceCrn, rows, deliveries, table, runtime, log: silentLog }),
    deliveries,
    events,
    lines,
  };
}

describe('what is told once', () => {
  const event: InstanceEvent = {
    id: 'e',
    type: 'cert_expired_reimport_required',
    at: 1_000,
    items: [{ cert_crn: 'crn', domains: 'a', expires_on: 1, name: 'shop' }],
  };
  const notification: Pending = {
    id: onceId(event, 'channel'),
    channel: 'channel',
    type: 'url',
    version: 5,
    event,
    attempts: 0,
    wakeAt: 2_000,
  };

  test.each([
    ['delivered', (rows: NotificationRows) => rows.remove(notification.id)],
    ['given up', (rows: NotificationRows) => rows.bury(notification, 'HTTP 410', 3_000)],
  ])('is not put again when it was %s, nor taken up, and leaves nothing of its content', async (_, end) => {
    const table = memoryTable();
    const rows = notificationRows({ table, instanceCrn, runtime: systemRuntime });
    expect([await rows.put(notification), await rows.put(notification)]).toEqual([true, false]);
    await end(rows);
    expect(await rows.put(notification)).toBe(false);
    expect((await rows.due(Number.MAX_SAFE_INTEGER)).pending).toEqual([]);
    expect(await rows.take(notification, { wakeAt: 9_000 })).toBeUndefined();
    const partition = `instance.1/${instanceCrn}/notification`;
    const kept = (await table.query({ partition, limit: 10 })).rows;
    expect(kept.map(({ partition: _partition, sort: _sort, ...fields }) => Object.keys(fields).sort())).toEqual([
      ['expiresAt', 'format'],
    ]);
  });
});

describe('a day', () => {
  const shop = (number: number) => `shop-${String(number).padStart(3, '0')}`;

  /**
   * So many certificates, which expire on these days in turn; it is 2030-01-11, 30 days before the
   * first of them.
   */
  async function prepared(count: number, expires: readonly string[] = ['2030-02-10'], name = shop) {
    const clock = rounds(at('2030-01-01T10:00:00'));
    const table = memoryTable();
    const its = estate(table, clock.runtime);
    for (let number = 0; number < count; number++)
      await its.imports(name(number), expires[number % expires.length] ?? '');
    clock.set(at('2030-01-11T00:01:00'));
    return { ...clock, table, its, ...told(table, clock.runtime, its.rows) };
  }

  test('names at most 100 certificates in one event, and begins a new one for each day of expiry', async () => {
    const { its, set, calendar, events } = await prepared(0);
    set(at('2030-01-01T10:00:00'));
    for (let number = 0; number < 101; number++) await its.imports(`${number}`, '2030-02-10');
    await its.imports('other day', '2030-01-21');
    set(at('2030-01-11T00:01:00'));
    await calendar.run();
    expect([...events.values()].map(({ items }) => items.length)).toEqual([1, 100, 1]);
  });

  test('fits into rows of the table, however long the names are', async () => {
    const { calendar, events } = await prepared(40, ['2030-02-10'], (number) => `${number} ${'€'.repeat(5000)}`);
    await calendar.run();
    expect(events.size).toBeGreaterThan(1);
    expect([...events.values()].flatMap(({ items }) => items)).toHaveLength(40);
  });

  test.each(['before', 'after'])(
    'whoever is killed anywhere in it, %s a write, and goes on, tells everything once',
    async (when) => {
      for (let killAt = 1; ; killAt++) {
        const { table, runtime, its, deliveries, lines } = await prepared(2, ['2030-02-10', '2030-01-05']);
        let writes = 0;
        const dying =
          <Arguments extends unknown[], Result>(work: (...given: Arguments) => Promise<Result>) =>
          async (...given: Arguments): Promise<Result> => {
            writes += 1;
            if (writes === killAt && when === 'before') throw new Error('killed');
            const result = await work(...given);
            if (writes === killAt) throw new Error('killed');
            return result;
          };
        const killed = calendar({
          instanceCrn,
          rows: its.rows,
          deliveries: { publishOnce: dying(deliveries.publishOnce) },
          table: { ...table, update: dying(table.update), putIfAbsent: dying(table.putIfAbsent) },
          runtime,
          log: silentLog,
        });
        const lived = await killed.run().then(
          () => true,
          () => false,
        );
        await calendar({ instanceCrn, rows: its.rows, deliveries, table, runtime, log: silentLog }).run();
        expect(lines()).toEqual([
          'cert_expired_reimport_required shop-001',
          'cert_about_to_expire_reimport_required shop-000',
        ]);
        if (lived) break;
        expect(killAt).toBeLessThan(30);
      }
    },
  );

  test('goes on past a certificate that cannot be read', async () => {
    const { table, calendar, lines } = await prepared(3);
    const { rows } = await table.query({ partition: `instance.1/${instanceCrn}/certificate`, limit: 10 });
    const [broken] = rows;
    await table.update({ partition: broken?.partition ?? '', sort: broken?.sort ?? '' }, { set: { format: 99 } });
    await calendar.run();
    expect(lines()[0]?.split(' ')).toHaveLength(3);
  });

  test('of many processes at once, all tell the same', async () => {
    const { table, runtime, its, deliveries, events } = await prepared(250);
    const calendars = [1, 2, 3].map(() =>
      calendar({ instanceCrn, rows: its.rows, deliveries, table, runtime, log: silentLog }),
    );
    await Promise.all(calendars.map((each) => each.run()));
    expect([...events.values()].map(({ items }) => items.length)).toEqual([100, 100, 50]);
  });

  test('that nobody lived to end is ended before the next, and missed days are made good once', async () => {
    const { table, runtime, its, set, calendar: whole, deliveries, lines } = await prepared(1);
    const failing = {
      ...table,
      putIfAbsent: () => Promise.reject(new Error('killed')),
    };
    const killed = calendar({ instanceCrn, rows: its.rows, deliveries, table: failing, runtime, log: silentLog });
    await expect(killed.run()).rejects.toThrow('killed');
    set(at('2030-02-20T05:00:00'));
    await whole.run();
    // The day that was begun, 30 days before; then everything since, of which only the expiry is
    // left to be told.
    expect(lines()).toEqual([
      'cert_about_to_expire_reimport_required shop-000',
      'cert_expired_reimport_required shop-000',
    ]);
    await whole.run();
    expect(lines()).toHaveLength(2);
  });
});
