import * as z from 'zod/mini';
import type { HttpClient } from '../http/client.ts';
import { isLoopback } from '../http/loopback.ts';
import type { Log } from '../log.ts';
import type { Secret } from '../secret.ts';
import { optional, required, type SettingMistake, secretReference } from '../settings.ts';
import { type Message, type Severity, severities } from './message.ts';

/**
 * The contract of a channel: a way to tell people. A kind is one file in `channels/` and one line
 * in `registry.ts`: its settings, and how a message is sent. It is loaded with the configuration,
 * so it imports nothing of size: a library comes when a message is sent.
 */
export interface ChannelKind {
  readonly kind: string;
  /** Of what stands below the name of a channel; made by `ofKind`. */
  readonly schema: z.ZodMiniObject;
  /** Several findings may stand in one message. */
  readonly together: boolean;
  /** Until `send` ends, in milliseconds. Absent: two requests, each with its own limit. */
  readonly longestMs?: number;
  /** Mistakes that no schema can see, by the setting that has each. */
  mistakes?(raw: Readonly<Record<string, unknown>>): readonly SettingMistake[];
  /**
   * What is wrong with a secret, by its setting, as a sentence that goes on after the setting's
   * name; nothing of the secret is in it. `undefined`: nothing is.
   */
  secretMistake?(setting: string, text: string): string | undefined;
  /** The settings as the program takes them. `given` is what `schema` lets pass. */
  toConfig(given: never, context: ChannelContext): ChannelConfig;
  /**
   * Sends one message, once. Resolves when the other side has said that it took it. Throws
   * `alert_unavailable` where the same message may be taken later, `alert_refused` where a person
   * has to do something first; nothing of a secret is in either. The field `aboutMessage` is true
   * where the message is at fault, and another one may be taken; `notTaken` is true where nobody
   * can have taken the message, so that it need not be sent again as it was. A message that was
   * sent twice has the same id both times.
   */
  send(config: never, message: Message, means: ChannelMeans): Promise<void>;
  /**
   * Looks whether the channel can be reached, and sends no message. Answers what that has shown, in
   * words that go on after its name. Throws what `send` throws; ends when the signal aborts.
   */
  reach(config: never, means: Pick<ChannelMeans, 'signal'>): Promise<string>;
}

/** What a channel of the configuration is for everybody; its kind knows what else it has. */
export interface ChannelConfig {
  readonly name: string;
  readonly kind: string;
  /** It is told nothing of less weight. */
  readonly least: Severity;
  /** It is told of these links alone. Absent: of all. */
  readonly links?: readonly string[];
}

/** A watcher outside, which says so when it has not been asked for too long. */
export interface HeartbeatConfig {
  readonly url: Secret;
  readonly everyMs: number;
}

export interface ChannelContext {
  readonly name: string;
  /** The secret of a setting. */
  secret(setting: string): Secret;
}

/** What a channel sends with. */
export interface ChannelMeans {
  readonly http: HttpClient;
  readonly now: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Settings that every channel has. */
export const commonSettings = {
  least: optional(z.enum(severities), 'the least weight of what it is told: warning or critical', {
    default: 'warning',
  }),
  links: optional(z.array(z.string()), 'the links of which it is told', { otherwise: 'all links' }),
};

/** What these settings come to. */
export function commonOf(
  { least = 'warning', links }: { readonly least?: Severity | undefined; readonly links?: string[] | undefined },
  { name }: Pick<ChannelContext, 'name'>,
): Omit<ChannelConfig, 'kind'> {
  return links === undefined ? { name, least } : { name, least, links };
}

/** A setting that leads to a URL which is a secret: who knows it can post there. */
export const secretUrl = (what: string) => required(secretReference, what, { secret: true });

/** What is wrong with the URL that such a setting leads to. */
export function urlMistake(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) return 'must lead to a URL, such as https://host/path';
  if (url.username !== '' || url.password !== '') return 'must lead to a URL without a user or a password in it';
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))) return undefined;
  return 'must lead to a URL that begins with https://; plain http:// is allowed on loopback only';
}
