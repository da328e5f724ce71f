import type { IncomingMessage, ServerResponse } from 'node:http';
import { asCodedError, CodedError } from '../../errors.ts';
import { visibleWithin } from '../../foreign-text.ts';
import { invalid } from '../rows/fields.ts';

/** What a request is answered. A body is sent as JSON; with 204 there is none. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * How much of a body that is too large is still read (and thrown away), so that the client gets to
 * read the answer.
 */
const drainedBodies = 8;

/**
 * The whole body. Throws `instance_media_type` if it is compressed or otherwise encoded,
 * `instance_body_too_large`, and `instance_request_invalid` if it is not UTF-8 or ends early.
 */
export async function readBody(request: IncomingMessage, maximumBytes: number): Promise<string> {
  const encodings = (request.headers['content-encoding'] ?? '').split(',').map((one) => one.trim().toLowerCase());
  const encoded = encodings.find((one) => one !== '' && one !== 'identity');
  if (encoded !== undefined) {
    throw new CodedError('instance_media_type', `the body has the Content-Encoding ${visibleWithin(encoded, 40)}`);
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes <= maximumBytes) chunks.push(chunk);
      else if (bytes > maximumBytes * drainedBodies) break;
    }
  } catch (error) {
    throw new CodedError('instance_request_invalid', 'the body ended before its end', { cause: error });
  }
  if (bytes > maximumBytes) {
    throw new CodedError('instance_body_too_large', `the body has more than ${maximumBytes} bytes`, {
      fields: { limit: maximumBytes },
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    throw new CodedError('instance_request_invalid', 'the body is not UTF-8', { cause: error });
  }
}

/** The body as JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The message of the syntax error quotes the body, and the body may hold a private key.
    throw invalid('the body is not JSON');
  }
}

/** Sends an answer. */
export function send(response: ServerResponse, answer: Answer): void {
  if (answer.status === 204) {
    response.writeHead(204, { 'cache-control': 'no-store', ...answer.headers }).end();
    return;
  }
  const body = JSON.stringify(answer.body);
  response.writeHead(answer.status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...answer.headers,
  });
  response.end(body);
}

/**
 * The answer for a failure: `{code, message}`, as Certificate Manager has it. Where a person can do
 * something, the message says what.
 */
export function errorAnswer(thrown: unknown): Answer {
  const error = asCodedError(thrown);
  const { remedy } = error;
  const { status } = error.entry;
  const retryAfterMs = error.retryAfterMs ?? (status === 503 ? 1000 : undefined);
  return {
    status,
    body: { code: error.code, message: messageOf(error, remedy) },
    headers: {
      ...(retryAfterMs !== undefined && { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) }),
      ...refusalHeaders(status),
    },
  };
}

/** What goes with a refusal of a body, whatever the shape of the answer. */
export function refusalHeaders(status: number): Readonly<Record<string, string>> {
  // What is left of a body that is not taken is not waited for. For 415 see RFC 9110, 15.5.16.
  if (status === 413) return { connection: 'close' };
  return status === 415 ? { connection: 'close', 'accept-encoding': 'identity' } : {};
}

function messageOf(error: CodedError, remedy: string): string {
  // Clients of Certificate Manager compare this one.
  if (error.code === 'instance_unauthorized') return 'Unauthorized';
  // What failed inside is for the log, not for the caller.
  if (error.entry.status >= 500 && error.entry.status !== 501) return remedy;
  return `${error.message}. ${remedy}`;
}
