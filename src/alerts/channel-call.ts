import { CodedError } from '../errors.ts';
import { visibleWithin } from '../foreign-text.ts';
import type { HttpAnswer } from '../http/client.ts';
import type { Secret } from '../secret.ts';
import type { ChannelConfig, ChannelMeans } from './channel.ts';

/** Answers after which the same message may be taken later. */
const passes = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status);

/** Answers that are about what was sent, and not about where to: another message may be taken. */
export const isAboutMessage = (status: unknown): boolean => [400, 413, 422].includes(status as number);

interface Request {
  readonly url: Secret;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent: nothing is posted, it is only asked. */
  readonly body?: string;
  /** The reason in an answer that took nothing, as far as the channel knows its form. */
  readonly said?: (answer: HttpAnswer) => string | undefined;
  /** What mends it, by the status of the answer. */
  readonly remedies?: Readonly<Record<number, string>>;
}

/** Posts to a channel: see `ask`. */
export const post = (
  { name, kind }: Pick<ChannelConfig, 'name' | 'kind'>,
  means: ChannelMeans,
  request: Request & { readonly body: string },
): Promise<HttpAnswer> => ask({ who: `the channel ${name} (${kind})`, about: name }, means, request);

/**
 * Sends one request, and answers what the other side said when it took it (2xx). The URL is a
 * secret: nothing of it is in what is thrown. `who` it is in words, and what it is `about` in logs.
 * Throws `alert_unavailable` and `alert_refused`.
 */
export async function ask(
  { who, about: channel }: { readonly who: string; readonly about: string },
  means: ChannelMeans,
  { url, headers = {}, body, said = () => undefined, remedies = {} }: Request,
): Promise<HttpAnswer> {
  const outcome = await means.http({
    url: url.reveal(),
    ...(body === undefined
      ? { method: 'GET', headers }
      : { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body }),
    signal: means.signal,
  });
  const about = { channel };
  if ('answer' in outcome) {
    const { status, retryAfterMs } = outcome.answer;
    if (status >= 200 && status < 300) return outcome.answer;
    const reason = visibleWithin(said(outcome.answer) ?? '', 200);
    const redirect = status >= 300 && status < 400 ? ': it leads elsewhere, where no message is sent' : '';
    const remedy = remedies[status];
    const fields = { ...about, status, ...(retryAfterMs !== undefined && { retryAfterMs }), ...(remedy && { remedy }) };
    const words = `${who} answered ${status}${redirect}${reason === '' ? '' : ` (${reason})`}`;
    throw new CodedError(passes(status) ? 'alert_unavailable' : 'alert_refused', words, { fields });
  }
  if (outcome.failure === 'oversized')
    throw new CodedError('alert_unavailable', `${who} answered with too much`, { fields: about });
  const { cause, failure } = outcome;
  // What Node says of a failure may quote the URL: its code does not.
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  const reason = failure === 'timeout' ? 'it did not answer in time' : (code ?? 'the connection failed');
  throw new CodedError('alert_unavailable', `${who} was not reached: ${reason}`, {
    fields: { ...about, ...(code !== undefined && { reason: code }) },
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
