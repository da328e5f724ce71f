import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log, type LogFields } from '../log.ts';
import type { LifecycleEvent, VerificationKeys } from '../sender/event.ts';
import { acceptsEncoding, acceptsMediaType } from './media-type.ts';

/** A request to the callback, as any host can give it. */
export interface CallbackRequest {
  readonly method: string;
  /** As it was sent, percent-encoding kept, without the query. */
  readonly path: string;
  /** A header by its name in any case; the values of a repeated one joined by `, `. */
  header(name: string): string | undefined;
  /** As it arrived. A host that stops reading a body that is too large hands on more than `limits.notificationBytes` all the same. */
  readonly body: Uint8Array;
}

export interface CallbackResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the receiver needs to know of a link. */
export interface CallbackLink {
  readonly name: string;
  /**
   * What a notification of this link's primary says: the body as it arrived, checked with the pinned keys. Which sender it is, and to which
   * instance the link is bound, was settled when this was made. One request may bring many events. Throws `notification_malformed`,
   * `_not_genuine` or `_foreign`.
   */
  verify(body: Uint8Array, keys: VerificationKeys): readonly LifecycleEvent[];
  /** The pinned keys by their ids, from configuration or the table, never from a service; none as long as there is none. */
  verificationKeys(): Promise<VerificationKeys>;
  /** Makes events durable, all at once. Called once for each genuine notification of a change, with its events that change certificates. */
  acknowledge(events: readonly LifecycleEvent[]): Promise<'new' | 'repeat'>;
}

const callbackPath = '/callback/';
const retryAfterSeconds = 30;

/**
 * The callback as one function from request to response: `POST /callback/{link}`.
 *
 * 202 is answered after the durable write, 200 for what was seen before or only informs. What is refused is answered
 * by the status of its code, with `{"code","message"}`; a 503 carries `Retry-After`. It never throws and never rejects.
 * Throws, when made, `configuration_invalid` if two links have the same name.
 */
export function createReceiver(options: {
  readonly links: readonly CallbackLink[];
  readonly log: Log;
}): (request: CallbackRequest) => Promise<CallbackResponse> {
  const links = new Map(options.links.map((link) => [encodeURIComponent(link.name), link]));
  if (links.size !== options.links.length) {
    throw new CodedError('configuration_invalid', 'two links have the same name, and so the same callback URL');
  }
  const log = neverThrows(options.log);

  return async (request) => {
    const facts: { link?: string; type?: string; count?: number } = {};
    try {
      const link = findLink(links, request.path);
      facts.link = link.name;
      checkRequest(request);
      const events = link.verify(request.body, await pinnedKeys(link));
      facts.type = [...new Set(events.map(({ type }) => type))].slice(0, typesLogged).join(', ');
      facts.count = events.reduce((sum, { certificates, hints = [] }) => sum + certificates.length + hints.length, 0);
      const changes = events.filter((event) => event.changes);
      const answer = changes.length > 0 ? await link.acknowledge(changes) : 'noted';
      const status = answer === 'new' ? 'acknowledged' : answer;
      log('info', 'notification', { ...facts, outcome: status });
      return json(answer === 'new' ? 202 : 200, { status });
    } catch (thrown) {
      return refuse(asCodedError(thrown), facts, log);
    }
  };
}

/** Links are found by their name in the path, spelled as in a URL. A map, so that no name of the language is a link. */
function findLink(links: ReadonlyMap<string, CallbackLink>, path: string): CallbackLink {
  const link = path.startsWith(callbackPath) ? links.get(path.slice(callbackPath.length)) : undefined;
  if (link !== undefined) return link;
  throw new CodedError('notification_unknown_link', 'there is no link at this path', {
    fields: { path: path.slice(0, limits.notificationTextCharacters).replace(/[^!-~]/g, '?') },
  });
}

/** What can be said before the body is looked at. */
function checkRequest(request: CallbackRequest): void {
  if (request.method !== 'POST') {
    throw new CodedError('notification_method', 'a notification comes by POST, this request came by another method');
  }
  if (!acceptsMediaType(request.header('content-type'))) {
    throw new CodedError('notification_media_type', 'the Content-Type is not application/json in UTF-8', {
      fields: { header: 'content-type' },
    });
  }
  if (!acceptsEncoding(request.header('content-encoding'))) {
    throw new CodedError('notification_media_type', 'the body has a Content-Encoding; it must come as it is', {
      fields: { header: 'content-encoding' },
    });
  }
  if (request.body.length > limits.notificationBytes) {
    throw new CodedError('notification_too_large', `the body has more than ${limits.notificationBytes} bytes`);
  }
}

/** Kinds of events of one request that a line of the log names. */
const typesLogged = 5;

async function pinnedKeys(link: CallbackLink): Promise<VerificationKeys> {
  const keys = await link.verificationKeys();
  if (keys.size > 0) return keys;
  throw new CodedError('notification_key_missing', 'the key that verifies notifications of this link is not here yet');
}

function refuse(error: CodedError, facts: LogFields, log: Log): CallbackResponse {
  const { status } = error.entry;
  const failed = status >= 500;
  log(failed ? 'error' : 'warn', 'notification', {
    ...errorFields(error),
    ...facts,
    outcome: failed ? 'failed' : 'refused',
  });
  return json(status, { code: error.code, message: publicMessage(error) }, refusalHeaders(error.code, status, error));
}

/** What is answered where there is no receiver, because it could not be made: the sender is to try again. */
export function refusedWithout(thrown: unknown, log: Log): CallbackResponse {
  const error = asCodedError(thrown);
  neverThrows(log)('error', 'callback_unusable', errorFields(error));
  const { status, headers, body } = json(503, { code: error.code, message: 'not acknowledged; send it again later' });
  return { status, headers: { ...headers, 'retry-after': String(retryAfterSeconds) }, body };
}

/** What the sender is told. What went wrong inside is for our log, not for everybody. */
function publicMessage(error: CodedError): string {
  if (error.entry.status < 500 || error.code === 'notification_key_missing') return error.message;
  return error.entry.status === 503
    ? 'not acknowledged; send it again later'
    : 'not acknowledged; a fault on this side';
}

function refusalHeaders(code: ErrorCode, status: number, error: CodedError): Record<string, string> {
  if (code === 'notification_method') return { allow: 'POST' };
  if (status !== 503) return {};
  const seconds = error.retryAfterMs === undefined ? retryAfterSeconds : Math.ceil(error.retryAfterMs / 1000);
  return { 'retry-after': String(Math.max(1, seconds)) };
}

function json(status: number, body: Readonly<Record<string, string>>, headers: Record<string, string> = {}) {
  return {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify(body),
  };
}

/** A log whose failure fails no request. */
function neverThrows(log: Log): Log {
  return (...line) => {
    try {
      log(...line);
    } catch {
      // A line that cannot be written is lost; the notification is not.
    }
  };
}
