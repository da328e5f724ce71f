import { request as httpRequest } from 'node:http';
import { Script } from 'node:vm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { guarded } from '../../src/compose/program.ts';
import { script } from '../../src/console/assets.ts';
import { CodedError } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { content, described, type Setup, setup } from '../support/replication.ts';
import { consoleOf, evilNames, type TestConsole } from './world.ts';

let world: Setup;
let made: TestConsole;
let cookie: string;
beforeEach(async () => {
  world = await setup();
  made = await consoleOf(world, { beatMs: 10 });
  cookie = await made.signIn();
});
afterEach(() => made.server.close());

interface Heard {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** A page that hears what happens: real HTTP, read as the standard says. */
function hear(headers: Readonly<Record<string, string>> = { cookie }) {
  const heard: Heard[] = [];
  const state = { status: 0, isOver: false, comments: 0 };
  const sent = httpRequest(
    { host: '127.0.0.1', port: made.server.port, path: '/events', headers, agent: false },
    (response) => {
      state.status = response.statusCode ?? 0;
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          take(text.slice(0, end));
          text = text.slice(end + 2);
        }
      });
      response.on('close', () => {
        state.isOver = true;
      });
      response.on('error', () => undefined);
    },
  );
  function take(block: string): void {
    const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
    if (block.startsWith(':')) state.comments += 1;
    const data = fields.get('data');
    if (data !== undefined) heard.push({ id: fields.get('id') ?? '', event: fields.get('event') ?? '', data });
  }
  sent.on('error', () => {
    state.isOver = true;
  });
  sent.end();
  return { heard, state, leave: () => sent.destroy() };
}

const rowsOf = ({ heard }: ReturnType<typeof hear>) =>
  heard.filter(({ event }) => event === 'row').map(({ data }) => JSON.parse(data) as Record<string, string>);

const event = (
  certificates: LifecycleEvent['certificates'],
  kind: LifecycleEvent['kind'] = 'imported',
): LifecycleEvent => ({
  kind,
  changes: kind !== 'expired',
  type: kind,
  version: 4,
  store: 'primary',
  certificates,
  digest: 'd',
});

/** A certificate is imported, told of, and copied. */
async function told(id: string, name: string): Promise<void> {
  world.primary.store.put({ content: await content(), metadata: described(name) }, id);
  await world.ask(id, { eventAt: world.time.now() });
  made.live.acknowledged('main', event([{ id, name }]), 'new');
}
async function copied(id: string): Promise<void> {
  await world.later(1_400);
  const { passes } = await world.pass(id);
  for (const report of passes) made.live.passed(report);
}

test('an event appears as it is acknowledged, and turns into a copy', async () => {
  const page = hear();
  await expect.poll(() => page.state.status).toBe(200);
  await told('c1', 'shop.example');
  await expect
    .poll(() => rowsOf(page))
    .toMatchObject([
      { id: 'event-1', name: 'shop.example', state: 'on-its-way', words: 'on its way', about: 'imported in main' },
    ]);
  await copied('c1');
  await expect
    .poll(() => rowsOf(page).at(-1))
    .toMatchObject({
      id: 'event-1',
      state: 'same',
      about: 'imported in main, in every backup after 1.4 s',
      address: '/certificate/main?id=c1',
    });
  // Who comes later finds it on the page itself.
  const { body } = await made.page('/', cookie);
  expect(body).toMatch(/<li id="event-1">.*✓<\/span> same.*shop\.example.*after 1\.4 s/);
  page.leave();
});

test('a page whose connection was lost hears what it missed, and nothing twice; of another process it begins anew', async () => {
  await told('c1', 'one');
  const first = hear();
  await expect.poll(() => first.heard.map(({ event }) => event)).toEqual(['start', 'row']);
  const { id = '' } = first.heard[1] ?? {};
  first.leave();
  await told('c2', 'two');
  await copied('c1');
  const again = hear({ cookie, 'last-event-id': id });
  await expect
    .poll(() => rowsOf(again).map(({ name, state }) => `${name} ${state}`))
    .toEqual(['one same', 'two on-its-way']);
  expect(again.heard.map(({ event }) => event)).toEqual(['row', 'row']);
  again.leave();
  for (const other of ['another/7', 'x', '/'.repeat(100)]) {
    const anew = hear({ cookie, 'last-event-id': other });
    await expect.poll(() => anew.heard.map(({ event }) => event)).toEqual(['start', 'row', 'row']);
    anew.leave();
  }
});

test('nobody hears anything without a session; with it, until it ends, and then is told that it has', async () => {
  const stranger = hear({});
  await expect.poll(() => stranger.state).toMatchObject({ status: 401, isOver: true });
  const [page, other] = [hear(), hear()];
  await expect.poll(() => page.state.comments).toBeGreaterThan(0);
  const { body } = await made.page('/', cookie);
  const [, token = ''] = /name="token" value="([^"]+)"/.exec(body) ?? [];
  await made.ask('/leave', made.form({ token }, { cookie }));
  for (const each of [page, other]) {
    await expect.poll(() => each.state.isOver).toBe(true);
    expect(each.heard.at(-1)).toMatchObject({ event: 'over' });
  }
});

test('a session that ends by its time ends what it hears', async () => {
  const page = hear();
  await expect.poll(() => page.state.status).toBe(200);
  await world.later(limits.consoleStreamMs - 1);
  expect(page.state.isOver).toBe(false);
  // A stream has a time of its own: the page comes back.
  await world.later(1);
  await expect.poll(() => page.state.isOver).toBe(true);
  expect(page.heard.map(({ event }) => event)).toEqual(['start']);
  await world.later(limits.consoleSessionMs - limits.consoleStreamMs - 1);
  const later = hear();
  await expect.poll(() => later.state.status).toBe(200);
  await world.later(1);
  await expect.poll(() => later.state.isOver).toBe(true);
  expect(later.heard.at(-1)).toMatchObject({ event: 'over' });
});

test('what happens while a stream ends is told to nobody, and ends nothing else', async () => {
  const page = hear();
  await expect.poll(() => page.state.comments).toBeGreaterThan(0);
  const closed = made.server.close();
  made.live.acknowledged('main', event([{ id: 'c1', name: 'one' }]), 'new');
  await closed;
  await expect.poll(() => page.state.isOver).toBe(true);
  expect(rowsOf(page)).toEqual([]);
  expect(made.live.rows()).toHaveLength(1);
});

test('so many pages hear, and one more is told that they are too many; when one has left there is room', async () => {
  const pages = Array.from({ length: limits.consoleStreams }, () => hear());
  await expect.poll(() => pages.every(({ state }) => state.status === 200)).toBe(true);
  const more = hear();
  await expect.poll(() => more.state).toMatchObject({ status: 503, isOver: true });
  pages[0]?.leave();
  await expect
    .poll(async () => {
      const next = hear();
      await expect.poll(() => next.state.status).toBeGreaterThan(0);
      next.leave();
      return next.state.status;
    })
    .toBe(200);
  for (const page of pages) page.leave();
});

test('of many events the last are kept, and no name breaks a line of the stream', async () => {
  for (let at = 1; at <= limits.consoleEvents + 5; at += 1)
    made.live.acknowledged(
      'main',
      event([{ id: `c${at}`, name: at % 2 === 0 ? evilNames.terminal : evilNames.long }]),
      'new',
    );
  const page = hear();
  await expect.poll(() => rowsOf(page)).toHaveLength(limits.consoleEvents);
  const [first, second] = rowsOf(page);
  expect(first).toMatchObject({ id: 'event-6', name: expect.stringContaining('shop\\u{1b}[2J') });
  expect(second?.name).toHaveLength(121);
  page.leave();
});

test('what changes nothing is no event, nor is one that was told before; what reconcile copies is seen', async () => {
  made.live.acknowledged('main', event([{ id: 'c1', name: 'one' }], 'expired'), 'new');
  made.live.acknowledged('main', event([{ id: 'c1', name: 'one' }]), 'repeat');
  expect(made.live.rows()).toEqual([]);
  world.primary.store.put({ content: await content(), metadata: described('found') }, 'c1');
  await world.ask('c1');
  await copied('c1');
  expect(made.live.rows()).toMatchObject([{ kind: 'seen', name: 'found', state: 'same' }]);
  // A look that writes nothing is nothing that happens.
  await world.ask('c1');
  await copied('c1');
  expect(made.live.rows()).toHaveLength(1);
});

test('a look that began before an event says nothing of it, nor one that more was asked for meanwhile', async () => {
  await told('c1', 'one');
  const held = world.primary.hooks;
  // While the first look is under way the certificate is renewed and told of.
  let isFirst = true;
  held.read = async (proceed, ...args) => {
    const reading = await proceed(...args);
    if (isFirst) {
      isFirst = false;
      await world.later(100);
      await told('c1', 'one');
    }
    return reading;
  };
  const { passes } = await world.pass('c1');
  expect(passes.map(({ answer }) => answer)).toEqual(['moved', 'committed']);
  const [first, second] = passes;
  if (first === undefined || second === undefined) throw new Error('there are two passes');
  made.live.passed(first);
  expect(made.live.rows().map(({ state }) => state)).toEqual(['on-its-way', 'on-its-way']);
  made.live.passed({ ...second, beganAt: world.time.now() - 1 });
  expect(made.live.rows().map(({ state }) => state)).toEqual(['on-its-way', 'same']);
  made.live.passed(second);
  expect(made.live.rows().map(({ state }) => state)).toEqual(['same', 'same']);
});

test('an event whose copy is there before it is told of appears as that copy', async () => {
  world.primary.store.put({ content: await content(), metadata: described('one') }, 'c1');
  await world.ask('c1', { eventAt: world.time.now() });
  await copied('c1');
  await world.later(1);
  made.live.acknowledged('main', event([{ id: 'c1', name: 'one' }]), 'new', 'sender', world.time.now());
  expect(made.live.rows()[0]).toMatchObject({ state: 'on-its-way' });
  await world.ask('c1', { eventAt: world.time.now() });
  const again = world.time.now();
  for (const report of (await world.pass('c1')).passes) made.live.passed(report);
  made.live.acknowledged('main', event([{ id: 'c1', name: 'one' }]), 'new', 'sender', again);
  expect(made.live.rows()[0]).toMatchObject({ state: 'same' });
});

test('an event ends as its list says: refused without a key, behind while the primary does not answer', async () => {
  const { privateKey: _key, ...keyless } = await content();
  world.primary.store.put({ content: keyless, metadata: described('keyless') }, 'c1');
  await world.ask('c1');
  made.live.acknowledged('main', event([{ id: 'c1', name: 'keyless' }]), 'new');
  await copied('c1');
  await told('c2', 'two');
  world.primary.hooks.read = async () => {
    throw new CodedError('store_unavailable', 'it answered 503');
  };
  await copied('c2');
  expect(made.live.rows().map(({ name, state }) => `${name} ${state}`)).toEqual(['two behind', 'keyless refused']);
});

test('what was copied when the link began tells no lag, nor does what was only looked at', async () => {
  const young = await setup({ reconciled: false });
  const small = await consoleOf(young);
  try {
    young.primary.store.put({ content: await content(), metadata: described('old') }, 'c1');
    await young.ask('c1');
    await young.later(60_000);
    for (const report of (await young.pass('c1')).passes) small.live.passed(report);
    expect(small.live.rows()).toMatchObject([{ name: 'old', state: 'same' }]);
    expect(small.live.rows()[0]).not.toHaveProperty('lagMs');
  } finally {
    await small.server.close();
  }
  await told('c2', 'two');
  await copied('c2');
  await world.later(60_000);
  await world.ask('c2');
  made.live.acknowledged('main', event([{ id: 'c2', name: 'two' }]), 'new');
  await copied('c2');
  const [looked, wrote] = made.live.rows();
  expect(wrote).toMatchObject({ state: 'same', lagMs: 1_400 });
  expect(looked).toMatchObject({ state: 'same' });
  expect(looked).not.toHaveProperty('lagMs');
});

test('what another process has copied is looked up after a while, when somebody looks', async () => {
  await told('c1', 'one');
  await world.pass('c1');
  await made.page('/', cookie);
  expect(made.live.rows()).toMatchObject([{ state: 'on-its-way' }]);
  await world.later(60_000);
  expect((await made.page('/', cookie)).body).toMatch(/<li id="event-1">.*✓<\/span> same/);
});

test('who watches and fails keeps nothing from those beside it, nor from what is watched', async () => {
  const told: string[] = [];
  made.live.watch(() => {
    throw new Error('one who fails');
  });
  made.live.watch(({ name }) => told.push(name));
  made.live.acknowledged('main', event([{ id: 'c1', name: 'one' }]), 'new');
  expect(told).toEqual(['one']);
  const observer = guarded(
    {
      acknowledged() {
        throw new Error('acknowledged');
      },
    },
    world.log,
  );
  observer.acknowledged('main', event([]), 'new', 'sender', world.time.now());
  expect([...made.lines.map((line) => line.event), ...world.lines.map((line) => line.event)]).toEqual([
    'console_signed_in',
    'console_failed',
    'observer_failed',
  ]);
});

test('an id that stands in no address is told like any other', async () => {
  const page = hear();
  await expect.poll(() => page.state.status).toBe(200);
  made.live.acknowledged('main', event([{ id: 'c\ud800', name: 'half' }]), 'new');
  await expect.poll(() => rowsOf(page)).toMatchObject([{ name: 'half', address: '/certificate/main?id=c%EF%BF%BD' }]);
  expect((await made.page('/', cookie)).body).toContain('half');
  page.leave();
});

test('the program of a page is one that engines take, and makes no markup', async () => {
  expect(() => new Script(script)).not.toThrow();
  expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|https?:/);
  const { body, headers } = await made.ask('/console.js');
  expect([body, headers['content-type']]).toEqual([script, 'text/javascript; charset=utf-8']);
});
