import { createHash } from 'node:crypto';
import type * as z from 'zod/mini';
import { jsonText, visibleWithin } from '../../foreign-text.ts';
import { Secret } from '../../secret.ts';
import { addressMistakes, ofKind, optional, required, secretReference, url } from '../../settings.ts';
import { type ChannelConfig, type ChannelKind, commonOf, commonSettings } from '../channel.ts';
import { memberIn, post } from '../channel-call.ts';
import { reachUrl } from '../channel-reach.ts';
import { details, headline, type Message, type Told } from '../message.ts';

const defaultEndpoint = 'https://events.pagerduty.com';

const schema = ofKind('pagerduty', 'a service of PagerDuty, by its Events API v2', {
  routingKey: required(secretReference, 'where the integration key of the service stands (Events API v2)', {
    secret: true,
  }),
  endpoint: optional(url, 'where its events are taken: https://events.eu.pagerduty.com for accounts in the EU', {
    default: defaultEndpoint,
  }),
  ...commonSettings,
});

interface PagerdutyConfig extends ChannelConfig {
  readonly routingKey: Secret;
  readonly endpoint: string;
}

const most = { summary: 1_024, dedupKey: 255 };

/** A finding has the same key as long as it stands: it is one incident, which its end resolves. */
const dedupKey = (id: string): string =>
  id.length <= most.dedupKey ? id : createHash('sha256').update(id).digest('hex');

/** A finding as an event (PagerDuty, "Send an Alert Event"). */
export function pagerdutyEvent(routingKey: string, told: Told, action: 'trigger' | 'resolve') {
  const { id, link, severity, since, event } = told;
  return {
    routing_key: routingKey,
    event_action: action,
    dedup_key: dedupKey(id),
    payload: {
      summary: visibleWithin(headline(told), most.summary),
      source: link ?? 'certstandby',
      severity: event === 'test' ? ('info' as const) : severity,
      timestamp: new Date(since).toISOString(),
      component: 'certstandby',
      custom_details: { details: details(told) },
    },
  };
}

export const pagerduty: ChannelKind = {
  kind: 'pagerduty',
  schema,
  // Each finding is an incident of its own.
  together: false,
  mistakes: ({ endpoint }) => addressMistakes({ endpoint }),
  secretMistake: (_, text) =>
    /^[A-Za-z0-9]{32}$/.test(text)
      ? undefined
      : 'must lead to an integration key of Events API v2: 32 letters and digits',
  toConfig: (given: z.infer<typeof schema>, context): PagerdutyConfig => ({
    kind: 'pagerduty',
    ...commonOf(given, context),
    routingKey: context.secret('routingKey'),
    endpoint: (given.endpoint ?? defaultEndpoint).replace(/\/$/, ''),
  }),
  async send(config: PagerdutyConfig, message: Message, means) {
    for (const told of message.told) {
      for (const action of actionsOf(told))
        await post(config, means, {
          url: new Secret(`${config.endpoint}/v2/enqueue`),
          body: jsonText(pagerdutyEvent(config.routingKey.reveal(), told, action)),
          said: ({ text }) => memberIn(text, 'message')?.replaceAll(config.routingKey.reveal(), '…'),
          remedies: {
            400: `PagerDuty knows no service by that key, or does not take the event: let alerts.channels.${config.name}.routingKey lead to the integration key of a service (Events API v2).`,
          },
        });
    }
  },
  reach: async (config: PagerdutyConfig, means) =>
    `${await reachUrl(config, config.endpoint, means)} at ${config.endpoint}`,
};

function actionsOf({ event, unheard }: Told): readonly ('trigger' | 'resolve')[] {
  // An incident that PagerDuty never had cannot be resolved there, and nobody would hear of it.
  if (event === 'test' || unheard === true) return ['trigger', 'resolve'];
  return event === 'over' ? ['resolve'] : ['trigger'];
}
