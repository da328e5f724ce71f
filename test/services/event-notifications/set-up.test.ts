import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { checkSender } from '../../../src/cli/doctor/senders.ts';
import { sendersForDiagnosis } from '../../../src/compose/senders.ts';
import { type Runtime, systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import type { EventNotificationsConfig } from '../../../src/services/event-notifications/settings.ts';
import { secretsManagerDiagnosis } from '../../../src/services/secrets-manager/diagnosis.ts';
import {
  type FakeEventNotifications,
  type Fault,
  type Kind,
  machineToken,
  startFakeEventNotifications,
} from '../../support/fake-event-notifications.ts';

const account = 'a/00000000000000000000000000000001';
const source = `crn:v1:bluemix:public:secrets-manager:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
const instance = `crn:v1:bluemix:public:event-notifications:eu-de:${account}:99999999-2222-4333-8444-555555555555::`;
const path = '/callback/events';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A receiver that answers so. */
async function receiver(status = 200) {
  const taken: string[] = [];
  const server = createServer((request, response) => {
    taken.push(request.url ?? '');
    request.resume();
    response.writeHead(status).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => server.close());
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, taken };
}

async function world({ status = 200 } = {}) {
  const fake = await startFakeEventNotifications({ instance, source, keys: { boss: 'manager', guest: 'reader' } });
  cleanUps.push(() => fake.close());
  const { base, taken } = await receiver(status);
  // Only what is waited for between two questions goes by this clock.
  let waited = 0;
  const runtime: Runtime = {
    ...systemRuntime,
    now: () => Date.now() + waited,
    wait: async (ms, signal) => {
      if (signal !== undefined) return systemRuntime.wait(ms, signal);
      waited += ms;
    },
  };
  const own = { endpoint: fake.url, iam: fake.url };

  /** What doctor says of the sender; with `register` as with --register. */
  async function doctor({
    register = true,
    apiKey = 'boss',
    profile,
    withStore = true,
    ...more
  }: { register?: boolean; apiKey?: string; withStore?: boolean } & Partial<
    Omit<EventNotificationsConfig, 'apiKey'>
  > = {}) {
    const config: EventNotificationsConfig = {
      ...{ kind: 'event-notifications', name: 'events', store: 'frankfurt', source, instance },
      ...{ ...own, ...(profile === undefined ? { apiKey: new Secret(apiKey) } : { profile }), ...more },
    };
    const [sender] = await sendersForDiagnosis({ senders: [config] }, runtime);
    if (sender === undefined) throw new Error('no sender');
    const { relay } = secretsManagerDiagnosis({
      ...{ instance: source, credentials: new Secret('boss'), endpoint: fake.url, iamUrl: fake.url },
      runtime: systemRuntime,
    });
    const findings = await checkSender(sender, {
      base: register ? base : undefined,
      signal: () => AbortSignal.timeout(20_000),
      relay: withStore ? relay : undefined,
    });
    const problems = findings.filter(({ outcome }) => outcome !== 'good');
    const words = findings.map(({ outcome, message }) => `${outcome}: ${message}`);
    return { findings, problems, words };
  }
  const only = (kind: Kind) => {
    const [one, ...more] = [...fake.there[kind].entries()];
    if (one === undefined || more.length > 0) throw new Error(`${fake.there[kind].size} ${kind}`);
    return one;
  };
  /** All of it, and what the configuration then says. */
  async function registered() {
    await doctor();
    return { destination: only('destinations')[0] };
  }
  return { fake, base, taken, doctor, only, registered };
}

/** How many of each there are. */
const countOf = ({ there }: FakeEventNotifications) =>
  Object.fromEntries(Object.entries(there).map(([kind, all]) => [kind, all.size]));
const oneOfEach = { sources: 1, destinations: 1, topics: 1, subscriptions: 1 };

test('all of it is made in order, once; then the configuration needs the id, and the tests arrive', async () => {
  const { fake, base, taken, doctor, only } = await world();
  const first = await doctor();
  const [id, destination] = only('destinations');
  const [, topic] = only('topics');
  expect(first.words).toEqual([
    `good: tells of frankfurt at ${base}${path}`,
    'good: connected: the Secrets Manager instance tells this Event Notifications instance from now on',
    'good: the source of the Secrets Manager instance is there',
    `good: made: the webhook destination ${id}, with the URL ${base}${path}`,
    `good: made: the topic ${topic.name}, of what changes certificates and of the test`,
    `good: made: the subscription ${only('subscriptions')[0]}, which has its messages signed`,
    `good: the subscription ${only('subscriptions')[0]} has its messages signed; its topic is ${topic.name}`,
    'problem: the configuration does not say which destination signs: nothing is taken until it does',
    expect.stringContaining('good: to try it, where it is: curl'),
  ]);
  expect(first.problems).toMatchObject([
    { code: 'channel_missing', remedy: expect.stringContaining(`Write destination: ${id} below senders.events`) },
  ]);
  expect(destination).toMatchObject({
    name: expect.stringMatching(/^certstandby-events-[0-9a-f]{8}$/),
    config: { params: { url: `${base}${path}`, verb: 'post' } },
  });
  const types = (topic.sources as { rules: { event_type_filter: string }[] }[])[0]?.rules.map((rule) =>
    /'.*\.(\w+)'$/.exec(rule.event_type_filter)?.at(1),
  );
  expect(types).toEqual(['secret_created', 'secret_rotated', 'secret_deleted', 'secret_revoked', 'test_event']);
  expect(only('subscriptions')[1]).toMatchObject({ attributes: { signing_enabled: true } });
  expect(taken).toEqual([]);

  const writes = () => fake.calls.filter((call) => !call.startsWith('GET') && !call.endsWith('/test')).length;
  const before = writes();
  const second = await doctor({ destination: id });
  expect(second.problems).toEqual([]);
  expect(second.words.slice(1)).toEqual([
    'good: its keys can be fetched (1); the sweep keeps them',
    'good: the Secrets Manager instance is connected to this Event Notifications instance',
    'good: the source of the Secrets Manager instance is there',
    `good: the webhook destination ${id} has the URL ${base}${path}`,
    `good: the subscription ${only('subscriptions')[0]} has its messages signed; its topic is ${topic.name}`,
    'good: the test of the destination was answered 200',
    expect.stringContaining('good: Secrets Manager was asked for a test event'),
    expect.stringContaining('good: to try it'),
  ]);
  // Of the destination alone, and of Secrets Manager through topic and subscription.
  expect(taken).toEqual([path, path]);
  expect(writes()).toBe(before);
  expect((await doctor()).problems).toHaveLength(1);
  expect(countOf(fake)).toEqual(oneOfEach);
});

const creations = ['/registration', '/destinations', '/topics', '/subscriptions'];
test.each(creations.flatMap((end) => (['before', 'after'] as const).map((when) => [when, end] as const)))(
  'a run that ends %s POST %s took effect is gone on with by the next one, and nothing is there twice',
  async (when, end) => {
    const { fake, doctor } = await world();
    let isOver = false;
    fake.fault = (call): Fault | undefined => {
      if (isOver || !call.startsWith('POST') || !call.endsWith(end)) return undefined;
      isOver = true;
      return when;
    };
    const broken = await doctor();
    expect(broken.problems).toMatchObject([
      { code: 'store_unanswered', remedy: expect.stringContaining('Run the same command again') },
    ]);
    const again = await doctor();
    expect(again.problems).toMatchObject([{ message: expect.stringContaining('which destination signs') }]);
    expect(countOf(fake)).toEqual(oneOfEach);
    expect(fake.registered).toBe(instance);
  },
);

test('without --register nothing is made, and what is missing is named; afterwards Reader is enough to look', async () => {
  const { fake, doctor, registered } = await world();
  const missing = await doctor({ register: false });
  expect(missing.problems).toMatchObject([
    { message: 'the Secrets Manager instance is connected to no Event Notifications instance' },
    { code: 'channel_missing', remedy: expect.stringContaining('--register https://PUBLIC-ADDRESS') },
  ]);
  expect(fake.calls.filter((call) => !call.startsWith('GET'))).toEqual([]);
  const { destination } = await registered();
  fake.fault = (call) => (call.includes('/registration') ? { status: 403 } : undefined);
  const found = await doctor({ register: false, apiKey: 'guest', destination });
  expect(found.problems).toEqual([]);
  expect(found.words).toContainEqual(expect.stringContaining('has its messages signed'));
});

test('a role that is not enough is named with the one that is, for each of the two instances', async () => {
  const { fake, doctor } = await world();
  fake.fault = (call) => (call.includes('/registration') ? { status: 403 } : undefined);
  expect((await doctor()).problems).toMatchObject([
    {
      code: 'store_unauthorized',
      remedy: expect.stringMatching(/Manager on the Secrets Manager instance.*Event Source Manager/),
    },
  ]);
  fake.fault = () => undefined;
  expect((await doctor({ apiKey: 'guest' })).problems).toMatchObject([
    {
      code: 'store_unauthorized',
      message: expect.stringContaining('make a destination'),
      remedy: expect.stringMatching(/senders\.events\.apiKey.*role Manager on the Event Notifications instance/),
    },
  ]);
  expect((await doctor({ apiKey: 'nobody' })).problems).toMatchObject([
    { code: 'store_unauthorized', message: expect.not.stringContaining('nobody') },
  ]);
});

test('a trusted profile is taken on by the token of the machine, as it is at that moment; without one that is said', async () => {
  const { doctor } = await world();
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-token-'));
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  const computeToken = join(folder, 'token');
  const asked = () => doctor({ profile: 'boss', computeToken });
  expect((await asked()).problems).toMatchObject([
    {
      code: 'file_missing',
      message: expect.stringContaining(computeToken),
      remedy: expect.stringContaining('computeToken'),
    },
  ]);
  writeFileSync(computeToken, 'of another machine');
  expect((await asked()).problems).toMatchObject([
    {
      code: 'store_unauthorized',
      message: expect.stringMatching(/^taking on the trusted profile boss at IAM: it answered 400/),
      remedy: expect.stringMatching(/trusted profile boss: .*conditions for compute resources/),
    },
  ]);
  writeFileSync(computeToken, `${machineToken}\n`);
  expect((await asked()).problems).toMatchObject([{ message: expect.stringContaining('which destination signs') }]);
});

test.each([
  ['GET', 402, 'store_refused', /plan has ended/],
  ['GET', 404, 'store_refused', /correct senders\.events\.instance/],
  ['GET', 410, 'store_refused', /suspended or deleted/],
  ['GET', 429, 'store_limited', /fewer requests.*looks first/],
  ['GET', 503, 'store_unavailable', /not available now/],
  ['POST', 409, 'store_conflict', /the plan of the instance may allow no more/],
  ['POST', 503, 'store_unanswered', /Run the same command again: it looks first/],
] as const)(
  'a %s that the service answers with %i ends the run as %s, with what mends it',
  async (method, status, code, remedy) => {
    const { fake, doctor } = await world();
    fake.fault = (call) =>
      call.startsWith(method) && call.includes('/event-notifications/') ? { status, message: 'said so' } : undefined;
    expect((await doctor()).problems).toMatchObject([
      { code, message: expect.stringContaining('said so'), remedy: expect.stringMatching(remedy) },
    ]);
  },
);

test.each([
  [400, 'store_refused', /of one account/],
  [404, 'store_refused', /Event Source Manager/],
  [409, 'store_conflict', /Run the same command again/],
  [429, 'store_limited', /requestsPerSecond/],
] as const)(
  'Secrets Manager that refuses the connection with %i is told as %s, with what it lacks',
  async (status, code, remedy) => {
    const { fake, doctor } = await world();
    fake.fault = (call) => (call.startsWith('POST') && call.endsWith('/registration') ? { status } : undefined);
    expect((await doctor()).problems).toMatchObject([{ code, remedy: expect.stringMatching(remedy) }]);
    expect(countOf(fake)).toEqual({ sources: 0, destinations: 0, topics: 0, subscriptions: 0 });
  },
);

test('a source that takes its time is waited for; one that never comes is a problem with its reason', async () => {
  const { fake, doctor } = await world();
  fake.sourceLag = 5;
  expect((await doctor()).words).toContain('good: the source of the Secrets Manager instance is there');
  const late = await world();
  late.fake.sourceLag = 1_000;
  expect((await late.doctor()).problems).toMatchObject([
    { message: expect.stringContaining('no source'), remedy: expect.stringContaining('Event Source Manager') },
  ]);
  expect(late.fake.there.destinations.size).toBe(0);
});

type World = Awaited<ReturnType<typeof world>>;
const change = ({ fake, only }: World, kind: Kind, more: object) => {
  const [id, one] = only(kind);
  fake.put(kind, { ...one, ...more, id });
};
const ruled = (rules: readonly object[]) => ({ sources: [{ id: source, name: 'Secrets Manager', rules }] });
const webhook = (url: string, verb = 'POST') => ({ config: { params: { url, verb } } });
const rule = { id: 'r', enabled: true };

test.each<[string, (at: World) => void, RegExp, RegExp]>([
  ['a source switched off', (at) => change(at, 'sources', { enabled: false }), /switched off/, /Switch it on/],
  [
    'a connection to another instance',
    (at) => Object.assign(at.fake, { registered: instance.replace('99999999', '88888888') }),
    /connected to crn:.*88888888/,
    /senders\.events\.instance/,
  ],
  [
    'no such destination',
    (at) => at.fake.remove('destinations', at.only('destinations')[0]),
    /answered 404/,
    /senders\.events\.destination/,
  ],
  [
    'a destination of another type',
    (at) => change(at, 'destinations', { type: 'slack' }),
    /type slack/,
    /of type webhook/,
  ],
  [
    'a destination with another URL',
    (at) => change(at, 'destinations', webhook('https://elsewhere.example/callback/events')),
    /has the URL https:\/\/elsewhere\.example/,
    /Set its URL there/,
  ],
  [
    'a destination that sends by PUT',
    (at) => change(at, 'destinations', webhook(`${at.base}${path}`, 'PUT')),
    /sends by PUT/,
    /verb to POST/,
  ],
  [
    'a subscription that does not sign',
    (at) => change(at, 'subscriptions', { attributes: { signing_enabled: false } }),
    /does not have its messages signed/,
    /signing_enabled/,
  ],
  [
    'a subscription with a template',
    (at) => change(at, 'subscriptions', { attributes: { signing_enabled: true, template_id_notification: 't' } }),
    /has a template/,
    /Take the template off/,
  ],
  [
    'rules that are switched off',
    (at) => change(at, 'topics', ruled([{ ...rule, enabled: false }])),
    /every rule of the topic .* is switched off/,
    /Switch them on/,
  ],
  [
    'a filter on the first secret',
    (at) => change(at, 'topics', ruled([{ ...rule, notification_filter: "$.data.secrets[0].secret_name == 'x'" }])),
    /filters by what is in the event/,
    /a batch of up to 100/,
  ],
  [
    'types that do not pass',
    (at) =>
      change(
        at,
        'topics',
        ruled([{ ...rule, event_type_filter: "$.type == 'com.ibm.cloud.secrets-manager.secret_rotated'" }]),
      ),
    /lets no secret_created, secret_deleted, secret_revoked pass/,
    /Add a rule/,
  ],
  [
    'two subscriptions',
    (at) => at.fake.put('subscriptions', { ...at.only('subscriptions')[1], id: 'second' }),
    /2 subscriptions lead here/,
    /Delete all but one/,
  ],
])('what is wrong there is told with what mends it, and left as it is: %s', async (_, spoil, message, remedy) => {
  const at = await world();
  const { destination } = await at.registered();
  spoil(at);
  const before = countOf(at.fake);
  const { problems } = await at.doctor({ destination });
  expect(problems.length).toBeGreaterThan(0);
  for (const problem of problems)
    expect(problem).toMatchObject({ message: expect.stringMatching(message), remedy: expect.stringMatching(remedy) });
  expect(countOf(at.fake)).toEqual(before);
});

test('what somebody made by hand is taken as it stands, on whatever page of a list it is', async () => {
  const { fake, base, doctor } = await world();
  await doctor();
  for (const kind of ['subscriptions', 'topics', 'destinations'] as const)
    for (const id of [...fake.there[kind].keys()]) fake.remove(kind, id);
  for (let at = 0; at < 120; at += 1)
    fake.put('destinations', {
      name: `d${at}`,
      type: at % 40 === 0 ? 'webhook' : 'slack',
      ...webhook(`https://x/${at}`),
    });
  const destination = fake.put('destinations', { name: 'mine', type: 'webhook', ...webhook(`${base}${path}`, 'post') });
  const none = fake.put('topics', { name: 'none', sources: [] });
  const topic_id = fake.put('topics', { name: 'all', ...ruled([{ ...rule, event_type_filter: '$.*' }]) });
  for (let at = 0; at < 120; at += 1)
    fake.put('subscriptions', { name: `s${at}`, topic_id: none, destination_id: destination, attributes: {} });
  fake.put('subscriptions', {
    name: 'mine',
    topic_id,
    destination_id: destination,
    attributes: { signing_enabled: true },
  });
  const before = countOf(fake);
  expect((await doctor({ destination })).problems).toEqual([]);
  expect((await doctor()).problems).toMatchObject([
    { remedy: expect.stringContaining(`destination: ${destination} `) },
  ]);
  expect(countOf(fake)).toEqual(before);
});

test('a list that cannot be understood is no reason to make anything', async () => {
  const { fake, doctor } = await world();
  await doctor();
  for (const id of [...fake.there.destinations.keys()]) fake.remove('destinations', id);
  const [first, ...others] = [...fake.there.topics.entries()];
  if (first === undefined || others.length > 0) throw new Error('no topic');
  const server = createServer((request, response) => {
    request.resume();
    const isToken = request.url === '/identity/token';
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(isToken ? { access_token: 't', expires_in: 60 } : { destinations: [{ name: 'no id' }] }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const found = await doctor({ endpoint: url, iam: url, withStore: false });
  expect(found.problems).toMatchObject([{ code: 'store_nonsense', message: expect.stringContaining('list sources') }]);
});

test.each<[string, Kind, (one: object) => object]>([
  ['the sources of a topic', 'topics', (one) => ({ ...one, sources: [{ crn: source }] })],
  ['the name of a topic', 'topics', (one) => ({ ...one, name: 7 })],
  ['the type of a destination', 'destinations', (one) => ({ ...one, type: null })],
  ['the URL of a destination', 'destinations', (one) => ({ ...one, config: { params: { address: 'x' } } })],
])('what cannot be read is not taken for absent, and no second one is made: %s', async (_, kind, spoil) => {
  const at = await world();
  await at.registered();
  // As of a run that ended before its subscription.
  at.fake.remove('subscriptions', at.only('subscriptions')[0]);
  at.fake.put(kind, { ...spoil(at.only(kind)[1]) });
  const before = countOf(at.fake);
  expect((await at.doctor()).problems).toMatchObject([{ code: 'store_nonsense' }]);
  expect(countOf(at.fake)).toEqual(before);
});

test('a page whose next one cannot be read is not the last one', async () => {
  const { fake, doctor } = await world();
  await doctor();
  const server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const authorization = headers.authorization ?? '';
    const type = headers['content-type'] ?? '';
    const answer = await fetch(fake.url + url, {
      method,
      headers: { authorization, 'content-type': type },
      ...(method !== 'GET' && { body: Buffer.concat(chunks) }),
    });
    const text = await answer.text();
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(url.includes('/destinations?') ? text.replace('"first":', '"next":{"url":"x"},"first":') : text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => server.close());
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const found = await doctor({ endpoint });
  expect(found.problems).toMatchObject([
    { code: 'store_nonsense', message: expect.stringContaining('list destinations') },
  ]);
  expect(countOf(fake)).toEqual(oneOfEach);
});

test('without --register and destination none is taken for this deployment’s by its path alone', async () => {
  const { fake, base, doctor, only } = await world();
  await doctor();
  const [own] = only('destinations');
  const other = fake.put('destinations', {
    name: 'other',
    type: 'webhook',
    ...webhook(`https://elsewhere.example${path}`),
  });
  const { problems } = await doctor({ register: false });
  expect(problems).toMatchObject([
    {
      code: 'channel_missing',
      message: expect.stringContaining(`${own} (${base}${path}), ${other} (https://elsewhere.example${path})`),
      remedy: expect.stringContaining('doctor --register https://PUBLIC-ADDRESS tells which of them'),
    },
  ]);
});

test('who may look and not test is warned, and what is there is good all the same', async () => {
  const { fake, doctor, registered } = await world();
  const { destination } = await registered();
  fake.fault = (call) => (call.endsWith('/registration/test') ? { status: 403 } : undefined);
  const { problems, words } = await doctor({ destination, apiKey: 'guest' });
  expect(problems).toMatchObject([
    { outcome: 'warning', remedy: expect.stringContaining('role Manager on the Event Notifications instance') },
    { outcome: 'warning', remedy: expect.stringContaining('Manager on the Secrets Manager instance') },
  ]);
  expect(words).toContainEqual(expect.stringContaining('has its messages signed'));
});

test('the fate of a test that is not known yet is asked for again, and at last said to be unknown', async () => {
  const { fake, doctor, registered } = await world();
  const { destination } = await registered();
  let asked = 0;
  fake.fault = (call) => {
    if (!call.includes('/notifications/')) return undefined;
    asked += call.startsWith('GET') && !call.includes('registration') ? 1 : 0;
    return call.includes('registration') || asked === 3 ? undefined : { status: 404 };
  };
  expect((await doctor({ destination })).problems).toEqual([]);
  expect(asked).toBe(3);
  expect((await doctor({ destination })).problems).toMatchObject([
    { outcome: 'warning', message: expect.stringContaining('has not said within a minute') },
  ]);
});

test.each([
  [200, undefined],
  [400, undefined],
  [401, /another key/],
  [403, /another instance/],
  [404, /no sender of this name/],
  [500, /reached from the internet/],
  [503, /no key of this destination yet/],
])('the answer to the test of the destination is told, with what mends it: %i', async (status, remedy) => {
  const { doctor, registered } = await world({ status });
  const { destination } = await registered();
  const { words, problems } = await doctor({ destination });
  expect(words).toContainEqual(expect.stringContaining(`answered ${status}`));
  expect(problems).toMatchObject(remedy === undefined ? [] : [{ remedy: expect.stringMatching(remedy) }]);
});
