import { defined } from '../defined.ts';
import { type HttpAnswer, type HttpRequest, type HttpSend, httpClient } from '../http/client.ts';
import { answerError, type ServiceCall, unansweredError } from '../http/service-failure.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret } from '../secret.ts';
import { type ApiKey, iamOf, iamTokens, type TrustedProfile } from './iam.ts';

export interface IamServiceOptions {
  /** What every path is put after. */
  readonly base: string;
  readonly apiKey: ApiKey | TrustedProfile;
  /** Default: see `iamOf`. */
  readonly iamUrl?: string;
  readonly runtime: Runtime;
  readonly send?: HttpSend;
  /** See `IamOptions`. */
  readonly apiKeySetting?: string;
  /** How long one request may take. Default 30 s. */
  readonly requestTimeoutMs?: number;
}

export interface ServiceRequest {
  readonly method: HttpRequest['method'];
  /** With its query; begins with a slash. */
  readonly path: string;
  /** Makes the body at the last moment: it may hold a private key. */
  readonly body?: () => unknown;
  readonly signal: AbortSignal | undefined;
  /** Of the body. Default: `application/json`. */
  readonly mediaType?: string;
  /** The body as it is sent, of `mediaType`, where that is no JSON: in place of `body`. */
  readonly text?: string;
  /** Without a token. */
  readonly anonymous?: boolean;
}

/** Resolves with a success of the service; anything else is thrown as a coded error. */
export type SendToService = (call: ServiceCall, request: ServiceRequest) => Promise<HttpAnswer>;

/**
 * A JSON service of IBM Cloud behind IAM tokens. 401 and 403 get one new token and one more try, as
 * in IBM-Cloud/bluemix-go.
 */
export function iamService(options: IamServiceOptions): SendToService {
  const { base, runtime, send, requestTimeoutMs = 30_000, iamUrl = iamOf(base), apiKey, apiKeySetting } = options;
  const client = httpClient({ runtime, requestTimeoutMs, ...defined({ send }) });
  const tokens = iamTokens({ url: iamUrl, apiKey, runtime, ...defined({ send, apiKeySetting }) });

  async function once(call: ServiceCall, request: ServiceRequest, token: Secret | undefined): Promise<HttpAnswer> {
    const { method, path, body, signal, mediaType = 'application/json' } = request;
    const hasBody = body !== undefined || request.text !== undefined;
    const headers = {
      accept: 'application/json',
      ...(hasBody && { 'content-type': mediaType }),
      ...(token && { authorization: `Bearer ${token.reveal()}` }),
    };
    const text = body === undefined ? request.text : JSON.stringify(body());
    const outcome = await client({ method, url: base + path, headers, ...defined({ body: text, signal }) });
    if ('failure' in outcome) throw unansweredError(call, outcome);
    return outcome.answer;
  }

  return async (call, request) => {
    const { signal, anonymous = false } = request;
    const token = anonymous ? undefined : await tokens.token({ signal });
    let answer = await once(call, request, token);
    if (token !== undefined && (answer.status === 401 || answer.status === 403))
      answer = await once(call, request, await tokens.refresh(token, { signal }));
    if (answer.status < 200 || answer.status > 299) throw answerError(call, answer);
    return answer;
  };
}
