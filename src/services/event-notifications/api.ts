import * as z from 'zod/mini';
import type { HttpAnswer } from '../../http/client.ts';
import { nonsenseError, parseJson, type ServiceCall } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';
import type { Runtime } from '../../runtime.ts';
import { destinationPath } from './address.ts';
import { callOf, sendOf } from './calls.ts';
import type { EventNotificationsConfig } from './settings.ts';

// Paths and bodies: IBM/event-notifications-python-admin-sdk, `event_notifications_v1.py`.

const pageSize = 100;
/** More pages than this no listing has: what is never at its end is nonsense. */
const mostPages = 200;

const text = otherwise(z.optional(z.string()), undefined);
const number = otherwise(z.optional(z.number()), undefined);
const flag = otherwise(z.optional(z.boolean()), undefined);

// By what is strict here it is told whether something is there: what cannot be read ends the look,
// or a second one would be made.
const sourceSchema = z.object({ id: z.string(), name: text, enabled: flag });
const destinationItemSchema = z.object({ id: z.string(), name: text, type: z.string() });
const params = z.object({ url: text, verb: text });
/** What another type of destination has for its configuration is nobody's concern. */
const destinationSchema = z
  .object({
    ...{ id: z.string(), name: text, type: z.string() },
    config: otherwise(z.optional(z.object({ params: otherwise(z.optional(params), undefined) })), undefined),
  })
  .check(z.refine(({ type, config }) => type !== 'webhook' || config?.params?.url !== undefined));
const topicItemSchema = z.object({ id: z.string(), name: z.string() });
const ruleSchema = z.object({
  ...{ enabled: flag, event_type_filter: text, notification_filter: text },
});
const topicSchema = z.object({
  ...{ id: z.string(), name: text },
  sources: z.array(z.object({ id: z.string(), rules: otherwise(z.array(ruleSchema), []) })),
});
const subscriptionItemSchema = z.object({ id: z.string(), destination_id: z.string(), topic_id: z.string() });
const attributes = z.object({ signing_enabled: flag, template_id_notification: text });
const subscriptionSchema = z.object({
  ...{ id: z.string(), name: text, attributes: otherwise(z.optional(attributes), undefined) },
});
const madeSchema = z.object({ id: z.string() });
const testSchema = z.object({ notification_id: z.string() });
const statusSchema = z.object({
  status: text,
  details: otherwise(z.optional(z.object({ status_code: number, status_message: text })), undefined),
});
const nextSchema = z.nullish(z.object({ href: z.string() }));

export type Destination = z.infer<typeof destinationSchema>;
export type Topic = z.infer<typeof topicSchema>;
export type Rule = z.infer<typeof ruleSchema>;
export type Subscription = z.infer<typeof subscriptionSchema>;

type Signal = AbortSignal | undefined;

/** The API of an instance, as far as a sender is set up by it. All of it throws coded errors. */
export function eventNotificationsApi(config: EventNotificationsConfig, runtime: Runtime) {
  const send = sendOf(config, runtime);

  function understood<T>(call: ServiceCall, answer: HttpAnswer, schema: z.ZodMiniType<T>, what: string): T {
    const { success, data } = z.safeParse(schema, parseJson(answer.text));
    if (!success) throw nonsenseError(call, answer, `something that is no ${what}`);
    return data;
  }

  async function get<T>(what: string, path: string, schema: z.ZodMiniType<T>, signal: Signal): Promise<T> {
    const call = callOf(config, `read the ${what}`, false);
    return understood(call, await send(call, { method: 'GET', path, signal }), schema, what);
  }

  /**
   * Every element of a list. One that cannot be understood ends it: nobody could say then that
   * something is not there.
   */
  async function all<T>(list: string, schema: z.ZodMiniType<T>, signal: () => Signal): Promise<T[]> {
    const call = callOf(config, `list ${list}`, false);
    const page = z.object({ [list]: z.array(schema), next: nextSchema });
    const found: T[] = [];
    for (let pages = 1; ; pages += 1) {
      const path = `/${list}?limit=${pageSize}&offset=${found.length}`;
      const answer = await send(call, { method: 'GET', path, signal: signal() });
      const read = understood(call, answer, page, `page of ${list}`);
      const elements = read[list] as T[];
      found.push(...elements);
      if (elements.length === 0 || (read.next ?? undefined) === undefined) return found;
      if (pages === mostPages) throw nonsenseError(call, answer, 'pages without an end');
    }
  }

  /** Makes something; answers its id. */
  async function make(what: string, list: string, body: object, signal: Signal): Promise<string> {
    const call = callOf(config, `make a ${what}`, true);
    const answer = await send(call, { method: 'POST', path: `/${list}`, body: () => body, signal });
    return understood(call, answer, madeSchema, what).id;
  }

  return {
    sources: (signal: () => Signal) => all('sources', sourceSchema, signal),
    destinations: (signal: () => Signal) => all('destinations', destinationItemSchema, signal),
    topics: (signal: () => Signal) => all('topics', topicItemSchema, signal),
    subscriptions: (signal: () => Signal) => all('subscriptions', subscriptionItemSchema, signal),

    destination: (id: string, signal: Signal): Promise<Destination> =>
      get('destination', destinationPath(id), destinationSchema, signal),
    topic: (id: string, signal: Signal): Promise<Topic> =>
      get('topic', `/topics/${encodeURIComponent(id)}`, topicSchema, signal),
    subscription: (id: string, signal: Signal): Promise<Subscription> =>
      get('subscription', `/subscriptions/${encodeURIComponent(id)}`, subscriptionSchema, signal),

    /** A webhook destination: a form, with its configuration as one part in JSON. */
    async makeWebhook(
      given: { readonly name: string; readonly description: string; readonly url: string },
      signal: Signal,
    ) {
      const call = callOf(config, 'make a destination', true);
      const boundary = `certstandby-${runtime.newId()}`;
      const part = (field: string, type: string, value: string) =>
        `--${boundary}\r\nContent-Disposition: form-data; name="${field}"\r\nContent-Type: ${type}\r\n\r\n${value}\r\n`;
      const form =
        part('name', 'text/plain', given.name) +
        part('type', 'text/plain', 'webhook') +
        part('description', 'text/plain', given.description) +
        part('config', 'application/json', JSON.stringify({ params: { url: given.url, verb: 'post' } }));
      const answer = await send(call, {
        ...{ method: 'POST', path: '/destinations', signal },
        ...{ text: `${form}--${boundary}--\r\n`, mediaType: `multipart/form-data; boundary=${boundary}` },
      });
      return understood(call, answer, madeSchema, 'destination').id;
    },

    makeTopic: (body: object, signal: Signal) => make('topic', 'topics', body, signal),
    makeSubscription: (body: object, signal: Signal) => make('subscription', 'subscriptions', body, signal),

    /** Has a message sent to a destination alone; answers the id by which its fate is asked for. */
    async testDestination(id: string, signal: Signal): Promise<string> {
      const call = callOf(config, 'test the destination', true);
      const answer = await send(call, { method: 'POST', path: `${destinationPath(id)}/test`, signal });
      return understood(call, answer, testSchema, 'test of a destination').notification_id;
    },

    notification: (id: string, signal: Signal) =>
      get('notification', `/notifications/${encodeURIComponent(id)}`, statusSchema, signal),
  };
}

export type EventNotificationsApi = ReturnType<typeof eventNotificationsApi>;
