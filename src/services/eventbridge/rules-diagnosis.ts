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

const rulesSchema = z.object({
  Rules: z.array(z.object({ Name: z.string(), State: text, EventPattern: text })),
  NextToken: more,
});
const targetSchema = z.object({
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
  const { region } = config;
  const here = config.delivery === 'queue' ? context.deployment?.region : region;
  // Without a deployment in the configuration its functions are taken to be in the region of the
  // store.
  if (here === undefined || here === region) return lookAt(region, config, context, ask);
  const last = await lookAt(here, config, context, ask);
  return [...(await lookAt(region, config, context, ask, here)), ...last];
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

/**
 * Rules of the default bus of one region. `on`: the region to whose bus they are to forward;
 * absent: they lead to the queue, or to the callback URL.
 */
async function lookAt(
  region: string,
  config: EventBridgeConfig,
  context: SenderDiagnosisContext,
  ask: Ask,
  on?: string,
): Promise<readonly SetUpStep[]> {
  const steps: SetUpStep[] = [];
  let rules: readonly Rule[];
  try {
    rules = await rulesOf(region, config, ask, on);
  } catch (thrown) {
    return [notSeen(`its rules in ${region}`, thrown)];
  }
  const where = on === undefined ? ways[config.delivery ?? 'api-destination'] : `to the bus of ${on}`;
  const own = rules.filter(({ passes }) => passes.own);
  const trail = rules.filter(({ passes }) => passes.trail);
  const isTold = (some: readonly Rule[]) => some.some(({ isEnabled }) => isEnabled);
  if (own.length === 0)
    steps.push({
      message: `no rule in ${region} leads what ${config.of} tells of this store ${where}: reconcile alone finds changes`,
      remedy: lineFor('own', region, config, context, on),
    });
  else if (isTold(own)) steps.push({ message: `the rule ${named(own)} in ${region} leads events ${where}` });
  if (trail.length === 0)
    steps.push({
      message: `no rule in ${region} leads deletions ${where}: reconcile alone finds them; with a trail this does: ${lineFor('trail', region, config, context, on)}`,
    });
  for (const { name, isEnabled, passes } of rules) {
    if (!isEnabled)
      steps.push({
        message: `the rule ${visible(name)} in ${region} is switched off: nothing of it comes`,
        remedy: `aws events enable-rule --region ${region} --name ${name}`,
      });
    if (passes.content)
      steps.push({
        message: `the rule ${visible(name)} in ${region} passes calls whose parameters can hold content, which nobody reads here`,
        remedy: `aws events put-rule --region ${region} --name ${name} --event-pattern ${quoted(passes.own ? ownPattern(config.of) : trailPattern(config.of))}`,
      });
  }
  steps.push(...(await deadLettersOf(rules, region, config, ask)));
  // A trail tells of deletions in the region of the store.
  if (region === config.region && isTold(trail)) steps.push(...(await trailSteps(region, ask)));
  return steps;
}

const ways = { queue: 'to the queue of the functions', 'api-destination': 'to the callback URL' } as const;
const named = (rules: readonly Rule[]) => rules.map(({ name }) => visible(name)).join(', ');

/** The rules that let anything of this store pass to where it is taken, by the service's word. */
async function rulesOf(
  region: string,
  config: EventBridgeConfig,
  ask: Ask,
  on: string | undefined,
): Promise<readonly Rule[]> {
  const found: Rule[] = [];
  const origin: Origin = { ...config, stem: arnStem(config.of, { ...config }) ?? '' };
  const samples = sampleEvents(origin);
  const destinations = new Map<string, Promise<boolean>>();
  let cursor: string | undefined;
  for (let page = 1; page === 1 || (cursor !== undefined && page <= mostPages); page += 1) {
    const listed = await ask.events(
      region,
      'ListRules',
      { Limit: 100, ...defined({ NextToken: cursor }) },
      rulesSchema,
    );
    cursor = listed.NextToken;
    for (const { Name, State, EventPattern } of listed.Rules) {
      // Most rules of a bus are about something else.
      if (!EventPattern.includes(`aws.${config.of}`)) continue;
      const targets = await targetsOf(Name, region, ask);
      const ours: Target[] = [];
      for (const target of targets) if (await isOurs(target, region, config, ask, on, destinations)) ours.push(target);
      const [target] = ours;
      if (target === undefined) continue;
      const passes = async (event: object) =>
        (
          await ask.events(
            region,
            'TestEventPattern',
            { EventPattern, Event: jsonText(event) },
            z.object({ Result: z.boolean() }),
          )
        ).Result;
      const { own, trail, content } = samples;
      const passed = { own: await passes(own), trail: await passes(trail), content: await passes(content) };
      if (!passed.own && !passed.trail && !passed.content) continue;
      found.push({ name: Name, isEnabled: /^ENABLED/.test(State), passes: passed, target });
    }
  }
  return found;
}

async function targetsOf(Rule: string, region: string, ask: Ask): Promise<readonly Target[]> {
  return (await ask.events(region, 'ListTargetsByRule', { Rule, Limit: 100 }, targetsSchema)).Targets;
}

/** Whether a target is where events of this sender are to come. */
async function isOurs(
  { Arn }: Target,
  region: string,
  config: EventBridgeConfig,
  ask: Ask,
  on: string | undefined,
  known: Map<string, Promise<boolean>>,
): Promise<boolean> {
  const { account, name, delivery } = config;
  if (on !== undefined) return Arn === `${arnStem('events', { region: on, account })}:event-bus/default`;
  if (delivery === 'queue') {
    const queue = `${arnStem('sqs', { region, account })}:`;
    return Arn.startsWith(queue) && /^certstandby-[\w-]+-events$/.test(Arn.slice(queue.length));
  }
  const [, Name] = /:api-destination\/([^/]+)/.exec(Arn) ?? [];
  if (Name === undefined) return false;
  let asked = known.get(Name);
  asked ??= ask
    .events(region, 'DescribeApiDestination', { Name }, destinationSchema)
    .then(({ InvocationEndpoint }) => pathOf(InvocationEndpoint).endsWith(`/callback/${name}`));
  known.set(Name, asked);
  return asked;
}

const pathOf = (address: string): string => (URL.canParse(address) ? new URL(address).pathname : '');

/** What becomes of events that could not be delivered. */
async function deadLettersOf(
  rules: readonly Rule[],
  region: string,
  config: EventBridgeConfig,
  ask: Ask,
): Promise<readonly SetUpStep[]> {
  const queues = new Map<string, string>();
  const steps: SetUpStep[] = [];
  for (const { name, target } of rules) {
    const arn = target.DeadLetterConfig?.Arn;
    if (arn !== undefined) queues.set(arn, name);
    else
      steps.push({
        message: `the rule ${visible(name)} in ${region} has no dead letters: what cannot be delivered is lost, and nobody sees it`,
        remedy: `aws events put-targets --region ${region} --rule ${name} --targets ${quoted([{ ...target, DeadLetterConfig: { Arn: deadLetters(region, config) } }])}`,
      });
  }
  for (const [arn, rule] of queues) {
    const [, , , ofRegion = region, account = '', queue = ''] = arn.split(':');
    try {
      const { Attributes } = await ask.queues(
        ofRegion,
        'GetQueueAttributes',
        { QueueUrl: queueUrl(ofRegion, account, queue), AttributeNames: ['ApproximateNumberOfMessages'] },
        z.object({ Attributes: z.object({ ApproximateNumberOfMessages: z.string() }) }),
      );
      const number = Number(Attributes.ApproximateNumberOfMessages);
      steps.push(
        number === 0
          ? { message: `nothing lies in the dead letters ${visible(queue)}` }
          : {
              message: `${number} ${number === 1 ? 'event lies' : 'events lie'} in the dead letters ${visible(queue)}: they were not taken here`,
              remedy: `Read why (their attributes ERROR_CODE and ERROR_MESSAGE), and purge them: a reconcile finds what they told of. aws sqs receive-message --region ${ofRegion} --queue-url ${queueUrl(ofRegion, account, queue)} --message-attribute-names All`,
            },
      );
    } catch (thrown) {
      const isGone = thrown instanceof AwsServiceError && /NonExistentQueue|QueueDoesNotExist/.test(thrown.name);
      steps.push(
        isGone
          ? {
              message: `the dead letters ${visible(arn)} of the rule ${visible(rule)} are not there`,
              remedy: `aws sqs create-queue --region ${ofRegion} --queue-name ${queue}`,
            }
          : notSeen(`the dead letters ${visible(queue)}`, thrown),
      );
    }
  }
  return steps;
}

const queueUrl = (region: string, account: string, queue: string) =>
  `https://sqs.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/${account}/${queue}`;

/** Whether a trail tells of deletions in a region. */
async function trailSteps(region: string, ask: Ask): Promise<readonly SetUpStep[]> {
  const without = 'deletions are not told, and reconcile alone finds them';
  try {
    const { trailList } = await ask.trails(region, 'DescribeTrails', { includeShadowTrails: true }, trailsSchema);
    let off: { readonly arn: string; readonly home: string } | undefined;
    for (const { TrailARN: Name, HomeRegion } of trailList.slice(0, mostTrails)) {
      if (!(await logsWrites(Name, region, ask))) continue;
      const { IsLogging } = await ask.trails(region, 'GetTrailStatus', { Name }, z.object({ IsLogging: z.boolean() }));
      if (IsLogging) return [{ message: `a trail logs in ${region}: deletions are told` }];
      off = { arn: Name, home: HomeRegion || region };
    }
    if (off !== undefined)
      return [
        {
          message: `the trail ${visible(off.arn)} is switched off: ${without}`,
          remedy: `aws cloudtrail start-logging --region ${off.home} --name ${off.arn}`,
        },
      ];
    return [
      {
        message: `no trail logs writes in ${region}: ${without}`,
        remedy: `aws cloudtrail create-trail --region ${region} --name certstandby --s3-bucket-name <a bucket that CloudTrail may write to> && aws cloudtrail start-logging --region ${region} --name certstandby`,
      },
    ];
  } catch (thrown) {
    return [notSeen(`whether a trail logs in ${region}`, thrown)];
  }
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
const quoted = (value: unknown) => `'${jsonText(value).replaceAll("'", "'\\''")}'`;

/** What makes the rule that is missing. */
function lineFor(
  what: 'own' | 'trail',
  region: string,
  config: EventBridgeConfig,
  { deployment }: SenderDiagnosisContext,
  on: string | undefined,
): string {
  const { delivery, of, account, name } = config;
  if (delivery === 'queue' && on === undefined)
    return `npm run deploy -- --stage ${deployment?.stage ?? '<stage>'} --region ${region}`;
  const rule = `certstandby-${name}-${what}`;
  const pattern: Pattern & { readonly account?: readonly string[] } =
    what === 'own' ? ownPattern(of) : trailPattern(of);
  const to =
    on === undefined
      ? { Id: 'certstandby', Arn: '<ARN of the API destination>', RoleArn: '<role that may invoke it>' }
      : {
          Id: 'certstandby',
          Arn: `${arnStem('events', { region: on, account })}:event-bus/default`,
          // `npm run deploy` makes it, where the configuration has such a sender.
          RoleArn: `${arnStem('iam', { region, account })?.replace(`:${region}:`, '::')}:role/certstandby-${deployment?.stage ?? '<stage>'}-forward-events`,
        };
  const target = { ...to, DeadLetterConfig: { Arn: deadLetters(region, config) } };
  return (
    `aws events put-rule --region ${region} --name ${rule} --event-pattern ${quoted(pattern)} && ` +
    `aws events put-targets --region ${region} --rule ${rule} --targets ${quoted([target])}`
  );
}
