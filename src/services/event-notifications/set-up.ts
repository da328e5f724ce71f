import { hash } from 'node:crypto';
import { asCodedError, CodedError } from '../../errors.ts';
import type { Runtime } from '../../runtime.ts';
import type { SetUpOptions, SetUpStep } from '../service.ts';
import type { EventNotificationsApi, Rule, Subscription, Topic } from './api.ts';
import type { EventNotificationsConfig } from './settings.ts';
import { changingTypes, testType } from './types.ts';

/** How long a source may take to appear after the connection, and how often it is looked for. */
const sourceMs = 60_000;
/** How long the fate of a test may take: its status is kept for about a minute. */
const testMs = 60_000;
const lookMs = 2_000;

export interface SetUp {
  readonly config: EventNotificationsConfig;
  readonly api: EventNotificationsApi;
  readonly runtime: Pick<Runtime, 'now' | 'wait'>;
}

/**
 * What has to stand between an instance of Secrets Manager and the callback URL, in the order in
 * which each needs the one before: connection, source, destination, topic, subscription; then the
 * tests. Each is looked for by what it is, and made only where it is not there, so that a run that
 * was ended in its middle is gone on with, and one that is repeated makes nothing twice.
 */
export async function* setUpSteps(setUp: SetUp, options: SetUpOptions): AsyncGenerator<SetUpStep> {
  const refused = yield* connection(setUp, options);
  if (!(yield* sourceOf(setUp, options, refused))) return;
  const destination = yield* destinationOf(setUp, options);
  if (destination === undefined) return;
  if (!(yield* subscriptionOf(setUp, options, destination))) return;
  const { destination: said, name } = setUp.config;
  if (said === undefined) {
    const remedy = `Write destination: ${destination} below senders.${name}, start the receiver anew, and run this command again.`;
    yield wrong('the configuration does not say which destination signs: nothing is taken until it does', remedy);
    return;
  }
  if (options.to !== undefined) yield* tests(setUp, options, destination);
}

const wrong = (message: string, remedy: string): SetUpStep => ({ message, remedy, code: 'channel_missing' });
/** Missing things are named as what they are, with the line that makes them. */
const missing = (message: string): SetUpStep =>
  wrong(message, 'certstandby doctor --register https://PUBLIC-ADDRESS makes what is missing.');

/** Answers the refusal of a service that does not let us ask: what is there may say it, too. */
async function* connection(
  { config }: SetUp,
  { to, relay, signal }: SetUpOptions,
): AsyncGenerator<SetUpStep, CodedError | undefined> {
  if (relay === undefined) return undefined;
  const { instance, name } = config;
  let connected: string | undefined;
  try {
    connected = await relay.connectedTo({ signal: signal() });
  } catch (thrown) {
    const error = asCodedError(thrown);
    if (error.code !== 'store_unauthorized') throw error;
    return error;
  }
  if (connected === instance) {
    yield { message: 'the Secrets Manager instance is connected to this Event Notifications instance' };
  } else if (connected !== undefined) {
    const message = `the Secrets Manager instance is connected to ${connected}, and can be to one alone`;
    const remedy = `Set senders.${name}.instance to that instance; or have whoever uses it take the connection away (settings of the Secrets Manager instance), and run this command again.`;
    throw new CodedError('channel_missing', message, { fields: { remedy } });
  } else if (to !== undefined) {
    await relay.connect(instance, { signal: signal() });
    yield { message: 'connected: the Secrets Manager instance tells this Event Notifications instance from now on' };
  } else {
    yield missing('the Secrets Manager instance is connected to no Event Notifications instance');
  }
  return undefined;
}

async function* sourceOf(
  { config, api, runtime }: SetUp,
  { to, signal }: SetUpOptions,
  refused: CodedError | undefined,
): AsyncGenerator<SetUpStep, boolean> {
  const find = async () => (await api.sources(signal)).find(({ id }) => id === config.source);
  const until = runtime.now() + (to === undefined || refused !== undefined ? 0 : sourceMs);
  let source = await find();
  while (source === undefined && runtime.now() < until) {
    await runtime.wait(lookMs);
    source = await find();
  }
  if (source?.enabled === false) {
    const remedy = 'Switch it on there: Event Notifications, Sources.';
    yield wrong('the source of the Secrets Manager instance is switched off', remedy);
  } else if (source !== undefined) {
    yield { message: 'the source of the Secrets Manager instance is there' };
    return true;
  } else if (refused !== undefined) {
    throw refused;
  } else if (to === undefined) {
    yield missing('there is no source of the Secrets Manager instance');
  } else {
    const remedy =
      'It appears some time after the connection: run the same command again in a few minutes. If it never does, IAM lacks an authorization from Secrets Manager to Event Notifications with the role Event Source Manager.';
    yield wrong('there is no source of the Secrets Manager instance yet', remedy);
  }
  return false;
}

async function* destinationOf(setUp: SetUp, options: SetUpOptions): AsyncGenerator<SetUpStep, string | undefined> {
  const { config, api } = setUp;
  const { to, path, signal } = options;
  const { destination: said, name } = config;
  const wanted = to ?? `…${path}`;
  const fits = (url: string) => (to === undefined ? pathOf(url).endsWith(path) : isSameUrl(url, to));
  let id = said;
  if (id === undefined) {
    if (to === undefined) {
      yield* candidates(setUp, options, fits);
      return undefined;
    }
    id = (await webhooks(api, fits, signal).next()).value?.id;
    if (id === undefined) {
      const description = `changes of certificates, for the sender ${name} of certstandby`;
      const made = await api.makeWebhook({ name: nameOf(config, to), description, url: to }, signal());
      yield { message: `made: the webhook destination ${made}, with the URL ${to}` };
      return made;
    }
  }
  const { type = 'unknown', config: given } = await api.destination(id, signal());
  const { url = '', verb = '' } = given?.params ?? {};
  const setting = `senders.${name}.destination`;
  if (type !== 'webhook') {
    yield wrong(`the destination ${id} is of the type ${type}`, `Name a destination of type webhook as ${setting}.`);
  } else if (!fits(url)) {
    const remedy = `Set its URL there; or leave ${setting} out: then certstandby doctor --register https://PUBLIC-ADDRESS makes another one.`;
    yield wrong(`the destination ${id} has the URL ${url}, and not ${wanted}`, remedy);
  } else if (verb.toUpperCase() !== 'POST') {
    yield wrong(
      `the destination ${id} sends by ${verb || 'no verb'}`,
      'Set its verb to POST there: nothing else is taken.',
    );
  } else {
    yield { message: `the webhook destination ${id} has the URL ${url}` };
    return id;
  }
  return undefined;
}

/**
 * Which destinations may be the one, where neither the configuration nor the caller says: another
 * deployment's has the same path, at another address.
 */
async function* candidates(
  { config: { name }, api }: SetUp,
  { path, signal }: SetUpOptions,
  fits: (url: string) => boolean,
): AsyncGenerator<SetUpStep> {
  const found: string[] = [];
  for await (const { id, url } of webhooks(api, fits, signal)) found.push(`${id} (${url})`);
  if (found.length === 0) {
    yield missing(`there is no webhook destination with the URL …${path}`);
    return;
  }
  const remedy = `certstandby doctor --register https://PUBLIC-ADDRESS tells which of them has the address of this deployment, and makes one where none has: its id belongs below senders.${name} as destination.`;
  yield wrong(
    `the configuration does not say which destination signs: nothing is taken until it does. Webhook destinations with the URL …${path}, of this deployment or another: ${found.join(', ')}`,
    remedy,
  );
}

/** The webhooks with such a URL, whoever made them, always in the same order: by id. */
async function* webhooks(
  api: EventNotificationsApi,
  fits: (url: string) => boolean,
  signal: () => AbortSignal,
): AsyncGenerator<{ readonly id: string; readonly url: string }, undefined> {
  const all = (await api.destinations(signal)).filter(({ type }) => type === 'webhook');
  // A list says no URLs.
  for (const id of all.map((one) => one.id).toSorted()) {
    const { config } = await api.destination(id, signal());
    const url = config?.params?.url ?? '';
    if (fits(url)) yield { id, url };
  }
}

async function* subscriptionOf(
  { config, api }: SetUp,
  { to, signal }: SetUpOptions,
  destination: string,
): AsyncGenerator<SetUpStep, boolean> {
  const known = new Map<string, Topic>();
  const topicOf = async (id: string) => {
    const topic = known.get(id) ?? (await api.topic(id, signal()));
    known.set(id, topic);
    return topic;
  };
  const tellsOfIt = ({ sources }: Topic) => sources.some(({ id }) => id === config.source);
  const leading: { readonly id: string; readonly topic: Topic }[] = [];
  for (const { id, destination_id, topic_id } of await api.subscriptions(signal)) {
    if (destination_id !== destination) continue;
    const topic = await topicOf(topic_id);
    if (tellsOfIt(topic)) leading.push({ id, topic });
  }
  if (leading.length === 0) {
    if (to === undefined) {
      yield missing(`no subscription leads from a topic with this source to the destination ${destination}`);
      return false;
    }
    const name = nameOf(config, to);
    const there = (await api.topics(signal)).find((topic) => topic.name === name);
    if (there !== undefined && !tellsOfIt(await topicOf(there.id))) {
      const remedy = 'Add the source to it there, or delete it, and run this command again.';
      yield wrong(`the topic ${name} is there, without this source`, remedy);
      return false;
    }
    const topicId = there?.id ?? (await api.makeTopic(topicBody(config, name), signal()));
    if (there === undefined) yield { message: `made: the topic ${name}, of what changes certificates and of the test` };
    const body = {
      ...{ name, description: 'signed, for certstandby', topic_id: topicId, destination_id: destination },
      attributes: { signing_enabled: true },
    };
    const id = await api.makeSubscription(body, signal());
    yield { message: `made: the subscription ${id}, which has its messages signed` };
    leading.push({ id, topic: await topicOf(topicId) });
  }
  // One that is as it should be is enough; what is wrong with each is said.
  let isWell = false;
  for (const { id, topic } of leading) {
    const { attributes } = await api.subscription(id, signal());
    const steps = [...subscriptionFaults(id, attributes), ...topicFaults(topic, config.source)];
    yield* steps;
    if (!steps.some(({ code }) => code !== undefined)) {
      isWell = true;
      yield { message: `the subscription ${id} has its messages signed; its topic is ${topic.name ?? topic.id}` };
    }
  }
  if (leading.length > 1)
    yield {
      message: `${leading.length} subscriptions lead here from this source: each change is told so often`,
      remedy: 'Delete all but one of them there.',
    };
  return isWell;
}

const topicBody = ({ source }: EventNotificationsConfig, name: string) => ({
  name,
  description: 'what changes certificates in Secrets Manager, for certstandby',
  sources: [
    {
      id: source,
      // By type alone: a filter on the first secret of a batch misses the rest of it.
      rules: [...changingTypes, testType].map((type) => ({ enabled: true, event_type_filter: `$.type == '${type}'` })),
    },
  ],
});

function subscriptionFaults(id: string, attributes: Subscription['attributes']): SetUpStep[] {
  const { signing_enabled, template_id_notification } = attributes ?? {};
  const faults: SetUpStep[] = [];
  if (signing_enabled !== true) {
    const remedy = 'Set signing_enabled on it there (Subscriptions, "Signing"): what is not signed is not believed.';
    faults.push(wrong(`the subscription ${id} does not have its messages signed`, remedy));
  }
  if ((template_id_notification ?? '') !== '') {
    const remedy = 'Take the template off it there: a template replaces the whole message.';
    faults.push(wrong(`the subscription ${id} has a template`, remedy));
  }
  return faults;
}

/** What keeps events of this source from passing a topic. */
function topicFaults({ id, name = id, sources }: Topic, source: string): SetUpStep[] {
  const rules = sources.filter((one) => one.id === source).flatMap((one) => one.rules);
  // Without a rule, nobody says what passes.
  if (rules.length === 0) return [];
  const enabled = rules.filter((rule) => rule.enabled !== false);
  if (enabled.length === 0)
    return [wrong(`every rule of the topic ${name} for this source is switched off`, 'Switch them on there.')];
  const whole = enabled.filter(({ notification_filter: filter = '' }) => isEverything(filter));
  if (whole.length < enabled.length && missedBy(whole).length > 0) {
    const remedy =
      'Filter by the type of event alone: a filter on a secret looks at the first of a batch of up to 100, and the rest is missed.';
    return [{ message: `a rule of the topic ${name} filters by what is in the event`, remedy }];
  }
  const missed = missedBy(enabled);
  if (missed.length === 0) return [];
  const remedy = `Add a rule for each there, or one for all types. Until then reconcile alone finds these changes.`;
  return [
    {
      message: `the topic ${name} lets no ${missed.map(shortType).join(', ')} pass, as far as its rules can be read`,
      remedy,
    },
  ];
}

const isEverything = (filter: string): boolean => /^\s*(?:\$\.\*)?\s*$/.test(filter);
const shortType = (type: string): string => type.split('.').at(-1) ?? type;

/** Types that none of these rules names. */
function missedBy(rules: readonly Rule[]): readonly string[] {
  if (rules.some(({ event_type_filter: filter = '' }) => isEverything(filter))) return [];
  const named = rules.map(({ event_type_filter: filter = '' }) => filter);
  return changingTypes.filter(
    (type) => !named.some((filter) => filter.includes(`'${type}'`) || filter.includes(`"${type}"`)),
  );
}

/** A test of the destination, and one of Secrets Manager, which goes the whole way. */
async function* tests(
  { config, api, runtime }: SetUp,
  { relay, signal }: SetUpOptions,
  destination: string,
): AsyncGenerator<SetUpStep> {
  yield await unlessRefused(async () => {
    const id = await api.testDestination(destination, signal());
    const until = runtime.now() + testMs;
    let fate = await fateOf(api, id, signal);
    while (fate?.details?.status_code === undefined && runtime.now() < until) {
      await runtime.wait(lookMs);
      fate = await fateOf(api, id, signal);
    }
    const { status_code: status, status_message: words = fate?.status } = fate?.details ?? {};
    return answerOf(status, words, config.name);
  });
  if (relay === undefined) return;
  yield await unlessRefused(async () => {
    await relay.sendTest({ signal: signal() });
    return {
      message: 'Secrets Manager was asked for a test event: it comes within two minutes, and --wait 180 waits for it',
    };
  });
}

/** Who may not test may still have all that it takes: the rest is good, and this is a warning. */
async function unlessRefused(test: () => Promise<SetUpStep>): Promise<SetUpStep> {
  try {
    return await test();
  } catch (thrown) {
    const { code, message, remedy } = asCodedError(thrown);
    if (code !== 'store_unauthorized') throw thrown;
    return { message, remedy };
  }
}

/** What became of a test; `undefined`: the service does not know of it yet, or any more. */
async function fateOf(api: EventNotificationsApi, id: string, signal: () => AbortSignal) {
  try {
    return await api.notification(id, signal());
  } catch (thrown) {
    if (asCodedError(thrown).fields.status !== 404) throw thrown;
    return undefined;
  }
}

function answerOf(status: number | undefined, words: string | undefined, name: string): SetUpStep {
  const said = words === undefined ? '' : ` (${words})`;
  if (status === undefined)
    return {
      message: `the service has not said within a minute how the test of its destination was answered${said}`,
      remedy: 'See there whether the test was delivered; the log of the receiver names what it refused.',
    };
  if (status >= 200 && status <= 299) return { message: `the test of the destination was answered ${status}` };
  // What this test carries, and whether it is signed, no document says.
  if (status === 400)
    return {
      message:
        'the test of the destination has arrived, and was answered 400: nobody says what it carries; the event of Secrets Manager decides',
    };
  return wrong(
    `the test of the destination was answered ${status}${said}`,
    answerRemedies[status] ??
      `See that certstandby serve runs, is reached from the internet at that URL, and has the sender ${name}.`,
  );
}

const answerRemedies: Readonly<Record<number, string>> = {
  401: 'The receiver has another key: see that its configuration names this very destination.',
  403: 'The receiver proves another instance: see that its configuration names this source.',
  404: 'The receiver has no sender of this name: give it this configuration, and start it anew.',
  503: 'The receiver has no key of this destination yet: its sweep fetches it within a minute. Then run the same command again.',
};

/** The same for the same sender, source and URL; another deployment has another one. */
function nameOf({ name, source }: EventNotificationsConfig, to: string): string {
  return `certstandby-${name}-${hash('sha256', `${source}\n${to}`).slice(0, 8)}`;
}

const pathOf = (url: string): string => (URL.canParse(url) ? new URL(url).pathname : '');

function isSameUrl(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).href === new URL(b).href;
}
