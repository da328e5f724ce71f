import type { Role } from '../../tenants/instance.ts';
import type { AuditTarget } from '../audit.ts';
import { decodeOnce, segmentsOf } from '../raw-path.ts';
import type { By, ListAsked, Secrets } from './secrets.ts';

/** What a route needs of a request. */
interface Call extends ListAsked {
  readonly secrets: Secrets;
  /** What the path names, decoded, in its order. */
  readonly named: readonly string[];
  readonly by: By;
  /** Reads the body as JSON. */
  readonly body: () => Promise<unknown>;
}

/** One operation of Secrets Manager's API. */
export interface SecretRoute {
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** After `/api/v2`; `*` stands for a name. */
  readonly path: string;
  readonly target?: AuditTarget;
  /** The least role that may. */
  readonly role: Role;
  /** What a success is answered with. */
  readonly status: 200 | 201 | 204;
  readonly run: (call: Call) => Promise<unknown>;
}

const secret = { target: 'certificate' } as const;
const first = ([name = '']: readonly string[]) => name;
const second = ([, name = '']: readonly string[]) => name;

/** Statuses are those of the unit tests of IBM's Go SDK. */
const secretRoutes: readonly SecretRoute[] = [
  {
    ...secret,
    name: 'secret_create',
    method: 'POST',
    path: '/secrets',
    role: 'writer',
    status: 201,
    run: async ({ secrets, body, by }) => secrets.create(await body(), by),
  },
  {
    name: 'secret_list',
    method: 'GET',
    path: '/secrets',
    role: 'reader',
    status: 200,
    run: ({ secrets, ...asked }) => secrets.list(asked),
  },
  {
    ...secret,
    name: 'secret_read',
    method: 'GET',
    path: '/secrets/*',
    role: 'writer',
    status: 200,
    run: ({ secrets, named }) => secrets.read(first(named)),
  },
  {
    ...secret,
    name: 'secret_delete',
    method: 'DELETE',
    path: '/secrets/*',
    role: 'manager',
    status: 204,
    run: ({ secrets, named }) => secrets.remove(first(named)),
  },
  {
    ...secret,
    name: 'secret_metadata',
    method: 'GET',
    path: '/secrets/*/metadata',
    role: 'reader',
    status: 200,
    run: ({ secrets, named }) => secrets.metadata(first(named)),
  },
  {
    ...secret,
    name: 'secret_update',
    method: 'PATCH',
    path: '/secrets/*/metadata',
    role: 'writer',
    status: 200,
    run: async ({ secrets, named, body }) => secrets.patch(first(named), await body()),
  },
  {
    name: 'secret_by_name',
    method: 'GET',
    path: '/secret_groups/*/secret_types/*/secrets/*',
    role: 'writer',
    status: 200,
    run: ({ secrets, named: [group = '', type = '', name = ''] }) => secrets.byName(group, type, name),
  },
  {
    ...secret,
    name: 'version_create',
    method: 'POST',
    path: '/secrets/*/versions',
    role: 'writer',
    status: 201,
    run: async ({ secrets, named, body, by }) => secrets.createVersion(first(named), await body(), by),
  },
  {
    ...secret,
    name: 'version_list',
    method: 'GET',
    path: '/secrets/*/versions',
    role: 'reader',
    status: 200,
    run: ({ secrets, named }) => secrets.versions(first(named)),
  },
  {
    ...secret,
    name: 'version_read',
    method: 'GET',
    path: '/secrets/*/versions/*',
    role: 'writer',
    status: 200,
    run: ({ secrets, named }) => secrets.readVersion(first(named), second(named)),
  },
  {
    ...secret,
    name: 'version_metadata',
    method: 'GET',
    path: '/secrets/*/versions/*/metadata',
    role: 'reader',
    status: 200,
    run: ({ secrets, named }) => secrets.versionMetadata(first(named), second(named)),
  },
  {
    ...secret,
    name: 'version_data_delete',
    method: 'DELETE',
    path: '/secrets/*/versions/*/secret_data',
    role: 'manager',
    status: 204,
    run: ({ secrets, named }) => secrets.removeData(first(named), second(named)),
  },
  {
    name: 'lock_list',
    method: 'GET',
    path: '/secrets_locks',
    role: 'reader',
    status: 200,
    run: ({ secrets, ...asked }) => secrets.allLocks(asked),
  },
  {
    ...secret,
    name: 'secret_locks',
    method: 'GET',
    path: '/secrets/*/locks',
    role: 'reader',
    status: 200,
    run: ({ secrets, named, ...asked }) => secrets.locksOf(first(named), undefined, asked),
  },
  {
    ...secret,
    name: 'secret_lock',
    method: 'POST',
    path: '/secrets/*/locks_bulk',
    role: 'writer',
    status: 201,
    run: async ({ secrets, named, body, by }) => secrets.lock(first(named), 'current', await body(), by),
  },
  {
    ...secret,
    name: 'secret_unlock',
    method: 'DELETE',
    path: '/secrets/*/locks_bulk',
    role: 'manager',
    status: 200,
    run: ({ secrets, named, query }) => secrets.unlock(first(named), 'current', query),
  },
  {
    ...secret,
    name: 'version_locks',
    method: 'GET',
    path: '/secrets/*/versions/*/locks',
    role: 'reader',
    status: 200,
    run: ({ secrets, named, ...asked }) => secrets.locksOf(first(named), second(named), asked),
  },
  {
    ...secret,
    name: 'version_lock',
    method: 'POST',
    path: '/secrets/*/versions/*/locks_bulk',
    role: 'writer',
    status: 201,
    run: async ({ secrets, named, body, by }) => secrets.lock(first(named), second(named), await body(), by),
  },
  {
    ...secret,
    name: 'version_unlock',
    method: 'DELETE',
    path: '/secrets/*/versions/*/locks_bulk',
    role: 'manager',
    status: 200,
    run: ({ secrets, named, query }) => secrets.unlock(first(named), second(named), query),
  },
  {
    name: 'group_create',
    method: 'POST',
    path: '/secret_groups',
    role: 'manager',
    status: 201,
    run: async ({ secrets, body, by }) => secrets.createGroup(await body(), by),
  },
  {
    name: 'group_list',
    method: 'GET',
    path: '/secret_groups',
    role: 'reader',
    status: 200,
    run: ({ secrets }) => secrets.groups(),
  },
  {
    name: 'group_read',
    method: 'GET',
    path: '/secret_groups/*',
    role: 'reader',
    status: 200,
    run: ({ secrets, named }) => secrets.group(first(named)),
  },
  {
    name: 'group_update',
    method: 'PATCH',
    path: '/secret_groups/*',
    role: 'manager',
    status: 200,
    run: async ({ secrets, named, body }) => secrets.updateGroup(first(named), await body()),
  },
  {
    name: 'group_delete',
    method: 'DELETE',
    path: '/secret_groups/*',
    role: 'manager',
    status: 204,
    run: ({ secrets, named }) => secrets.removeGroup(first(named)),
  },
];

/** Where a path leads: the operations there by method, and what the path names. */
export interface SecretDestination {
  readonly routes: readonly SecretRoute[];
  readonly named: readonly string[];
  /** GUID of the instance, where the path names one. */
  readonly guid?: string;
  /** The path itself, for the other pages of a list. */
  readonly path: string;
}

const patterns = [...new Set(secretRoutes.map(({ path }) => path))].map((path) => ({
  segments: segmentsOf(path),
  there: secretRoutes.filter((route) => route.path === path),
}));

/** `/api/v2` below the address of the server, or below `/instances/<GUID>`. */
const roots = /^(?:\/instances\/([\w-]{1,64}))?\/api\/v2(\/.*)$/;

/** Whether a raw path is one of this API, whether or not it leads anywhere. */
export const isSecretsPath = (rawPath: string): boolean => findRoot(rawPath) !== undefined;

function findRoot(rawPath: string) {
  const [, guid, rest] = roots.exec(rawPath) ?? [];
  if (rest === undefined) return undefined;
  // Certificate Manager has paths below `/api/v2` too, each with a CRN in it.
  const [, start = ''] = rest.split('/');
  const isCertificateManagers = start === 'certificate' || /^crn(?::|%3a)/i.test(start);
  return guid === undefined && isCertificateManagers ? undefined : { guid, rest };
}

/**
 * Finds the operations of a raw path, which is split at its slashes before anything is decoded.
 * Undefined if the path leads nowhere.
 */
export function findSecretRoutes(rawPath: string): SecretDestination | undefined {
  const root = findRoot(rawPath);
  if (root === undefined) return undefined;
  const segments = segmentsOf(root.rest).map(decodeOnce);
  for (const { segments: pattern, there } of patterns) {
    if (pattern.length !== segments.length) continue;
    if (!pattern.every((part, index) => part === '*' || part === segments[index])) continue;
    const named = segments.filter((_, index) => pattern[index] === '*');
    if (named.includes('')) continue;
    const { guid } = root;
    return { routes: there, named, path: rawPath, ...(guid !== undefined && { guid }) };
  }
  return undefined;
}
