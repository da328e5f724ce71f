import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import type { Runtime } from '../../runtime.ts';
import type { Key, Row, Table } from '../../table/table.ts';
import { rowsIn } from '../rows/instance-rows.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';

const schema = z.object({
  name: z.string(),
  description: z.string(),
  createdAt: z.number(),
  createdBy: z.string(),
  updatedAt: z.number(),
  leaving: z.optional(z.number()),
});
const nameSchema = z.object({ id: z.string() });

/** A group of secrets. Moments are epoch milliseconds. */
export interface SecretGroup {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly updatedAt: number;
}

/** After so long, a process that was to remove a group has died, and the group stays. */
const leavingMs = 60_000;

/** The group that every instance has, and that is never changed. */
export const defaultGroup = 'default';
const mostGroups = 200;

export interface SecretGroups {
  list(): Promise<readonly SecretGroup[]>;
  get(id: string): Promise<SecretGroup | undefined>;
  byName(name: string): Promise<SecretGroup | undefined>;
  /** Throws `instance_name_taken` and `instance_full`. */
  create(given: Pick<SecretGroup, 'name' | 'description' | 'createdBy'>): Promise<SecretGroup>;
  /** Undefined if there is none. Throws `instance_name_taken`. */
  update(id: string, given: Partial<Pick<SecretGroup, 'name' | 'description'>>): Promise<SecretGroup | undefined>;
  /**
   * Removes a group in which `isEmpty` finds nothing: from before it looks nothing comes in any
   * more. False if it found something; undefined if there is no such group.
   */
  remove(id: string, isEmpty: () => Promise<boolean>): Promise<boolean | undefined>;
}

/** The groups of one instance on its table: a row for each, and one for each name. */
export function secretGroups(context: {
  readonly table: Table;
  readonly instanceCrn: string;
  readonly runtime: Pick<Runtime, 'now' | 'newId'>;
}): SecretGroups {
  const { table, instanceCrn, runtime } = context;
  const partition = partitionOf(instanceCrn, 'secret-group');
  const idKey = (id: string): Key => ({ partition, sort: `id/${id}` });
  const nameKey = (name: string): Key => ({ partition, sort: `name/${name}` });
  const ownDefault: SecretGroup = {
    id: defaultGroup,
    name: defaultGroup,
    description: 'what is in no other group',
    createdAt: 0,
    createdBy: 'instance',
    updatedAt: 0,
  };

  function decoded(row: Row): SecretGroup | undefined {
    const { leaving, ...group } = decodeRow(schema, row);
    return leaving !== undefined && leaving > runtime.now() - leavingMs
      ? undefined
      : { id: row.sort.slice('id/'.length), ...group };
  }

  async function get(id: string): Promise<SecretGroup | undefined> {
    if (id === defaultGroup) return ownDefault;
    const row = await table.get(idKey(id));
    return row && decoded(row);
  }

  async function takeName(name: string, id: string): Promise<void> {
    const outcome = await table.putIfAbsent(nameKey(name), formatted({ id }));
    const holder = outcome.row && decodeRow(nameSchema, outcome.row).id;
    if (name === defaultGroup || (!outcome.applied && holder !== id)) {
      throw new CodedError('instance_name_taken', `A secret group with the same name already exists: ${name}`);
    }
  }

  return {
    async list() {
      const found: SecretGroup[] = [ownDefault];
      for await (const row of rowsIn(table, partition)) {
        const group = row.sort.startsWith('id/') ? decoded(row) : undefined;
        if (group !== undefined) found.push(group);
      }
      return found;
    },

    get,

    async byName(name) {
      if (name === defaultGroup) return ownDefault;
      const row = await table.get(nameKey(name));
      return row && get(decodeRow(nameSchema, row).id);
    },

    async create({ name, description, createdBy }) {
      if ((await this.list()).length > mostGroups)
        throw new CodedError('instance_full', `the instance has ${mostGroups} secret groups, and takes no more`);
      const id = runtime.newId().toLowerCase();
      await takeName(name, id);
      const now = runtime.now();
      const group = { name, description, createdAt: now, createdBy, updatedAt: now };
      await table.putIfAbsent(idKey(id), formatted(group));
      return { id, ...group };
    },

    async update(id, { name, description }) {
      const before = await get(id);
      if (before === undefined || id === defaultGroup) return undefined;
      if (name !== undefined && name !== before.name) await takeName(name, id);
      const set = { ...(name !== undefined && { name }), ...(description !== undefined && { description }) };
      const outcome = await table.update(idKey(id), { set: { ...set, updatedAt: runtime.now() } }, { exists: 'name' });
      if (outcome.row === undefined) return undefined;
      if (name !== undefined && name !== before.name)
        await table.delete(nameKey(before.name), { field: 'id', is: '=', to: id });
      return decoded(outcome.row);
    },

    async remove(id, isEmpty) {
      const group = await get(id);
      if (group === undefined || id === defaultGroup) return undefined;
      await table.update(idKey(id), { set: { leaving: runtime.now() } }, { exists: 'name' });
      if (!(await isEmpty())) {
        await table.update(idKey(id), { remove: ['leaving'] }, { exists: 'name' });
        return false;
      }
      await table.delete(nameKey(group.name), { field: 'id', is: '=', to: id });
      await table.delete(idKey(id));
      return true;
    },
  };
}
