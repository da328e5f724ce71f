import * as z from 'zod/mini';
import { arnStem } from '../../aws/arn.ts';
import { type AccessKey, callerCredentials, NoCredentialsError } from '../../aws/caller.ts';
import { AwsServiceError, AwsUnansweredError, signedService } from '../../aws/signed-service.ts';
import { defined } from '../../defined.ts';
import { jsonText, visible } from '../../foreign-text.ts';
import { otherwise } from '../../lenient.ts';
import type { SenderDiagnosisContext, SetUpStep } from '../service.ts';
import { type Origin, ownPattern, type Pattern, sampleEvents, trailPattern } from './patterns.ts';
import type { EventBridgeConfig } from './settings.ts';

const text = otherwise(z.string(), '');
const more = otherwise(z.optional(z.string().check(z.minLength(1))), undefined);
const texts = otherwise(z.array(z.string()), []);

const ruleSchema = z.object({
  ...{ Name: z.string(), State: text, EventPattern: text },
  ...{ Description: more, RoleArn: more, ScheduleExpression: more },
});
const rulesSchema = z.object({ Rules: z.array(ruleSchema), NextToken: more });
// Whatever else a target says is said again where it is put anew.
const targetSchema = z.looseObject({
  Id: text,
  Arn: z.string(),
  RoleArn: more,
  DeadLetterConfig: otherwise(z.optional(z.object({ Arn: more })), undefined),
});
const targetsSchema = z.object({ Targets: z.array(targetSchema), NextToken: more });
const destinationSchema = z.object({ InvocationEndpoint: z.string(), ApiDestinationState: text });
const trailsSchema = z.object({ trailList: z.array(z.object({ Name: text, TrailARN: z.string(), HomeRegion: text })) });
const selectorsSchema = z.object({
  EventSelectors: otherwise(
    z.array(z.object({ ReadWriteType: text, IncludeManagementEvents: otherwise(z.boolean(), false) })),
    [],
  ),
  AdvancedEventSelectors: otherwise(
    z.array(z.object({ FieldSelectors: z.array(z.object({ Field: text, Equals: texts })) })),
    [],
  ),
});

type Target = z.infer<typeof targetSchema>;
interface Rule {
  readonly name: string;
  readonly isEnabled: boolean;
  readonly passes: { readonly own: boolean; readonly trail: boolean; readonly content: boolean };
  readonly target: Target;
  /** The account to whose bus it leads, where that is another one than the store's. */
  readonly elsewhere?: string;
  /** What the listing says of it. */
  readonly listed: z.infer<typeof ruleSchema>;
}
interface Found {
  readonly rules: readonly Rule[];
  /** Rules that could not be looked at, and those whose target is gone. */
  readonly unseen: readonly SetUpStep[];
  readonly gone: readonly SetUpStep[];
}
/** Where rules of another region forward to. `account`: that of the functions, if known. */
interface Bus {
  readonly region: string;
  readonly account?: string;
}

const answerTimeoutMs = 10_000;
/** Pages of rules, of a hundred: a bus has at most 300 if nobody asked for more. */
const mostPages = 10;
/** Trails that are asked whether they log. */
const mostTrails = 10;

/**
 * How events of AWS come here, asked of AWS itself by the credentials of the environment (or
 * `key`): the rules that let events of the store pass, whether they are on, where they lead, what
 * lies in their dead letters, and whether a trail tells of deletions. What is missing has the line
 * that makes it.
 * Changes nothing, and never throws: what could not be asked is told.
 *
 * API: Amazon EventBridge 2015-10-07 (`ListRules`, `ListTargetsByRule`, `TestEventPattern`,
 * `DescribeApiDestination`), Amazon SQS 2012-11-05 (`GetQueueAttributes`), AWS CloudTrail
 * 2013-11-01 (`DescribeTrails`, `GetTrailStatus`, `GetEventSelectors`), AWS STS
 * (`GetCallerIdentity`).
 */
export async function stepsOfRules(
  config: EventBridgeConfig,
  context: SenderDiagnosisContext & { readonly key?: AccessKey },
  signal?: () => AbortSignal,
): Promise<readonly SetUpStep[]> {
  const ask = askedOf(config, context, signal);
  try {
    const found = await ask.account(config.region);
    if (found !== config.account)
      return [
        {
          message: `its rules were not looked at: the credentials here are of the account ${visible(found)}, and it is of ${config.account}`,
          remedy: `Run doctor with credentials of ${config.account} (AWS_PROFILE), which may read rules: its page says which rights that takes.`,
        },
      ];
  } catch (thrown) {
    return [notSeen('its rules', thrown)];
  }
  const { region, account } = config;
  const here = config.delivery === 'queue' ? context.deployment?.region : region;
  // Without a deployment in the configuration its functions are taken to be in the region of the
  // store. In which account they are no configuration says: rules tell it.
  if (here === undefined || here === region) return (await lookAt(region, config, context, ask)).steps;
  const last = await lookAt(here, config, context, ask);
  const bus = { region: here, ...(last.leads && { account }) };
  const first = await lookAt(region, config, context, ask, bus);
  return [...first.steps, ...(first.leadsElsewhere ? [] : last.steps)];
}

type Ask = ReturnType<typeof askedOf>;

/** Signed calls to three services, in any region. */
function askedOf(
  { endpoint }: EventBridgeConfig,
  { runtime, key }: SenderDiagnosisContext & { readonly key?: AccessKey },
  signal?: () => AbortSignal,
) {
  const caller = (region: string) => callerCredentials({ region, endpoint, key, runtime });
  async function call<T extends z.ZodMiniType>(
    [service, target, jsonVersion]: readonly [string, string, '1.0' | '1.1'],
    region: string,
    operation: string,
    input: object,
    schema: T,
  ): Promise<z.infer<T>> {
    const { credentials } = caller(region);
    const reached = { service, target, region, jsonVersion, credentials, runtime, answerTimeoutMs };
    const { call: send, close } = signedService({ ...reached, ...defined({ endpoint }) });
    try {
      const answer = z.safeParse(
        schema,
        await send(operation, input, { attempts: 2, ...(signal && { signal: signal() }) }),
      );
      if (answer.success) return answer.data;
      throw new AwsServiceError(200, { message: `${operation} was answered with something else` });
    } catch (thrown) {
      throw Object.assign(thrown as Error, { right: `${service}:${operation}` });
    } finally {
      close();
    }
  }
  type Rest<T extends z.ZodMiniType> = [region: string, operation: string, input: object, schema: T];
  return {
    account: (region: string) => caller(region).account(signal?.()),
    events: <T extends z.ZodMiniType>(...rest: Rest<T>) => call(['events', 'AWSEvents', '1.1'], ...rest),
    queues: <T extends z.ZodMiniType>(...rest: Rest<T>) => call(['sqs', 'AmazonSQS', '1.0'], ...rest),
    trails: <T extends z.ZodMiniType>(...rest: Rest<T>) =>
      call(['cloudtrail', 'com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101', '1.1'], ...rest),
  };
}

/** What could not be asked, and what mends that. */
function notSeen(what: string, thrown: unknown): SetUpStep {
  const message = `${what} could not be looked at`;
  if (thrown instanceof NoCredentialsError)
    return {
      message: `${message}: ${thrown.message}`,
      remedy: 'Set AWS_PROFILE, to credentials that may read rules: its page says which rights that takes.',
    };
  if (thrown instanceof AwsServiceError && /AccessDenied|NotAuthorized|UnauthorizedOperation/.test(thrown.name)) {
    const { right } = thrown as AwsServiceError & { readonly right?: string };
    return {
      message: `${message}: ${thrown.name}`,
      remedy: `Allow ${right ?? 'sts:GetCallerIdentity'} to whoever runs doctor; functions need none of it.`,
    };
  }
  const name = thrown instanceof AwsServiceError ? thrown.name : 'no answer';
  const words = thrown instanceof Error ? visible(thrown.message).slice(0, 200) : '';
  const remedy =
    thrown instanceof AwsUnansweredError
      ? 'See that this machine reaches AWS, and run it again.'
      : 'See which credentials these are (aws sts get-caller-identity), and run it again.';
  return { message: `${message}: ${name}: ${words}`, remedy };
}

interface LookedAt {
  readonly steps: readonly SetUpStep[];
  /** Whether a rule that is on leads what the service tells of itself to where it is taken. */
  readonly leads: boolean;
  /** Whether all of these lead to the bus of another account. */
  readonly leadsElsewhere: boolean;
}

/**
 * Rules of the default bus of one region. `on`: the bus to which they are to forward; absent: they
 * lead to the queue, or to the callback URL.
 */
async function lookAt(
  region: string,
  config: EventBridgeConfig,
  context: SenderDiagnosisContext,
  ask: Ask,
  on?: Bus,
): Promise<LookedAt> {
  const { rules, unseen, gone } = await rulesOf(region, config, ask, on);
  const steps: SetUpStep[] = [...unseen, ...gone];
  const where = on === undefined ? ways[config.delivery ?? 'api-destination'] : `to the bus of ${on.region}`;
  const own = rules.filter(({ passes }) => passes.own);
  const trail = rules.filter(({ passes }) => passes.trail);
  const isTold = (some: readonly Rule[]) => some.some(({ isEnabled }) => isEnabled);
  const queued = rulesOfDeadLetters(rules, config);
  // What was not seen may be what is missing.
  const isSeen = unseen.length === 0;
  if (own.length === 0 && isSeen)
    steps.push({
      message: `no rule in ${region} leads what ${config.of} tells of this store ${where}: reconcile alone finds changes`,
      remedy: lineFor('own', region, config, context, on, queued),
    });
  const near = own.filter(({ elsewhere }) => elsewhere === undefined);
  if (isTold(near)) steps.push({ message: `the rule ${named(near)} in ${region} leads events ${where}` });
  for (const { name, isEnabled, elsewhere } of own)
    if (isEnabled && elsewhere !== undefined)
      steps.push({
        message: `the rule ${visible(name)} in ${region} leads events to the bus of the account ${elsewhere}, whose own rules were not looked at: that takes credentials of ${elsewhere}`,
      });
  if (trail.length === 0 && isSeen)
    steps.push({
      message: `no rule in ${region} leads deletions ${where}: reconcile alone finds them; with a trail this does: ${lineFor('trail', region, config, context, on, queued)}`,
    });
  for (const rule of rules) {
    const { name, isEnabled, passes } = rule;
    if (passes.content)
      steps.push({
        message: `the rule ${visible(name)} in ${region} passes calls whose parameters can hold content, which nobody reads here`,
        remedy: withoutContent(rule, rules, region, config),
      });
    // After a line that puts the rule anew, in the state in which it is.
    if (!isEnabled)
      steps.push({
        message: `the rule ${visible(name)} in ${region} is switched off: nothing of it comes`,
        remedy: `aws events enable-rule --region ${region} --name ${inShell(name)}`,
      });
  }
  steps.push(...(await deadLettersOf(rules, region, config, ask)));
  // A trail tells of deletions in the region of the store.
  if (region === config.region && isTold(trail)) steps.push(...(await trailSteps(region, ask)));
  return { steps, leads: isTold(near), leadsElsewhere: own.length > 0 && near.length === 0 };
}

/** What has a rule pass no calls with content, and everything else that it passes of this store. */
function withoutContent(
  { name, passes, target, listed }: Rule,
  rules: readonly Rule[],
  region: string,
  config: EventBridgeConfig,
): string {
  const at = `--region ${region}`;
  const isNeeded = (kind: 'own' | 'trail') =>
    passes[kind] && !rules.some((other) => other.isEnabled && other.passes[kind] && !other.passes.content);
  if (!isNeeded('own') && !isNeeded('trail'))
    return `aws events remove-targets ${at} --rule ${inShell(name)} --ids ${inShell(target.Id)}`;
  const pattern = isNeeded('own') ? ownPattern(config.of) : trailPattern(config.of);
  // A rule that is put is replaced: what is not said again of it is lost, and it is switched on.
  const { State, Description, RoleArn, ScheduleExpression } = listed;
  const kept = Object.entries({ state: State || undefined, description: Description, 'role-arn': RoleArn })
    .concat(Object.entries({ 'schedule-expression': ScheduleExpression }))
    .flatMap(([option, value]) => (value === undefined ? [] : [` --${option} ${shellText(value)}`]));
  const put = (rule: string, wanted: Pattern, options = '') =>
    `aws events put-rule ${at} --name ${rule} --event-pattern ${quoted({ ...origins(listed.EventPattern), ...wanted })}${options}`;
  const first = put(inShell(name), pattern, kept.join(''));
  if (!isNeeded('own') || !isNeeded('trail')) return first;
  // No pattern of one rule passes both kinds and nothing else.
  const second = `certstandby-${config.name}-trail`;
  return `${put(second, trailPattern(config.of))} && ${putTarget(region, second, target)} && ${first}`;
}

/** The accounts and regions that a pattern names. */
function origins(eventPattern: string): object {
  try {
    const { account, region } = JSON.parse(eventPattern) ?? {};
    return defined({ account, region });
  } catch {
    return {};
  }
}

/**
 * The line that puts a target as it is said here. Headers of an API destination may be secret: they
 * are not printed, and AWS refuses what stands there, so that nobody loses them unseen.
 */
function putTarget(region: string, rule: string, target: Target): string {
  const { HttpParameters } = target;
  const unsaid =
    HttpParameters === undefined || HttpParameters === null
      ? {}
      : { HttpParameters: '<as they are: not printed here>' };
  const said = { ...target, ...unsaid };
  return `aws events put-targets --region ${region} --rule ${rule} --targets ${quoted([said])}`;
}

const ways = { queue: 'to the queue of the functions', 'api-destination': 'to the callback URL' } as const;
const named = (rules: readonly Rule[]) => rules.map(({ name }) => visible(name)).join(', ');

/**
 * The rules that let anything of this store pass to where it is taken, by the service's word. One
 * that cannot be looked at hides no other.
 */
async function rulesOf(region: string, config: EventBridgeConfig, ask: Ask, on: Bus | undefined): Promise<Found> {
  const rules: Rule[] = [];
  const unseen: SetUpStep[] = [];
  const gone: SetUpStep[] = [];
  const destinations = new Map<string, Promise<boolean | 'gone'>>();
  let cursor: string | undefined;
  for (let page = 1; page === 1 || (cursor !== undefined && page <= mostPages); page += 1) {
    let listed: z.infer<typeof rulesSchema>;
    try {
      const next = defined({ NextToken: cursor });
      listed = await ask.events(region, 'ListRules', { Limit: 100, ...next }, rulesSchema);
    } catch (thrown) {
      unseen.push(notSeen(`its rules in ${region}`, thrown));
      return { rules, unseen, gone };
    }
    cursor = listed.NextToken;
    for (const rule of listed.Rules) {
      // Most rules of a bus are about something else.
      if (!rule.EventPattern.includes(`aws.${config.of}`)) continue;
      try {
        const found = await lookAtRule(rule, region, config, ask, on, destinations);
        if (found === 'gone')
          gone.push({
            message: `the rule ${visible(rule.Name)} in ${region} leads to an API destination that is gone: nothing of it comes`,
            remedy: 'Make that API destination again, or give the rule another target: its page shows both.',
          });
        else if (found !== undefined) rules.push(found);
      } catch (thrown) {
        unseen.push(notSeen(`the rule ${visible(rule.Name)} in ${region}`, thrown));
      }
    }
  }
  if (cursor !== undefined) unseen.push({ message: `only ${mostPages * 100} rules in ${region} were looked at` });
  return { rules, unseen, gone };
}

/** A rule that is ours, that leads where something of ours may have been, or neither. */
async function lookAtRule(
  listed: z.infer<typeof ruleSchema>,
  region: string,
  config: EventBridgeConfig,
  ask: Ask,
  on: Bus | undefined,
  destinations: Map<string, Promise<boolean | 'gone'>>,
): Promise<Rule | 'gone' | undefined> {
  const { Name, State, EventPattern } = listed;
  const targets = await targetsOf(Name, region, ask);
  const places: { readonly target: Target; readonly place: Place }[] = [];
  for (const target of targets)
    places.push({ target, place: await placeOf(target, region, config, ask, on, destinations) });
  const [ours] = places.filter(({ place }) => place === 'ours');
  const [bus] = places.filter(({ place }) => typeof place === 'object');
  const found = ours ?? bus;
  if (found === undefined && !places.some(({ place }) => place === 'gone')) return undefined;
  const origin: Origin = { ...config, stem: arnStem(config.of, { ...config }) ?? '' };
  const samples = sampleEvents(origin);
  const passesOf = async (event: object) => {
    const input = { EventPattern, Event: jsonText(event) };
    return (await ask.events(region, 'TestEventPattern', input, z.object({ Result: z.boolean() }))).Result;
  };
  const passes = {
    ...{ own: await passesOf(samples.own), trail: await passesOf(samples.trail) },
    content: await passesOf(samples.content),
  };
  if (!passes.own && !passes.trail && !passes.content) return undefined;
  if (found === undefined) return 'gone';
  const { target, place } = found;
  const elsewhere = typeof place === 'object' ? place.account : undefined;
  return { name: Name, isEnabled: /^ENABLED/.test(State), passes, target, listed, ...defined({ elsewhere }) };
}

async function targetsOf(Rule: string, region: string, ask: Ask): Promise<readonly Target[]> {
  return (await ask.events(region, 'ListTargetsByRule', { Rule, Limit: 100 }, targetsSchema)).Targets;
}

/** Where a target leads: to where events come, to the bus of another account, or nowhere. */
type Place = 'ours' | { readonly account: string } | 'gone' | undefined;

async function placeOf(
  { Arn }: Target,
  region: string,
  config: EventBridgeConfig,
  ask: Ask,
  on: Bus | undefined,
  known: Map<string, Promise<boolean | 'gone'>>,
): Promise<Place> {
  const { account, name, delivery } = config;
  if (delivery === 'queue') {
    // Functions can be in any account: a rule leads to their bus, in their region.
    const [, ofRegion, ofBus] = /^arn:[\w-]+:events:([\w-]+):(\d{12}):event-bus\/default$/.exec(Arn) ?? [];
    if (ofBus !== undefined && ofRegion === (on?.region ?? region) && ofBus !== account) return { account: ofBus };
    if (on !== undefined) return ofBus !== undefined && ofRegion === on.region ? 'ours' : undefined;
    const queue = `${arnStem('sqs', { region, account })}:`;
    return Arn.startsWith(queue) && /^certstandby-[\w-]+-events$/.test(Arn.slice(queue.length)) ? 'ours' : undefined;
  }
  const [, Name] = /:api-destination\/([^/]+)/.exec(Arn) ?? [];
  if (Name === undefined) return undefined;
  let asked = known.get(Name);
  asked ??= ask.events(region, 'DescribeApiDestination', { Name }, destinationSchema).then(
    ({ InvocationEndpoint }) => pathOf(InvocationEndpoint).endsWith(`/callback/${name}`),
    (thrown: unknown) => {
      if (thrown instanceof AwsServiceError && thrown.name === 'ResourceNotFoundException') return 'gone';
      throw thrown;
    },
  );
  known.set(Name, asked);
  const found = await asked;
  if (found === 'gone') return 'gone';
  return found ? 'ours' : undefined;
}

const pathOf = (address: string): string => (URL.canParse(address) ? new URL(address).pathname : '');

/** What becomes of events that could not be delivered. */
async function deadLettersOf(
  rules: readonly Rule[],
  region: string,
  config: EventBridgeConfig,
  ask: Ask,
): Promise<readonly SetUpStep[]> {
  const queues = new Map<string, readonly string[]>();
  const steps: SetUpStep[] = [];
  const queued = rulesOfDeadLetters(rules, config);
  for (const { name, target } of rules) {
    const arn = target.DeadLetterConfig?.Arn;
    if (arn !== undefined) queues.set(arn, [...(queues.get(arn) ?? []), name]);
    else {
      const Arn = deadLetters(region, config);
      steps.push({
        message: `the rule ${visible(name)} in ${region} has no dead letters: what cannot be delivered is lost, and nobody sees it`,
        remedy: `${createQueue(region, Arn, rulesHere(queued, region, config))} && ${putTarget(region, inShell(name), { ...target, DeadLetterConfig: { Arn } })}`,
      });
    }
  }
  for (const [arn, names] of queues) {
    const [, , , ofRegion = region, account = '', queue = ''] = arn.split(':');
    const url = queueUrl(ofRegion, account, queue);
    const from = rulesHere(names, region, config);
    try {
      const { Attributes } = await ask.queues(
        ofRegion,
        'GetQueueAttributes',
        { QueueUrl: url, AttributeNames: ['ApproximateNumberOfMessages', 'Policy'] },
        z.object({ Attributes: z.object({ ApproximateNumberOfMessages: z.string(), Policy: more }) }),
      );
      const number = Number(Attributes.ApproximateNumberOfMessages);
      const { lacking, statements } = lettersPolicy(Attributes.Policy, from);
      if (lacking.length > 0)
        steps.push({
          message: `the policy of the dead letters ${visible(queue)} lets ${lacking.map(visible).join(', ')} put nothing there: what cannot be delivered is lost`,
          remedy: `aws sqs set-queue-attributes --region ${ofRegion} --queue-url ${url} --attributes ${policyAttribute(arn, lacking, statements)}`,
        });
      if (number > 0)
        steps.push({
          message: `${number} ${number === 1 ? 'event lies' : 'events lie'} in the dead letters ${visible(queue)}: they were not taken here`,
          remedy: `Read why (their attributes ERROR_CODE and ERROR_MESSAGE), and purge them: a reconcile finds what they told of. aws sqs receive-message --region ${ofRegion} --queue-url ${url} --message-attribute-names All`,
        });
      else if (lacking.length === 0) steps.push({ message: `nothing lies in the dead letters ${visible(queue)}` });
    } catch (thrown) {
      const isGone = thrown instanceof AwsServiceError && /NonExistentQueue|QueueDoesNotExist/.test(thrown.name);
      steps.push(
        isGone
          ? {
              message: `the dead letters ${visible(arn)} of the rule ${names.map(visible).join(', ')} are not there`,
              remedy: createQueue(ofRegion, arn, from),
            }
          : notSeen(`the dead letters ${visible(queue)}`, thrown),
      );
    }
  }
  return steps;
}

/** The rules whose dead letters are the queue that is named here: it is made for all of them. */
const rulesOfDeadLetters = (rules: readonly Rule[], { name }: EventBridgeConfig): readonly string[] => [
  ...new Set([
    ...[`certstandby-${name}-own`, `certstandby-${name}-trail`],
    ...rules.filter(({ target }) => target.DeadLetterConfig?.Arn === undefined).map((rule) => rule.name),
  ]),
];

const rulesHere = (names: readonly string[], region: string, { account }: EventBridgeConfig) =>
  names.map((name) => `${arnStem('events', { region, account })}:rule/${name}`);

const createQueue = (region: string, arn: string, rules: readonly string[]) =>
  `aws sqs create-queue --region ${region} --queue-name ${arn.split(':').at(-1)} --attributes ${policyAttribute(arn, rules)}`;

/**
 * The policy of dead letters, as an attribute: without it EventBridge may put nothing there
 * (its guide, "Using dead-letter queues"). `before`: statements that stay.
 */
function policyAttribute(queue: string, rules: readonly string[], before: readonly unknown[] = []): string {
  const statement = {
    ...{ Effect: 'Allow', Principal: { Service: 'events.amazonaws.com' }, Action: 'sqs:SendMessage' },
    ...{ Resource: queue, Condition: { ArnEquals: { 'aws:SourceArn': rules } } },
  };
  return quoted({ Policy: jsonText({ Version: '2012-10-17', Statement: [...before, statement] }) });
}

const some = otherwise(
  z.union([
    z.array(z.string()),
    z.pipe(
      z.string(),
      z.transform((one) => [one]),
    ),
  ]),
  [],
);
const statementSchema = z.looseObject({
  Effect: text,
  Principal: otherwise(z.union([z.literal('*'), z.object({ Service: some, AWS: some })]), { Service: [], AWS: [] }),
  Action: some,
  Condition: otherwise(z.record(z.string(), z.record(z.string(), some)), {}),
});

/** The rules that a policy of a queue lets put nothing there, and the statements that it has. */
function lettersPolicy(policy: string | undefined, rules: readonly string[]) {
  let statements: readonly unknown[] = [];
  try {
    const { Statement = [] } = JSON.parse(policy ?? '{}') ?? {};
    statements = Array.isArray(Statement) ? Statement : [Statement];
  } catch {
    // AWS takes none that cannot be read; what plays it says what it likes.
  }
  const lets = (rule: string) =>
    statements.some((each) => {
      const { data } = z.safeParse(statementSchema, each);
      if (data?.Effect !== 'Allow') return false;
      const { Principal, Action, Condition } = data;
      const isForRules =
        Principal === '*' || Principal.Service.includes('events.amazonaws.com') || Principal.AWS.includes('*');
      const sources = Object.values(Condition).flatMap((tests) =>
        Object.entries(tests).flatMap(([key, arns]) => (key.toLowerCase() === 'aws:sourcearn' ? [arns] : [])),
      );
      return (
        isForRules &&
        Action.some((one) => isLike(one.toLowerCase(), 'sqs:sendmessage')) &&
        sources.every((arns) => arns.some((one) => isLike(one, rule)))
      );
    });
  return { lacking: rules.filter((rule) => !lets(rule)), statements };
}

/**
 * Whether a text is as a policy has it, where `*` stands for any characters and `?` for one. Each
 * part between stars is sought once, so that no policy takes long.
 */
function isLike(pattern: string, found: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('?', '.'));
  const [first = '', ...others] = parts;
  const last = others.pop();
  if (last === undefined) return new RegExp(`^${first}$`, 's').test(found);
  const begins = new RegExp(`^${first}`, 's').exec(found);
  if (begins === null) return false;
  let rest = found.slice(begins[0].length);
  for (const part of others) {
    const at = new RegExp(part, 's').exec(rest);
    if (at === null) return false;
    rest = rest.slice(at.index + at[0].length);
  }
  return new RegExp(`${last}$`, 's').test(rest);
}

const queueUrl = (region: string, account: string, queue: string) =>
  `https://sqs.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/${account}/${queue}`;

/** Whether a trail tells of deletions in a region. One that cannot be looked at hides no other. */
async function trailSteps(region: string, ask: Ask): Promise<readonly SetUpStep[]> {
  const without = 'deletions are not told, and reconcile alone finds them';
  const unseen: SetUpStep[] = [];
  let off: { readonly arn: string; readonly home: string } | undefined;
  try {
    const { trailList } = await ask.trails(region, 'DescribeTrails', { includeShadowTrails: true }, trailsSchema);
    for (const { TrailARN: Name, HomeRegion } of trailList.slice(0, mostTrails)) {
      try {
        if (!(await logsWrites(Name, region, ask))) continue;
        const { IsLogging } = await ask.trails(
          region,
          'GetTrailStatus',
          { Name },
          z.object({ IsLogging: z.boolean() }),
        );
        if (IsLogging) return [{ message: `a trail logs in ${region}: deletions are told` }];
        off = { arn: Name, home: HomeRegion || region };
      } catch (thrown) {
        unseen.push(notSeen(`whether the trail ${visible(Name)} logs in ${region}`, thrown));
      }
    }
    const left = trailList.length - mostTrails;
    if (left > 0) unseen.push({ message: `${left} more trails were not looked at` });
  } catch (thrown) {
    return [notSeen(`whether a trail logs in ${region}`, thrown)];
  }
  if (off !== undefined)
    return [
      ...unseen,
      {
        message: `the trail ${visible(off.arn)} is switched off: ${without}`,
        remedy: `aws cloudtrail start-logging --region ${off.home} --name ${off.arn}`,
      },
    ];
  // What was not seen may be the trail that logs.
  if (unseen.length > 0) return unseen;
  return [
    {
      message: `no trail logs writes in ${region}: ${without}`,
      remedy: `aws cloudtrail create-trail --region ${region} --name certstandby --s3-bucket-name <a bucket that CloudTrail may write to> && aws cloudtrail start-logging --region ${region} --name certstandby`,
    },
  ];
}

/** Whether a trail holds calls that change something (CloudTrail, "Logging management events"). */
async function logsWrites(TrailName: string, region: string, ask: Ask): Promise<boolean> {
  const { EventSelectors, AdvancedEventSelectors } = await ask.trails(
    region,
    'GetEventSelectors',
    { TrailName },
    selectorsSchema,
  );
  // Without any a trail logs all management events.
  if (EventSelectors.length === 0 && AdvancedEventSelectors.length === 0) return true;
  const simple = EventSelectors.some(
    ({ ReadWriteType, IncludeManagementEvents }) => IncludeManagementEvents && ReadWriteType !== 'ReadOnly',
  );
  return (
    simple ||
    AdvancedEventSelectors.some(({ FieldSelectors }) => {
      const says = (field: string, value: string) =>
        FieldSelectors.some(({ Field, Equals }) => Field === field && Equals.includes(value));
      return says('eventCategory', 'Management') && !says('readOnly', 'true');
    })
  );
}

const deadLetters = (region: string, { account, name }: EventBridgeConfig) =>
  `${arnStem('sqs', { region, account })}:certstandby-${name}-dead-letters`;

/** For a shell. */
const shellText = (value: string) => `'${value.replaceAll("'", "'\\''")}'`;
const quoted = (value: unknown) => shellText(jsonText(value));
/** A name as AWS takes it, or what stands for one that it would not. */
const inShell = (name: string) => (/^[\w.-]+$/.test(name) ? name : '<its name>');

/** What makes the rule that is missing. */
function lineFor(
  what: 'own' | 'trail',
  region: string,
  config: EventBridgeConfig,
  { deployment }: SenderDiagnosisContext,
  on: Bus | undefined,
  queued: readonly string[],
): string {
  const { delivery, of, account, name } = config;
  const stage = deployment?.stage ?? '<stage>';
  if (delivery === 'queue' && on === undefined)
    return `Where the functions are in ${account}: npm run deploy -- --stage ${stage} --region ${region}. Where they are in another account a rule of ${account} forwards to the bus there: its page says how.`;
  const rule = `certstandby-${name}-${what}`;
  const Id = 'certstandby';
  const pattern = what === 'own' ? ownPattern(of) : trailPattern(of);
  const target =
    on === undefined
      ? { Id, Arn: '<ARN of the API destination>', RoleArn: '<role that may invoke it>' }
      : { Id, ...forward(on, config, stage) };
  const Arn = deadLetters(region, config);
  const line =
    `${createQueue(region, Arn, rulesHere(queued, region, config))} && ` +
    `aws events put-rule --region ${region} --name ${rule} --event-pattern ${quoted(pattern)} && ` +
    putTarget(region, rule, { ...target, DeadLetterConfig: { Arn } });
  return on === undefined ? line : `With credentials of ${account}: ${line}`;
}

/** The bus of the functions, and the role by which a rule of the store puts events there. */
function forward({ region, account: ofFunctions }: Bus, { account }: EventBridgeConfig, stage: string) {
  const bus = `${arnStem('events', { region, account: ofFunctions ?? '<account of the functions>' })}:event-bus/default`;
  const role = `${arnStem('iam', { region, account })?.replace(`:${region}:`, '::')}:role`;
  // `npm run deploy` makes that role in the account of the functions, where the configuration has
  // such a sender.
  const RoleArn =
    ofFunctions === account ? `${role}/certstandby-${stage}-fwd-${region}` : `${role}/<role that may put events there>`;
  return { Arn: bus, RoleArn };
}
