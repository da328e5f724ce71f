import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A Key Protect service, with the IAM endpoint that its tokens come from, as IBM documents them:
 * wrap, unwrap, rewrap and rotate of root keys with their versions and states, additional
 * authenticated data, and errors in its shape. IBM's own client agrees with it
 * (test/peers/key-protect.test.ts). Where IBM does not say what happens, it authenticates every bit
 * of a wrapped text.
 */
export interface KeyProtectServer {
  /** Of the API, and of IAM. */
  readonly url: string;
  /** The GUID of its one instance, and the API key that may use it. */
  readonly instance: string;
  readonly apiKey: string;
  /** Actions so far, by name. */
  readonly actions: Readonly<Record<string, number>>;
  createRootKey(): string;
  rotate(key: string): void;
  /** 1 active, 2 suspended, 3 deactivated, 5 destroyed. */
  setState(key: string, state: number): void;
  /** Tokens given so far are accepted no longer. */
  endTokens(): void;
  close(): Promise<void>;
}

interface StoredKey {
  state: number;
  /** The newest last. */
  readonly versions: { readonly id: string; readonly material: Buffer }[];
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

interface Wrapped {
  readonly ciphertext: string;
  readonly iv: string;
  readonly version: string;
  readonly handle: string;
  readonly keyVersion: string;
}

const refused = (status: number, code: string, message: string): Answer => ({
  status,
  body: {
    metadata: { collectionType: 'application/vnd.ibm.kms.error+json', collectionTotal: 1 },
    resources: [
      {
        errorMsg: message,
        reasons: [{ code, message, status, moreInfo: 'https://cloud.ibm.com/apidocs/key-protect' }],
      },
    ],
  },
});
const badField = (field: string) => refused(400, 'INVALID_FIELD_ERR', `Bad Request: the field ${field} is not valid`);
const unprocessable = refused(422, 'UNPROCESSABLE_CIPHERTEXT_ERR', 'The ciphertext was not wrapped by this key.');

const newVersion = () => ({ id: randomUUID(), material: randomBytes(32) });
const isText = (value: unknown): value is string => typeof value === 'string';
const isBase64 = (value: unknown): value is string =>
  isText(value) && value !== '' && Buffer.from(value, 'base64').toString('base64') === value;

function boundTo(wrapped: Omit<Wrapped, 'ciphertext' | 'iv'>, aad: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify([wrapped.version, wrapped.handle, wrapped.keyVersion, ...aad]));
}

function wrap(
  handle: string,
  key: StoredKey,
  plaintext: Buffer,
  aad: readonly string[],
): { text: string; version: string } {
  const newest = key.versions.at(-1) ?? newVersion();
  const head = { version: '4.0.0', handle, keyVersion: newest.id };
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', newest.material, iv).setAAD(boundTo(head, aad));
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  const wrapped: Wrapped = { ciphertext: sealed.toString('base64'), iv: iv.toString('base64'), ...head };
  return { text: Buffer.from(JSON.stringify(wrapped)).toString('base64'), version: newest.id };
}

function unwrap(
  handle: string,
  key: StoredKey,
  text: string,
  aad: readonly string[],
): { plaintext: Buffer; version: string } | undefined {
  try {
    const json = Buffer.from(text, 'base64').toString();
    const { ciphertext, iv, version, handle: of, keyVersion } = JSON.parse(json) as Wrapped;
    const head = { version, handle: of, keyVersion };
    const by = key.versions.find(({ id }) => id === keyVersion);
    if (by === undefined || of !== handle || ![ciphertext, iv].every(isBase64)) return undefined;
    if (JSON.stringify({ ciphertext, iv, ...head }) !== json) return undefined;
    const bytes = Buffer.from(ciphertext, 'base64');
    const opening = createDecipheriv('aes-256-gcm', by.material, Buffer.from(iv, 'base64'), { authTagLength: 16 });
    opening.setAAD(boundTo(head, aad)).setAuthTag(bytes.subarray(-16));
    return { plaintext: Buffer.concat([opening.update(bytes.subarray(0, -16)), opening.final()]), version: keyVersion };
  } catch {
    return undefined;
  }
}

type Action = (handle: string, key: StoredKey, body: Record<string, unknown>, aad: string[]) => Answer;

const version = (id: string) => ({ id, creationDate: '2026-01-01T00:00:00Z' });

const actions: Readonly<Record<string, { readonly states: readonly number[]; readonly act: Action }>> = {
  wrap: {
    states: [1],
    act(handle, key, { plaintext }, aad) {
      if (plaintext !== undefined && !isBase64(plaintext)) return badField('plaintext');
      const bytes = plaintext === undefined ? randomBytes(32) : Buffer.from(plaintext, 'base64');
      const { text, version: by } = wrap(handle, key, bytes, aad);
      const generated = plaintext === undefined ? { plaintext: bytes.toString('base64') } : {};
      return { status: 200, body: { ...generated, ciphertext: text, keyVersion: version(by) } };
    },
  },
  unwrap: {
    states: [1, 3],
    act(handle, key, { ciphertext }, aad) {
      if (!isBase64(ciphertext)) return badField('ciphertext');
      const opened = unwrap(handle, key, ciphertext, aad);
      if (opened === undefined) return unprocessable;
      const plaintext = opened.plaintext.toString('base64');
      const answer = { plaintext, keyVersion: version(opened.version) };
      if (opened.version === key.versions.at(-1)?.id) return { status: 200, body: answer };
      const { text, version: by } = wrap(handle, key, opened.plaintext, aad);
      return { status: 200, body: { ...answer, ciphertext: text, rewrappedKeyVersion: version(by) } };
    },
  },
  rewrap: {
    states: [1, 3],
    act(handle, key, { ciphertext }, aad) {
      if (!isBase64(ciphertext)) return badField('ciphertext');
      const opened = unwrap(handle, key, ciphertext, aad);
      if (opened === undefined) return unprocessable;
      const { text, version: by } = wrap(handle, key, opened.plaintext, aad);
      const versions = { keyVersion: version(opened.version), rewrappedKeyVersion: version(by) };
      return { status: 200, body: { ciphertext: text, ...versions } };
    },
  },
  rotate: {
    states: [1],
    act(_, key) {
      key.versions.push(newVersion());
      return { status: 204 };
    },
  },
};

export async function startKeyProtect(): Promise<KeyProtectServer> {
  const instance = randomUUID();
  const apiKey = `key-protect-${randomUUID()}`;
  const keys = new Map<string, StoredKey>();
  const tokens = new Set<string>();
  const counts: Record<string, number> = {};

  function exchange(form: URLSearchParams): Answer {
    if (form.get('grant_type') !== 'urn:ibm:params:oauth:grant-type:apikey' || form.get('apikey') !== apiKey)
      return { status: 400, body: { errorCode: 'BXNIM0415E', errorMessage: 'Provided API key could not be found.' } };
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = `${part({ alg: 'RS256' })}.${part({ iat: now, exp: now + 3600, jti: randomUUID() })}.c2lnbmF0dXJl`;
    tokens.add(token);
    const times = { expires_in: 3600, expiration: now + 3600 };
    return {
      status: 200,
      body: { access_token: token, refresh_token: 'not_supported', token_type: 'Bearer', ...times },
    };
  }

  function act(request: IncomingMessage, text: string): Answer {
    const { authorization = '', 'bluemix-instance': of, 'content-type': type = '' } = request.headers;
    const [, handle = '', name = ''] = /^\/api\/v2\/keys\/([^/]+)\/actions\/(\w+)$/.exec(request.url ?? '') ?? [];
    if (!tokens.has(authorization.replace(/^Bearer /, '')) || of !== instance)
      return refused(401, 'UNAUTHORIZED_ERR', 'Unauthorized: The user does not have access to the specified resource');
    const action = actions[name];
    const key = keys.get(handle);
    if (request.method !== 'POST' || action === undefined)
      return refused(405, 'METHOD_NOT_ALLOWED_ERR', 'Method Not Allowed');
    if (key === undefined) return refused(404, 'KEY_NOT_FOUND_ERR', 'Not Found: Key could not be found');
    if (key.state === 5) return refused(410, 'KEY_DELETED_ERR', 'Gone: Key has already been deleted');
    if (!action.states.includes(key.state))
      return refused(409, 'KEY_ACTION_INVALID_STATE_ERR', 'Conflict: Key is not in a valid state');
    if (!type.startsWith('application/vnd.ibm.kms.key_action') && type !== 'application/json')
      return refused(415, 'UNSUPPORTED_MEDIA_TYPE_ERR', 'Unsupported Media Type');
    let body: Record<string, unknown>;
    try {
      body = text === '' ? {} : JSON.parse(text);
    } catch {
      return refused(400, 'BAD_BODY_ERR', 'Bad Request: the body is not JSON');
    }
    const { aad = [] } = body;
    if (!Array.isArray(aad) || !aad.every((entry) => isText(entry) && entry.length <= 255)) return badField('aad');
    counts[name] = (counts[name] ?? 0) + 1;
    return action.act(handle, key, body, aad);
  }

  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const answer = request.url === '/identity/token' ? exchange(new URLSearchParams(text)) : act(request, text);
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    instance,
    apiKey,
    actions: counts,
    createRootKey() {
      const id = randomUUID();
      keys.set(id, { state: 1, versions: [newVersion()] });
      return id;
    },
    rotate: (key) => void keys.get(key)?.versions.push(newVersion()),
    setState(key, state) {
      const found = keys.get(key);
      if (found) found.state = state;
    },
    endTokens: () => tokens.clear(),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
