import type * as z from 'zod/mini';
import { jsonText, slackText, visibleWithin } from '../../foreign-text.ts';
import type { Secret } from '../../secret.ts';
import { ofKind } from '../../settings.ts';
import { type ChannelConfig, type ChannelKind, commonOf, commonSettings, secretUrl, urlMistake } from '../channel.ts';
import { post } from '../channel-call.ts';
import { reachUrl } from '../channel-reach.ts';
import { detailsWithin, headline, type Message, subject } from '../message.ts';

const schema = ofKind('slack', 'an incoming webhook of Slack', {
  url: secretUrl('where the URL of the incoming webhook stands (https://hooks.slack.com/services/…)'),
  ...commonSettings,
});

interface SlackConfig extends ChannelConfig {
  readonly url: Secret;
}

/**
 * Characters that a header and a section take (Slack, "Reference: blocks"), and those of a message
 * that is not cut ("Truncating content").
 */
const most = { header: 150, section: 3_000, message: 40_000 };

/**
 * A message as Slack takes it: what others wrote stands in it as plain text alone, which is never
 * read as a link, a mention or markup.
 */
export function slackBody(message: Message) {
  const plain = (text: string) => ({ type: 'plain_text' as const, text, emoji: false });
  const section = (text: string) => ({ type: 'section' as const, text: plain(text) });
  const { told } = message;
  const room = Math.min(most.section, Math.floor(most.message / Math.max(1, told.length)));
  const one = (item: Message['told'][number]) => {
    const head = told.length === 1 ? '' : `${visibleWithin(headline(item), 500)}\n`;
    return section(`${head}${detailsWithin(item, room - head.length)}`);
  };
  return {
    // What a notification shows. Here `&`, `<` and `>` mean something.
    text: slackText(visibleWithin(subject(message), 1_000)),
    blocks: [{ type: 'header' as const, text: plain(visibleWithin(subject(message), most.header)) }, ...told.map(one)],
  };
}

export const slack: ChannelKind = {
  kind: 'slack',
  schema,
  together: true,
  secretMistake: (_, text) => urlMistake(text),
  toConfig: (given: z.infer<typeof schema>, context): SlackConfig => ({
    kind: 'slack',
    ...commonOf(given, context),
    url: context.secret('url'),
  }),
  async send(config: SlackConfig, message, means) {
    const gone = `Slack knows that webhook no longer: make one for the app and the channel, and let alerts.channels.${config.name}.url lead to its URL.`;
    await post(config, means, {
      url: config.url,
      body: jsonText(slackBody(message)),
      // It says why in one word.
      said: ({ text }) => /^[a-z_]{1,60}$/.exec(text.trim())?.[0],
      remedies: {
        403: `The administrators of the workspace, or of the channel, do not allow this webhook: ask them, or let alerts.channels.${config.name}.url lead to another one.`,
        404: gone,
        410: gone,
      },
    });
  },
  reach: (config: SlackConfig, means) => reachUrl(config, config.url.reveal(), means),
};
