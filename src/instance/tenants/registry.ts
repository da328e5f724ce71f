import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { limits as programLimits } from '../../limits.ts';
import type { Runtime } from '../../runtime.ts';
import type { Secret } from '../../secret.ts';
import type { Key, Row, Table, Value } from '../../table/table.ts';
import { isInstanceCrn } from '../rows/crn.ts';
import { rowsIn } from '../rows/instance-rows.ts';
import { partitionOf, registryPartitions } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import { apiKeyHash, checkApiKey, type KnownApiKey, newApiKey, type Role, roles } from './api-keys.ts';
import { type LimitOptions, resolveLimits } from './instance-limits.ts';

/** An instance as kept on the table. */
export interface KeptInstance {
  readonly crn: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly limits: LimitOptions;
  /** Lets channels have `http:` endpoints on this machine. */
  readonly allowLoopbackChannels: boolean;
  /**
   * When it was deleted, epoch milliseconds. It answers as gone from then on, and can be reclaimed
   * for seven days.
   */
  readonly deletedAt?: number | undefined;
  /** Whether its erasure has begun: then nothing brings it back. */
  readonly erasing?: boolean | undefined;
}

/** How long an instance that was deleted can be reclaimed, as Certificate Manager had it. */
export const reclaimMs = 7 * 86_400_000;

/** An API key as kept on the table. */
export interface KeptApiKey extends KnownApiKey {
  readonly id: string;
  readonly createdAt: number;
}

const limitsSchema = z.union([z.literal('none'), z.record(z.string(), z.union([z.number(), z.literal('none')]))]);
const instanceSchema = z.object({
  createdAt: z.number(),
  limits: limitsSchema,
  allowLoopbackChannels: z.boolean(),
  deletedAt: z.optional(z.number()),
  erasing: z.optional(z.boolean()),
});
const keySchema = z.object({
  name: z.string(),
  role: z.enum(['reader', 'writer', 'manager']),
  hash: z.string(),
  createdAt: z.number(),
});
const revisionSchema = z.object({ revision: z.number() });

/** Where the row of an instance is in the registry. */
export const instanceKey = (crn: string): Key => ({ partition: registryPartitions.instances, sort: crn });
const erasedKey = (crn: string): Key => ({ partition: registryPartitions.erased, sort: crn });
const apiKeys = (crn: string) => partitionOf(crn, 'api-key');
const revisionKey: Key = { partition: registryPartitions.revision, sort: 'revision' };

export interface InstanceRegistry {
  readonly get: (crn: string) => Promise<KeptInstance>;
  readonly keys: (crn: string) => Promise<readonly KeptApiKey[]>;
  /** Changes whenever an instance or an API key does. */
  revision(): Promise<number>;
  /** All instances, in the order of their CRNs, those too that were deleted and not erased yet. */
  list(): Promise<readonly KeptInstance[]>;
  /**
   * Adds an instance; it has no API key yet. Throws `configuration_invalid`, also if it is there,
   * and `instance_erased` if it was.
   */
  create(options: Omit<KeptInstance, 'createdAt'>): Promise<KeptInstance>;
  /**
   * From now on it answers as gone; nothing of it is lost before it is erased. Throws
   * `instance_deleted` if it was deleted before.
   */
  delete(crn: string): Promise<KeptInstance>;
  /** Brings a deleted instance back as it was. Throws `instance_erased` when its time is over. */
  reclaim(crn: string): Promise<KeptInstance>;
  /**
   * Whether its erasure has begun, by this or an earlier call: not before its seven days are over.
   */
  beginErasure(instance: KeptInstance): Promise<boolean>;
  /** Takes it from the registry, and notes for good that it was erased. */
  endErasure(crn: string): Promise<void>;
  /** Whether an instance of this CRN was here and has been erased. */
  readonly wasErased: (crn: string) => Promise<boolean>;
  /** CRNs of everything that was ever erased. */
  erased(): Promise<readonly string[]>;
  /** Says that an instance has come by other ways than `create`. */
  readonly announce: () => Promise<void>;
  /**
   * Adds an API key: a new one, or one that somebody has already. Answers it, for the only time.
   * Throws `configuration_invalid`.
   */
  addKey(
    crn: string,
    {
      name,
      role,
      key,
    }: {
      readonly name: string;
      readonly role: Role;
      readonly key?: Secret;
    },
  ): Promise<{
    readonly kept: KeptApiKey;
    readonly key: Secret;
  }>;
  /** Removes an API key; its access tokens end with it. Undefined if there is none. */
  revokeKey(crn: string, id: string): Promise<KeptApiKey | undefined>;
}

/**
 * The instances of one server, and their API keys, kept on its table. Each change raises a number,
 * so that a server that runs beside learns of it by looking at one row. Methods that name an
 * instance throw `instance_not_found` if there is none, and `instance_deleted` if it was deleted.
 */
export function instanceRegistry({
  table,
  runtime,
}: {
  readonly table: Table;
  readonly runtime: Runtime;
}): InstanceRegistry {
  async function changed(): Promise<void> {
    await table.update(revisionKey, { add: { revision: 1 }, set: { format: 1 } });
  }

  async function rowsOf(partition: string, most: number): Promise<readonly Row[]> {
    return (await table.query({ partition, limit: most })).rows;
  }

  async function keysOf(crn: string): Promise<readonly KeptApiKey[]> {
    const rows = await rowsOf(apiKeys(crn), programLimits.apiKeys);
    return rows.map((row) => ({ id: row.sort, ...decodeRow(keySchema, row) }));
  }

  async function wasErased(crn: string): Promise<boolean> {
    return (await table.get(erasedKey(crn))) !== undefined;
  }

  /** The instance, also one that was deleted. */
  async function find(crn: string): Promise<KeptInstance> {
    const row = await table.get(instanceKey(crn));
    if (row === undefined) throw new CodedError('instance_not_found', `there is no instance ${crn} here`);
    return decodeInstance(row);
  }

  async function get(crn: string): Promise<KeptInstance> {
    const found = await find(crn);
    if (found.deletedAt === undefined) return found;
    throw new CodedError('instance_deleted', `the instance ${crn} was deleted on ${dateOf(found.deletedAt)}`);
  }

  return {
    get,
    keys: keysOf,

    async revision(): Promise<number> {
      const row = await table.get(revisionKey);
      return row === undefined ? 0 : decodeRow(revisionSchema, row).revision;
    },

    async list(): Promise<readonly KeptInstance[]> {
      return (await rowsOf(registryPartitions.instances, programLimits.instances)).map(decodeInstance);
    },

    async create(options: Omit<KeptInstance, 'createdAt'>): Promise<KeptInstance> {
      const { crn, limits, allowLoopbackChannels } = options;
      if (!isInstanceCrn(crn)) {
        throw new CodedError(
          'configuration_invalid',
          `"${crn}" is not the CRN of an instance (ten segments, ending in "::")`,
        );
      }
      resolveLimits(limits);
      if (await wasErased(crn)) {
        throw new CodedError('instance_erased', `the instance ${crn} was here, was deleted, and has been erased`);
      }
      if ((await rowsOf(registryPartitions.instances, programLimits.instances)).length >= programLimits.instances) {
        throw new CodedError(
          'configuration_invalid',
          `there are ${programLimits.instances} instances here, and no more are taken`,
        );
      }
      const fields = { createdAt: runtime.now(), limits: limitsAsKept(limits), allowLoopbackChannels };
      const outcome = await table.putIfAbsent(instanceKey(crn), formatted(fields));
      if (!outcome.applied) throw new CodedError('configuration_invalid', `the instance ${crn} is there already`);
      await changed();
      return decodeInstance(outcome.row);
    },

    async delete(crn: string): Promise<KeptInstance> {
      await get(crn);
      const change = { set: { deletedAt: runtime.now() } };
      const outcome = await table.update(instanceKey(crn), change, {
        all: [{ exists: 'createdAt' }, { absent: 'deletedAt' }],
      });
      if (!outcome.applied) return get(crn);
      await changed();
      return decodeInstance(outcome.row);
    },

    async reclaim(crn: string): Promise<KeptInstance> {
      const { deletedAt, erasing } = await find(crn);
      if (deletedAt === undefined) throw new CodedError('usage', `the instance ${crn} was not deleted`);
      const late = runtime.now() >= deletedAt + reclaimMs;
      const outcome =
        erasing === true || late
          ? undefined
          : await table.update(
              instanceKey(crn),
              { remove: ['deletedAt'] },
              { all: [{ exists: 'deletedAt' }, { absent: 'erasing' }] },
            );
      if (outcome?.applied !== true) {
        const found = `the instance ${crn} was deleted on ${dateOf(deletedAt)}, and its seven days are over`;
        throw new CodedError('instance_erased', found);
      }
      await changed();
      return decodeInstance(outcome.row);
    },

    async beginErasure({ crn, deletedAt }: KeptInstance): Promise<boolean> {
      if (deletedAt === undefined || runtime.now() < deletedAt + reclaimMs) return false;
      const change = { set: { erasing: true } };
      return (await table.update(instanceKey(crn), change, { field: 'deletedAt', is: '=', to: deletedAt })).applied;
    },

    async endErasure(crn: string): Promise<void> {
      await table.putIfAbsent(erasedKey(crn), formatted({ at: runtime.now() }));
      await table.delete(instanceKey(crn), { exists: 'erasing' });
      await changed();
    },

    wasErased,

    async erased(): Promise<readonly string[]> {
      const crns: string[] = [];
      for await (const { sort } of rowsIn(table, registryPartitions.erased)) crns.push(sort);
      return crns;
    },

    announce: changed,

    async addKey(
      crn: string,
      { name, role, key = newApiKey() }: { readonly name: string; readonly role: Role; readonly key?: Secret },
    ): Promise<{ readonly kept: KeptApiKey; readonly key: Secret }> {
      await get(crn);
      if (name === '' || name.length > programLimits.apiKeyNameCharacters || /\p{C}/u.test(name)) {
        throw new CodedError('configuration_invalid', 'the name of an API key has 1 to 100 printable characters');
      }
      if (!roles.includes(role))
        throw new CodedError('configuration_invalid', `${role} is not a role: ${roles.join(', ')}`);
      checkApiKey(key, `the API key "${name}"`);
      const before = await keysOf(crn);
      const hash = apiKeyHash(key);
      const same = before.find((other) => other.hash === hash);
      if (same !== undefined)
        throw new CodedError('configuration_invalid', `the API key is there already, as "${same.name}"`);
      if (before.length >= programLimits.apiKeys) {
        throw new CodedError(
          'configuration_invalid',
          `the instance has ${programLimits.apiKeys} API keys, and takes no more`,
        );
      }
      const id = runtime.newId();
      const fields = { name, role, hash, createdAt: runtime.now() };
      await table.putIfAbsent({ partition: apiKeys(crn), sort: id }, formatted(fields));
      await changed();
      return { kept: { id, ...fields }, key };
    },

    async revokeKey(crn: string, id: string): Promise<KeptApiKey | undefined> {
      await get(crn);
      const outcome = await table.delete({ partition: apiKeys(crn), sort: id }, { exists: 'hash' });
      if (!outcome.applied) return undefined;
      await changed();
      return { id, ...decodeRow(keySchema, outcome.row) };
    },
  };
}

function decodeInstance(row: Row): KeptInstance {
  const { limits, ...rest } = decodeRow(instanceSchema, row);
  return { crn: row.sort, ...rest, limits: limits === 'none' ? limits : limitsInForce(limits) };
}

const dateOf = (moment: number): string => new Date(moment).toISOString().slice(0, 10);

/** A table takes no infinite number. */
function limitsAsKept(limits: LimitOptions): Value {
  if (limits === 'none') return limits;
  return Object.fromEntries(
    Object.entries(limits).map(([name, value]) => [name, value === Number.POSITIVE_INFINITY ? 'none' : value]),
  );
}

function limitsInForce(kept: Readonly<Record<string, number | 'none'>>): LimitOptions {
  return Object.fromEntries(
    Object.entries(kept).map(([name, value]) => [name, value === 'none' ? Number.POSITIVE_INFINITY : value]),
  );
}
