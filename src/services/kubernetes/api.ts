import { createHash } from 'node:crypto';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { type Connections, connections, type HttpAnswer, type HttpResponse, httpClient } from '../../http/client.ts';
import { looksForeign, nonsenseError, parseJson } from '../../http/service-failure.ts';
import type { Runtime } from '../../runtime.ts';
import type { Access, AccessSource } from './access.ts';
import { type ApiCall, answerError, noAnswerError } from './failure.ts';

/** Leaves the content out: only what is said of objects (`PartialObjectMetadata`). */
export const metadataOnly = {
  one: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
  list: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
} as const;

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Path and query. */
  readonly path: string;
  readonly accept?: string;
  readonly body?: object;
  readonly signal?: AbortSignal | undefined;
}

export interface ApiAnswer extends HttpAnswer {
  readonly json: unknown;
}

/** The requests that are made of an API server. */
export interface Api {
  /** A success, as JSON. Throws the coded error of anything else. */
  ask(call: ApiCall, request: ApiRequest): Promise<ApiAnswer>;
  /** An answer whose body goes on. Rejects with what the network says. */
  stream(request: Pick<ApiRequest, 'path' | 'accept'>, signal: AbortSignal): Promise<HttpResponse>;
  /** Where it is, for people. */
  address(): Promise<string>;
}

const userAgent = 'certstandby';
/** The server ends an ordinary request after a minute. */
const requestTimeoutMs = 30_000;

/** An API server, reached by this access. A refused one (401) is made anew once. */
export function apiOf(source: AccessSource, runtime: Runtime): Api {
  let open: { readonly key: string; readonly connections: Connections } | undefined;

  /** Connections that prove who we are and check who answers: other ones where either changed. */
  function connectionsFor({ trust, serverName, client }: Access): Connections {
    const parts = [trust, serverName, client?.certificate, client?.key.reveal()];
    const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
    if (open?.key === key) return open.connections;
    // Requests under way end where they are; connections that wait are given up.
    open?.connections.close();
    open = { key, connections: connections({ againOnReset: true, ...defined({ trust, serverName, client }) }) };
    return open.connections;
  }

  const headersOf = ({ token }: Access, accept: string, isJson: boolean) => ({
    accept,
    'user-agent': userAgent,
    ...(token && { authorization: `Bearer ${token.reveal()}` }),
    ...(isJson && { 'content-type': 'application/json' }),
  });

  async function sendOnce(access: Access, call: ApiCall, request: ApiRequest): Promise<HttpAnswer> {
    const { method, path, accept = 'application/json', body, signal } = request;
    const client = httpClient({ runtime, requestTimeoutMs, send: connectionsFor(access).send });
    const outcome = await client({
      method,
      url: `${access.server}${path}`,
      headers: headersOf(access, accept, body !== undefined),
      ...defined({ signal }),
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!('answer' in outcome)) throw noAnswerError(call, outcome);
    return outcome.answer;
  }

  /** Access that was used, or, where that was refused, what takes its place. */
  async function access(call: ApiCall, again = false): Promise<Access> {
    try {
      return await source({ again });
    } catch (thrown) {
      const error = asCodedError(thrown);
      const { store, operation } = call;
      throw new CodedError(error.code, `${operation} at ${store}: ${error.message}`, {
        cause: error,
        fields: { ...error.fields, store, operation },
      });
    }
  }

  return {
    async ask(call, request) {
      const first = await access(call);
      let answer = await sendOnce(first, call, request);
      if (answer.status === 401) {
        const renewed = await access(call, true);
        if (renewed !== first) answer = await sendOnce(renewed, call, request);
      }
      if (answer.status < 200 || answer.status > 299) throw answerError(call, answer);
      const json = parseJson(answer.text);
      if (looksForeign(answer, json)) throw nonsenseError(call, answer, 'something that is no object of an API server');
      return { ...answer, json };
    },

    async stream({ path, accept = 'application/json' }, signal) {
      const begin = (given: Access) =>
        connectionsFor(given).send(
          { method: 'GET', url: `${given.server}${path}`, headers: headersOf(given, accept, false) },
          { signal, connected: () => {} },
        );
      const first = await source();
      const answer = await begin(first);
      if (answer.status !== 401) return answer;
      for await (const _ of answer.body);
      return begin(await source({ again: true }));
    },

    address: async () => (await source()).server,
  };
}
