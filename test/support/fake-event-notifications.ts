import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { base64url, makeSigner, type Signer } from './notifications.ts';

/**
 * IBM Cloud Event Notifications as its Python client and its documents describe it, strict: what
 * they do not have is refused. Beside it IAM, and what Secrets Manager has of it
 * (`/api/v2/notifications/registration`); every other path of Secrets Manager is answered by
 * another server. It shares nothing with the sender but the signer of the tests.
 */
export interface FakeEventNotifications {
  readonly url: string;
  /** Calls so far, in order: method and path. */
  readonly calls: readonly string[];
  /** What is there of each kind, as it was made. */
  readonly there: Readonly<Record<Kind, ReadonlyMap<string, Element>>>;
  /** The instance that Secrets Manager is connected to. */
  registered: string | undefined;
  /** So many lists of sources do not show a new source yet. */
  sourceLag: number;
  /** What befalls the next calls; asked for each of them. */
  fault: (call: string) => Fault | undefined;
  /** Notifications that fail in a row until a destination is paused. Default: none is. */
  pauseAfter: number;
  /** Statuses that destinations answered, in order; 0 for none. */
  readonly answers: readonly number[];
  /** Puts something there, as somebody with the console does; answers its id. */
  put(kind: Kind, element: Element): string;
  /** Takes it away. */
  remove(kind: Kind, id: string): void;
  /**
   * Secrets Manager tells of secrets: signed, to each destination that a subscription and a rule
   * lead to. One try, for what was sent three times within seconds. Answers how many were sent.
   */
  emit(eventType: string, ids?: readonly string[]): Promise<number>;
  close(): Promise<void>;
}

export type Kind = 'sources' | 'destinations' | 'topics' | 'subscriptions';
type Element = Readonly<Record<string, unknown>>;
/** The connection ends before or after the call took effect; or it is answered so. */
export type Fault = 'before' | 'after' | { readonly status: number; readonly message?: string };

interface Given {
  readonly instance: string;
  /** CRN of the Secrets Manager instance. */
  readonly source: string;
  /** API keys and trusted profiles that IAM knows, and the role of each. */
  readonly keys: Readonly<Record<string, 'reader' | 'manager'>>;
  /** Where all other paths of Secrets Manager are answered. */
  readonly secretsManager?: string;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Request {
  readonly method: string;
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly type: string;
  readonly body: Buffer;
  readonly bearer: string;
}
interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

/** What a compute resource is known by to IAM. */
export const machineToken = 'token-of-the-machine';

const testId = '12345678-9012-3456-7890-123456789012';

/** A key pair takes long to make: ids, and so these, are the same in each fake. */
const signers = new Map<string, Signer>();
const signerOf = (destination: string): Signer => {
  const signer = signers.get(destination) ?? makeSigner();
  signers.set(destination, signer);
  return signer;
};

export async function startFakeEventNotifications(given: Given): Promise<FakeEventNotifications> {
  const guid = given.instance.split(':')[7];
  const there: Record<Kind, Map<string, Element>> = {
    ...{ sources: new Map(), destinations: new Map(), topics: new Map(), subscriptions: new Map() },
  };
  const calls: string[] = [];
  const answers: number[] = [];
  const fates = new Map<string, { readonly status: string; readonly details: object }>();
  const failures = new Map<string, number>();
  let made = 0;
  const newId = () => {
    made += 1;
    return `${String(made).padStart(8, '0')}-0000-4000-8000-00000000000e`;
  };
  const stamp = () => ({ updated_at: '2026-11-30T08:00:00Z' });
  const has = (kind: Kind, id: unknown) => {
    const found = there[kind].get(String(id));
    if (found === undefined) throw new Refusal(404, `${kind}: no such id`);
    return found;
  };

  const put = (kind: Kind, element: Element) => {
    const id = typeof element.id === 'string' ? element.id : newId();
    there[kind].set(id, { description: '', ...stamp(), ...element, id });
    return id;
  };

  /** Sends a payload to a destination; answers the status, 0 without one. */
  async function post(destination: string, data: object, isSigned = true): Promise<number> {
    const { config } = has('destinations', destination) as { readonly config: { readonly params: { url: string } } };
    const id = newId();
    const notification = { id, notification_id: id, source: given.source, ibmensourceid: given.source, data };
    try {
      const { status } = await fetch(config.params.url, {
        method: 'POST',
        body: isSigned
          ? signerOf(destination).sign({ data: notification }, { alg: 'RS256', typ: 'JWT' })
          : JSON.stringify(notification),
      });
      answers.push(status);
      return status;
    } catch {
      answers.push(0);
      return 0;
    }
  }

  const fake: FakeEventNotifications = {
    url: '',
    ...{ calls, there, answers, put, registered: undefined, sourceLag: 0, pauseAfter: Number.POSITIVE_INFINITY },
    fault: () => undefined,
    remove: (kind, id) => void there[kind].delete(id),

    async emit(eventType, ids = [testId]) {
      if (fake.registered !== given.instance) return 0;
      const type = `com.ibm.cloud.secrets-manager.${eventType}`;
      const data = {
        ...{ event_type: eventType, secret_type: eventType === 'test_event' ? 'test_secret_type' : 'imported_cert' },
        ...{ source_service: 'SecretsManager', source_instance_crn: given.source },
        secrets: ids.map((secret_id) => ({ secret_id, secret_name: 'shop', event_time: new Date().toISOString() })),
      };
      let sent = 0;
      for (const { topic_id, destination_id, attributes } of there.subscriptions.values()) {
        const destination = String(destination_id);
        const isPaused = (failures.get(destination) ?? 0) >= fake.pauseAfter;
        if (isPaused || !passes(has('topics', topic_id), given.source, type)) continue;
        sent += 1;
        const { signing_enabled: isSigned } = attributes as { readonly signing_enabled?: boolean };
        const status = await post(destination, data, isSigned === true);
        const isTaken = status >= 200 && status <= 299;
        failures.set(destination, isTaken ? 0 : (failures.get(destination) ?? 0) + 1);
      }
      return sent;
    },

    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  /** What Secrets Manager itself has of it. */
  async function registration({ method, path, body, type }: Request): Promise<Answer> {
    if (path.at(-1) === 'test' && method === 'GET') {
      if (fake.registered === undefined) throw new Refusal(404, 'not registered');
      await fake.emit('test_event');
      return { status: 204 };
    }
    if (path.length !== 4) throw new Refusal(404, 'no such path');
    if (method === 'GET') {
      if (fake.registered === undefined) throw new Refusal(404, 'not registered');
      return { status: 200, body: { event_notifications_instance_crn: fake.registered } };
    }
    if (method === 'DELETE') {
      fake.registered = undefined;
      return { status: 204 };
    }
    const asked = json(
      type,
      body,
      ['event_notifications_instance_crn', 'event_notifications_source_name'],
      ['event_notifications_source_description'],
    );
    if (fake.registered !== undefined) throw new Refusal(409, 'already registered');
    fake.registered = String(asked.event_notifications_instance_crn);
    if (fake.registered === given.instance)
      put('sources', {
        ...{ id: given.source, name: asked.event_notifications_source_name, type: 'IBM Cloud Services' },
        ...{ enabled: true, topic_count: 0 },
      });
    return { status: 201, body: { event_notifications_instance_crn: fake.registered } };
  }

  function page(kind: Kind, query: URLSearchParams): Answer {
    for (const name of query.keys())
      if (!['limit', 'offset', 'search'].includes(name)) throw new Refusal(400, `no such parameter: ${name}`);
    const [limit, offset] = [Number(query.get('limit') ?? 10), Number(query.get('offset') ?? 0)];
    if (!(limit >= 1 && limit <= 100) || !(offset >= 0)) throw new Refusal(400, 'limit is 1 to 100');
    const search = query.get('search') ?? '';
    const lagging = kind === 'sources' && fake.sourceLag > 0;
    if (lagging) fake.sourceLag -= 1;
    const found = [...there[kind].values()]
      .filter(({ id, name }) => !(lagging && id === given.source) && String(name).includes(search))
      .map((one) => listed(kind, one));
    const href = (at: number) => ({
      href: `${fake.url}/event-notifications/v1/instances/${guid}/${kind}?limit=${limit}&offset=${at}`,
    });
    return {
      status: 200,
      body: {
        ...{ total_count: found.length, offset, limit, [kind]: found.slice(offset, offset + limit), first: href(0) },
        ...(offset > 0 && { previous: href(Math.max(0, offset - limit)) }),
        ...(offset + limit < found.length && { next: href(offset + limit) }),
      },
    };
  }

  /** What a list says of each; the client demands all of it. */
  function listed(kind: Kind, one: Element): Element {
    const { id, name, description, updated_at, type } = one;
    const said = { id, name, description, updated_at };
    const subscribed = [...there.subscriptions.values()];
    if (kind === 'destinations') {
      const of = subscribed.filter(({ destination_id }) => destination_id === id);
      return { ...said, type, subscription_count: of.length, subscription_names: of.map((sub) => sub.name) };
    }
    if (kind === 'topics') {
      const sources = one.sources as readonly Element[];
      const count = subscribed.filter(({ topic_id }) => topic_id === id).length;
      return {
        ...{ id, name, description, source_count: sources.length, subscription_count: count },
        sources_names: sources.map((source) => there.sources.get(String(source.id))?.name ?? ''),
      };
    }
    if (kind === 'subscriptions') {
      const { destination_id, topic_id } = one;
      return { ...said, destination_id, topic_id, destination_type: 'webhook' };
    }
    return { ...said, type, enabled: one.enabled, topic_count: 0 };
  }

  /** The whole of one. */
  function whole(kind: Kind, one: Element): Element {
    if (kind === 'destinations') return { ...listed(kind, one), config: one.config };
    if (kind === 'topics') {
      const subscriptions = [...there.subscriptions.values()].filter(({ topic_id }) => topic_id === one.id);
      const { sources_names: _, ...said } = listed(kind, one);
      return {
        ...said,
        updated_at: one.updated_at,
        sources: one.sources,
        subscriptions: subscriptions.map((sub) => listed('subscriptions', sub)),
      };
    }
    if (kind === 'subscriptions') {
      const { destination_id, topic_id, attributes } = one;
      return {
        ...listed(kind, one),
        destination_name: there.destinations.get(String(destination_id))?.name,
        topic_name: there.topics.get(String(topic_id))?.name,
        attributes: { add_notification_payload: false, ...(attributes as object) },
      };
    }
    return listed(kind, one);
  }

  function create(kind: Kind, { type, body }: Request): Answer {
    if (kind === 'destinations') {
      const { config, ...parts } = form(type, body);
      const id = put(kind, { ...parts, config: webhookConfig(config) });
      return { status: 201, body: { ...whole(kind, has(kind, id)), created_at: stamp().updated_at } };
    }
    if (kind === 'topics') {
      const asked = json(type, body, ['name'], ['description', 'sources']);
      const sources = (Array.isArray(asked.sources) ? asked.sources : []).map((source: Element) => {
        only(source, ['id', 'rules'], []);
        if (!there.sources.has(String(source.id))) throw new Refusal(400, 'no such source');
        const rules = (source.rules as readonly Element[]).map((rule) => {
          only(rule, ['enabled'], ['event_type_filter', 'notification_filter', 'event_schedule_filter']);
          return { id: newId(), ...stamp(), ...rule };
        });
        return { id: source.id, name: there.sources.get(String(source.id))?.name, rules };
      });
      const id = put(kind, { name: asked.name, description: asked.description ?? '', sources });
      const { name, description } = has(kind, id);
      return { status: 201, body: { id, name, description, created_at: stamp().updated_at } };
    }
    if (kind === 'subscriptions') {
      const asked = json(type, body, ['name', 'destination_id', 'topic_id'], ['description', 'attributes']);
      has('destinations', asked.destination_id);
      has('topics', asked.topic_id);
      const attributes = (asked.attributes ?? {}) as Element;
      only(attributes, [], ['signing_enabled', 'template_id_notification']);
      const id = put(kind, { ...asked, attributes: { signing_enabled: false, ...attributes } });
      return { status: 201, body: whole(kind, has(kind, id)) };
    }
    throw new Refusal(405, 'sources are made by what they are');
  }

  async function route(request: Request): Promise<Answer> {
    const { method, path, query, bearer, body } = request;
    if (path.join('/') === 'identity/token') {
      const form = new URLSearchParams(body.toString());
      const isOfMachine = form.get('grant_type')?.endsWith(':cr-token') && form.get('cr_token') === machineToken;
      const key =
        form.get('apikey') ?? (isOfMachine ? (form.get('profile_name') ?? form.get('profile_id')) : null) ?? '';
      if (!Object.hasOwn(given.keys, key))
        return { status: 400, body: { errorCode: 'BXNIM0415E', errorMessage: 'no' } };
      return { status: 200, body: { access_token: tokenOf(key), token_type: 'Bearer', expires_in: 3_600 } };
    }
    if (path.slice(0, 3).join('/') === 'api/v2/notifications') return registration(request);
    const [root, version, instances, instance, kind = '', id, action] = path;
    if (root !== 'event-notifications' || version !== 'v1' || instances !== 'instances')
      throw new Refusal(404, 'no such path');
    const role = Object.entries(given.keys).find(([key]) => tokenOf(key) === bearer)?.[1];
    if (role === undefined) throw new Refusal(401, 'Unauthorized');
    if (instance !== guid) throw new Refusal(404, 'no such instance');
    if (method !== 'GET' && role !== 'manager') throw new Refusal(403, 'not with this role');
    if (kind === 'notifications' && id !== undefined && method === 'GET') {
      const fate = fates.get(id);
      if (fate === undefined) throw new Refusal(404, 'no such notification');
      return { status: 200, body: fate };
    }
    if (!Object.hasOwn(there, kind)) throw new Refusal(404, 'no such path');
    const of = kind as Kind;
    if (id === undefined) {
      if (method === 'GET') return page(of, query);
      if (method === 'POST') return create(of, request);
      throw new Refusal(405, 'no such method');
    }
    if (of === 'destinations' && action === 'public_key' && method === 'GET') {
      has(of, id);
      return { status: 200, body: { public_key: signerOf(id).publicKeyPem } };
    }
    if (of === 'destinations' && action === 'test' && method === 'POST') {
      if (body.length > 0) throw new Refusal(400, 'a test has no body');
      const notification = newId();
      const status = await post(id, { test: 'of the destination' });
      fates.set(notification, { status: 'done', details: { status_code: status, status_message: 'sent' } });
      return { status: 202, body: { status: 'sent', notification_id: notification, destination_type: 'webhook' } };
    }
    if (action !== undefined) throw new Refusal(404, 'no such path');
    const one = has(of, id);
    if (method === 'GET') return { status: 200, body: whole(of, one) };
    if (method === 'DELETE') {
      there[of].delete(id);
      return { status: 204 };
    }
    throw new Refusal(405, 'no such method');
  }

  async function answer(incoming: IncomingMessage, response: ServerResponse) {
    const url = new URL(incoming.url ?? '', 'http://localhost');
    const call = `${incoming.method} ${url.pathname}`;
    const body = await buffer(incoming);
    if (given.secretsManager !== undefined && /^\/api\/v2\/(?!notifications\/)/.test(url.pathname))
      return forward(`${given.secretsManager}${incoming.url}`, incoming, body, response);
    if (url.pathname !== '/identity/token') calls.push(call);
    const fault = fake.fault(call);
    if (fault === 'before') return incoming.socket.destroy();
    const write = ({ status, body: said }: Answer) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(said === undefined ? undefined : JSON.stringify(said));
    };
    const refuse = (status: number, message: string) =>
      write({
        status,
        body: { trace: 't', status_code: status, errors: [{ code: 'refused', message, more_info: '' }] },
      });
    if (typeof fault === 'object') return refuse(fault.status, fault.message ?? 'refused');
    try {
      const done = await route({
        ...{ method: incoming.method ?? '', path: url.pathname.slice(1).split('/').map(decodeURIComponent) },
        ...{ query: url.searchParams, type: incoming.headers['content-type'] ?? '', body },
        bearer: incoming.headers.authorization?.replace(/^Bearer /, '') ?? '',
      });
      if (fault === 'after') incoming.socket.destroy();
      else write(done);
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      refuse(thrown.status, thrown.message);
    }
    return undefined;
  }

  const server = createServer((incoming, response) => void answer(incoming, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(fake, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/** IBM's clients read the times in it. */
function tokenOf(key: string): string {
  const parts = [{ alg: 'HS256', typ: 'JWT' }, { sub: key, iat: 1_767_225_600, exp: 4_102_444_800 }, 'signature'];
  return parts.map(base64url).join('.');
}

async function forward(url: string, { method = '', headers }: IncomingMessage, body: Buffer, response: ServerResponse) {
  const { authorization = '', 'content-type': type = '' } = headers;
  const answer = await fetch(url, {
    method,
    headers: { authorization, ...(type !== '' && { 'content-type': type }) },
    ...(body.length > 0 && { body: new Uint8Array(body) }),
  });
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
  response.end(Buffer.from(await answer.arrayBuffer()));
}

/** All of these members, some of those, and nothing else. */
function only(value: unknown, demanded: readonly string[], allowed: readonly string[]): Element {
  if (typeof value !== 'object' || value === null) throw new Refusal(400, 'an object is wanted');
  for (const name of demanded) if (!Object.hasOwn(value, name)) throw new Refusal(400, `${name} is missing`);
  for (const name of Object.keys(value))
    if (!demanded.includes(name) && !allowed.includes(name)) throw new Refusal(400, `${name} is not known`);
  return value as Element;
}

function json(type: string, body: Buffer, demanded: readonly string[], allowed: readonly string[]): Element {
  if (type !== 'application/json') throw new Refusal(415, 'application/json is wanted');
  return only(JSON.parse(body.toString()), demanded, allowed);
}

/** The parts of `multipart/form-data` (RFC 7578), each with its type. */
function form(type: string, body: Buffer) {
  const boundary = /^multipart\/form-data; ?boundary="?([^";]+)"?$/.exec(type)?.[1];
  if (boundary === undefined) throw new Refusal(415, 'multipart/form-data is wanted');
  const pieces = body.toString().split(`--${boundary}`);
  if (pieces.shift() !== '' || pieces.pop()?.trim() !== '--') throw new Refusal(400, 'a form that does not end');
  const parts = new Map<string, string>();
  for (const piece of pieces) {
    const [, head = '', value = ''] = /^\r\n([\s\S]*?)\r\n\r\n([\s\S]*)\r\n$/.exec(piece) ?? [];
    const name = /content-disposition: form-data; name="([^"]+)"/i.exec(head)?.[1] ?? '';
    const wanted = name === 'config' ? 'application/json' : 'text/plain';
    if (!new RegExp(`content-type: ${wanted}`, 'i').test(head)) throw new Refusal(400, `${name} is not ${wanted}`);
    parts.set(name, value);
  }
  const read = only(Object.fromEntries(parts), ['name', 'type', 'config'], ['description', 'collect_failed_events']);
  if (read.type !== 'webhook') throw new Refusal(400, 'webhooks alone are played here');
  return {
    name: read.name,
    type: read.type,
    description: read.description ?? '',
    config: JSON.parse(String(read.config)),
  };
}

function webhookConfig(config: unknown): Element {
  const { params } = only(config, ['params'], []);
  const { url, verb } = only(params, ['url', 'verb'], ['custom_headers', 'sensitive_headers']);
  if (!URL.canParse(String(url)) || !/^(get|post|put|patch)$/i.test(String(verb)))
    throw new Refusal(400, 'url or verb');
  return config as Element;
}

/** Whether an event of this type passes a topic: by any of its rules that is switched on. */
function passes({ sources }: Element, source: string, type: string): boolean {
  const rules = (sources as readonly { id: string; rules: readonly Element[] }[])
    .filter(({ id }) => id === source)
    .flatMap((one) => one.rules);
  return rules.some(({ enabled, event_type_filter: filter = '$.*' }) => {
    const named = /^\$\.type == '([\w.:-]+)'$/.exec(String(filter))?.[1];
    return enabled === true && (filter === '$.*' || named === type);
  });
}
