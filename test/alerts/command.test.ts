import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compose } from '../../src/compose/program.ts';
import { loadConfig } from '../../src/config.ts';
import type { CodedError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { runCommand, testHost } from '../support/command.ts';
import { root } from '../support/root.ts';
import { answers, linesOf, type Receiver, receiver, webhookKey } from './world.ts';

let folder: string;
let file: string;
let good: Receiver;
let bad: Receiver;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-alerts-'));
  file = join(folder, 'certstandby.yaml');
  [good, bad] = [await receiver(), await receiver(answers(404))];
});
afterAll(async () => {
  await Promise.all([good.close(), bad.close()]);
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  good.got.length = 0;
});

const env = () => ({
  GOOD: good.url,
  BAD: `${bad.url}/secret-of-bad`,
  KEY: webhookKey,
  PLAIN: 'http://hooks.example.test/secret',
});
const channel = (url: string, more = '') => `{ kind: webhook, url: ${url}, key: env:KEY${more} }`;

function write(alerts: string, table = 'table: { kind: lmdb, path: records }'): void {
  const crn = (region: string, digit: string) =>
    `crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${digit.repeat(8)}-2222-4333-8444-555555555555::`;
  const store = (region: string, digit: string) =>
    `{ kind: certificate-manager, instance: "${crn(region, digit)}", apiKey: env:KEY, endpoint: http://127.0.0.1:9 }`;
  writeFileSync(
    file,
    `version: 1
${table}
${alerts}
stores:
  one: ${store('eu-de', '1')}
  two: ${store('eu-gb', '2')}
links: { shop: { primary: one, backups: [two] } }
`,
  );
}

const run = (...args: readonly string[]) => {
  const [first = '', ...rest] = args;
  return runCommand(['alerts', first, ...rest, '--config', file], testHost({ env: { ...env(), NO_COLOR: '1' } }));
};

test('a test proves each channel, and says of one that takes nothing what mends it, but not its URL', async () => {
  write(`alerts: { channels: { good: ${channel('env:GOOD')}, bad: ${channel('env:BAD')} } }`);
  const both = await run('test');
  expect(both.code).toBe(4);
  expect(both.output).toBe('good (webhook): taken; see whether it has arrived\n');
  expect(both.errors).toBe(`certstandby: bad: the channel bad (webhook) answered 404
  Nothing takes messages at that URL: correct what alerts.channels.bad.url leads to. [alert_refused]
`);
  expect(good.got.map(linesOf)).toEqual([['test test:good warning']]);
  const one = await run('test', 'good', '--json');
  expect(one).toMatchObject({ code: 0, output: '{"channel":"good","kind":"webhook","taken":true}\n' });
  write(`alerts: { heartbeat: { url: env:BAD } }`);
  expect((await run('test')).errors).toContain(
    'heartbeat: the heartbeat of alerts answered 404\n  The watcher knows no such check',
  );
  write(`alerts: { channels: { good: ${channel('env:GOOD')}, bad: ${channel('env:BAD')} } }`);
  const none = await run('test', 'other');
  expect(none.code).toBe(2);
  expect(none.errors).toContain('there is no channel other; the configuration has good, bad');
});

test('without channels the commands say that nobody is told', async () => {
  for (const alerts of ['', 'alerts: { after: 5m }']) {
    write(alerts);
    const { code, errors } = await run('test');
    expect(code).toBe(2);
    expect(errors).toContain('names no channels under alerts, so that nobody is told');
  }
});

test('what tells nobody needs nothing that the alerts refer to; what tells names all that is missing', async () => {
  write(
    `alerts:
  expiryWithin: 7d
  heartbeat: { url: env:ELSEWHERE_BEAT }
  channels:
    good: ${channel('env:GOOD')}
    oncall: ${channel('env:ELSEWHERE')}
    file: ${channel('file:elsewhere.url')}`,
    'table: { kind: lmdb, path: records-of-its-own }',
  );
  const typed = (...args: readonly string[]) =>
    runCommand([...args, '--config', file], testHost({ env: { ...env(), NO_COLOR: '1' } }));
  // The stores are not there: each gets as far as to ask for them, or needs none.
  for (const args of [
    ['status'],
    ['verify'],
    ['reconcile'],
    ['restore', '--plan'],
    ['map'],
    ['drill'],
    ['doctor', '--rights'],
    ['config', 'show'],
  ]) {
    const { errors } = await typed(...args);
    expect(errors, args.join(' ')).not.toMatch(/ELSEWHERE|elsewhere|alerts\.|unknown option|unknown command/);
  }
  for (const args of [
    ['serve'],
    ['alerts', 'list'],
    ['alerts', 'mute', 'shop/drill', '--for', '1h'],
    ['config', 'check'],
  ])
    expect(await typed(...args), args.join(' ')).toMatchObject({
      code: 3,
      errors: expect.stringMatching(
        /has 3 mistakes:\n {2}- alerts.channels.oncall.url: the environment variable ELSEWHERE is not set\n {2}- alerts.channels.file.url: the file elsewhere.url cannot be read \(.*\)\n {2}- alerts.heartbeat.url: the environment variable ELSEWHERE_BEAT is not set/,
      ),
    });
  // One channel that cannot be tried hides no other.
  good.got.length = 0;
  const tried = await run('test');
  expect(tried.code).toBe(3);
  expect(tried.output).toBe('good (webhook): taken; see whether it has arrived\n');
  expect(tried.errors).toMatch(/oncall: .*alerts.channels.oncall.url: the environment variable ELSEWHERE is not set/s);
  expect(good.got.map(linesOf)).toEqual([['test test:good warning']]);
});

test('what was found is listed with what each channel heard; a person mutes or acknowledges it', async () => {
  write(`alerts: { after: 0s, channels: { good: ${channel('env:GOOD')}, bad: ${channel('env:BAD')} } }`);
  const config = loadConfig(file, env());
  const program = await compose(config, { runtime: systemRuntime, log: silentLog });
  try {
    const alerts = await program.alerts(new AbortController().signal);
    expect(await alerts?.round()).toBe(true);
  } finally {
    await program.close();
  }
  expect(good.got.map(linesOf)).toEqual([['began shop/not-compared critical']]);
  const { code, output } = await run('list');
  expect(code).toBe(0);
  expect(output).toMatch(
    /^shop\/not-compared: critical, for .*\n {2}nothing has ever been compared: certstandby reconcile does that\n/,
  );
  expect(output).toMatch(/channel good \(webhook\) took the last message .* ago\n/);
  expect(output).toMatch(
    /channel bad \(webhook\) takes nothing for .*; 1 finding to be told\n {2}the channel bad \(webhook\) answered 404 \[alert_refused\]\n {2}Nothing takes/,
  );
  expect(output).not.toContain('secret-of-bad');

  const muted = await run('mute', 'shop/not-compared', '--for', '8h');
  expect(muted.output).toMatch(/^shop\/not-compared is muted until \d{4}-/);
  const acknowledged = await run('acknowledge', 'shop/not-compared', '--for', '2d');
  expect(acknowledged.output).toMatch(/^shop\/not-compared is not told again until \d{4}-/);
  expect((await run('list')).output).toMatch(/critical, for .*; muted until \d{4}.*; acknowledged until \d{4}/);
  expect(JSON.parse((await run('list', '--json')).output.split('\n')[0] ?? '')).toMatchObject({
    finding: 'shop/not-compared',
    state: 'open',
    told: [{ channel: 'good', last: true }],
  });
  expect((await run('mute', 'shop/other', '--for', '8h')).errors).toContain(
    'there is no finding shop/other; there are: shop/not-compared',
  );
  for (const wrong of ['8', '91d', '0s']) expect((await run('mute', 'shop/not-compared', '--for', wrong)).code).toBe(2);
});

test('mistakes of channels are named with the others, and no secret is', () => {
  const mistakes = (alerts: string, platform?: 'aws') => {
    write(alerts, platform && 'table: { kind: dynamodb, name: records, region: eu-west-1 }');
    try {
      loadConfig(file, env(), { tells: true, ...(platform && { platform }) });
    } catch (thrown) {
      return (thrown as CodedError).fields.mistakes;
    }
    return [];
  };
  expect(
    mistakes(`alerts:
  after: soon
  repeat: 10s
  heartbeat: { url: env:PLAIN }
  channels:
    a: ${channel('env:PLAIN')}
    b: ${channel('ssm:/hook')}
    c: { kind: webhook, url: env:GOOD, key: env:GOOD, colour: red }
    d: ${channel('env:GOOD', ', links: [shop, other], least: loud')}
    e: { kind: pigeon }
    f: ${channel('https://hooks.example.test/secret')}`),
  ).toEqual([
    'alerts.after (line 4): must be a duration such as 500ms, 30s, 5m, 2h or 7d',
    'alerts.repeat (line 5): must be at least 1m',
    'alerts.channels.c.colour (line 10): is not a known key; there are url, key, least, links',
    'alerts.channels.d.least (line 11): must be warning or critical',
    'alerts.channels.e.kind (line 12): must be email or pagerduty or slack or teams or webhook',
    'alerts.channels.f.url (line 13): must be a reference (env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET), never the secret itself',
    'alerts.channels.a.url: must lead to a URL that begins with https://; plain http:// is allowed on loopback only',
    'alerts.channels.b.url: is read with the configuration, so that a message waits for nothing: use env: or file:',
    'alerts.channels.c.key: must lead to whsec_ and base64 as the receiver has it, or to a private key that certstandby notify --new-key has made',
    'alerts.heartbeat.url: must lead to a URL that begins with https://; plain http:// is allowed on loopback only',
    'alerts.channels.d.links: there is no link other under links',
  ]);
  expect(mistakes(`alerts: { channels: { a: ${channel('env:GOOD')} } }`, 'aws')).toContain(
    'alerts: functions on aws tell nobody; run certstandby serve with alerts on the same table, or watch the functions by their platform',
  );
});

const page = readFileSync(join(root, 'docs/alerts.md'), 'utf8');

test('the example of the page is a good configuration, and its table has every finding', () => {
  const [, example = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  write(example);
  for (const [name, text] of [
    ['pagerduty.key', 'R0123456789ABCDEFGHIJKLMNOPQRSTU'],
    ['ops-webhook.key', webhookKey],
  ] as const)
    writeFileSync(join(folder, name), text);
  const urls = { SLACK_WEBHOOK: 'https://hooks.example.test/x', OPS_WEBHOOK: good.url };
  const { alerts } = loadConfig(file, { ...env(), ...urls });
  expect(alerts?.channels.map(({ kind }) => kind)).toEqual(['email', 'slack', 'pagerduty', 'webhook']);

  const found = readdirSync(join(root, 'src/findings')).flatMap((name) => {
    const text = readFileSync(join(root, 'src/findings', name), 'utf8');
    return [...text.matchAll(/(?:name: |=>\n {2})['`]([a-z-]+)['/]/g)].map(([, kind = '']) => kind);
  });
  // A second copy that is not let go is no fault: status names it, and nobody is told.
  const kinds = [...new Set(found)].filter((kind) => kind !== 'kept-beside');
  expect(kinds.length).toBeGreaterThan(15);
  for (const kind of kinds) expect(page, kind).toMatch(new RegExp(`\\| .*\`${kind}(\`|/)`));
});
