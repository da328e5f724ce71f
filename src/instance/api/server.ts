import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { asCodedError, CodedError } from '../../errors.ts';
import { listen, requestBounds } from '../../http/listen.ts';
import { isLoopback } from '../../http/loopback.ts';
import type { TlsFiles } from '../../http/tls-files.ts';
import { limits } from '../../limits.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { Table } from '../../table/table.ts';
import type { DeliveryPolicy } from '../notifications/delivery-attempts.ts';
import type { OrderingOptions } from '../orders/ordering.ts';
import type { InstanceOptions, Role } from '../tenants/instance.ts';
import type { LimitOptions } from '../tenants/instance-limits.ts';
import type { InstanceRegistry } from '../tenants/registry.ts';
import type { SnapshotOptions } from '../upkeep/snapshot-folder.ts';
import { type AuditNotes, audited } from './audit.ts';
import { healthAnswer } from './health.ts';
import { type Answer, errorAnswer, parseJson, readBody, refusalHeaders, send } from './http.ts';
import { createIam, type Iam } from './iam.ts';
import { findRoutes, type Tenant } from './routes.ts';
import { secretsErrorAnswer } from './secrets-manager/answers.ts';
import { findSecretRoutes, isSecretsPath } from './secrets-manager/routes.ts';
import { type InstanceKeyring, type ServedInstances, servedInstances } from './served-instances.ts';

/** The APIs that an instance speaks, on the same certificates. */
export const instanceApis = ['certificate-manager', 'secrets-manager'] as const;
export type InstanceApi = (typeof instanceApis)[number];

export interface InstanceServerOptions {
  /** Default: all of them. */
  readonly apis?: readonly InstanceApi[];
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Takes the next free port if this one is taken. */
  readonly nextFree?: boolean;
  /** Ends TLS here, with what the files hold now; they are looked at again every few seconds. */
  readonly tls?: TlsFiles;
  /** Something in front of it ends TLS: plain HTTP is meant, also off loopback. */
  readonly behindProxy?: boolean;
  /** Instances that are served whatever the registry says, each with its own CRN. */
  readonly instances: readonly InstanceOptions[];
  /**
   * Where further instances are kept: what is added or revoked there is taken up while the server
   * runs.
   */
  readonly registry?: InstanceRegistry;
  /** Where they keep everything. */
  readonly table: Table;
  /** The keyring of an instance, with which contents and signing keys are sealed. */
  readonly keyringOf: (instanceCrn: string) => InstanceKeyring;
  readonly runtime: Runtime;
  readonly log: Log;
  /** For instances that do not say. */
  readonly limits?: LimitOptions;
  readonly delivery?: Partial<DeliveryPolicy>;
  /**
   * Connections that it holds at once; what is beyond is closed. Default:
   * `limits.instanceConnections`.
   */
  readonly maxConnections?: number;
  /**
   * Until when the headers of a request must have arrived, in milliseconds. Default:
   * `limits.requestHeadersMs`.
   */
  readonly requestHeadersMs?: number;
  /**
   * Who issues what is ordered; by default a certificate authority of this process, that nobody
   * trusts.
   */
  readonly ordering?: OrderingOptions;
  /** Where instances of the registry get a snapshot each day. Default: nowhere. */
  readonly snapshots?: SnapshotOptions;
}

export interface InstanceServer {
  /**
   * `http://<host>:<port>`, or `https:`: the API is below `/api`, the token endpoint is
   * `/identity/token`.
   */
  readonly url: string;
  readonly port: number;
  /** Ends deliveries and connections. The table stays open. */
  close(): Promise<void>;
}

/** How long requests under way may take when the server closes. */
const closeMs = 5_000;
/** How often the files of its own certificate are looked at. */
const tlsReloadMs = 5_000;

const roleRank = { reader: 1, writer: 2, manager: 3 } as const;

/** As for every listener, with more time for a whole request: an import over a slow line. */
function boundsOf({ requestHeadersMs = requestBounds.headersTimeout }: InstanceServerOptions) {
  return {
    headersTimeout: requestHeadersMs,
    requestTimeout: 60_000,
    connectionsCheckingInterval: requestHeadersMs / 2,
  };
}

/**
 * Serves the REST APIs of Certificate Manager and of Secrets Manager, and the one call of IBM IAM
 * that their clients need, for instances on a table. Where the real service is not known or this
 * one goes its own way, `src/instance/DIFFERENCES.md` says what was chosen. `GET /healthz` answers
 * without a token how it is. Throws `configuration_invalid`, and `instance_not_private` if it would
 * speak plain HTTP off loopback.
 */
export async function startInstanceServer(options: InstanceServerOptions): Promise<InstanceServer> {
  const { runtime, log, apis = instanceApis } = options;
  const speaks = (path: string): InstanceApi => (isSecretsPath(path) ? 'secrets-manager' : 'certificate-manager');
  checkPrivate(options);
  const served = await servedInstances(options);
  const iam = createIam(served.find, served.tokenKeyOf, runtime.now);
  const health = { tableWrites: 'ok' as 'ok' | 'failing' };
  const underWay = new Set<Promise<void>>();
  let closing = false;
  const server = serverFor(options.tls, boundsOf(options), (request, response) => {
    const handled = answerRequest(request).then(async (answer) => {
      if (response.destroyed) return;
      if (closing) response.setHeader('connection', 'close');
      const sent = once(response, 'close');
      send(response, answer);
      await sent;
    });
    // What can still fail here is the connection, and then there is nobody to tell.
    const watched = handled.catch(() => {}).finally(() => underWay.delete(watched));
    underWay.add(watched);
  });

  server.maxConnections = options.maxConnections ?? limits.instanceConnections;

  async function answerRequest(request: IncomingMessage): Promise<Answer> {
    const [path = '', ...query] = (request.url ?? '').split('?');
    try {
      if (path === '/identity/token') return await answerToken(iam, request, runtime, log);
      if (path === '/healthz') return await healthAnswer(request.method, { served, table: options.table, ...health });
      const api = speaks(path);
      if (!apis.includes(api))
        throw new CodedError('instance_no_route', `this server does not speak the API of ${api}`);
      const answerIt = api === 'secrets-manager' ? answerSecrets : answerApi;
      const answer = await answerIt({ request, path, query: query.join('?'), served, iam, log });
      if (request.method !== 'GET') health.tableWrites = 'ok';
      return answer;
    } catch (error) {
      const coded = asCodedError(error);
      if (request.method !== 'GET' && coded.code === 'table_unavailable') health.tableWrites = 'failing';
      const level = coded.entry.status >= 500 && coded.entry.status !== 501 ? 'error' : 'info';
      log(level, 'instance_request_refused', errorFields(coded));
      return isSecretsPath(path) ? secretsErrorAnswer(coded, runtime.newId()) : errorAnswer(coded);
    }
  }

  const { url, port } = await listen(server, options.host, options.port, { nextFree: options.nextFree ?? false }).catch(
    async (thrown: unknown) => {
      await served.close();
      throw thrown;
    },
  );
  const reloading = setInterval(() => options.tls?.reload(), tlsReloadMs).unref();
  return {
    url: options.tls === undefined ? url : url.replace(/^http:/, 'https:'),
    port,
    async close() {
      closing = true;
      clearInterval(reloading);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const impatient = setTimeout(() => server.closeAllConnections(), closeMs);
      await Promise.all(underWay);
      server.closeAllConnections();
      await closed;
      clearTimeout(impatient);
      await served.close();
    },
  };
}

function serverFor(tls: TlsFiles | undefined, options: ServerOptions, listener: RequestListener): Server | TlsServer {
  if (tls === undefined) return createServer(options, listener);
  const server = createTlsServer({ ...options, ...tls.current(), minVersion: 'TLSv1.2' }, listener);
  tls.onChange((content) => server.setSecureContext({ ...content, minVersion: 'TLSv1.2' }));
  return server;
}

/** Private keys and API keys must not travel in the clear by mistake. */
function checkPrivate({ host, tls, behindProxy }: InstanceServerOptions): void {
  if (isLoopback(host) || tls !== undefined || behindProxy === true) return;
  throw new CodedError('instance_not_private', `the instance server would speak plain HTTP on ${host}`, {
    fields: { host },
  });
}

interface ApiRequest {
  readonly request: IncomingMessage;
  readonly path: string;
  /** Raw, without the question mark. */
  readonly query: string;
  readonly served: ServedInstances;
  readonly iam: Iam;
  readonly log: Log;
}

async function answerApi(context: ApiRequest): Promise<Answer> {
  const { request, path, query, served, iam, log } = context;
  const destination = findRoutes(path);
  if (destination === undefined) throw new CodedError('instance_no_route', 'this path leads to no operation');
  const route = destination.routes.find(({ method }) => method === request.method);
  if (route === undefined) {
    const allow = destination.routes.map(({ method }) => method).join(', ');
    const answer = errorAnswer(new CodedError('instance_method', `${request.method} is not an operation of this path`));
    return { ...answer, headers: { allow } };
  }
  const { instanceCrn, id } = destination;
  const about = { ...route, operation: route.name, instance: instanceCrn, id, address: request.socket.remoteAddress };
  return audited(log, about, async (notes) => {
    admit(route, instanceCrn, iam, request.headers.authorization, notes);
    const tenant = requireTenant(served, instanceCrn);
    const body = async () => {
      notes.body = parseJson(await readBody(request, limits.instanceBodyBytes));
      return notes.body;
    };
    return route.run({ tenant, id, query, body });
  }).then((body) => ({ status: 200, body }));
}

/** The media types of what a PATCH of Secrets Manager has (RFC 7396), as its clients send it. */
const mergePatch = /^application\/merge-patch\+json\b/i;

async function answerSecrets(context: ApiRequest): Promise<Answer> {
  const { request, path, query, served, iam, log } = context;
  const destination = findSecretRoutes(path);
  if (destination === undefined) throw new CodedError('instance_no_route', 'this path leads to no operation');
  const route = destination.routes.find(({ method }) => method === request.method);
  if (route === undefined) {
    const allow = destination.routes.map(({ method }) => method).join(', ');
    const answer = secretsErrorAnswer(
      new CodedError('instance_method', `${request.method} is not an operation of this path`),
      '',
    );
    return { ...answer, headers: { ...answer.headers, allow } };
  }
  const { named, guid } = destination;
  const roles = iam.rolesOf(request.headers.authorization);
  const instanceCrn = instanceMeant(served, roles, guid);
  const action = `secrets-manager.${route.name.replaceAll('_', '-')}`;
  const about = { ...route, action, operation: route.name, instance: instanceCrn ?? '', id: named[0] ?? '' };
  return audited(log, { ...about, address: request.socket.remoteAddress }, async (notes) => {
    const by = admit(route, instanceCrn ?? '', iam, request.headers.authorization, notes);
    const tenant = requireTenant(served, instanceCrn);
    const body = async () => {
      const mediaType = request.headers['content-type'] ?? '';
      if (request.method === 'PATCH' && route.target !== undefined && !mergePatch.test(mediaType))
        throw new CodedError(
          'instance_media_type',
          'a PATCH of a secret has the media type application/merge-patch+json',
          { fields: { wanted: 'application/merge-patch+json' } },
        );
      notes.body = parseJson(await readBody(request, limits.instanceBodyBytes));
      return notes.body;
    };
    return route.run({ secrets: tenant.secrets, named, by, path, query: parsedQuery(query), body });
  }).then((body) => ({ status: route.status, body }));
}

/**
 * The instance of a request that names it by its GUID, or names none: then it is the only one in
 * which its API key has a role. Throws `instance_request_invalid` where it has one in several.
 */
function instanceMeant(
  served: ServedInstances,
  roles: ReadonlyMap<string, unknown>,
  guid: string | undefined,
): string | undefined {
  if (guid !== undefined) return served.byGuid(guid) ?? [...roles.keys()].find((crn) => crn.split(':')[7] === guid);
  if (roles.size > 1) {
    throw new CodedError(
      'instance_request_invalid',
      'this API key has a role in several instances: name one in the address, /instances/<GUID>/api/v2',
    );
  }
  return [...roles.keys()][0];
}

function requireTenant(served: ServedInstances, instanceCrn: string | undefined): Tenant {
  const tenant = instanceCrn === undefined ? undefined : served.tenant(instanceCrn);
  if (tenant === undefined) throw new CodedError('instance_not_found', 'there is no such instance here');
  return tenant;
}

/** The parameters of a query as forms have them: IBM's clients write a blank as `+`. */
const parsedQuery = (query: string): ReadonlyMap<string, string> => new Map(new URLSearchParams(query));

/**
 * Lets a request go on, or throws, and notes the name of its API key. An instance that is not there
 * and one that does not know the key get the same refusal: not 404, which clients take for a
 * certificate that is gone.
 */
function admit(
  route: { readonly name: string; readonly role: Role | 'anyone' },
  instanceCrn: string,
  iam: Iam,
  authorization: string | undefined,
  notes: AuditNotes,
): string {
  if (route.role === 'anyone') {
    notes.initiator = 'anyone';
    return notes.initiator;
  }
  const caller = iam.authenticate(authorization);
  notes.initiator = caller.name;
  const role = caller.roles.get(instanceCrn);
  if (role === undefined) {
    throw new CodedError('instance_forbidden', 'this API key has no role in this instance');
  }
  if (roleRank[role] < roleRank[route.role]) {
    throw new CodedError('instance_forbidden', `the operation ${route.name} takes the role ${route.role}, not ${role}`);
  }
  return caller.name;
}

const formBytes = 16 * 1024;

/** The token endpoint. Its failures have the shape of IBM IAM's. */
async function answerToken(iam: Iam, request: IncomingMessage, runtime: Runtime, log: Log): Promise<Answer> {
  const headers = { 'transaction-id': runtime.newId() };
  try {
    if (request.method !== 'POST') throw new CodedError('instance_method', 'the token endpoint takes POST alone');
    const { caller, ...answer } = iam.exchange(await readBody(request, formBytes));
    log('info', 'audit', {
      action: 'iam-identity.apikey.login',
      initiator: caller ?? 'unknown',
      address: request.socket.remoteAddress,
      outcome: caller === undefined ? 'failure' : 'success',
    });
    return { ...answer, headers };
  } catch (error) {
    const { code, message, remedy, entry } = asCodedError(error);
    return {
      status: entry.status,
      body: { errorCode: code, errorMessage: message, errorDetails: remedy },
      headers: { ...headers, ...refusalHeaders(entry.status) },
    };
  }
}
