import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import {
  answers,
  finding,
  type Got,
  linesOf,
  minuteMs,
  type Receiver,
  receiver,
  type WorldOptions,
  webhookTo,
  world,
} from './world.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function newReceiver(...given: Parameters<typeof receiver>): Promise<Receiver> {
  const made = await receiver(...given);
  closing.push(made.close);
  return made;
}

function newWorld(channels: Parameters<typeof world>[0], options?: WorldOptions) {
  const made = world(channels, options);
  closing.push(made.close);
  return made;
}

/** Fields of the row of a finding that must be there, or be right where they are there. */
const fieldsOfRow = [
  'severity',
  'words',
  'state',
  'version',
  'firstSeenAt',
  'seenAt',
  'since',
  'toldAt',
  'link',
  'mutedUntil',
];

const told = ({ got }: Receiver) => got.map(linesOf);

describe('what is wrong', () => {
  it('is told once, again at the stated interval while it stands, and when it is over', async () => {
    const ops = await newReceiver();
    const { standing, minutes } = newWorld([webhookTo(ops)], {
      times: { afterMs: 15 * minuteMs, repeatMs: 30 * minuteMs },
    });
    const stuck = finding('stuck/london/store_unavailable', { mayPass: true });
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(5);
    standing.set('shop', { wrong: [finding('brake'), stuck] });
    await minutes(15);
    expect(told(ops)).toEqual([['began shop/brake critical']]);
    await minutes(30);
    expect(told(ops).slice(1)).toEqual([
      ['began shop/stuck/london/store_unavailable critical'],
      ['stands shop/brake critical'],
    ]);
    standing.set('shop', {});
    await minutes(10);
    expect(told(ops).slice(3)).toEqual([
      ['over shop/brake critical'],
      ['over shop/stuck/london/store_unavailable critical'],
    ]);
    const { data } = JSON.parse(ops.got[3]?.body ?? '') as { data: object };
    expect(data).toEqual({
      summary: 'certstandby: shop: over: brake was found',
      findings: [
        {
          id: 'shop/brake',
          link: 'shop',
          event: 'over',
          severity: 'critical',
          since: '2026-01-01T00:00:00.000Z',
          until: '2026-01-01T00:54:00.000Z',
          words: ['brake was found', 'Mend it.'],
        },
      ],
    });
    await minutes(120);
    expect(ops.got.length).toBe(5);
  });

  it('is no flood where it comes and goes', async () => {
    const ops = await newReceiver();
    const { standing, minutes } = newWorld([webhookTo(ops)]);
    const silence = finding('silence');
    for (let turn = 0; turn < 30; turn += 1) {
      standing.set('shop', turn % 2 === 0 ? { wrong: [silence] } : {});
      await minutes(2);
    }
    expect(told(ops)).toEqual([['began shop/silence warning']]);
  });

  it('is told of nobody where it passes by itself before it has stood long enough', async () => {
    const ops = await newReceiver();
    const { standing, minutes, clock } = newWorld([webhookTo(ops)]);
    // On a busy day something always waits, and never the same for long.
    for (let minute = 0; minute < 60; minute += 1) {
      standing.set('shop', { wrong: [finding('waiting', { mayPass: true, since: clock.now - 3 * minuteMs })] });
      await minutes(1);
    }
    expect(ops.got).toEqual([]);
    standing.set('shop', { wrong: [finding('waiting', { mayPass: true, since: clock.now - 15 * minuteMs })] });
    await minutes(1);
    expect(told(ops)).toEqual([['began shop/waiting warning']]);
  });

  it('is told anew when it has become worse', async () => {
    const ops = await newReceiver();
    const { standing, minutes } = newWorld([webhookTo(ops)]);
    standing.set('shop', { near: [finding('quota/london/import')] });
    await minutes(3);
    standing.set('shop', { wrong: [finding('quota/london/import')] });
    await minutes(3);
    expect(told(ops)).toEqual([
      ['began shop/quota/london/import warning'],
      ['stands shop/quota/london/import critical'],
    ]);
  });

  it('is told together where it is much at once, each finding once', async () => {
    const ops = await newReceiver();
    const { standing, minutes } = newWorld([webhookTo(ops)]);
    const names = Array.from({ length: 45 }, (_, index) => `refused/london/${String(index).padStart(2, '0')}`);
    standing.set('shop', { wrong: names.map((name) => finding(name)) });
    await minutes(3);
    expect(told(ops).map((lines) => lines.length)).toEqual([20, 20, 5]);
    expect(told(ops).flat()).toEqual(names.map((name) => `began shop/${name} critical`));
  });

  it('of a link that cannot be read is not over, and that it cannot be read is told', async () => {
    const ops = await newReceiver();
    const { standing, minutes, lines } = newWorld([webhookTo(ops)]);
    standing.set('lab', { wrong: [finding('drill')] });
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(2);
    standing.set('shop', new Error('damaged'));
    standing.set('lab', {});
    await minutes(30);
    expect(told(ops).flat()).toEqual([
      'began lab/drill critical',
      'began shop/brake critical',
      'over lab/drill critical',
      'began shop/unknown critical',
    ]);
    expect(lines.filter(({ event }) => event === 'alert_status_failed').length).toBe(30);
    standing.set('shop', {});
    await minutes(10);
    expect(told(ops).flat().slice(4).toSorted()).toEqual(['over shop/brake critical', 'over shop/unknown critical']);
  });

  it('of a link that is no longer configured is over', async () => {
    const ops = await newReceiver();
    const { standing, minutes, worker } = newWorld([webhookTo(ops)]);
    standing.set('old', { wrong: [finding('brake')] });
    await minutes(1);
    standing.delete('old');
    await minutes(10, worker());
    expect(told(ops)).toEqual([['began old/brake critical'], ['over old/brake critical']]);
  });

  it('is not told where a person muted it; what was acknowledged is told when it is over', async () => {
    const ops = await newReceiver();
    const { standing, minutes, worker, clock } = newWorld([webhookTo(ops)], {
      times: { afterMs: 0, repeatMs: 10 * minuteMs },
    });
    const alerts = worker();
    standing.set('shop', { wrong: [finding('verify'), finding('drill')] });
    await minutes(2);
    await alerts.quiet('shop/verify', 'mute', clock.now + 40 * minuteMs);
    await alerts.quiet('shop/drill', 'acknowledge', clock.now + 60 * minuteMs);
    await minutes(30);
    standing.set('shop', {});
    await minutes(8);
    expect(told(ops)).toEqual([
      ['began shop/drill critical'],
      ['began shop/verify critical'],
      ['over shop/drill critical'],
    ]);
    await minutes(5);
    expect(told(ops).slice(3)).toEqual([['over shop/verify critical']]);
    expect(await alerts.findings()).toEqual({ findings: [], unreadable: [] });
    await expect(alerts.quiet('shop/verify', 'mute', clock.now)).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('a channel', () => {
  it('is told of the links and the weight that it wants, and no more', async () => {
    const [all, oncall, lab] = [await newReceiver(), await newReceiver(), await newReceiver()];
    const { standing, minutes } = newWorld([
      webhookTo(all, { name: 'all' }),
      webhookTo(oncall, { name: 'oncall', least: 'critical' }),
      webhookTo(lab, { name: 'lab', links: ['lab'] }),
    ]);
    standing.set('shop', { wrong: [finding('brake')], near: [finding('expiring')] });
    standing.set('lab', { near: [finding('expiring')] });
    await minutes(2);
    expect(told(all).flat().toSorted()).toEqual([
      'began lab/expiring warning',
      'began shop/brake critical',
      'began shop/expiring warning',
    ]);
    expect(told(oncall).flat()).toEqual(['began shop/brake critical']);
    expect(told(lab).flat()).toEqual(['began lab/expiring warning']);
  });

  it.each([
    ['answers 500', answers(500), 'alert_unavailable'],
    ['answers 429 and wants an hour', answers(429, { 'retry-after': '3600' }), 'alert_unavailable'],
    ['answers 404', answers(404), 'alert_refused'],
    ['leads elsewhere', answers(302, { location: 'http://127.0.0.1:9/elsewhere' }), 'alert_refused'],
    ['does not answer', () => undefined, 'alert_unavailable'],
    [
      'closes the connection',
      (_: Got, response: Parameters<typeof answers>[0] | never) =>
        void (response as never as { destroy(): void }).destroy(),
      'alert_unavailable',
    ],
  ] as const)(
    'that %s holds up no other, is tried ever less often, and is told of on the others',
    async (what, answer, code) => {
      const [good, bad] = [await newReceiver(), await newReceiver(answer as never)];
      const { standing, minutes, lines } = newWorld(
        [webhookTo(bad, { name: 'bad' }), webhookTo(good, { name: 'good' })],
        {
          ...(what === 'does not answer' && { silentUrl: bad.url }),
        },
      );
      standing.set('shop', { wrong: [finding('brake')] });
      await minutes(1);
      standing.set('shop', {});
      await minutes(29);
      expect(told(good).flat()).toEqual([
        'began shop/brake critical',
        'over shop/brake critical',
        'began alerts:bad critical',
      ]);
      const failures = lines.filter(({ event }) => event === 'alert_not_taken');
      // At once, then after 1, 2, 5, 15 minutes, unless it wants more time.
      const tries = what.includes('wants an hour') ? 1 : 5;
      expect(failures.map(({ fields }) => fields.code)).toEqual(Array.from({ length: tries }, () => code));
      expect(JSON.stringify(lines)).not.toContain('very-secret-path');
    },
  );

  it.each([
    ['more than is read of it', (response: ServerResponse) => void response.end('x'.repeat(20_000_000))],
    ['and is cut', (response: ServerResponse) => void response.write('x', () => response.destroy())],
  ])('that takes a message with an answer %s has taken it', async (_, rest) => {
    const ops = await newReceiver((_, response) => {
      response.writeHead(200, { 'content-length': 30_000_000 });
      rest(response);
    });
    const { standing, minutes } = newWorld([webhookTo(ops)]);
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(5);
    expect(told(ops)).toEqual([['began shop/brake critical']]);
  });

  it('that was away for days is told how things stand, once, and not what is past', async () => {
    const ops = await newReceiver(answers(503));
    const { standing, minutes, clock } = newWorld([webhookTo(ops)], {
      times: { afterMs: 0, repeatMs: 60 * minuteMs },
    });
    standing.set('shop', { wrong: [finding('brake'), finding('drill')] });
    await minutes(1);
    for (let hour = 0; hour < 72; hour += 1) {
      clock.now += 60 * minuteMs;
      if (hour === 40) standing.set('shop', { wrong: [finding('drill')] });
      await minutes(1);
    }
    const before = ops.got.length;
    ops.answer(answers(200));
    clock.now += 60 * minuteMs;
    await minutes(10);
    expect(told(ops).slice(before)).toEqual([['began shop/drill critical'], ['over shop/brake critical']]);
  });

  const cut = (_: Got, response: ServerResponse) => void response.destroy();

  it.each([
    ['did not take', answers(503), []],
    ['may have taken', cut, [['over shop/brake critical']]],
  ])('that %s a message is not told of it once a person has muted it', async (_, answer, more) => {
    const ops = await newReceiver(answer);
    const { standing, minutes, worker, clock } = newWorld([webhookTo(ops)]);
    const alerts = worker();
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(1, alerts);
    await alerts.quiet('shop/brake', 'mute', clock.now + 60 * minuteMs);
    ops.answer(answers(200));
    const before = ops.got.length;
    await minutes(30, alerts);
    standing.set('shop', {});
    await minutes(29, alerts);
    expect(told(ops).slice(before)).toEqual([]);
    await minutes(5, alerts);
    expect(told(ops).slice(before)).toEqual(more);
    await minutes(6, alerts);
    expect(await alerts.findings()).toEqual({ findings: [], unreadable: [] });
  });

  it('that is sent a message again is told the end of what it says', async () => {
    const ops = await newReceiver(cut);
    const { standing, minutes, worker, clock } = newWorld([webhookTo(ops)]);
    const alerts = worker();
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(25, alerts);
    // It is over, and a mute too, before the next attempt.
    standing.set('shop', {});
    await alerts.quiet('shop/brake', 'mute', clock.now + 15 * minuteMs);
    await minutes(20, alerts);
    const before = ops.got.length;
    ops.answer(answers(200));
    await minutes(30, alerts);
    expect(told(ops).slice(before)).toEqual([['began shop/brake critical'], ['over shop/brake critical']]);
    expect(ops.got[before]?.headers['webhook-id']).toBe(ops.got[0]?.headers['webhook-id']);
  });

  it('that heard that something is wrong hears that it is over, though it wants to hear less by then', async () => {
    const ops = await newReceiver();
    const { table, standing, minutes } = newWorld([webhookTo(ops)]);
    standing.set('shop', { near: [finding('expiring')] });
    await minutes(1);
    const less = newWorld([webhookTo(ops, { least: 'critical', links: ['lab'] })], { table });
    less.clock.now += minuteMs;
    await less.minutes(10);
    expect(told(ops)).toEqual([['began shop/expiring warning'], ['over shop/expiring warning']]);
  });

  it('that takes long holds up no other, and is sent nothing else meanwhile', async () => {
    const held: ServerResponse[] = [];
    const slow = await newReceiver((_, response) => void held.push(response));
    const good = await newReceiver();
    const channels = [webhookTo(slow, { name: 'slow' }), webhookTo(good, { name: 'good' })];
    let wanted = 1;
    const { standing, minutes, worker, table } = newWorld(channels, {
      // A round waits until each has been sent what there is, and nobody is at the good one.
      patience: () =>
        vi.waitFor(async () => {
          expect([slow.got.length, good.got.length]).toEqual([1, wanted]);
          expect(await table.get({ partition: 'alert-channels.1', sort: 'good' })).not.toHaveProperty('until');
        }, 30_000),
    });
    const alerts = worker();
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(1, alerts);
    wanted = 2;
    standing.set('shop', { wrong: [finding('brake'), finding('drill')] });
    await minutes(1, alerts);
    expect(told(good)).toEqual([['began shop/brake critical'], ['began shop/drill critical']]);
    slow.answer(answers(200));
    held[0]?.end();
    await alerts.settled();
    expect(told(slow)).toEqual([['began shop/brake critical'], ['began shop/drill critical']]);
  });

  it('that failed is no longer told of when nothing waits for it', async () => {
    const [good, bad] = [await newReceiver(), await newReceiver(answers(404))];
    const channels = [webhookTo(good, { name: 'good' }), webhookTo(bad, { name: 'bad', links: ['shop'] })];
    const { standing, minutes, worker, clock } = newWorld(channels);
    const alerts = worker();
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(20, alerts);
    await alerts.quiet('shop/brake', 'mute', clock.now + minuteMs);
    standing.set('shop', {});
    await minutes(30, alerts);
    expect(told(good).flat()).toEqual([
      'began shop/brake critical',
      'began alerts:bad critical',
      'over shop/brake critical',
      'over alerts:bad critical',
    ]);
    expect(await alerts.channels()).toMatchObject([{ name: 'good' }, { name: 'bad', error: undefined, waiting: 0 }]);
  });

  it('that refuses what one finding says is told the others', async () => {
    const ops = await newReceiver(
      ({ body }, response) => void response.writeHead(body.includes('poison') ? 400 : 200).end(),
    );
    const { standing, minutes } = newWorld([webhookTo(ops)]);
    const names = ['brake', 'poison', 'drill', 'verify', 'held'];
    standing.set('shop', { wrong: names.map((name) => finding(name)) });
    await minutes(2);
    const taken = ops.got.filter(({ body }) => !body.includes('poison')).flatMap(linesOf);
    expect(taken.toSorted()).toEqual([
      'began shop/brake critical',
      'began shop/drill critical',
      'began shop/held critical',
      'began shop/verify critical',
    ]);
    // It is tried again, seldom.
    const before = ops.got.length;
    await minutes(57);
    expect(ops.got.length).toBe(before);
    ops.answer(answers(200));
    await minutes(3);
    expect(told(ops).slice(before)).toEqual([['began shop/poison critical']]);
  });
});

describe('the heartbeat', () => {
  it('asks a watcher as long as every link can be looked at, and what becomes of that holds up nothing', async () => {
    const [ops, watcher] = [await newReceiver(), await newReceiver()];
    const url = new Secret(`${watcher.url}/ping/very-secret-path`);
    const { standing, minutes, lines, worker } = newWorld([webhookTo(ops)], {
      heartbeat: { url, everyMs: 5 * minuteMs },
    });
    const alerts = worker();
    await minutes(12, alerts);
    expect(watcher.got.map(({ path, body }) => [path, body])).toEqual(
      Array.from({ length: 3 }, () => ['/ping/very-secret-path', '']),
    );
    standing.set('shop', new Error('damaged'));
    await minutes(10, alerts);
    expect(watcher.got.length).toBe(3);
    standing.set('shop', { wrong: [finding('brake')] });
    watcher.answer(answers(404));
    await minutes(2, alerts);
    expect(told(ops)).toEqual([['began shop/brake critical']]);
    expect(lines.filter(({ event }) => event === 'heartbeat_failed')).toMatchObject([
      { fields: { code: 'alert_refused', message: 'the heartbeat of alerts answered 404' } },
      { fields: { code: 'alert_refused' } },
    ]);
    expect(JSON.stringify(lines)).not.toContain('very-secret-path');
  });
});

/** A table that is gone with its process after so many writes; the last one may be made. */
function dying(
  table: Table,
  writes: number,
  lastIsMade: boolean,
): { readonly table: Table; readonly died: () => boolean } {
  let left = writes;
  let dead = false;
  const write =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (dead) throw new Error('this process is dead');
      left -= 1;
      if (left >= 0) return call(...args);
      dead = true;
      if (lastIsMade) await call(...args);
      throw new Error('this process is dead');
    };
  const { update, putIfAbsent, delete: remove } = table;
  return {
    table: { ...table, update: write(update), putIfAbsent: write(putIfAbsent), delete: write(remove) },
    died: () => dead,
  };
}

describe('whatever happens to the process', () => {
  it.each([true, false])(
    'nothing is lost, and a repeat is the same message, after a death at any write (made: %s)',
    async (made) => {
      const ops = await newReceiver();
      let deaths = 0;
      let repeats = 0;
      for (let writes = 0; ; writes += 1) {
        const table = memoryTable();
        const { standing, minutes, worker } = newWorld([webhookTo(ops)], { table });
        const first = dying(table, writes, made);
        ops.got.length = 0;
        standing.set('shop', { wrong: ['brake', 'drill', 'verify', 'held', 'vanished'].map((name) => finding(name)) });
        await minutes(1, worker('first', [], first.table)).catch(() => undefined);
        if (first.died()) deaths += 1;
        await minutes(2, worker('second', ['first']));
        const bodies = new Map(ops.got.map((got) => [String(got.headers['webhook-id']), got.body]));
        const lines = [...bodies.values()].flatMap((body) =>
          (JSON.parse(body) as { data: { findings: { id: string }[] } }).data.findings.map(({ id }) => id),
        );
        expect(lines.toSorted(), `after ${writes} writes`).toEqual([
          'shop/brake',
          'shop/drill',
          'shop/held',
          'shop/vanished',
          'shop/verify',
        ]);
        repeats += ops.got.length - bodies.size;
        for (const got of ops.got) expect(got.body).toBe(bodies.get(String(got.headers['webhook-id'])));
        if (!first.died()) break;
      }
      // The one write that says that the channel has taken it, if it was not made.
      expect(repeats).toBe(made ? 0 : 1);
      expect(deaths).toBeGreaterThan(10);
    },
  );

  it('two workers at the same moment tell each finding once', async () => {
    const ops = await newReceiver();
    const { standing, worker, clock } = newWorld([webhookTo(ops)]);
    const [one, two] = [worker('one'), worker('two')];
    for (let round = 0; round < 12; round += 1) {
      const names = round < 6 ? ['brake', 'drill'] : [];
      standing.set('shop', { wrong: names.map((name) => finding(name)) });
      await Promise.all([one.round(), two.round()]);
      clock.now += minuteMs;
    }
    expect(told(ops).flat()).toEqual([
      'began shop/brake critical',
      'began shop/drill critical',
      'over shop/brake critical',
      'over shop/drill critical',
    ]);
  });

  it('programs of different configurations on one table tell each their own channels, beginning and end', async () => {
    const [here, there] = [await newReceiver(), await newReceiver()];
    const table = memoryTable();
    const one = newWorld([webhookTo(here, { name: 'here' })], { table });
    const other = newWorld([webhookTo(there, { name: 'there', least: 'critical' })], { table });
    const find = (name?: string) => {
      // Both look at shop; a link that only one of them has is told by that one, and stands.
      const wrong = name === undefined ? [] : [finding(name)];
      one.standing.set('shop', { wrong });
      other.standing.set('shop', { wrong });
      one.standing.set('lab', { wrong: [finding('drill'), finding('silence')] });
    };
    const minutes = async (number: number) => {
      for (let minute = 0; minute < number; minute += 1) {
        await one.minutes(1);
        await other.minutes(1);
      }
    };
    find('brake');
    await minutes(20);
    const began = ['began shop/brake critical', 'began lab/drill critical'];
    expect(told(here).flat().toSorted()).toEqual([...began, 'began lab/silence warning'].toSorted());
    expect(told(there).flat().toSorted()).toEqual(began.toSorted());
    // The one is away while it is over: the other hears of that, and the end is kept for the one.
    find();
    for (let minute = 0; minute < 60; minute += 1) {
      one.standing.set('lab', { wrong: [finding('drill'), finding('silence')] });
      await one.minutes(1);
      other.clock.now += minuteMs;
    }
    expect(told(here).flat().at(-1)).toBe('over shop/brake critical');
    expect((await one.worker().findings()).findings.map(({ id }) => id)).toEqual(['lab/drill', 'lab/silence']);
    await minutes(2);
    expect(told(there).flat().at(-1)).toBe('over shop/brake critical');
    await minutes(2);
    expect((await table.query({ partition: 'alert-findings.1', beginsWith: 'shop', limit: 9 })).rows).toEqual([]);
    expect([here.got.length, there.got.length]).toEqual([4, 3]);
  });

  it('the end of a finding is not kept for ever for a channel that is in no configuration any more', async () => {
    const ops = await newReceiver();
    const table = memoryTable();
    const before = newWorld([webhookTo(ops, { name: 'before' })], { table });
    before.standing.set('shop', { wrong: [finding('brake')] });
    await before.minutes(2);
    const after = newWorld([webhookTo(ops, { name: 'after' })], { table });
    after.clock.now = before.clock.now;
    await after.minutes(10);
    const rows = async () => (await table.query({ partition: 'alert-findings.1', limit: 9 })).rows.length;
    expect([await rows(), (await after.worker().findings()).findings]).toEqual([1, []]);
    after.clock.now += 7 * 24 * 60 * minuteMs;
    await after.minutes(1);
    expect(await rows()).toBe(0);
  });

  it('a worker that is gone without a word is followed when its lease is over', async () => {
    const ops = await newReceiver();
    const table = memoryTable();
    const { standing, worker, clock } = newWorld([webhookTo(ops)], { table });
    standing.set('shop', { wrong: [finding('brake')] });
    // It dies with the message on the table, and the channel taken.
    const lost = dying(table, 2, true);
    await worker('lost', [], lost.table)
      .round()
      .catch(() => undefined);
    expect([lost.died(), ops.got.length]).toEqual([true, 0]);
    await worker('next').round();
    expect(ops.got.length).toBe(0);
    clock.now += 70_000;
    await worker('next').round();
    expect(told(ops)).toEqual([['began shop/brake critical']]);
  });

  it('what is kept of a channel and cannot be read is told, and put right; what was being sent is told anew', async () => {
    const ops = await newReceiver();
    const { standing, minutes, table, worker } = newWorld([
      webhookTo(ops, { name: 'damaged' }),
      webhookTo(ops, { name: 'ops' }),
    ]);
    const key = { partition: 'alert-channels.1', sort: 'damaged' };
    await table.update(key, {
      set: { token: 'x', attempts: 'x', until: 'x', owner: 7, message: { id: 1 }, marks: 'x' },
    });
    expect(await worker().channels()).toMatchObject([
      { name: 'damaged', error: { code: 'table_row_unreadable' } },
      { name: 'ops', waiting: 0 },
    ]);
    standing.set('shop', { wrong: [finding('brake')] });
    await minutes(1);
    expect(told(ops).flat().toSorted()).toEqual([
      ...['began alerts.damaged critical', 'began alerts.damaged critical'],
      ...['began shop/brake critical', 'began shop/brake critical'],
    ]);
    await minutes(10);
    expect(told(ops).flat().slice(4)).toEqual(['over alerts.damaged critical', 'over alerts.damaged critical']);
    expect(ops.got[0]?.body).toContain('the channel damaged (webhook) of alerts could not be read');
    expect(await worker().channels()).toMatchObject([{ name: 'damaged', waiting: 0 }, { name: 'ops' }]);
  });

  it.each(['all', ...fieldsOfRow])(
    'a row that cannot be read (%s) is told and put right: it silences nothing, hides no other, and no end is lost',
    async (field) => {
      const damage = Object.fromEntries(
        (field === 'all' ? fieldsOfRow : [field]).map((each) => [each, { no: 'more' }]),
      );
      const ops = await newReceiver();
      const { standing, minutes, table, worker } = newWorld([webhookTo(ops)]);
      standing.set('shop', { wrong: [finding('drill')] });
      await minutes(1);
      const key = { partition: 'alert-findings.1', sort: 'shop/drill' };
      await table.update(key, { set: damage });
      const { findings, unreadable } = await worker().findings();
      expect([findings, unreadable]).toEqual([[], ['shop/drill']]);
      await expect(worker().quiet('shop/drill', 'mute', 0)).rejects.toMatchObject({ code: 'table_row_unreadable' });
      ops.got.length = 0;
      standing.set('shop', { wrong: [finding('drill'), finding('brake')] });
      await minutes(1);
      expect(told(ops).flat().toSorted()).toEqual(
        ['began alerts.damaged critical', 'began shop/brake critical', 'stands shop/drill critical'].toSorted(),
      );
      expect(ops.got.map(({ body }) => body).join()).toContain('could not be read on the table: shop/drill;');
      standing.set('shop', {});
      await minutes(8);
      expect(told(ops).flat().slice(3).toSorted()).toEqual([
        'over alerts.damaged critical',
        'over shop/brake critical',
        'over shop/drill critical',
      ]);
      await minutes(2);
      expect(await worker().findings()).toEqual({ findings: [], unreadable: [] });
    },
  );

  it('of a row that cannot be read and is over by now, the end is told to whoever heard of it', async () => {
    const ops = await newReceiver();
    const { standing, minutes, table } = newWorld([webhookTo(ops)]);
    standing.set('shop', { wrong: [finding('drill')] });
    await minutes(1);
    standing.set('shop', {});
    await table.update({ partition: 'alert-findings.1', sort: 'shop/drill' }, { set: { version: 'x', seenAt: 'x' } });
    await minutes(10);
    expect(told(ops).flat()).toEqual([
      'began shop/drill critical',
      'stands shop/drill critical',
      'began alerts.damaged critical',
      'over shop/drill critical',
      'over alerts.damaged critical',
    ]);
  });

  it('a row that does not even say what it is of goes, and what it was of is told if it stands', async () => {
    const ops = await newReceiver();
    const { standing, minutes, table, worker } = newWorld([webhookTo(ops)]);
    const long = `stuck/${'x'.repeat(900)}/store_unavailable`;
    standing.set('shop', { wrong: [finding(long)] });
    await minutes(1);
    const [row] = (await table.query({ partition: 'alert-findings.1', limit: 1 })).rows;
    const { sort = '' } = row ?? {};
    expect(sort).toMatch(/^[0-9a-f]{64}$/);
    await table.update({ partition: 'alert-findings.1', sort }, { set: { id: 'shop/other' } });
    await minutes(1);
    const began = `began shop/${long} critical`;
    expect(told(ops).flat().toSorted()).toEqual(['began alerts.damaged critical', began, began]);
    expect((await worker().findings()).unreadable).toEqual([]);
  });

  it('two workers put a row right once, and it is told once', async () => {
    const ops = await newReceiver();
    const { standing, worker, table, clock } = newWorld([webhookTo(ops)]);
    standing.set('shop', { wrong: [finding('drill')] });
    await worker().round();
    clock.now += minuteMs;
    await table.update({ partition: 'alert-findings.1', sort: 'shop/drill' }, { set: { state: 'x' } });
    await Promise.all([worker('one').round(), worker('two').round()]);
    await worker().round();
    expect(told(ops).flat().toSorted()).toEqual([
      'began alerts.damaged critical',
      'began shop/drill critical',
      'stands shop/drill critical',
    ]);
  });
});
