import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { storeOf } from '../services/secrets-manager/instance.ts';
import { testCertificate } from '../support/certificates.ts';
import { type CommandEnd, runCommand, type TestHost, testHost } from '../support/command.ts';
import { type FakeEventNotifications, startFakeEventNotifications } from '../support/fake-event-notifications.ts';
import { freePort } from '../support/free-port.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';

// The whole of it by the commands that a person types: two instances of our own by Secrets
// Manager's API, a stand-in for Event Notifications between the first of them and `serve`.

const account = 'a/e5e6f6e6e6e6e6e6e6e6e6e6e6e6e6e6';
const guidA = '00000000-0000-4000-8000-00000000000a';
const crns = {
  frankfurt: `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:${guidA}::`,
  london: `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:00000000-0000-4000-8000-00000000000b::`,
};
const secretsCrn = (crn: string) => crn.replace(':cloudcerts:', ':secrets-manager:');
const events = `crn:v1:bluemix:public:event-notifications:eu-de:${account}:00000000-0000-4000-8000-00000000000e::`;
const key = apiKeyOf('manager');

let frankfurt: TestInstance;
let london: TestInstance;
let fake: FakeEventNotifications;
let folder: string;
let port: number;
const running: { readonly host: TestHost; readonly ended: Promise<CommandEnd> }[] = [];

beforeAll(async () => {
  // An event has ten minutes to come: what is written here was written an hour ago.
  const anHourAgo = { ...systemRuntime, now: () => Date.now() - 3_600_000 };
  frankfurt = await startTestInstance({ crn: crns.frankfurt, runtime: anHourAgo });
  london = await startTestInstance({ crn: crns.london });
  fake = await startFakeEventNotifications({
    ...{ instance: events, source: secretsCrn(crns.frankfurt), secretsManager: frankfurt.url },
    keys: { [key]: 'manager' },
  });
  folder = mkdtempSync(join(tmpdir(), 'certstandby-events-'));
  port = await freePort();
});
afterEach(stop);
afterAll(async () => {
  await Promise.all([frankfurt.close(), london.close(), fake.close()]);
  rmSync(folder, { recursive: true, force: true });
});

function configure(destination = ''): void {
  const store = (crn: string, endpoint: string, iam: string) =>
    `{ kind: secrets-manager, instance: "${secretsCrn(crn)}", apiKey: env:KEY, endpoint: "${endpoint}", iam: "${iam}",` +
    ' settles: 300ms, listingLag: 0s, readSettles: 0s, requestsPerSecond: 500 }';
  const sender = `kind: event-notifications, store: frankfurt, source: "${secretsCrn(crns.frankfurt)}", instance: "${events}"`;
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
receiver: { port: ${port} }
worker: { sweepEvery: 1s }
serve: { stopWithin: 5s }
stores:
  frankfurt: ${store(crns.frankfurt, fake.url, frankfurt.url)}
  london: ${store(crns.london, london.url, london.url)}
links: { shop: { primary: frankfurt, backups: [london] } }
senders:
  events: { ${sender}, apiKey: env:KEY, endpoint: "${fake.url}", iam: "${fake.url}"${destination} }
`,
  );
}

const environment = { env: { KEY: key } };
const run = (...args: readonly string[]) =>
  runCommand([...args, '--config', join(folder, 'certstandby.yaml')], testHost(environment));
const base = () => `http://127.0.0.1:${port}`;

async function serve(): Promise<void> {
  const host = testHost(environment);
  const ended = runCommand(['serve', '--config', join(folder, 'certstandby.yaml')], host);
  running.push({ host, ended });
  await expect.poll(() => host.errors()).toContain('"event":"serving"');
}

async function stop(): Promise<void> {
  for (const { host, ended } of running.splice(0)) {
    host.signal('SIGTERM');
    await ended;
  }
}

/** New content at the primary; an event tells of it only where that is said. */
async function renew(id: string): Promise<string> {
  const content = parseContent(await testCertificate());
  await storeOf(frankfurt).reimport(id, content);
  return fingerprintOf(content);
}

async function copies(): Promise<readonly string[]> {
  const store = storeOf(london);
  const { certificates } = await store.list({});
  const reads = await Promise.all(certificates.map(({ id }) => store.read(id)));
  return reads.map((read) => (read.state === 'present' ? fingerprintOf(read.value.content) : read.state));
}

/** The paragraph of `status` or the line of `doctor` that says that nothing arrives. */
const silenceIn = ({ output }: CommandEnd): string =>
  /^.*notifications do not arrive[^\n]*\n[^\n]*/m.exec(output)?.[0].replace(/\s+/g, ' ').trim() ?? '';

test('a sender is set up by doctor alone, tells of changes, is paused, and that is said in words', async () => {
  const primary = storeOf(frankfurt);
  const first = parseContent(await testCertificate());
  const { id } = await primary.import({ content: first, metadata: { name: 'shop', description: '', tags: [] } });

  configure();
  const made = await run('doctor', '--register', base());
  expect(made.output).toContain('connected: the Secrets Manager instance tells this Event Notifications instance');
  const [, destination = ''] = /Write destination: (\S+) below senders\.events/.exec(made.output) ?? [];
  expect(made.code).toBe(4);
  configure(`, destination: ${destination}`);

  await serve();
  await expect.poll(copies).toEqual([fingerprintOf(first)]);
  await expect.poll(() => fake.emit('test_event').then(() => fake.answers.at(-1))).toBe(200);
  const good = await run('doctor', '--register', base(), '--wait', '30');
  expect(good.output).toContain('sender events: the test of the destination was answered 200');
  expect(good.output).toContain('sender events: its test message has come, and stands in the table');
  expect(good.output).not.toContain('problem');

  // An event to a copy, with nobody waiting for a reconcile.
  const told = await renew(id);
  await fake.emit('secret_rotated', [id]);
  expect(fake.answers.at(-1)).toBe(202);
  await expect.poll(copies).toEqual([told]);

  // The receiver is down for three events: the service drops them, and pauses the destination.
  await stop();
  fake.pauseAfter = 3;
  for (let events = 0; events < 3; events += 1) {
    await fake.emit('secret_rotated', [id]);
    expect(fake.answers.at(-1)).not.toBe(202);
  }
  await serve();
  const tried = fake.answers.length;
  const missed = await renew(id);
  expect(await fake.emit('secret_rotated', [id])).toBe(0);
  expect(fake.answers).toHaveLength(tried);

  // Once may be an event that got lost.
  await run('reconcile');
  await expect.poll(copies).toEqual([missed]);
  expect(silenceIn(await run('status'))).toBe('');
  // Twice in a row is said, while everything is copied all the same.
  const again = await renew(id);
  await fake.emit('secret_rotated', [id]);
  await run('reconcile');
  await expect.poll(copies).toEqual([again]);
  const status = await run('status');
  expect(status.code).toBe(4);
  expect(silenceIn(status)).toMatch(
    /^! notifications do not arrive \(events\): the last 2 reconciles that found a change found what no event told of, since [\d.]+ \w+ ago, 1 certificate at last See whether it still sends here: a channel or a destination may be switched off, paused by its service after failures, or point elsewhere\./,
  );
  const doctor = await run('doctor');
  expect(doctor.output).toContain('link shop: the primary sends no notifications; its changes are told by events\n');
  expect(silenceIn(doctor)).toMatch(
    /^warning link shop: notifications do not arrive \(events\): .* paused by its service/,
  );

  // Somebody lets it go on.
  fake.pauseAfter = Number.POSITIVE_INFINITY;
  const heard = await renew(id);
  expect(await fake.emit('secret_rotated', [id])).toBe(1);
  await expect.poll(copies).toEqual([heard]);
  await run('reconcile');
  expect(silenceIn(await run('status'))).toBe('');
});
