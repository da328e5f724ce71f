import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkSender } from '../../../src/cli/doctor/senders.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { ownPattern, trailPattern } from '../../../src/services/eventbridge/patterns.ts';
import { stepsOfRules } from '../../../src/services/eventbridge/rules-diagnosis.ts';
import type { EventBridgeConfig } from '../../../src/services/eventbridge/settings.ts';

const account = '123456789012';
const region = 'eu-west-1';
const queue = `arn:aws:sqs:${region}:${account}:certstandby-dev-events`;
const deadLetters = `${queue}-dead-letters`;
const destination = `arn:aws:events:${region}:${account}:api-destination/certstandby/1234`;

interface Target {
  readonly Id: string;
  readonly Arn: string;
  readonly RoleArn?: string;
  readonly DeadLetterConfig?: { readonly Arn: string };
  readonly RetryPolicy?: object;
  readonly HttpParameters?: object;
}
interface Rule {
  readonly Name: string;
  readonly State: string;
  readonly EventPattern: string;
  readonly targets: readonly Target[];
}

/** EventBridge, SQS, CloudTrail and the token service, as far as doctor asks them. */
interface Played {
  account: string;
  rules: Record<string, Rule[]>;
  letters: Record<string, number>;
  /** The policy of each queue. */
  policy: string | undefined;
  trails: { Name: string; TrailARN: string; HomeRegion: string; logs: boolean; selectors?: object }[];
  endpoint: string;
  /** API destinations that are gone, and trails that answer with a fault. */
  gone: string[];
  /** Operations that the credentials may not call. */
  denied: string[];
}

const rule = (name: string, pattern: object, target: Partial<Target> = {}, State = 'ENABLED'): Rule => ({
  ...{ Name: name, State, EventPattern: JSON.stringify(pattern) },
  targets: [{ Id: 'queue', Arn: queue, DeadLetterConfig: { Arn: deadLetters }, ...target }],
});
const own = (target: Partial<Target> = {}, State?: string) =>
  rule('certstandby-dev-aws-own', ownPattern('secretsmanager'), target, State);
const trail = (target: Partial<Target> = {}) =>
  rule('certstandby-dev-aws-trail', trailPattern('secretsmanager'), target);
const logging = (more: object = {}) => ({
  ...{
    Name: 'all',
    TrailARN: `arn:aws:cloudtrail:us-east-1:${account}:trail/all`,
    HomeRegion: 'us-east-1',
    logs: true,
  },
  ...more,
});

const policyFor = (...rules: readonly string[]) =>
  JSON.stringify({
    Statement: {
      ...{ Effect: 'Allow', Principal: { Service: 'events.amazonaws.com' }, Action: 'sqs:SendMessage' },
      Condition: { ArnLike: { 'aws:SourceArn': rules.map((one) => `arn:aws:events:*:${account}:rule/${one}`) } },
    },
  });

let played: Played;
let server: Server;
let url = '';
let calls: { operation: string; region: string; input: Record<string, never>; type: string }[];

beforeEach(async () => {
  calls = [];
  played = {
    ...{ account, rules: { [region]: [own(), trail()] }, letters: { [deadLetters]: 0 }, trails: [logging()] },
    ...{ endpoint: 'https://standby.example.test/callback/aws', denied: [], gone: [], policy: policyFor('*') },
  };
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const [, , ofRegion = ''] = /Credential=([^/]+)\/\d+\/([^/]+)\//.exec(request.headers.authorization ?? '') ?? [];
    const operation =
      String(request.headers['x-amz-target'] ?? '')
        .split('.')
        .at(-1) ?? '';
    if (operation === '')
      return response.end(
        `<GetCallerIdentityResponse><Account>${played.account}</Account></GetCallerIdentityResponse>`,
      );
    const input = JSON.parse(body);
    calls.push({ operation, region: ofRegion, input, type: String(request.headers['content-type']) });
    const answered = played.denied.includes(operation)
      ? refusal('AccessDeniedException')
      : answer(operation, ofRegion, input);
    response.statusCode = '__type' in answered ? 400 : 200;
    return response.end(JSON.stringify(answered));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
});

const refusal = (__type: string) => ({ __type, message: 'in its own words' });

function answer(operation: string, of: string, input: Record<string, string>): object {
  const rules = played.rules[of] ?? [];
  switch (operation) {
    case 'ListRules': {
      // One on a page.
      const at = Number(input.NextToken ?? 0);
      const next = at + 1 < rules.length ? { NextToken: String(at + 1) } : {};
      return { Rules: rules.slice(at, at + 1).map(({ targets: _targets, ...told }) => told), ...next };
    }
    case 'ListTargetsByRule':
      return { Targets: rules.find(({ Name }) => Name === input.Rule)?.targets ?? [] };
    case 'TestEventPattern':
      return { Result: matches(JSON.parse(`${input.EventPattern}`), JSON.parse(`${input.Event}`)) };
    case 'DescribeApiDestination':
      if (played.gone.includes(`${input.Name}`)) return refusal('ResourceNotFoundException');
      return { InvocationEndpoint: played.endpoint, ApiDestinationState: 'ACTIVE' };
    case 'GetQueueAttributes': {
      const [, ofAccount, name] = new URL(`${input.QueueUrl}`).pathname.split('/');
      const number = played.letters[`arn:aws:sqs:${of}:${ofAccount}:${name}`];
      if (number === undefined) return refusal('com.amazonaws.sqs#QueueDoesNotExist');
      return { Attributes: { ApproximateNumberOfMessages: String(number), Policy: played.policy } };
    }
    case 'DescribeTrails':
      return { trailList: played.trails.map(({ logs: _logs, selectors: _selectors, ...told }) => told) };
    case 'GetTrailStatus':
      return { IsLogging: played.trails.find(({ TrailARN }) => TrailARN === input.Name)?.logs };
    case 'GetEventSelectors':
      if (played.gone.includes(`${input.TrailName}`)) return refusal('TrailNotFoundException');
      return played.trails.find(({ TrailARN }) => TrailARN === input.TrailName)?.selectors ?? {};
    default:
      return refusal('UnknownOperationException');
  }
}

/** The part of patterns that is used here: lists of texts, prefixes, and what is not there. */
function matches(pattern: Record<string, unknown>, event: Record<string, unknown>): boolean {
  return Object.entries(pattern).every(([name, wanted]) => {
    const found = event[name];
    if (!Array.isArray(wanted))
      return matches(wanted as Record<string, unknown>, (found ?? {}) as Record<string, unknown>);
    return wanted.some((one) => {
      if (typeof one === 'string') return one === found;
      if ('exists' in one) return one.exists === (found !== undefined);
      return typeof found === 'string' && found.startsWith(one.prefix);
    });
  });
}

const config = (given: Partial<EventBridgeConfig> = {}): EventBridgeConfig => ({
  ...{ kind: 'eventbridge', name: 'aws', store: 'ireland', of: 'secretsmanager', region, account },
  ...{ delivery: 'queue', namePrefix: 'certs/', endpoint: url },
  ...given,
});
const key = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: new Secret('the secret key') };
const steps = (given: Partial<EventBridgeConfig> = {}, deployed = region) =>
  stepsOfRules(config(given), {
    runtime: systemRuntime,
    ...{ deployment: { region: deployed, stage: 'dev' }, key },
  });
const mended = async (...given: Parameters<typeof steps>) =>
  (await steps(...given)).flatMap(({ message, remedy }) => (remedy === undefined ? [] : [{ message, remedy }]));

test('rules that lead to the queue, with dead letters that are empty and a trail that logs, are good', async () => {
  expect(await steps()).toEqual([
    { message: 'the rule certstandby-dev-aws-own in eu-west-1 leads events to the queue of the functions' },
    { message: 'nothing lies in the dead letters certstandby-dev-events-dead-letters' },
    { message: 'a trail logs in eu-west-1: deletions are told' },
  ]);
  expect(calls.filter(({ type }) => !/x-amz-json-1\.[01]$/.test(type))).toEqual([]);
  // Nothing is asked that changes anything.
  const asked = [...new Set(calls.map(({ operation }) => operation))].sort();
  expect(asked).toEqual(
    ['DescribeTrails', 'GetEventSelectors', 'GetQueueAttributes', 'GetTrailStatus', 'ListRules'].concat([
      ...['ListTargetsByRule', 'TestEventPattern'],
    ]),
  );
});

test('a rule that is missing, switched off or without dead letters has the line that makes it good', async () => {
  played.rules = { [region]: [trail()] };
  expect(await mended()).toEqual([
    {
      message: expect.stringMatching(/^no rule in eu-west-1 leads what secretsmanager tells/),
      remedy:
        'Where the functions are in 123456789012: npm run deploy -- --stage dev --region eu-west-1. ' +
        'Where they are in another account a rule of 123456789012 forwards to the bus there: its page says how.',
    },
  ]);
  played.rules = { [region]: [own({}, 'DISABLED'), trail()] };
  expect(await mended()).toEqual([
    {
      message: expect.stringMatching(/is switched off/),
      remedy: 'aws events enable-rule --region eu-west-1 --name certstandby-dev-aws-own',
    },
  ]);
  const { DeadLetterConfig: _without, ...bare } = own().targets[0] as Target;
  played.rules = { [region]: [{ ...own(), targets: [bare] }, trail()] };
  expect(await mended()).toMatchObject([
    {
      message: expect.stringMatching(/has no dead letters/),
      remedy: expect.stringMatching(/^aws sqs create-queue .* && aws events put-targets .*"DeadLetterConfig"/),
    },
  ]);
});

test('what another rule or another target tells of is not taken for ours', async () => {
  const others = [
    own({ Arn: `arn:aws:sqs:${region}:${account}:somebodys-queue` }),
    rule('names', { ...ownPattern('secretsmanager'), detail: { name: [{ prefix: 'passwords/' }] } }),
    rule('instances', { source: ['aws.ec2'] }),
    rule('elsewhere', { ...ownPattern('secretsmanager'), account: ['999999999999'] }),
    trail(),
  ];
  played.rules = { [region]: others };
  expect(await mended()).toMatchObject([{ message: expect.stringMatching(/^no rule in eu-west-1 leads what/) }]);
});

test('dead letters that hold something, or are not there, are told', async () => {
  played.letters = { [deadLetters]: 3 };
  expect(await mended()).toMatchObject([
    {
      message: expect.stringMatching(/^3 events lie in the dead letters/),
      remedy: expect.stringMatching(/a reconcile finds what they told of/),
    },
  ]);
  played.letters = {};
  const [made] = await mended();
  expect(made?.remedy).toMatch(
    /^aws sqs create-queue --region eu-west-1 --queue-name certstandby-dev-events-dead-letters --attributes /,
  );
  // What the line makes is good.
  played.policy = policyIn(made?.remedy);
  played.letters = { [deadLetters]: 0 };
  expect(await mended()).toEqual([]);
});

/** The policy that a printed line gives to a queue. */
function policyIn(remedy = ''): string {
  const [, attributes = ''] = /--attributes '([^']*)'/.exec(remedy) ?? [];
  return JSON.parse(attributes).Policy;
}

test('dead letters whose policy lets a rule put nothing there are told, with one that does and keeps what it says', async () => {
  for (const policy of [undefined, policyFor('certstandby-*-trail', 'another', '*-dev-*-owned'), '{"Statement":[]}']) {
    played.policy = policy;
    const [lacking] = await mended();
    expect(lacking?.message).toMatch(
      /^the policy of the dead letters certstandby-dev-events-dead-letters lets arn:.*:rule\/certstandby-dev-aws-own/,
    );
    expect((await steps()).some(({ message }) => message.startsWith('nothing lies'))).toBe(false);
    played.policy = policyIn(lacking?.remedy);
    expect(await mended()).toEqual([]);
    expect(played.policy.includes('rule/another')).toBe(policy?.includes('rule/another') === true);
  }
});

test('a target that is put anew says all that it said, but for headers, which are not printed', async () => {
  const { DeadLetterConfig: _without, ...bare } = own().targets[0] as Target;
  const target = {
    ...bare,
    RetryPolicy: { MaximumRetryAttempts: 3 },
    HttpParameters: { HeaderParameters: { Key: 's3cret' } },
  };
  played.rules = { [region]: [{ ...own(), targets: [target] }, trail()] };
  const [found] = await mended();
  const [, put = ''] = /--targets '([^']*)'$/.exec(found?.remedy ?? '') ?? [];
  const Arn = `arn:aws:sqs:${region}:${account}:certstandby-aws-dead-letters`;
  expect(JSON.parse(put)).toEqual([
    { ...target, HttpParameters: '<as they are: not printed here>', DeadLetterConfig: { Arn } },
  ]);
  // The queue that it names is made, and takes what this rule could not deliver.
  expect(found?.remedy).toMatch(/^aws sqs create-queue --region eu-west-1 --queue-name certstandby-aws-dead-letters /);
  expect(policyIn(found?.remedy)).toContain(':rule/certstandby-dev-aws-own"');
});

describe('a trail', () => {
  test('is wanted only where a rule passes deletions', async () => {
    played.rules = { [region]: [own()] };
    played.trails = [];
    expect(await mended()).toEqual([]);
    expect((await steps()).map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^no rule in eu-west-1 leads deletions/),
    );
    expect(calls.some(({ operation }) => operation === 'DescribeTrails')).toBe(false);
  });

  test.each([
    ['there is none', [], /^no trail logs writes/, /^aws cloudtrail create-trail /],
    [
      'it is switched off',
      [logging({ logs: false })],
      /is switched off/,
      /^aws cloudtrail start-logging --region us-east-1 --name arn:aws:cloudtrail/,
    ],
    [
      'it logs reads alone',
      [logging({ selectors: { EventSelectors: [{ ReadWriteType: 'ReadOnly', IncludeManagementEvents: true }] } })],
      /^no trail logs writes/,
      /create-trail/,
    ],
    [
      'it logs data alone',
      [
        logging({
          selectors: { AdvancedEventSelectors: [{ FieldSelectors: [{ Field: 'eventCategory', Equals: ['Data'] }] }] },
        }),
      ],
      /^no trail logs writes/,
      /create-trail/,
    ],
  ])('is told with what mends it where %s', async (_name, trails, message, remedy) => {
    played.trails = trails;
    expect(await mended()).toEqual([
      { message: expect.stringMatching(message), remedy: expect.stringMatching(remedy) },
    ]);
  });

  test('that cannot be looked at hides no other, and is not taken for none', async () => {
    const broken = logging({ TrailARN: `arn:aws:cloudtrail:us-east-1:${account}:trail/broken` });
    played.gone = [broken.TrailARN];
    played.trails = [broken, logging()];
    expect(await mended()).toEqual([]);
    played.trails = [broken];
    expect(await mended()).toMatchObject([
      { message: expect.stringMatching(/^whether the trail .*broken logs .*TrailNotFoundException/) },
    ]);
  });

  test('of advanced selectors for what is managed is one', async () => {
    const FieldSelectors = [{ Field: 'eventCategory', Equals: ['Management'] }];
    played.trails = [logging({ selectors: { AdvancedEventSelectors: [{ FieldSelectors }] } })];
    expect(await mended()).toEqual([]);
  });
});

test('a rule that also passes calls with content is told, with the pattern that does not', async () => {
  played.rules = { [region]: [own(), rule('all-calls', { source: ['aws.secretsmanager'] })] };
  const [found] = await mended();
  expect(found?.message).toMatch(/all-calls in eu-west-1 passes calls whose parameters can hold content/);
  // What the service tells of itself another rule passes already.
  const [, pattern = ''] = /^aws events put-rule .* --event-pattern '([^']*)'/.exec(found?.remedy ?? '') ?? [];
  expect(JSON.parse(pattern)).toEqual(trailPattern('secretsmanager'));
});

test('a rule is switched on by the line after the one that puts it anew as it was, so that both can be typed in turn', async () => {
  played.rules = { [region]: [trail(), rule('all-calls', { source: ['aws.secretsmanager'] }, {}, 'DISABLED')] };
  const lines = (await mended()).map(({ remedy }) => remedy ?? '');
  const put = lines.findIndex((line) => /^aws events put-rule .*--state .?DISABLED/.test(line));
  expect(put).toBeGreaterThanOrEqual(0);
  expect(lines.findIndex((line) => /^aws events enable-rule .*all-calls/.test(line))).toBeGreaterThan(put);
});

test('a rule that is put anew stays as it was but for its pattern, and where it passed both kinds there are two', async () => {
  const from = { account: [account], region: [region] };
  const all = {
    ...rule('all-calls', { source: ['aws.secretsmanager'], ...from }, {}, 'DISABLED'),
    Description: "everybody's",
  };
  played.rules = { [region]: [all] };
  const found = (await mended()).find(({ message }) => message.includes('passes calls'));
  const [second = '', targets = '', first = ''] = found?.remedy.split(' && ') ?? [];
  const patternIn = (line: string) => JSON.parse(/--event-pattern '([^']*)'/.exec(line)?.[1] ?? '');
  expect(second).toContain('--name certstandby-aws-trail ');
  expect(patternIn(second)).toEqual({ ...trailPattern('secretsmanager'), ...from });
  expect(targets).toMatch(/--rule certstandby-aws-trail .*certstandby-dev-events/);
  expect(patternIn(first)).toEqual({ ...ownPattern('secretsmanager'), ...from });
  expect(first).toMatch(/--name all-calls .* --state 'DISABLED' --description 'everybody'\\''s'$/);

  const content = { ...trailPattern('secretsmanager'), detail: { eventName: ['PutSecretValue'] } };
  played.rules = { [region]: [own(), trail(), rule('content', content)] };
  expect(await mended()).toMatchObject([
    { remedy: 'aws events remove-targets --region eu-west-1 --rule content --ids queue' },
  ]);
});

test('a right that is missing is named, with what was not seen for it, and hides nothing else', async () => {
  played.denied = ['ListRules'];
  expect(await mended()).toEqual([
    {
      message: 'its rules in eu-west-1 could not be looked at: AccessDeniedException',
      remedy: expect.stringMatching(/^Allow events:ListRules /),
    },
  ]);
  played.denied = ['GetQueueAttributes', 'DescribeTrails'];
  expect((await mended()).map(({ remedy }) => remedy.split(' to ')[0])).toEqual([
    'Allow sqs:GetQueueAttributes',
    'Allow cloudtrail:DescribeTrails',
  ]);
});

test('credentials of another account see nothing of it, and that is told instead', async () => {
  played.account = '999999999999';
  expect(await mended()).toEqual([
    {
      message: expect.stringMatching(/the credentials here are of the account 999999999999/),
      remedy: expect.stringMatching(/AWS_PROFILE/),
    },
  ]);
  expect(calls).toEqual([]);
});

test('an API destination is found by the callback URL that it posts to', async () => {
  const to = { Arn: destination, RoleArn: `arn:aws:iam::${account}:role/invoke` };
  played.rules = { [region]: [own(to)] };
  const given = { delivery: 'api-destination', digest: '0'.repeat(64) } as const;
  expect(await mended(given)).toEqual([]);
  played.endpoint = 'https://standby.example.test/callback/another';
  const [missing] = await mended(given);
  expect(missing?.remedy).toMatch(
    /^aws sqs create-queue .* && aws events put-rule .* && aws events put-targets .*API destination/,
  );
});

test('an API destination that is gone is told of its rule, and hides no other', async () => {
  const to = { Arn: destination, RoleArn: `arn:aws:iam::${account}:role/invoke` };
  const lost = { ...own({ Arn: destination.replace('certstandby/', 'lost/') }), Name: 'old' };
  played.rules = { [region]: [lost, own(to)] };
  played.gone = ['lost'];
  const given = { delivery: 'api-destination', digest: '0'.repeat(64) } as const;
  expect(await mended(given)).toEqual([
    {
      message: 'the rule old in eu-west-1 leads to an API destination that is gone: nothing of it comes',
      remedy: expect.any(String),
    },
  ]);
  expect((await steps(given)).map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/^the rule certstandby-dev-aws-own in eu-west-1 leads events/),
  );
});

test('rules that may not be looked at are not taken for rules that are missing', async () => {
  played.denied = ['ListTargetsByRule'];
  const found = await mended();
  expect(found.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^the rule certstandby-dev-aws-own .*AccessDenied/),
    expect.stringMatching(/^the rule certstandby-dev-aws-trail .*AccessDenied/),
  ]);
});

test.each([region, 'eu-central-1'])(
  'a store of another account than the functions in %s is led to the bus there, and whose credentials see more is told',
  async (home) => {
    const theirs = '999999999999';
    const bus = { Arn: `arn:aws:events:${home}:${theirs}:event-bus/default` };
    played.rules = { [region]: [own(bus), trail(bus)] };
    expect(await mended({}, home)).toEqual([]);
    expect((await steps({}, home)).map(({ message }) => message)).toContainEqual(
      expect.stringMatching(
        /leads events to the bus of the account 999999999999, .* takes credentials of 999999999999$/,
      ),
    );
    played.rules = {};
    const missing = (await mended({}, home)).map(({ remedy }) => remedy);
    expect(missing.join()).toContain(`Where the functions are in ${account}: npm run deploy`);
    if (home !== region) {
      expect(missing[0]).toMatch(/^With credentials of 123456789012: aws sqs create-queue /);
      expect(missing[0]).toContain('eu-central-1:<account of the functions>:event-bus/default');
    }
  },
);

test('for a store of another region a rule there forwards to the bus of the functions, whose rules are looked at too', async () => {
  const home = 'eu-central-1';
  const there = `arn:aws:sqs:${home}:${account}:certstandby-dev-events`;
  const letters = { Arn: `${there}-dead-letters` };
  const arrives = { Arn: there, DeadLetterConfig: letters };
  played.rules = { [home]: [own(arrives), trail(arrives)] };
  played.letters = { [letters.Arn]: 0, [deadLetters]: 0 };
  const [missing] = await mended({}, home);
  expect(missing?.message).toMatch(/^no rule in eu-west-1 leads .* to the bus of eu-central-1/);
  expect(missing?.remedy).toContain(`arn:aws:events:${home}:${account}:event-bus/default`);
  expect(missing?.remedy).toContain(`arn:aws:iam::${account}:role/certstandby-dev-fwd-eu-central-1`);
  const { events } = createRequire(import.meta.url)('../../../infra/aws/events.cjs');
  const deployed = events([config()], 'certstandby-dev', home).resources.Resources.ForwardEventsRole;
  expect(deployed.Properties.RoleName).toBe(`certstandby-dev-fwd-${home}`);

  const bus = { Arn: `arn:aws:events:${home}:${account}:event-bus/default` };
  played.rules = { ...played.rules, [region]: [own(bus), trail(bus)] };
  expect(await mended({}, home)).toEqual([]);
});

test('the rights on the page are those that it takes, and no more', async () => {
  await steps();
  played.rules = { [region]: [own({ Arn: destination })] };
  await steps({ delivery: 'api-destination', digest: '0'.repeat(64) });
  const page = readFileSync(new URL('../../../src/services/eventbridge/README.md', import.meta.url), 'utf8');
  const [, policy = ''] = /```json\n([\s\S]*?)```/.exec(page) ?? [];
  const allowed: readonly string[] = JSON.parse(policy).Statement[0].Action;
  const asked = [...new Set(calls.map(({ operation }) => operation))];
  expect(asked.sort()).toEqual(allowed.map((action) => action.split(':')[1]).sort());
});

test('doctor prints all of it, and how events come', async () => {
  played.trails = [];
  const sender = {
    ...{ name: 'aws', store: 'ireland' },
    diagnosis: {
      comes: 'by the queue of the functions on AWS',
      setUp: async function* () {
        yield* await steps();
      },
    },
  };
  const found = await checkSender(sender, { base: undefined, signal: () => AbortSignal.timeout(60_000) });
  expect(found.map(({ outcome, message }) => [outcome, message.slice(0, 30)])).toEqual([
    ['good', 'tells of ireland by the queue '],
    ['good', 'the rule certstandby-dev-aws-o'],
    ['good', 'nothing lies in the dead lette'],
    ['warning', 'no trail logs writes in eu-wes'],
  ]);
});

test('what is deployed, and what the page shows, lets pass what doctor looks for', () => {
  const page = readFileSync(new URL('../../../src/services/eventbridge/README.md', import.meta.url), 'utf8');
  const { events } = createRequire(import.meta.url)('../../../infra/aws/events.cjs');
  for (const service of ['acm', 'secretsmanager'] as const) {
    expect(page).toContain(`\`${JSON.stringify(ownPattern(service))}\``);
    expect(page).toContain(`\`${JSON.stringify(trailPattern(service))}\``);
    const { resources } = events([config({ of: service })], 'certstandby-dev', region);
    const rules = Object.values(resources.Resources) as { Type: string; Properties: { EventPattern: object } }[];
    const from = { account: [account], region: [region] };
    expect(
      rules.filter(({ Type }) => Type === 'AWS::Events::Rule').map(({ Properties }) => Properties.EventPattern),
    ).toEqual([
      { ...ownPattern(service), ...from },
      { ...trailPattern(service), ...from },
    ]);
  }
});
