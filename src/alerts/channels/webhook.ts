import type * as z from 'zod/mini';
import { jsonText } from '../../foreign-text.ts';
import type { Secret } from '../../secret.ts';
import { signingKey } from '../../sender/standard-webhook-keys.ts';
import { messageHeaders } from '../../sender/standard-webhook-message.ts';
import { ofKind, required, secretReference } from '../../settings.ts';
import { type ChannelConfig, type ChannelKind, commonOf, commonSettings, secretUrl, urlMistake } from '../channel.ts';
import { post } from '../channel-call.ts';
import { reachUrl } from '../channel-reach.ts';
import { type Message, subject, type Told } from '../message.ts';

const schema = ofKind('webhook', 'anything that takes a webhook of the Standard Webhooks specification', {
  url: secretUrl('where the URL stands to which it is posted'),
  key: required(
    secretReference,
    'where the key stands that signs: a shared secret (whsec_…), or an Ed25519 private key (whsk_…)',
    { secret: true },
  ),
  ...commonSettings,
});

interface WebhookConfig extends ChannelConfig {
  readonly url: Secret;
  readonly key: Secret;
}

/**
 * The type of the message (Standard Webhooks, "Event types"), and what it is about as data: a
 * program that reads it needs no sentence.
 */
function bodyOf({ at, told, ...message }: Message): string {
  const finding = ({ since, until, words, unheard: _, ...rest }: Told) => ({
    ...rest,
    since: new Date(since).toISOString(),
    ...(until !== undefined && { until: new Date(until).toISOString() }),
    words,
  });
  const findings = told.map(finding);
  const data = { summary: subject({ at, told, ...message }), findings };
  return jsonText({ type: 'certstandby.alert', timestamp: new Date(at).toISOString(), data });
}

export const webhook: ChannelKind = {
  kind: 'webhook',
  schema,
  together: true,
  secretMistake: (setting, text) => {
    if (setting === 'url') return urlMistake(text);
    return signingKey(text) === undefined
      ? 'must lead to whsec_ and base64 as the receiver has it, or to a private key that certstandby notify --new-key has made'
      : undefined;
  },
  toConfig: (given: z.infer<typeof schema>, context): WebhookConfig => ({
    kind: 'webhook',
    ...commonOf(given, context),
    url: context.secret('url'),
    key: context.secret('key'),
  }),
  async send(config: WebhookConfig, message, means) {
    const key = signingKey(config.key.reveal());
    if (key === undefined) throw new TypeError('the key was checked with the configuration');
    const body = bodyOf(message);
    const headers = messageHeaders(key, { id: message.id, body, now: means.now() });
    await post(config, means, {
      url: config.url,
      headers,
      body,
      remedies: {
        401: `Give the receiver the key of alerts.channels.${config.name}.key, or its public part.`,
        403: `Give the receiver the key of alerts.channels.${config.name}.key, or its public part.`,
        404: `Nothing takes messages at that URL: correct what alerts.channels.${config.name}.url leads to.`,
      },
    });
  },
  reach: (config: WebhookConfig, means) => reachUrl(config, config.url.reveal(), means),
};
