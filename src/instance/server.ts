import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import { listen } from '../receiver/listen.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';
import { certificateRows } from './certificate-rows.ts';
import { certificates } from './certificates.ts';
import { channels } from './channels.ts';
import { type DeliveryPolicy, defaultDeliveryPolicy, delivery } from './delivery.ts';
import { type Answer, errorAnswer, parseJson, readBody, send } from './http.ts';
import { createIam, type Iam } from './iam.ts';
import { type InstanceOptions, openInstance } from './instance.ts';
import type { LimitOptions } from './instance-limits.ts';
import { findRoutes, type Room, type Route } from './routes.ts';

export interface InstanceServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Takes the next free port if this one is taken. */
  readonly nextFree?: boolean;
  /** The instances served, each with its own CRN. */
  readonly instances: readonly InstanceOptions[];
  /** Where they keep everything. Contents, private keys included, are written to it as they are. */
  readonly table: Table;
  readonly runtime: Runtime;
  readonly log: Log;
  /** For instances that do not say. */
  readonly limits?: LimitOptions;
  readonly delivery?: Partial<DeliveryPolicy>;
}

export interface InstanceServer {
  /** `http://<host>:<port>`: the API is below `/api`, the token endpoint is `/identity/token`. */
  readonly url: string;
  readonly port: number;
  /** Ends deliveries and connections. The table stays open. */
  close(): Promise<void>;
}

/** How long requests under way may take when the server closes. */
const closeMs = 5_000;

const roleRank = { reader: 1, writer: 2, manager: 3 } as const;

/**
 * Serves Certificate Manager's REST API, and the one call of IBM IAM that its clients need, for instances on a table. Where the
 * real service is not known or this one goes its own way, DIFFERENCES.md beside this file says what was chosen.
 * Throws `configuration_invalid`.
 */
export async function startInstanceServer(options: InstanceServerOptions): Promise<InstanceServer> {
  const { runtime, log } = options;
  const rooms = await openRooms(options);
  const iam = createIam(options.instances, runtime.now);
  const underWay = new Set<Promise<void>>();
  let closing = false;
  const server = createServer({ requestTimeout: 60_000, headersTimeout: 15_000 }, (request, response) => {
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

  async function answerRequest(request: IncomingMessage): Promise<Answer> {
    const [path = '', ...query] = (request.url ?? '').split('?');
    try {
      if (path === '/identity/token') return await answerToken(iam, request, runtime);
      return await answerApi({ request, path, query: query.join('?'), rooms, iam, log });
    } catch (error) {
      const coded = asCodedError(error);
      const level = coded.entry.status >= 500 && coded.entry.status !== 501 ? 'error' : 'info';
      log(level, 'instance_request_refused', errorFields(coded));
      return errorAnswer(coded);
    }
  }

  const { url, port } = await listen(server, options.host, options.port, { nextFree: options.nextFree ?? false });
  return {
    url,
    port,
    async close() {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const impatient = setTimeout(() => server.closeAllConnections(), closeMs);
      await Promise.all(underWay);
      server.closeAllConnections();
      await closed;
      clearTimeout(impatient);
      await Promise.all([...rooms.values()].map(({ deliveries }) => deliveries.close()));
    },
  };
}

async function openRooms(options: InstanceServerOptions): Promise<ReadonlyMap<string, Room>> {
  const { table, runtime, log } = options;
  const policy = { ...defaultDeliveryPolicy, ...options.delivery };
  const opened = await Promise.all(
    options.instances.map((instance) => openInstance(instance, { now: runtime.now, limits: options.limits })),
  );
  const rooms = new Map<string, Room>();
  for (const instance of opened) {
    if (rooms.has(instance.crn)) {
      throw new CodedError('configuration_invalid', `two instances have the CRN ${instance.crn}`);
    }
    const itsChannels = channels({ instance, table, runtime });
    const deliveries = delivery({ instance, channels: itsChannels, table, runtime, log, policy });
    const rows = certificateRows({ table, runtime, log, instanceCrn: instance.crn });
    const { announce } = deliveries;
    rooms.set(instance.crn, {
      instance,
      certificates: certificates({ instance, rows, now: runtime.now, announce }),
      channels: itsChannels,
      deliveries,
    });
  }
  return rooms;
}

async function answerApi(context: {
  request: IncomingMessage;
  path: string;
  query: string;
  rooms: ReadonlyMap<string, Room>;
  iam: Iam;
  log: Log;
}): Promise<Answer> {
  const { request, path, query, rooms, iam, log } = context;
  const destination = findRoutes(path);
  if (destination === undefined) throw new CodedError('instance_no_route', 'this path leads to no operation');
  const route = destination.routes.find(({ method }) => method === request.method);
  if (route === undefined) {
    const allow = destination.routes.map(({ method }) => method).join(', ');
    const answer = errorAnswer(new CodedError('instance_method', `${request.method} is not an operation of this path`));
    return { ...answer, headers: { allow } };
  }
  const room = rooms.get(destination.instanceCrn);
  const caller = admit(route, room, iam, request.headers.authorization);
  if (room === undefined) throw new CodedError('instance_not_found', 'there is no such instance here');
  const body = async () => parseJson(await readBody(request, limits.instanceBodyBytes));
  const answer = { status: 200, body: await route.run({ room, id: destination.id, query, body }) };
  const facts = { instance: room.instance.crn, operation: route.name, id: destination.id, caller };
  log(request.method === 'GET' ? 'debug' : 'info', 'instance_request_done', facts);
  return answer;
}

/**
 * The name of the API key behind a request that may go on. An instance that is not there and one that does not know the key
 * get the same refusal: not 404, which clients take for a certificate that is gone.
 */
function admit(route: Route, room: Room | undefined, iam: Iam, authorization: string | undefined): string {
  if (route.role === 'anyone') return 'anyone';
  const caller = iam.authenticate(authorization);
  const role = room && caller.roles.get(room.instance.crn);
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
async function answerToken(iam: Iam, request: IncomingMessage, runtime: Runtime): Promise<Answer> {
  const headers = { 'transaction-id': runtime.newId() };
  try {
    if (request.method !== 'POST') throw new CodedError('instance_method', 'the token endpoint takes POST alone');
    return { ...iam.exchange(await readBody(request, formBytes)), headers };
  } catch (error) {
    const { code, message, entry } = asCodedError(error);
    return {
      status: entry.status,
      body: { errorCode: code, errorMessage: message, errorDetails: entry.remedy },
      headers,
    };
  }
}
