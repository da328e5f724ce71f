import * as z from 'zod/mini';
import { defined } from '../defined.ts';
import { CodedError, type ErrorCode } from '../errors.ts';
import { visibleWithin } from '../foreign-text.ts';
import { otherwise } from '../lenient.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { HttpAnswer, HttpOutcome } from './client.ts';

/** What was asked of a service, as far as errors need it. */
export interface ServiceCall {
  /** The store's id. */
  readonly store: string;
  /** What was tried, in words: `reimport`. */
  readonly operation: string;
  /** Whether it changes something there. */
  readonly writes: boolean;
  /** The certificate that it names, if it names one. */
  readonly certificate?: string;
  /**
   * It gives the service content: what the service does not understand or allow in it is then the
   * content.
   */
  readonly givesContent?: boolean;
  /** Absent: what holds for every store. */
  readonly remedies?: ServiceRemedies;
  /**
   * What the service means by an answer that is no success, where that is not what its status says
   * of every service; `undefined` where it is.
   */
  readonly means?: (answer: HttpAnswer, said: ServiceWords) => ErrorCode | undefined;
}

/** What a service says of a failure, as it came. */
export interface ServiceWords {
  readonly code?: string | number | undefined;
  readonly message?: string | number | undefined;
  /** It stood in a list `errors`, as newer services of IBM answer. */
  readonly listed?: true;
}

/**
 * What a person should do about failures of a service, in its own terms: by the code of the error,
 * and there by the code in its answer (`code`) or by the HTTP status. What is not here has the
 * remedy of the registry, which holds for every store.
 */
export type ServiceRemedies = Partial<Readonly<Record<ErrorCode, RemediesByReason>>>;

interface Row {
  readonly reads: ErrorCode;
  readonly writes: ErrorCode;
}

const both = (code: ErrorCode): Row => ({ reads: code, writes: code });
const noAnswer: Row = { reads: 'store_unavailable', writes: 'store_unanswered' };

/** What each way of failing means, for calls that only read and for calls that write. */
const failures = {
  notSent: both('store_unavailable'),
  network: noAnswer,
  timeout: noAnswer,
  ended: noAnswer,
  oversized: both('store_nonsense'),
} as const;

/**
 * What each status means. One that is not here goes by its class; a success that cannot be
 * understood is `store_nonsense`.
 */
const statuses: Readonly<Record<number, Row>> = {
  401: both('store_unauthorized'),
  403: both('store_unauthorized'),
  404: both('store_gone'),
  408: noAnswer,
  409: both('store_conflict'),
  429: both('store_limited'),
};

/**
 * What a service answers to content that it does not take: malformed, too large, or not to be
 * processed.
 */
const contentStatuses: ReadonlySet<number> = new Set([400, 413, 422]);

function rowOf(status: number): Row {
  if (status >= 500) return noAnswer;
  return statuses[status] ?? both(status >= 400 ? 'store_refused' : 'store_nonsense');
}

/** The error for a request that got no whole answer. */
export function unansweredError(call: ServiceCall, outcome: Exclude<HttpOutcome, { answer: HttpAnswer }>): CodedError {
  const { failure } = outcome;
  if (failure === 'oversized') return failed(call, failures.oversized, 'the answer is longer than any answer of it');
  const row = outcome.sent ? failures[failure] : failures.notSent;
  const found = outcome.sent ? foundWords[failure] : `it was not reached (${foundWords[failure]})`;
  return failed(call, row, found, { reason: reasonOf(outcome.cause) }, outcome.cause);
}

const foundWords = {
  network: 'the connection failed',
  timeout: 'no answer came in time',
  ended: 'the call was ended',
} as const;

/**
 * The error for an answer that is not a success. 404 means gone only where the request names a
 * certificate.
 */
export function answerError(call: ServiceCall, answer: HttpAnswer): CodedError {
  const { status, retryAfterMs } = answer;
  const said = wordsIn(answer);
  const foreign = status === 404 && looksForeign(answer);
  const nameless = status === 404 && call.certificate === undefined;
  // An instance of our own says so of what it keeps: an answer about the certificate, not about the
  // service.
  const unreadable = said.code === 'instance_content_unreadable' && call.certificate !== undefined && !call.writes;
  if (unreadable) {
    return failed(call, both('store_content_unreadable'), 'it cannot open what it keeps', { status });
  }
  const ofContent = call.givesContent === true && contentStatuses.has(status);
  const usual = ofContent ? both('store_content_refused') : rowOf(status);
  const unusual = nameless ? 'store_refused' : undefined;
  const meant = foreign ? 'store_nonsense' : (call.means?.(answer, said) ?? unusual);
  const row = meant === undefined ? usual : both(meant);
  const serviceMessage = foreignWords(said.message);
  const found = `it answered ${status}${serviceMessage === undefined ? '' : `: ${serviceMessage}`}`;
  return failed(call, row, found, { status, retryAfterMs, serviceCode: foreignWords(said.code), serviceMessage });
}

/** The error for a success that is not what this call is answered with. */
export function nonsenseError(call: ServiceCall, answer: HttpAnswer, found: string): CodedError {
  return failed(call, both('store_nonsense'), `it answered ${answer.status} with ${found}`, { status: answer.status });
}

/**
 * Whether a body is no JSON object and not empty either: a proxy's page, not the service's words.
 * `value` is what it says as JSON, where the caller has read that.
 */
export function looksForeign({ text }: HttpAnswer, value = parseJson(text)): boolean {
  return text.trim() !== '' && (typeof value !== 'object' || value === null);
}

/** Whether a body is a page for people: a proxy's, or a login's. */
export function looksLikePage({ mediaType, text }: HttpAnswer): boolean {
  return mediaType === 'text/html' || text.trimStart().startsWith('<');
}

/**
 * A body as JSON, `undefined` if it is not. The parser's own error is dropped: it quotes the body.
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const textOrNumber = otherwise(z.optional(z.union([z.string(), z.number()])), undefined);
const errorBody = z.object({ code: textOrNumber, message: textOrNumber });
const listedErrors = z.object({ errors: z.array(errorBody).check(z.minLength(1)) });

/** The words of a failure: those of the first of a list, or those that stand there alone. */
function wordsIn({ text }: HttpAnswer): ServiceWords {
  const body = parseJson(text);
  const [first] = z.safeParse(listedErrors, body).data?.errors ?? [];
  return first === undefined ? (z.safeParse(errorBody, body).data ?? {}) : { ...first, listed: true };
}

/**
 * Foreign words fit for a log line: one line, short, and nothing that a service may have quoted of
 * what it was sent: no PEM, no token, no API key, no line of base64 or hex.
 */
export function foreignWords(value: string | number | undefined): string | undefined {
  const text = String(value ?? '')
    .replace(/-----BEGIN.*$/s, '[pem]')
    .replace(/(bearer|basic|apikey)[\s:="']+[^\s"',]+/gi, '$1 [removed]')
    .replace(/[A-Za-z0-9+/_=-]{16,}/g, (run) => (harmless.test(run) ? run : '[removed]'))
    .replace(/\s+/g, ' ')
    .trim();
  return text === '' ? undefined : visibleWithin(text, serviceWordsCharacters);
}

/**
 * A long run of letters that is no secret: words (`CERTIFICATE_NOT_FOUND`, `certificateNotFound`,
 * `www-shop`), or a UUID.
 */
const harmless =
  /^(?:[a-z]+(?:[_-][a-z]+)*|[A-Z]+(?:[_-][A-Z]+)*|[A-Z]?[a-z]{2,}(?:[A-Z][a-z]{2,})*|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

const serviceWordsCharacters = 200;

/** The code of the system or the name of an error, never its message. */
function reasonOf(cause: unknown): string | undefined {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error ? ((inner as NodeJS.ErrnoException).code ?? inner.name) : undefined;
}

function failed(
  call: ServiceCall,
  row: Row,
  found: string,
  fields: Readonly<Record<string, string | number | undefined>> = {},
  cause?: unknown,
): CodedError {
  const { store, operation, certificate } = call;
  const code = call.writes ? row.writes : row.reads;
  return new CodedError(code, `${operation} at ${store}: ${found}`, {
    ...defined({ cause }),
    remedies: call.remedies?.[code],
    fields: { store, operation, certificate, ...fields },
  });
}
