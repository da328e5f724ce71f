import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it arrived. */
export interface FakeRequest {
  readonly method: string;
  /** After `/v1/`, decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly token: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface FakeAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Version {
  readonly data: Record<string, unknown>;
  readonly created_time: string;
  deletion_time: string;
  destroyed: boolean;
}

interface Secret {
  versions: Version[];
  custom: Record<string, string> | null;
}

/**
 * A Vault Community as it was seen to answer: where it differs from OpenBao it is this one. It
 * lists without pages and without metadata, passes over namespaces and `metadata_cas`, and has no
 * index. For faults that a real server does not make when it is asked to, too.
 */
export interface FakeVault {
  readonly url: string;
  readonly requests: readonly string[];
  readonly secrets: Map<string, Secret>;
  /** Tokens that are good, with the seconds that they live. */
  readonly tokens: Map<string, number>;
  /** Answers in place of the server; `after`: once the request has taken effect. */
  before: (request: FakeRequest) => FakeAnswer | undefined;
  after: (request: FakeRequest, answer: FakeAnswer) => FakeAnswer;
  /** What `sys/health` says beside the usual. */
  health: Record<string, unknown>;
  uuid: string;
  close(): Promise<void>;
}

const notThere: FakeAnswer = { status: 404, body: { errors: [] } };
const denied: FakeAnswer = { status: 403, body: { errors: ['permission denied'] } };

export async function startFakeVault(options: { readonly version?: 1 | 2 } = {}): Promise<FakeVault> {
  const { version = 2 } = options;
  const requests: string[] = [];
  const secrets = new Map<string, Secret>();
  const tokens = new Map([['hvs.root', 0]]);

  const metadataOf = ({ versions, custom }: Secret) => ({
    current_version: versions.length,
    custom_metadata: custom,
    versions: Object.fromEntries(
      versions.map(({ data: _data, ...state }, index) => [String(index + 1), state] as const),
    ),
  });

  function list(folder: string): FakeAnswer {
    const names = new Set(
      [...secrets.keys()].flatMap((path) => {
        if (!path.startsWith(folder)) return [];
        const [first = '', ...rest] = path.slice(folder.length).split('/');
        return [rest.length > 0 ? `${first}/` : first];
      }),
    );
    const keys = [...names].sort();
    return keys.length === 0 ? notThere : { status: 200, body: { data: { keys } } };
  }

  function onData(method: string, path: string, body: FakeRequest['body']): FakeAnswer {
    const secret = secrets.get(path);
    if (method === 'GET') {
      const last = secret?.versions.at(-1);
      if (secret === undefined || last === undefined) return notThere;
      const { data, ...state } = last;
      const gone = last.destroyed || (last.deletion_time !== '' && Date.parse(last.deletion_time) <= Date.now());
      const metadata = { version: secret.versions.length, custom_metadata: secret.custom, ...state };
      return { status: gone ? 404 : 200, body: { data: { data: gone ? null : data, metadata } } };
    }
    const { cas } = (body.options ?? {}) as { cas?: number };
    const made = secret ?? { versions: [], custom: null };
    if (cas !== undefined && cas !== made.versions.length)
      return { status: 400, body: { errors: ['check-and-set parameter did not match the current version'] } };
    const fresh = {
      data: body.data as Record<string, unknown>,
      created_time: new Date().toISOString(),
      deletion_time: '',
      destroyed: false,
    };
    made.versions.push(fresh);
    secrets.set(path, made);
    return { status: 200, body: { data: { version: made.versions.length, created_time: fresh.created_time } } };
  }

  function onMetadata({ method, query, body }: FakeRequest, path: string): FakeAnswer {
    if (method === 'GET' && query.get('list') === 'true') return list(path);
    const secret = secrets.get(path);
    if (method === 'DELETE') {
      secrets.delete(path);
      return { status: 204 };
    }
    if (method === 'GET') return secret === undefined ? notThere : { status: 200, body: { data: metadataOf(secret) } };
    const given = (body.custom_metadata ?? {}) as Record<string, string | null>;
    const wrong = Object.values(given).find(
      (value) => value !== null && !/^[\x20-\x7e\p{L}\p{N}\p{P}\p{S}]{1,512}$/u.test(value),
    );
    if (wrong !== undefined) return { status: 400, body: { errors: ['custom_metadata validation failed'] } };
    if (method === 'PATCH') {
      if (secret === undefined) return notThere;
      const merged = Object.entries({ ...secret.custom, ...given }).filter(
        (entry): entry is [string, string] => entry[1] !== null,
      );
      secret.custom = Object.fromEntries(merged);
      return { status: 204 };
    }
    secrets.set(path, { versions: secret?.versions ?? [], custom: given as Record<string, string> });
    return { status: 204 };
  }

  function onVersion1({ method, query, body }: FakeRequest, path: string): FakeAnswer {
    if (method === 'GET' && query.get('list') === 'true') return list(path);
    const secret = secrets.get(path);
    if (method === 'GET')
      return secret === undefined ? notThere : { status: 200, body: { data: secret.versions.at(-1)?.data } };
    if (method === 'DELETE') secrets.delete(path);
    else
      secrets.set(path, {
        versions: [{ data: { ...body }, created_time: '', deletion_time: '', destroyed: false }],
        custom: null,
      });
    return { status: 204 };
  }

  function answerTo(request: FakeRequest): FakeAnswer {
    const { method, path, token, body } = request;
    if (path === 'sys/health') return { status: 200, body: fake.health };
    if (path.startsWith('auth/') && path.endsWith('/login')) {
      const fresh = `hvs.${randomUUID()}`;
      tokens.set(fresh, 3600);
      return { status: 200, body: { auth: { client_token: fresh, lease_duration: 3600, renewable: true } } };
    }
    const lives = tokens.get(token);
    if (lives === undefined) return { status: 403, body: { errors: ['permission denied', 'invalid token'] } };
    if (path === 'auth/token/lookup-self') return { status: 200, body: { data: { ttl: lives, renewable: lives > 0 } } };
    if (path === 'auth/token/renew-self')
      return { status: 200, body: { auth: { client_token: token, lease_duration: lives, renewable: true } } };
    if (path === 'auth/token/revoke-self') {
      tokens.delete(token);
      return { status: 204 };
    }
    if (path === 'sys/internal/ui/mounts/secret')
      return { status: 200, body: { data: { type: 'kv', uuid: fake.uuid, options: { version: String(version) } } } };
    if (path.startsWith('sys/internal/ui/mounts/')) return denied;
    if (path === 'sys/capabilities-self') {
      const paths = body.paths as string[];
      return { status: 200, body: { data: Object.fromEntries(paths.map((one) => [one, ['root']])) } };
    }
    const [mount, area = '', ...rest] = path.split('/');
    if (mount !== 'secret')
      return { status: 404, body: { errors: [`no handler for route "${path}". route entry not found.`] } };
    if (version === 1) return onVersion1(request, [area, ...rest].join('/'));
    const below = rest.join('/');
    if (area === 'data') return onData(method, below, body);
    if (area === 'metadata') return onMetadata(request, below);
    if (area === 'subkeys') {
      const data = secrets.get(below)?.versions.at(-1)?.data;
      return data === undefined
        ? notThere
        : {
            status: 200,
            body: { data: { subkeys: Object.fromEntries(Object.keys(data).map((name) => [name, null])) } },
          };
    }
    return { status: 404, body: { errors: null, warnings: ['Invalid path for a versioned K/V secrets engine.'] } };
  }

  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const url = new URL(incoming.url ?? '', 'http://fake');
    const text = Buffer.concat(chunks).toString();
    const request: FakeRequest = {
      method: incoming.method ?? '',
      path: decodeURIComponent(url.pathname.replace(/^\/v1\//, '')),
      query: url.searchParams,
      headers: incoming.headers,
      token: String(incoming.headers['x-vault-token'] ?? ''),
      body: text === '' ? {} : JSON.parse(text),
    };
    requests.push(`${request.method} ${request.path}${request.query.get('list') === 'true' ? ' (list)' : ''}`);
    const { status, body, headers = {} } = fake.before(request) ?? fake.after(request, answerTo(request));
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const fake: FakeVault = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    secrets,
    tokens,
    before: () => undefined,
    after: (_request, answer) => answer,
    health: {
      initialized: true,
      sealed: false,
      standby: false,
      enterprise: false,
      version: '1.21.4',
      server_time_utc: Math.floor(Date.now() / 1000),
    },
    uuid: randomUUID(),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return fake;
}
