import type { Config } from '../config.ts';
import type { StoreUse } from '../services/service.ts';
import { partsOf } from './services.ts';

/** The rights that one store of a link takes. */
export interface RightsOfStore {
  readonly link: string;
  readonly store: string;
  readonly kind: string;
  readonly use: Exclude<StoreUse, 'list'>;
  /** The role that is taken on to use it: the rights are that role's. Absent: none is. */
  readonly role?: string;
  /** Statements of a policy; absent where its service writes down none. */
  readonly statements?: readonly object[];
}

/** The rights of each link's stores, the primary first. Nothing is asked. */
export async function rightsOfLinks(config: Pick<Config, 'stores' | 'links'>): Promise<readonly RightsOfStore[]> {
  const asked = config.links.flatMap(({ name: link, primary, backups }) => [
    { link, store: primary, use: 'primary' as const },
    ...backups.map((store) => ({ link, store, use: 'backup' as const })),
  ]);
  return Promise.all(
    asked.map(async ({ link, store, use }): Promise<RightsOfStore> => {
      const found = config.stores.find(({ name }) => name === store);
      const part = found && (await partsOf(found).rights?.());
      const role = found !== undefined && 'role' in found && typeof found.role === 'string' ? found.role : undefined;
      return {
        ...{ link, store, kind: found?.kind ?? '', use },
        ...(role !== undefined && { role }),
        ...(part !== undefined && { statements: part.rightsOf(found as never, use) }),
      };
    }),
  );
}

/** Statements for the roles of functions on AWS, by what each of them does. */
export interface FunctionPolicies {
  /** It looks at certificates and writes copies. */
  readonly replicate: readonly object[];
  /** It lists. */
  readonly reconcile: readonly object[];
}

/**
 * What functions may do in stores whose services write rights down, by the role of the function
 * itself; `undefined` where no store of the configuration is of such a service.
 */
export async function functionPolicies(
  config: Pick<Config, 'stores' | 'links'>,
): Promise<FunctionPolicies | undefined> {
  const all = (await rightsOfLinks(config)).filter(({ statements }) => statements !== undefined);
  if (all.length === 0) return undefined;
  const used = new Map<string, Set<StoreUse>>();
  for (const { store, use } of all) used.set(store, (used.get(store) ?? new Set()).add(use));
  const policies = { replicate: [] as object[], reconcile: [] as object[] };
  for (const [name, uses] of used) {
    const store = config.stores.find((one) => one.name === name);
    const part = store && (await partsOf(store).rights?.());
    if (store === undefined || part === undefined) continue;
    // An access key of its own has the rights of its owner, and a role those of that role.
    if ('accessKeyId' in store && !('role' in store)) continue;
    if ('role' in store) {
      const assume =
        'accessKeyId' in store ? [] : [{ Effect: 'Allow', Action: ['sts:AssumeRole'], Resource: store.role }];
      policies.replicate.push(...assume);
      policies.reconcile.push(...assume);
      continue;
    }
    // A backup may do what a primary may.
    policies.replicate.push(...part.rightsOf(store as never, uses.has('backup') ? 'backup' : 'primary'));
    policies.reconcile.push(...part.rightsOf(store as never, 'list'));
  }
  return policies;
}
