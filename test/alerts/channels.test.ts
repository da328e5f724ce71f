import { createRequire } from 'node:module';
import type { EventPayloadV2 } from '@pagerduty/pdjs/build/src/events.js';
import type { KnownBlock } from '@slack/types';
import type * as AdaptiveCards from 'adaptivecards';
import { afterEach, expect, it } from 'vitest';
import { pagerdutyEvent } from '../../src/alerts/channels/pagerduty.ts';
import { slackBody } from '../../src/alerts/channels/slack.ts';
import { teamsBody } from '../../src/alerts/channels/teams.ts';
import type { OpenChannel } from '../../src/alerts/deliver.ts';
import type { Message, Told } from '../../src/alerts/message.ts';
import { pagerduty, slack, teams } from '../../src/alerts/registry.ts';
import { httpClient } from '../../src/http/client.ts';
import { silentLog } from '../../src/log.ts';
import { Secret } from '../../src/secret.ts';
import { answers, finding, type Receiver, receiver, startMs, world } from './world.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const routingKey = 'R0123456789ABCDEFGHIJKLMNOPQRSTU';

async function newReceiver(...given: Parameters<typeof receiver>): Promise<Receiver> {
  const made = await receiver(...given);
  closing.push(made.close);
  return made;
}

const nasty = 'evil <!channel> [click](https://evil.example.test) *bold* & <https://evil.example.test|here>';
const brake: Told = {
  id: 'shop/brake',
  link: 'shop',
  event: 'began',
  severity: 'critical',
  since: startMs,
  words: [`the brake holds (${nasty})`, 'Meant? certstandby reconcile --link shop --accept-changes 0123'],
};
const expiring: Told = {
  id: 'shop/expiring',
  link: 'shop',
  event: 'over',
  severity: 'warning',
  since: startMs,
  until: startMs + 3_600_000,
  words: ['1 certificate of the primary expires soon (www)', 'See why what renews it has not.'],
};
const message = (...told: readonly Told[]): Message => ({ id: 'msg_1', at: startMs, told });
/** As many and as long as they get. */
const full = message(
  ...Array.from({ length: 20 }, (_, index) => ({
    ...brake,
    id: `shop/${index}`,
    words: ['x'.repeat(1_990), 'ü'.repeat(10)],
  })),
);

it('slack: what others wrote is plain text, and no longer than Slack takes', () => {
  const { text, blocks } = slackBody(message(brake));
  const known: readonly KnownBlock[] = blocks;
  expect(text).toBe(
    'certstandby: shop: critical: the brake holds (evil &lt;!channel&gt; [click](https://evil.example.test) *bold* &amp; &lt;https://evil.example.test|here&gt;)',
  );
  expect(known).toEqual([
    {
      type: 'header',
      text: {
        type: 'plain_text',
        text: 'certstandby: shop: critical: the brake holds (evil <!channel> [click](https://evil.example.test) *bold* & <https://evil.example.test|here>)',
        emoji: false,
      },
    },
    {
      type: 'section',
      text: {
        type: 'plain_text',
        text: 'Meant? certstandby reconcile --link shop --accept-changes 0123\nsince 2026-01-01 00:00 UTC; finding shop/brake',
        emoji: false,
      },
    },
  ]);
  const many = slackBody(message(brake, expiring));
  expect(many.blocks.map((block) => block.text.text.split('\n'))).toEqual([
    ['certstandby: 2 findings: 1 to see to, 1 over'],
    [
      expect.stringContaining('critical: the brake holds'),
      expect.stringContaining('Meant?'),
      expect.stringContaining('since'),
    ],
    [
      'certstandby: shop: over: 1 certificate of the primary expires soon (www)',
      'from 2026-01-01 00:00 UTC to 2026-01-01 01:00 UTC; finding shop/expiring',
    ],
  ]);
  const { blocks: most } = slackBody(full);
  expect(most.length).toBeLessThanOrEqual(50);
  for (const { type, text: said } of most)
    expect(said.text.length).toBeLessThanOrEqual(type === 'header' ? 150 : 3_000);
  expect(most.reduce((sum, block) => sum + block.text.text.length, 0)).toBeLessThanOrEqual(40_000 + 150);
});

it('teams: a card that the library of Adaptive Cards takes without a word, in runs that know no Markdown', () => {
  const library: typeof AdaptiveCards = createRequire(import.meta.url)('adaptivecards/dist/adaptivecards.js');
  for (const told of [message(brake), message(brake, expiring), full]) {
    const body = teamsBody(told);
    expect(body).toMatchObject({
      type: 'message',
      attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null }],
    });
    const context = new library.SerializationContext();
    const card = new library.AdaptiveCard();
    card.parse(body.attachments[0]?.content, context);
    const events = Array.from({ length: context.eventCount }, (_, index) => context.getEventAt(index).message);
    expect(events).toEqual([]);
    expect(card.getItemCount()).toBeGreaterThanOrEqual(2);
    expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(28_000);
    expect(JSON.stringify(body)).not.toContain('"TextBlock"');
  }
  const [attachment] = teamsBody(message(brake, expiring)).attachments;
  expect(attachment?.content.body.map(({ inlines: [run] }) => run)).toMatchObject([
    { text: 'certstandby: 2 findings: 1 to see to, 1 over' },
    { text: `certstandby: shop: critical: the brake holds (${nasty})`, color: 'Attention' },
    { text: 'Meant? certstandby reconcile --link shop --accept-changes 0123' },
    { text: 'since 2026-01-01 00:00 UTC; finding shop/brake' },
    { text: expect.stringContaining('over: 1 certificate'), color: 'Good' },
    { text: 'from 2026-01-01 00:00 UTC to 2026-01-01 01:00 UTC; finding shop/expiring' },
  ]);
});

it('pagerduty: one incident for each finding, which its end resolves', async () => {
  const taken = await newReceiver(answers(202));
  const channel = open('pagerduty', taken);
  const { standing, minutes, close } = world([channel]);
  closing.push(close);
  standing.set('shop', {
    wrong: [finding('brake')],
    near: [finding('expiring'), finding('a'), finding('b'), finding('c')],
  });
  await minutes(2);
  standing.set('shop', {});
  await minutes(9);
  const events = taken.got.map(({ path, body }): EventPayloadV2 => {
    expect(path).toBe('/v2/enqueue');
    return JSON.parse(body) as EventPayloadV2;
  });
  expect(events.map(({ event_action: action, dedup_key: key, payload }) => [action, key, payload.severity])).toEqual([
    ['trigger', 'shop/brake', 'critical'],
    ...['a', 'b', 'c', 'expiring'].map((name) => ['trigger', `shop/${name}`, 'warning']),
    ...['a', 'b', 'brake', 'c', 'expiring'].map((name) => [
      'resolve',
      `shop/${name}`,
      name === 'brake' ? 'critical' : 'warning',
    ]),
  ]);
  const event: EventPayloadV2 = pagerdutyEvent(routingKey, brake, 'trigger');
  expect(event).toEqual({
    routing_key: routingKey,
    event_action: 'trigger',
    dedup_key: 'shop/brake',
    payload: {
      summary: `certstandby: shop: critical: the brake holds (${nasty})`,
      source: 'shop',
      severity: 'critical',
      timestamp: '2026-01-01T00:00:00.000Z',
      component: 'certstandby',
      custom_details: {
        details: [
          'Meant? certstandby reconcile --link shop --accept-changes 0123',
          'since 2026-01-01 00:00 UTC; finding shop/brake',
        ],
      },
    },
  });
  const long = pagerdutyEvent(routingKey, { ...brake, id: 'x'.repeat(256), words: ['y'.repeat(2_000)] }, 'trigger');
  expect([long.dedup_key.length, long.payload.summary.length]).toEqual([64, 1_024]);
});

it('pagerduty: what began and was over while it was away is an incident all the same', async () => {
  const away = await newReceiver(answers(500));
  const { standing, minutes, clock, close } = world([open('pagerduty', away)]);
  closing.push(close);
  standing.set('shop', { wrong: [finding('held')] });
  await minutes(1);
  standing.set('shop', { wrong: [finding('held'), finding('brake')] });
  await minutes(1);
  standing.set('shop', { wrong: [finding('held')] });
  await minutes(7);
  const before = away.got.length;
  away.answer(answers(202));
  clock.now += 3_600_000;
  await minutes(3);
  const events = away.got.slice(before).map(({ body }) => JSON.parse(body) as EventPayloadV2);
  expect(events.map(({ event_action: action, dedup_key: key }) => `${action} ${key}`)).toEqual([
    'trigger shop/held',
    'trigger shop/brake',
    'resolve shop/brake',
  ]);
});

const kinds = { pagerduty, slack, teams };

/** A channel of a kind, with its secrets, and its own address where it has a setting for it. */
function open(kind: keyof typeof kinds, { url }: Pick<Receiver, 'url'>): OpenChannel {
  const secrets = { url: `${url}/services/very-secret-path`, routingKey };
  const context = { name: 'ops', secret: (setting: string) => new Secret(secrets[setting as keyof typeof secrets]) };
  const given = kind === 'pagerduty' ? { endpoint: url } : {};
  return { config: kinds[kind].toConfig(given as never, context), kind: kinds[kind] };
}

it.each([
  ['slack', 404, 'no_service', 'alert_refused', '(no_service)', 'Slack knows that webhook no longer'],
  ['slack', 500, 'rollup_error', 'alert_unavailable', '(rollup_error)', 'What it is to be told is kept'],
  ['slack', 400, '<html>a proxy</html>', 'alert_refused', 'answered 400', 'Correct what alerts.channels'],
  ['teams', 404, '{"error":{"code":"WorkflowNotFound"}}', 'alert_refused', 'answered 404', 'That workflow is off'],
  ['teams', 429, '', 'alert_unavailable', 'answered 429', 'What it is to be told is kept'],
  [
    'pagerduty',
    400,
    JSON.stringify({ status: 'invalid event', message: `Event object is invalid: ${routingKey}`, errors: [] }),
    'alert_refused',
    '(Event object is invalid: …)',
    'PagerDuty knows no service by that key',
  ],
] as const)(
  '%s: what is answered with %i %s is told, with what mends it, and without a secret',
  async (kind, status, body, code, words, remedy) => {
    const server = await newReceiver((_, response) => void response.writeHead(status).end(body));
    const { config, kind: channel } = open(kind, server);
    const now = () => startMs;
    const means = {
      http: httpClient({ runtime: { now }, requestTimeoutMs: 20_000 }),
      now,
      log: silentLog,
      signal: new AbortController().signal,
    };
    const failure = await channel.send(config as never, message(brake), means).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code, message: expect.stringContaining(words) });
    const { message: said, fields, remedy: mends } = failure as Error & { fields: object; remedy: string };
    expect(mends).toContain(remedy);
    expect(`${said} ${JSON.stringify(fields)}`).not.toMatch(/very-secret-path|R0123456789/);
  },
);

it('a secret of another form is a mistake, in words that do not hold it', () => {
  expect(pagerduty.secretMistake?.('routingKey', routingKey)).toBeUndefined();
  expect(pagerduty.secretMistake?.('routingKey', 'secret')).toMatch(/^must lead to an integration key/);
  for (const kind of [slack, teams]) {
    expect(kind.secretMistake?.('url', 'https://hooks.example.test/services/T/B/x')).toBeUndefined();
    for (const wrong of ['secret', 'http://hooks.example.test/secret', 'https://user:secret@hooks.example.test/'])
      expect(kind.secretMistake?.('url', wrong)).toMatch(/^must lead to a URL(?!.*secret)/);
  }
});
