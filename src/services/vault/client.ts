import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { type HttpAnswer, type HttpRequest, type HttpSend, httpClient, serviceBase } from '../../http/client.ts';
import { unansweredError } from '../../http/service-failure.ts';
import type { Runtime } from '../../runtime.ts';
import type { Secret } from '../../secret.ts';
import { type ConnectionFiles, fileConnections } from './connection.ts';
import { ended, type VaultCall, vaultError, vaultRemedies } from './failure.ts';
import { type BareSend, type LoginOptions, vaultTokens } from './login.ts';

export interface VaultRequest {
  readonly method: HttpRequest['method'];
  /** After `/v1/`, with its query. */
  readonly path: string;
  /** Makes the body at the last moment: it may hold a private key. */
  readonly body?: () => unknown;
  /** Default `application/json`. */
  readonly mediaType?: string;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
  /** Statuses that the caller understands, beside successes. */
  readonly takes?: readonly number[];
}

/** Resolves with a success, or an answer that the caller takes; anything else is thrown coded. */
export type VaultSend = (call: VaultCall, request: VaultRequest) => Promise<HttpAnswer>;

export interface VaultClient {
  readonly send: VaultSend;
  /** Without a token: what everybody may ask. */
  readonly anonymous: VaultSend;
  /** As `send`, in another namespace. */
  in(namespace: string): VaultSend;
  close(): Promise<void>;
}

export interface VaultClientOptions {
  readonly address: string;
  readonly namespace?: string;
  readonly login: LoginOptions;
  readonly files: ConnectionFiles;
  /** The id of the store, for errors. */
  readonly store: string;
  readonly runtime: Runtime;
  /** Default: over connections of its own. */
  readonly send?: HttpSend;
  /** How long one request may take. Default 30 s. */
  readonly requestTimeoutMs?: number;
}

/**
 * A server of the API of Vault and OpenBao. A request that is refused for its token is sent once
 * more with another one. What was written is read: the index that the last write was answered with
 * goes along, and a node that has not caught up passes the request on to the active one. Throws
 * `configuration_invalid` for an address that would show the token.
 */
export function vaultClient(options: VaultClientOptions): VaultClient {
  const { namespace, runtime, requestTimeoutMs = 30_000, store } = options;
  const base = `${serviceBase(options.address, 'address')}/v1/`;
  const files = fileConnections(options.files);
  const client = httpClient({ runtime, requestTimeoutMs, send: options.send ?? files.send });
  /** Opaque. */
  let index: string | undefined;

  async function once(
    call: VaultCall,
    request: VaultRequest,
    as: { readonly token?: Secret; readonly namespace?: string | undefined },
  ): Promise<HttpAnswer> {
    const { method, path, body, mediaType = 'application/json', signal, timeoutMs } = request;
    files.ready();
    const headers = {
      accept: 'application/json',
      // Some agents and proxies demand it, as no page of a browser can send it.
      'x-vault-request': 'true',
      ...(body && { 'content-type': mediaType }),
      ...(as.token && { 'x-vault-token': as.token.reveal() }),
      ...(as.namespace !== undefined && { 'x-vault-namespace': as.namespace }),
      ...(as.token && index !== undefined && { 'x-vault-index': index, 'x-vault-inconsistent': 'forward-active-node' }),
    };
    const text = body && { body: JSON.stringify(body()) };
    const outcome = await client({ method, url: base + path, headers, ...text, ...defined({ signal, timeoutMs }) });
    if ('failure' in outcome) throw unansweredError({ ...call, remedies: vaultRemedies }, outcome);
    const { answer } = outcome;
    const written = answer.headers['x-vault-index'];
    if (call.writes && typeof written === 'string' && answer.status < 300) index = written;
    return answer;
  }

  const bare: BareSend = (call, { token, namespace: of, ...request }) =>
    once(call, request, { ...defined({ token }), namespace: of ?? namespace });
  const tokens = vaultTokens({ ...options.login, store, runtime, send: bare, renewFiles: files.renew });

  function understood(call: VaultCall, { takes = [] }: VaultRequest, answer: HttpAnswer): HttpAnswer {
    if ((answer.status < 200 || answer.status > 299) && !takes.includes(answer.status)) throw vaultError(call, answer);
    return answer;
  }

  const sendIn =
    (of: string | undefined): VaultSend =>
    async (call, request) => {
      const { signal } = request;
      if (signal?.aborted) throw ended(call, signal);
      try {
        const token = await tokens.token({ signal });
        const answer = await once(call, request, { token, namespace: of });
        if (answer.status !== 401 && answer.status !== 403) return understood(call, request, answer);
        const other = await tokens.another(token, call, answer, { signal });
        return understood(call, request, await once(call, request, { token: other, namespace: of }));
      } catch (thrown) {
        if (!(thrown instanceof CodedError) && signal?.aborted) throw ended(call, signal);
        throw thrown;
      }
    };

  return {
    send: sendIn(namespace),
    anonymous: async (call, request) => understood(call, request, await once(call, request, {})),
    in: sendIn,
    async close() {
      await tokens.revoke();
      files.close();
    },
  };
}
