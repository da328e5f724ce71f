import aws4 from 'aws4';
import { connections, type HttpAnswer, type HttpOutcome, httpClient } from '../http/client.ts';
import type { Runtime } from '../runtime.ts';
import { type AwsCredentials, revealed } from './credentials.ts';
import { keptConnections } from './kept-connections.ts';

/**
 * Calls of AWS services that speak JSON ("AWS JSON protocol": one POST, the operation in
 * `X-Amz-Target`), signed by Signature Version 4. For deployed functions: the SDK does the same,
 * and takes longer to load when cold than all the rest of a function together.
 */
export interface SignedServiceOptions {
  /** Its name in signatures and in host names: `dynamodb`, `sqs`. */
  readonly service: string;
  /** What stands before the operation in `X-Amz-Target`. */
  readonly target: string;
  readonly region: string;
  /** Default: `https://<service>.<region>.amazonaws.com`, in China with its own domain. */
  readonly endpoint?: string;
  /** Asked for each call: platforms renew them. */
  readonly credentials: () => AwsCredentials | Promise<AwsCredentials>;
  readonly runtime: Runtime;
  /** Milliseconds for one attempt until its answer. */
  readonly answerTimeoutMs: number;
  /** Of the JSON protocol. Default: 1.0, as DynamoDB and SQS have it. */
  readonly jsonVersion?: '1.0' | '1.1';
}

/**
 * An answer that is a refusal or a fault. `name` is the service's word for it, `body` the whole
 * answer.
 */
export class AwsServiceError extends Error {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;

  constructor(status: number, body: Readonly<Record<string, unknown>>) {
    super(String(body.message ?? body.Message ?? `HTTP ${status}`));
    // `com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException`
    this.name = String(body.__type ?? 'UnknownError').replace(/^.*#/, '');
    this.status = status;
    this.body = body;
  }
}

/**
 * No whole answer came. `sent` false: nothing can have reached the service; true: nobody knows what
 * it did.
 */
export class AwsUnansweredError extends Error {
  readonly sent: boolean;
  /** The system's word for it, where it has one. */
  readonly code?: string;

  constructor(found: string, sent: boolean, cause?: unknown) {
    super(found, { cause });
    this.sent = sent;
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (typeof code === 'string') this.code = code;
  }
}

export interface SignedService {
  /**
   * Sends one operation, again up to `attempts` times while nobody answers, or the answer says to
   * come again later. Throws `AwsServiceError` for what the service refused, and
   * `AwsUnansweredError` where it did not answer.
   */
  call(
    operation: string,
    input: unknown,
    options: { readonly attempts: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Readonly<Record<string, unknown>>>;
  /** Gives up its connections. */
  close(): void;
}

/**
 * No answer of these operations is larger: DynamoDB ends a page at 1 MiB, and JSON escapes may
 * double it.
 */
const answerBytes = 4 * 1024 * 1024;
/** Before the second attempt at most so long, twice that before the third. */
const pauseMs = 100;

/** How one service of AWS is reached. */
export interface SignedClient {
  /**
   * One signed POST of these bytes: the whole answer, whatever its status. Throws
   * `AwsUnansweredError` where there is none.
   */
  post(headers: Readonly<Record<string, string>>, body: string, signal?: AbortSignal): Promise<HttpAnswer>;
  /** Gives up its connections. */
  close(): void;
}

export function signedClient(options: Omit<SignedServiceOptions, 'target' | 'jsonVersion'>): SignedClient {
  const { service, region, credentials, runtime, answerTimeoutMs } = options;
  const base = new URL(options.endpoint ?? endpointOf(service, region));
  const { send, close } = connections({ most: keptConnections.maxSockets });
  const { now } = runtime;
  const client = httpClient({ runtime: { now }, requestTimeoutMs: answerTimeoutMs, answerBytes, send });

  function unanswered(outcome: Exclude<HttpOutcome, { answer: HttpAnswer }>): AwsUnansweredError {
    if (outcome.failure === 'oversized')
      return new AwsUnansweredError(`an answer of more than ${answerBytes} bytes`, true);
    const { failure, sent, cause } = outcome;
    if (failure === 'timeout') return new AwsUnansweredError(`no answer within ${answerTimeoutMs} ms`, sent);
    return new AwsUnansweredError(cause instanceof Error ? cause.message : failure, sent, cause);
  }

  return {
    async post(given, body, signal) {
      const date = new Date(runtime.now()).toISOString().replace(/[-:]|\.\d{3}/g, '');
      const request = { host: base.host, method: 'POST', path: base.pathname, service, region, body };
      const signed = aws4.sign(
        { ...request, headers: { ...given, 'X-Amz-Date': date } },
        revealed(await credentials()),
      );
      const { path = '', headers = {} } = signed;
      const texts = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
      const url = new URL(path, base).href;
      const outcome = await client({ method: 'POST', url, headers: texts, body, ...(signal && { signal }) });
      if ('failure' in outcome) throw unanswered(outcome);
      return outcome.answer;
    },
    close,
  };
}

export function signedService(options: SignedServiceOptions): SignedService {
  const { target, runtime, jsonVersion = '1.0' } = options;
  const { post, close } = signedClient(options);

  async function attempt(operation: string, body: string, signal: AbortSignal | undefined) {
    const headers = {
      'Content-Type': `application/x-amz-json-${jsonVersion}`,
      'X-Amz-Target': `${target}.${operation}`,
    };
    const { status, text } = await post(headers, body, signal);
    // What has nothing to answer answers nothing.
    const answer = status === 200 && text === '' ? {} : asObject(text);
    if (status === 200 && answer !== undefined) return answer;
    throw new AwsServiceError(status, answer ?? {});
  }

  return {
    async call(operation, input, { attempts, signal }) {
      const body = JSON.stringify(input);
      for (let made = 1; ; made += 1) {
        try {
          return await attempt(operation, body, signal);
        } catch (thrown) {
          if (made >= attempts || signal?.aborted || !isWorthAnother(thrown)) throw thrown;
          await runtime.wait(Math.ceil(runtime.random() * pauseMs * made));
        }
      }
    },
    close,
  };
}

/**
 * Whether the same may succeed a moment later: nobody answered, or the answer says so (AWS, "Error
 * handling").
 */
function isWorthAnother(thrown: unknown): boolean {
  if (!(thrown instanceof AwsServiceError)) return true;
  return thrown.status >= 500 || thrown.status === 429 || /Throttl|Throughput|RequestLimit/.test(thrown.name);
}

function asObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Where a service is in a region, if nobody says otherwise. */
export const endpointOf = (service: string, region: string): string =>
  `https://${service}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
