import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../../../errors.ts';
import type { Place } from '../../../keys/keyring.ts';
import { Secret } from '../../../secret.ts';
import type { Key, Table } from '../../../table/table.ts';
import { partitionOf } from '../../rows/partitions.ts';
import { decodeRow, formatted } from '../../rows/row-format.ts';
import { isCurrent, type Sealer } from '../../rows/sealed-places.ts';
import { newPrivateKey } from './development-keys.ts';

const schema = z.object({ sealed: z.string(), directory: z.string() });

interface AccountContext {
  readonly table: Table;
  readonly sealer: Sealer;
  readonly instanceCrn: string;
}

const placeOf = (name: string): Place => ({ certificate: '', field: 'acme-account', version: name });

/**
 * The private key (PEM) of the account that an instance has with the authority of this directory:
 * made once, kept sealed. Of several processes that make one at once, the first to write it wins.
 * The caller wipes it. Throws `sealed_unreadable` if it does not open.
 */
export async function keptAccountKey(context: AccountContext, directory: string): Promise<Secret> {
  const { table, sealer, instanceCrn } = context;
  const name = hash('sha256', directory).slice(0, 32);
  const key: Key = { partition: partitionOf(instanceCrn, 'acme-account'), sort: name };
  let row = await table.get(key);
  if (row === undefined) {
    const pem = Buffer.from((await newPrivateKey('p-256')).export({ type: 'pkcs8', format: 'pem' }));
    const sealed = await sealer.seal(placeOf(name), pem);
    pem.fill(0);
    row = (await table.putIfAbsent(key, formatted({ sealed, directory }))).row;
  }
  if (row === undefined) throw new CodedError('internal', 'a row that was put is not there');
  const bytes = await sealer.open(placeOf(name), decodeRow(schema, row).sealed);
  const secret = new Secret(bytes);
  bytes.fill(0);
  return secret;
}

/** Seals the keys of all accounts anew that are not sealed with the data key in force. How many. */
export async function resealAccountKeys({ table, sealer, instanceCrn }: AccountContext): Promise<number> {
  let resealed = 0;
  const { rows } = await table.query({ partition: partitionOf(instanceCrn, 'acme-account'), limit: 100 });
  for (const row of rows) {
    const { sealed: before } = decodeRow(schema, row);
    if (await isCurrent(sealer, before)) continue;
    const bytes = await sealer.open(placeOf(row.sort), before);
    const sealed = await sealer.seal(placeOf(row.sort), bytes);
    bytes.fill(0);
    const key: Key = { partition: row.partition, sort: row.sort };
    if ((await table.update(key, { set: { sealed } }, { field: 'sealed', is: '=', to: before })).applied) resealed += 1;
  }
  return resealed;
}
