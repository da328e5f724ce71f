import { defined } from '../defined.ts';
import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import type { Sender, SenderRequest, VerificationKeys } from '../sender/sender.ts';
import { acceptsEncoding, acceptsMediaType } from './media-type.ts';

/** A request to the callback, as any host can give it. */
export interface CallbackRequest extends SenderRequest {
  readonly method: string;
  /** As it was sent, percent-encoding kept, without the query. */
  readonly path: string;
  /**
   * As it arrived. A host that stops reading a body that is too large hands on more than
   * `limits.notificationBytes` all the same.
   */
  readonly body: Uint8Array;
}

export interface CallbackResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Whose callback it came to, for what counts answers; absent: nobody's. It is not sent. */
  readonly sender?: string | undefined;
}

/** One callback: who sends there, how that is proven, and where it leads. */
export interface Callback {
  /**
   * The last part of its path: the name of a link, for the sender that its primary is, or of a
   * sender of the configuration.
   */
  readonly name: string;
  /** Who sends here, and for which link where it is that of one alone: in every line of the log. */
  readonly told: { readonly sender: string; readonly link?: string };
  readonly sender: Pick<Sender, 'receive' | 'tryAgain' | 'anyMediaType'>;
  /**
   * The pinned keys by their ids, from configuration or the table, never from a service; none as
   * long as there is none.
   */
  verificationKeys(): Promise<VerificationKeys>;
  /**
   * Makes events durable, all at once. Called once for each genuine notification of a change, with
   * its events that change certificates.
   */
  acknowledge(events: readonly LifecycleEvent[]): Promise<'new' | 'repeat'>;
  /** Makes durable that a genuine test message came, so that whoever tries the way sees its end. */
  noteTest?(): Promise<void>;
}

/** What a line of the log says of a request, as far as it is known. */
interface Facts {
  sender?: string;
  link?: string;
  type?: string;
  count?: number;
}

const callbackPath = '/callback/';
const retryAfterSeconds = 30;

/**
 * The callback as one function from request to response: `POST /callback/{name}`.
 *
 * 202 is answered after the durable write, 200 for what was seen before or only informs, with
 * `{"status","sender"}`. What is refused is answered by the status of its code, with
 * `{"code","message","sender"}`; what is to come again, by the status that its sender tries again
 * after, with `Retry-After`. Each names the sender whose callback it is, where there is one. It
 * never throws and never rejects. Throws, when made, `configuration_invalid` if two callbacks have
 * the same name.
 */
export function createReceiver(options: {
  readonly callbacks: readonly Callback[];
  readonly now: () => number;
  readonly log: Log;
}): (request: CallbackRequest) => Promise<CallbackResponse> {
  const { now } = options;
  const callbacks = new Map(options.callbacks.map((callback) => [encodeURIComponent(callback.name), callback]));
  if (callbacks.size !== options.callbacks.length) {
    throw new CodedError(
      'configuration_invalid',
      'two links or senders have the same name, and so the same callback URL',
    );
  }
  const log = neverThrows(options.log);

  return async (request) => {
    const facts: Facts = {};
    let callback: Callback | undefined;
    try {
      callback = findCallback(callbacks, request.path);
      Object.assign(facts, callback.told);
      checkRequest(request, callback.sender);
      const received = callback.sender.receive(request, await pinnedKeys(callback), now());
      if ('handshake' in received) {
        log('info', 'notification', { ...facts, outcome: 'handshake' });
        const { status, headers = {}, body } = received.handshake;
        return { status, headers: { 'cache-control': 'no-store', ...headers }, body, sender: facts.sender };
      }
      const { events } = received;
      // Some senders tell of everything that happens where they are: most of it is of no concern.
      if (events.length === 0) return json(200, { status: 'noted' }, facts);
      facts.type = [...new Set(events.map(({ type }) => type))].slice(0, typesLogged).join(', ');
      facts.count = events.reduce((sum, { certificates, hints = [] }) => sum + certificates.length + hints.length, 0);
      const changes = events.filter((event) => event.changes);
      if (events.some(({ kind }) => kind === 'test')) await callback.noteTest?.();
      const answer = changes.length > 0 ? await callback.acknowledge(changes) : 'noted';
      const status = answer === 'new' ? 'acknowledged' : answer;
      // A type that is not known may be one to come, or one that somebody has mistyped.
      const strange = events.find(({ kind }) => kind === 'unknown');
      const message = strange && `nothing is known here of the type ${strange.type}, version ${strange.version}`;
      log(strange === undefined ? 'info' : 'warn', 'notification', {
        ...facts,
        outcome: status,
        ...defined({ message }),
      });
      return json(answer === 'new' ? 202 : 200, { status, ...defined({ message }) }, facts);
    } catch (thrown) {
      return refuse(asCodedError(thrown), { facts, log, tryAgain: callback?.sender.tryAgain });
    }
  };
}

/**
 * Callbacks are found by their name in the path, spelled as in a URL. A map, so that no name of the
 * language is one.
 */
function findCallback(callbacks: ReadonlyMap<string, Callback>, path: string): Callback {
  const callback = path.startsWith(callbackPath) ? callbacks.get(path.slice(callbackPath.length)) : undefined;
  if (callback !== undefined) return callback;
  throw new CodedError('notification_unknown_link', 'there is no link and no sender at this path', {
    fields: { path: path.slice(0, limits.notificationTextCharacters).replace(/[^!-~]/g, '?') },
  });
}

/** What can be said before the body is looked at. */
function checkRequest(request: CallbackRequest, sender: Pick<Sender, 'anyMediaType'>): void {
  if (request.method !== 'POST') {
    throw new CodedError('notification_method', 'a notification comes by POST, this request came by another method');
  }
  if (sender.anyMediaType !== true && !acceptsMediaType(request.header('content-type'))) {
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

async function pinnedKeys(callback: Callback): Promise<VerificationKeys> {
  const keys = await callback.verificationKeys();
  if (keys.size > 0) return keys;
  throw new CodedError('notification_key_missing', 'the key that proves what comes to this callback is not here yet');
}

function refuse(
  error: CodedError,
  { facts, log, tryAgain = 503 }: { readonly facts: Facts; readonly log: Log; readonly tryAgain: number | undefined },
): CallbackResponse {
  const isNotYet = error.entry.status === 503;
  // Anybody can name a key that is not here: that is no failure of ours.
  const failed = error.entry.status >= 500 && error.code !== 'notification_key_unknown';
  log(failed ? 'error' : 'warn', 'notification', {
    ...errorFields(error),
    ...facts,
    outcome: failed ? 'failed' : 'refused',
  });
  const status = isNotYet ? tryAgain : error.entry.status;
  return json(status, { code: error.code, message: publicMessage(error) }, facts, refusalHeaders(error, isNotYet));
}

/**
 * What is answered where there is no receiver, because it could not be made: the sender is to try
 * again.
 */
export function refusedWithout(thrown: unknown, log: Log): CallbackResponse {
  const error = asCodedError(thrown);
  neverThrows(log)('error', 'callback_unusable', errorFields(error));
  const { status, headers, body } = json(
    503,
    { code: error.code, message: 'not acknowledged; send it again later' },
    {},
  );
  return { status, headers: { ...headers, 'retry-after': String(retryAfterSeconds) }, body };
}

/** What the sender is told. What went wrong inside is for our log, not for everybody. */
function publicMessage(error: CodedError): string {
  if (error.entry.status < 500 || saidToSenders.has(error.code)) return error.message;
  return error.entry.status === 503
    ? 'not acknowledged; send it again later'
    : 'not acknowledged; a fault on this side';
}

/** What is not taken yet, and tells nothing of what is inside. */
const saidToSenders: ReadonlySet<ErrorCode> = new Set([
  'notification_key_missing',
  'notification_key_unknown',
  'notification_untimely',
]);

function refusalHeaders(error: CodedError, isNotYet: boolean): Record<string, string> {
  if (error.code === 'notification_method') return { allow: 'POST' };
  if (!isNotYet) return {};
  const seconds = error.retryAfterMs === undefined ? retryAfterSeconds : Math.ceil(error.retryAfterMs / 1000);
  return { 'retry-after': String(Math.max(1, seconds)) };
}

/** An answer, which names the sender whose callback it is, where it is one's. */
function json(
  status: number,
  body: Readonly<Record<string, string>>,
  { sender }: Pick<Facts, 'sender'>,
  headers: Readonly<Record<string, string>> = {},
): CallbackResponse {
  return {
    status,
    sender,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify({ ...body, sender }),
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
