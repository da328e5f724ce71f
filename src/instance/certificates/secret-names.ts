import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import type { Key, Table } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import type { CertificateRow } from './certificate-row.ts';

const schema = z.object({ id: z.string(), at: z.number(), kept: z.optional(z.boolean()) });

/**
 * How long a name is kept for a secret that is being made: longer than its content may take to come
 * into force.
 */
const makingMs = 15 * 60_000;

/** Who has which name, among what was made over Secrets Manager's API: names are unique there. */
export interface SecretNames {
  /** Takes a name for this secret. Throws `instance_name_taken`. */
  take(type: string, name: string, id: string): Promise<void>;
  /** The secret is there: from now on the name is free when the secret is gone, and not by time. */
  keep(type: string, name: string, id: string): Promise<void>;
  /** Gives a name back, if this secret has it. */
  free(type: string, name: string, id: string): Promise<void>;
  /** Which secret has a name, as far as is known. */
  holder(type: string, name: string): Promise<string | undefined>;
}

/**
 * A row for each name. What is renamed or deleted over Certificate Manager's API leaves its row
 * behind: so a row counts only while its secret is there and has that name.
 */
export function secretNames(context: {
  readonly table: Table;
  readonly instanceCrn: string;
  readonly now: () => number;
  readonly get: (id: string) => Promise<CertificateRow | undefined>;
}): SecretNames {
  const { table, instanceCrn, now, get } = context;
  const keyOf = (type: string, name: string): Key => ({
    partition: partitionOf(instanceCrn, 'secret-name'),
    sort: `${type}/${name}`,
  });

  return {
    async take(type, name, id) {
      const key = keyOf(type, name);
      const fields = formatted({ id, at: now() });
      const first = await table.putIfAbsent(key, fields);
      if (first.applied || first.row === undefined) return;
      const held = decodeRow(schema, first.row);
      if (held.id === id) return;
      const row = await get(held.id);
      const isMaking = row === undefined && held.kept !== true && held.at > now() - makingMs;
      if (row?.name === name || isMaking) throw taken(name, held.id);
      const change = { set: fields, remove: ['kept'] };
      const second = await table.update(key, change, { field: 'id', is: '=', to: held.id });
      if (!second.applied) throw taken(name, held.id);
    },

    async keep(type, name, id) {
      await table.update(keyOf(type, name), { set: { kept: true } }, { field: 'id', is: '=', to: id });
    },

    async free(type, name, id) {
      await table.delete(keyOf(type, name), { field: 'id', is: '=', to: id });
    },

    async holder(type, name) {
      const row = await table.get(keyOf(type, name));
      return row && decodeRow(schema, row).id;
    },
  };
}

function taken(name: string, id: string): CodedError {
  return new CodedError('instance_name_taken', `A secret with the same name already exists: ${name}`, {
    fields: { certificate: id },
  });
}
