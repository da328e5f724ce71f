import { CodedError, type ErrorCode } from '../errors.ts';
import { visibleWithin } from '../foreign-text.ts';
import { type HttpOutcome, httpClient } from '../http/client.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret } from '../secret.ts';
import { changedType, changeMessage, type Named, testType } from './change-message.ts';
import { signingKey } from './standard-webhook-keys.ts';
import { messageHeaders } from './standard-webhook-message.ts';

/**
 * What a receiver answers that has taken a message: `acknowledged` anew, a `repeat` of what it had,
 * or `noted`: it changes nothing. Whatever else is answered, a page in front of it or a wrong
 * address may have said, and nothing is durable.
 */
const takenStatuses = ['acknowledged', 'repeat', 'noted'] as const;
type TakenStatus = (typeof takenStatuses)[number];

/** What became of a message that a receiver has taken. */
export interface Delivered {
  readonly status: TakenStatus;
  /** How often it was sent. */
  readonly tries: number;
}

/**
 * Answers after which the same message, signed anew, may be taken: Too Early and Request Timeout
 * among them.
 */
export const triedAgain = (status: number): boolean => status >= 500 || [401, 404, 408, 425, 429].includes(status);

/** Waits between tries, milliseconds; the last one repeats. */
const waitsMs = [1_000, 2_000, 5_000, 10_000, 30_000];
const requestTimeoutMs = 20_000;

/**
 * Tells a receiver by a message of the Standard Webhooks specification that certificates have
 * changed, or, without any, that something has. It is signed anew for each try, under one id and
 * with one body, so that however often it arrives it counts once. Resolves when it was taken; until
 * `withinMs` is over it is tried again after no answer and after answers that may change: not
 * signed by a key that is known there (keys may be changed on that side next), not ready, not
 * found, too many.
 *
 * Throws `notify_key_invalid`; `notify_refused` for an answer that does not change; `notify_failed`
 * when time is over; `interrupted`.
 */
export async function notify(options: {
  /** The callback URL of a sender of the configuration. */
  readonly to: string;
  /** `whsec_…` or `whsk_…`. */
  readonly key: Secret;
  /**
   * Absent: something has changed. So says, too, a message of more than one holds: everything is
   * compared then.
   */
  readonly certificates?: readonly Named[];
  /** Only tries the way: nothing is looked at. */
  readonly test?: boolean;
  readonly withinMs: number;
  readonly runtime: Runtime;
  readonly signal: AbortSignal;
  /** Told of each try that is followed by another one. */
  readonly failed?: (why: string, againMs: number) => void;
}): Promise<Delivered> {
  const { to, certificates, test = false, withinMs, runtime, signal, failed = () => {} } = options;
  const key = signingKey(options.key.reveal());
  if (key === undefined) throw new CodedError('notify_key_invalid', 'the key is neither whsec_ nor whsk_ and base64');
  const client = httpClient({ runtime, requestTimeoutMs, answerBytes: 64 * 1024 });
  const id = `msg_${runtime.newId().replaceAll('.', '-')}`;
  const began = runtime.now();
  const fits = certificates !== undefined && certificates.length <= limits.notificationCertificates;
  const named = fits ? { certificates } : {};
  const body = changeMessage({ type: test ? testType : changedType, at: began, ...named });
  for (let tries = 1; ; tries += 1) {
    const headers = messageHeaders(key, { id, body, now: runtime.now() });
    const outcome = await client({
      method: 'POST',
      url: to,
      headers: { 'content-type': 'application/json', ...headers },
      body,
      signal,
    });
    const status = takenAs(outcome);
    if (status !== undefined) return { status, tries };
    signal.throwIfAborted();
    const { why, code } = failureOf(to, outcome);
    if (code === 'notify_refused') throw new CodedError(code, why, { fields: fieldsOf(outcome) });
    const retryAfterMs = 'answer' in outcome ? (outcome.answer.retryAfterMs ?? 0) : 0;
    const waitMs = Math.max(waitsMs[Math.min(tries, waitsMs.length) - 1] ?? 0, retryAfterMs);
    const leftMs = began + withinMs - runtime.now();
    if (leftMs <= 0) throw new CodedError(code, why, { fields: fieldsOf(outcome) });
    const againMs = Math.min(waitMs, leftMs);
    failed(why, againMs);
    await runtime.wait(againMs, signal);
  }
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

function takenAs(outcome: HttpOutcome): TakenStatus | undefined {
  if (!('answer' in outcome) || !isSuccess(outcome.answer.status)) return undefined;
  const said = memberOf(outcome.answer.text, 'status');
  return takenStatuses.find((status) => status === said);
}

function failureOf(to: string, outcome: HttpOutcome): { readonly why: string; readonly code: ErrorCode } {
  if ('answer' in outcome) {
    const { status, text } = outcome.answer;
    if (isSuccess(status))
      return { why: `${to} answered ${status}, but not what a receiver of certstandby says`, code: 'notify_failed' };
    const said = messageIn(text);
    const why = `${to} answered ${status}${said === '' ? '' : `: ${said}`}`;
    return { why, code: triedAgain(status) ? 'notify_failed' : 'notify_refused' };
  }
  if (outcome.failure === 'oversized') return { why: `${to} answered with too much`, code: 'notify_failed' };
  const { cause } = outcome;
  const reason = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : outcome.failure;
  const words = outcome.failure === 'timeout' ? `no answer within ${requestTimeoutMs / 1_000} s` : reason;
  return { why: `${to} did not answer (${words})`, code: 'notify_failed' };
}

function fieldsOf(outcome: HttpOutcome): Readonly<Record<string, string | number>> {
  if ('answer' in outcome) {
    const { status, text } = outcome.answer;
    return { status, reason: isSuccess(status) ? 'no_receiver' : memberOf(text, 'code') };
  }
  if (outcome.failure === 'oversized') return {};
  const { cause } = outcome;
  return { reason: cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? '') : '' };
}

/** What a receiver of ours says in its answer. Anything else there is nobody's word. */
function memberOf(text: string, name: 'status' | 'code' | 'message'): string {
  try {
    const value = (JSON.parse(text) as Record<string, unknown> | null)?.[name];
    return typeof value === 'string' ? visibleWithin(value, 300) : '';
  } catch {
    return '';
  }
}

const messageIn = (text: string) => memberOf(text, 'message');
