import type { Channel, Channels } from '../notifications/channels.ts';
import type { DeadLetters } from '../notifications/dead-letters.ts';
import type { Deliveries } from '../notifications/delivery.ts';
import type { Orders } from '../orders/orders.ts';
import { isInstanceCrn, parseCertificateCrn } from '../rows/crn.ts';
import { invalid } from '../rows/fields.ts';
import { parseQuery } from '../rows/list-query.ts';
import type { Instance, Role } from '../tenants/instance.ts';
import type { AuditAction, AuditTarget } from './audit.ts';
import type { Certificates } from './certificates.ts';
import { decodeOnce, segmentsOf } from './raw-path.ts';
import type { Repository } from './repository.ts';
import type { Secrets } from './secrets-manager/secrets.ts';

/** One instance with everything that works for it. */
export interface Tenant {
  readonly instance: Instance;
  readonly certificates: Certificates;
  readonly orders: Orders;
  readonly channels: Channels;
  readonly deliveries: Deliveries;
  readonly deadLetters: DeadLetters;
  readonly repository: Repository;
  /** The same certificates as Secrets Manager's API has them. */
  readonly secrets: Secrets;
}

/** What a route needs of a request. */
interface Call {
  readonly tenant: Tenant;
  /**
   * Id of the certificate, the channel or the dead letter that the path names; empty where it names
   * none.
   */
  readonly id: string;
  /** Raw, without the question mark. */
  readonly query: string;
  /** Reads the body as JSON. */
  readonly body: () => Promise<unknown>;
}

/** One operation of the REST API. */
export interface Route {
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /**
   * After `/api`. `{I}` and `{C}` stand for the CRN of an instance and of a certificate, `{ch}` and
   * `{dl}` for the id of a channel and of a dead letter.
   */
  readonly path: string;
  /** What the audit line calls it, and what it has to do with. */
  readonly action: AuditAction;
  readonly target?: AuditTarget;
  /** The least role that may, or that anyone may, without a token. */
  readonly role: Role | 'anyone';
  /** Answers 200 with what this returns. */
  readonly run: (call: Call) => unknown;
}

/** Whether a body switches something on. What is left out, or was never read, switches off. */
function isOn(body: unknown, member: string): 'on' | 'off' {
  const fields = (body ?? {}) as Readonly<Record<string, unknown>>;
  return Object.hasOwn(fields, member) && fields[member] === true ? 'on' : 'off';
}

export const routes: readonly Route[] = [
  {
    name: 'import',
    method: 'POST',
    path: '/v3/{I}/certificates/import',
    action: 'cloudcerts.certificate.import',
    target: 'certificate',
    role: 'manager',
    run: async ({ tenant, body }) => tenant.certificates.import(await body()),
  },
  {
    name: 'reimport',
    method: 'PUT',
    path: '/v1/certificate/{C}',
    action: 'cloudcerts.certificate.reimport',
    target: 'certificate',
    role: 'manager',
    run: async ({ tenant, id, body }) => tenant.certificates.reimport(id, await body()),
  },
  {
    name: 'download',
    method: 'GET',
    path: '/v2/certificate/{C}',
    action: 'cloudcerts.certificate.download',
    target: 'certificate',
    role: 'writer',
    run: ({ tenant, id }) => tenant.certificates.download(id),
  },
  {
    name: 'metadata',
    method: 'GET',
    path: '/v1/certificate/{C}/metadata',
    action: 'cloudcerts.certificate-metadata.read',
    target: 'certificate',
    role: 'reader',
    run: ({ tenant, id }) => tenant.certificates.metadata(id),
  },
  {
    name: 'update',
    method: 'POST',
    path: '/v3/certificate/{C}',
    action: 'cloudcerts.certificate-metadata.update',
    target: 'certificate',
    role: 'writer',
    run: async ({ tenant, id, body }) => tenant.certificates.update(id, await body()),
  },
  {
    name: 'delete',
    method: 'DELETE',
    path: '/v2/certificate/{C}',
    action: 'cloudcerts.certificate.delete',
    target: 'certificate',
    role: 'manager',
    run: ({ tenant, id }) => tenant.certificates.delete(id),
  },
  {
    name: 'list',
    method: 'GET',
    path: '/v3/{I}/certificates',
    action: 'cloudcerts.certificates.read',
    role: 'reader',
    run: ({ tenant, query }) => tenant.certificates.list(query),
  },
  {
    name: 'channel_list',
    method: 'GET',
    path: '/v1/instances/{I}/notifications/channels',
    action: 'cloudcerts.notification-channels.list',
    role: 'reader',
    run: ({ tenant }) => tenant.channels.list(),
  },
  {
    name: 'channel_create',
    method: 'PUT',
    path: '/v1/instances/{I}/notifications/channels',
    action: 'cloudcerts.notification-channel.create',
    target: 'channel',
    role: 'manager',
    run: async ({ tenant, body }) => confirmed(tenant, await tenant.channels.create(await body())),
  },
  {
    name: 'public_key',
    method: 'GET',
    path: '/v1/instances/{I}/notifications/publickey',
    action: 'cloudcerts.notification-channels-publickey.read',
    role: 'anyone',
    run: ({ tenant, query }) => publicKey(tenant.instance, query),
  },
  {
    name: 'channel_update',
    method: 'POST',
    path: '/v1/instances/{I}/notifications/{ch}',
    action: 'cloudcerts.notification-channel.update',
    target: 'channel',
    role: 'manager',
    run: async ({ tenant, id, body }) => confirmed(tenant, await tenant.channels.updateEndpoint(id, await body())),
  },
  {
    name: 'channel_toggle',
    method: 'PUT',
    path: '/v1/instances/{I}/notifications/{ch}/state',
    action: (body) => `cloudcerts.notification-channel.set-${isOn(body, 'enabled')}`,
    target: 'channel',
    role: 'manager',
    run: async ({ tenant, id, body }) => tenant.channels.toggle(id, await body()),
  },
  {
    name: 'channel_delete',
    method: 'DELETE',
    path: '/v1/instances/{I}/notifications/{ch}',
    action: 'cloudcerts.notification-channel.delete',
    target: 'channel',
    role: 'manager',
    run: ({ tenant, id }) => tenant.channels.delete(id),
  },
  {
    name: 'channel_test',
    method: 'POST',
    path: '/v3/instances/{I}/notifications/{ch}/test',
    action: 'cloudcerts.notification-channel.test',
    target: 'channel',
    role: 'reader',
    run: ({ tenant, id }) => testChannel(tenant, id),
  },
  {
    name: 'search',
    method: 'GET',
    path: '/v3/{I}/certificates/search',
    action: 'cloudcerts.certificates.search',
    role: 'reader',
    run: ({ tenant, query }) => tenant.certificates.search(query),
  },
  {
    name: 'repository',
    method: 'GET',
    path: '/v2/{I}/certificates/metadata',
    action: 'cloudcerts.certificates-metadata.search',
    role: 'reader',
    run: ({ tenant }) => tenant.repository.counts(),
  },
  {
    name: 'previous',
    method: 'GET',
    path: '/v2/certificate/{C}/previous',
    action: 'cloudcerts.certificate.download',
    target: 'certificate',
    role: 'writer',
    run: ({ tenant, id }) => tenant.certificates.downloadPrevious(id),
  },
  {
    name: 'dead_letter_list',
    method: 'GET',
    path: '/v3/instances/{I}/notifications/dead-letters',
    action: 'cloudcerts.notification-dead-letters.list',
    role: 'manager',
    run: ({ tenant, query }) => tenant.deadLetters.list(query),
  },
  {
    name: 'dead_letter_resend',
    method: 'POST',
    path: '/v3/instances/{I}/notifications/dead-letters/{dl}/resend',
    action: 'cloudcerts.notification-dead-letter.resend',
    target: 'dead_letter',
    role: 'manager',
    run: ({ tenant, id }) => tenant.deadLetters.resend(id),
  },
  {
    name: 'order',
    method: 'POST',
    path: '/v1/{I}/certificates/order',
    action: 'cloudcerts.certificate.order',
    target: 'certificate',
    role: 'manager',
    run: async ({ tenant, body }) => tenant.certificates.show(await tenant.orders.order(await body())),
  },
  {
    name: 'renew',
    method: 'POST',
    path: '/v1/certificate/{C}/renew',
    action: 'cloudcerts.certificate.renew',
    target: 'certificate',
    role: 'manager',
    run: async ({ tenant, id, body }) => tenant.certificates.show(await tenant.orders.renew(id, await body())),
  },
  {
    name: 'order_policy',
    method: 'PUT',
    path: '/v1/certificate/{C}/order/policy',
    action: (body) => `cloudcerts.certificate-order-autorenew.set-${isOn(body, 'auto_renew_enabled')}`,
    target: 'certificate',
    role: 'manager',
    run: async ({ tenant, id, body }) => tenant.orders.policy(id, await body()),
  },
];

/** Where a path leads: the operations there by method, and what the path names. */
export interface Destination {
  readonly routes: readonly Route[];
  readonly instanceCrn: string;
  readonly id: string;
}

const patterns = [...new Set(routes.map(({ path }) => path))].map((path) => ({
  segments: segmentsOf(path),
  there: routes.filter((route) => route.path === path),
}));

/**
 * Finds the operations of a raw path. It is split at its slashes before anything is decoded, and
 * each segment is decoded once: an encoded slash stays inside its CRN, a raw one ends the segment.
 * Undefined if the path leads nowhere.
 */
export function findRoutes(rawPath: string): Destination | undefined {
  if (!rawPath.startsWith('/api/')) return undefined;
  const segments = segmentsOf(rawPath.slice('/api'.length));
  for (const { segments: pattern, there } of patterns) {
    if (pattern.length !== segments.length) continue;
    const names = pattern.map((part, index) => matchSegment(part, segments[index] ?? ''));
    if (names.includes(undefined)) continue;
    const named = Object.assign({ instanceCrn: '', id: '' }, ...names) as { instanceCrn: string; id: string };
    return { routes: there, ...named };
  }
  return undefined;
}

/** What a segment names as this part of a pattern; undefined if it does not fit. */
function matchSegment(
  part: string,
  segment: string,
): { readonly instanceCrn?: string; readonly id?: string } | undefined {
  if (!part.startsWith('{')) {
    // Clients were seen with both spellings of `publicKey`.
    return segment === part || (part === 'publickey' && segment.toLowerCase() === part) ? {} : undefined;
  }
  const text = decodeOnce(segment);
  if (part === '{ch}' || part === '{dl}') return /^[\w-]{1,64}$/.test(text) ? { id: text } : undefined;
  if (part === '{C}') return parseCertificateCrn(text);
  return isInstanceCrn(text) ? { instanceCrn: text } : undefined;
}

function publicKey(instance: Instance, query: string): unknown {
  const format = parseQuery(query).get('keyFormat') ?? 'pem';
  if (format === 'pem') return { publicKey: instance.publicKeyPem };
  if (format === 'jwk') return { publicKey: instance.publicKeyJwk };
  throw invalid('keyFormat is neither pem nor jwk');
}

async function testChannel({ instance, channels, deliveries }: Tenant, id: string) {
  const channel = await channels.get(id);
  await instance.rates.channelTest(id);
  await deliveries.tellChannel('test_notification_channel', channel);
  return { message: 'The test notification is on its way.' };
}

/** Certificate Manager tells Slack, and Slack alone, that a channel was saved. */
async function confirmed({ deliveries }: Tenant, channel: Channel): Promise<Channel> {
  await deliveries.tellChannel('notification_channel_saved', channel);
  return channel;
}
