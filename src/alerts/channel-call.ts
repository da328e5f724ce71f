import { CodedError } from '../errors.ts';
import { visibleWithin } from '../foreign-text.ts';
import type { HttpAnswer, HttpHead, HttpOutcome } from '../http/client.ts';
import type { Secret } from '../secret.ts';
import type { ChannelConfig, ChannelMeans } from './channel.ts';

/** Answers after which the same message may be taken later. */
const passes = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status);

/** Answers of one in between, who may have lost what the other side answered. */
const isUnsure = (status: number): boolean => [408, 502, 504].includes(status);

/** Answers that are about what was sent, and not about where to: another message may be taken. */
const isAboutMessage = (status: number): boolean => [400, 413, 422].includes(status);

interface Request {
  readonly url: Secret;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent: nothing is posted, it is only asked. */
  readonly body?: string;
  /** The reason in an answer that took nothing, as far as the channel knows its form. */
  readonly said?: (answer: Pick<HttpAnswer, 'text'>) => string | undefined;
  /** What mends it, by the status of the answer. */
  readonly remedies?: Readonly<Record<number, string>>;
}

/** Posts to a channel: see `ask`. */
export const post = (
  { name, kind }: Pick<ChannelConfig, 'name' | 'kind'>,
  means: ChannelMeans,
  request: Request & { readonly body: string },
): Promise<void> => ask({ who: `the channel ${name} (${kind})`, about: name }, means, request);

/**
 * Sends one request. Resolves when the other side has said that it took it: by the status alone
 * (2xx), whatever becomes of the rest of the answer. The URL is a secret: nothing of it is in what
 * is thrown. `who` it is in words, and what it is `about` in logs. Throws `alert_unavailable` and
 * `alert_refused`.
 */
export async function ask(
  { who, about: channel }: { readonly who: string; readonly about: string },
  means: ChannelMeans,
  { url, headers = {}, body, said = () => undefined, remedies = {} }: Request,
): Promise<void> {
  const outcome = await means.http({
    url: url.reveal(),
    ...(body === undefined
      ? { method: 'GET', headers }
      : { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body }),
    signal: means.signal,
  });
  const about = { channel };
  const answer: (HttpHead & Partial<HttpAnswer>) | undefined = 'answer' in outcome ? outcome.answer : outcome.head;
  if (answer !== undefined) {
    const { status, retryAfterMs, text = '' } = answer;
    if (status >= 200 && status < 300) return;
    const reason = visibleWithin(said({ text }) ?? '', 200);
    const redirect = status >= 300 && status < 400 ? ': it leads elsewhere, where no message is sent' : '';
    const remedy = remedies[status];
    const fields = {
      ...about,
      status,
      ...(isAboutMessage(status) && { aboutMessage: true }),
      ...(!isUnsure(status) && { notTaken: true }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(remedy && { remedy }),
    };
    const words = `${who} answered ${status}${redirect}${reason === '' ? '' : ` (${reason})`}`;
    throw new CodedError(passes(status) ? 'alert_unavailable' : 'alert_refused', words, { fields });
  }
  const { cause, failure, sent } = outcome as Extract<HttpOutcome, { readonly cause: unknown }>;
  // What Node says of a failure may quote the URL: its code does not.
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  const reason = failure === 'timeout' ? 'it did not answer in time' : (code ?? 'the connection failed');
  throw new CodedError('alert_unavailable', `${who} was not reached: ${reason}`, {
    fields: { ...about, ...(!sent && { notTaken: true }), ...(code !== undefined && { reason: code }) },
  });
}

/** The text in a member of an answer that is a JSON object; `undefined` for anything else. */
export function memberIn(text: string, member: string): string | undefined {
  try {
    const value = (JSON.parse(text) as Record<string, unknown> | null)?.[member];
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
