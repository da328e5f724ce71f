import type * as z from 'zod/mini';
import { jsonText, visibleWithin } from '../../foreign-text.ts';
import type { Secret } from '../../secret.ts';
import { ofKind } from '../../settings.ts';
import { type ChannelConfig, type ChannelKind, commonOf, commonSettings, secretUrl, urlMistake } from '../channel.ts';
import { post } from '../channel-call.ts';
import { reachUrl } from '../channel-reach.ts';
import { detailsWithin, headline, type Message, subject, type Told } from '../message.ts';

const schema = ofKind('teams', 'a webhook of a workflow of Microsoft Teams', {
  url: secretUrl('where the URL stands that the workflow "When a Teams webhook request is received" shows'),
  ...commonSettings,
});

interface TeamsConfig extends ChannelConfig {
  readonly url: Secret;
}

/**
 * Bytes of a message that Teams takes are 28 KB; so many characters leave room for what is not
 * ASCII.
 */
const mostCharacters = 12_000;

/**
 * A message as a workflow takes it: an Adaptive Card. What others wrote stands in text runs, which
 * know no Markdown, so that it is never a link.
 */
export function teamsBody(message: Message) {
  const { told } = message;
  const room = Math.floor(mostCharacters / Math.max(1, told.length));
  const run = (
    text: string,
    more: { readonly weight?: 'Bolder'; readonly color?: 'Attention' | 'Warning' | 'Good' },
  ) => ({
    type: 'RichTextBlock',
    inlines: [{ type: 'TextRun', text, ...more }],
  });
  const one = (item: Told) => {
    const head = visibleWithin(headline(item), 300);
    return [
      run(head, { weight: 'Bolder', color: colorOf(item) }),
      ...detailsWithin(item, Math.max(100, room - head.length))
        .split('\n')
        .map((line) => run(line, {})),
    ];
  };
  const content = {
    type: 'AdaptiveCard',
    version: '1.4',
    fallbackText: visibleWithin(subject(message), 300),
    body: [...(told.length === 1 ? [] : [run(subject(message), { weight: 'Bolder' })]), ...told.flatMap(one)],
    msteams: { width: 'Full' },
  };
  const contentType = 'application/vnd.microsoft.card.adaptive';
  return { type: 'message', attachments: [{ contentType, contentUrl: null, content }] };
}

function colorOf({ event, severity }: Told): 'Attention' | 'Warning' | 'Good' {
  if (event === 'over' || event === 'test') return 'Good';
  return severity === 'critical' ? 'Attention' : 'Warning';
}

export const teams: ChannelKind = {
  kind: 'teams',
  schema,
  together: true,
  secretMistake: (_, text) => urlMistake(text),
  toConfig: (given: z.infer<typeof schema>, context): TeamsConfig => ({
    kind: 'teams',
    ...commonOf(given, context),
    url: context.secret('url'),
  }),
  async send(config: TeamsConfig, message, means) {
    const gone = `That workflow is off, or gone, or its URL was made anew: see to it in Teams (Workflows), and let alerts.channels.${config.name}.url lead to its URL.`;
    await post(config, means, {
      url: config.url,
      body: jsonText(teamsBody(message)),
      remedies: { 401: gone, 403: gone, 404: gone, 410: gone },
    });
  },
  reach: (config: TeamsConfig, means) => reachUrl(config, config.url.reveal(), means),
};
