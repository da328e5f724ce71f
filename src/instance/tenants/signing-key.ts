import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { privateKeyObject } from '../../private-key-object.ts';
import type { Key, Table } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import { isCurrent, signingKeyPlace as place, type Sealer } from '../rows/sealed-places.ts';

const schema = z.object({ sealed: z.string(), publicKey: z.string() });
const generate = promisify(generateKeyPair);

interface SigningKeyContext {
  readonly table: Table;
  readonly sealer: Sealer;
  readonly instanceCrn: string;
}

/**
 * The key that signs the notifications of an instance: made once, kept sealed, the same after each
 * start. Of several processes that make one at once, the first to write it wins. Throws
 * `instance_content_unreadable` if what is kept does not open.
 */
export async function keptSigningKey(context: SigningKeyContext): Promise<KeyObject> {
  const { table, sealer } = context;
  const key = keyOf(context.instanceCrn);
  const kept = await table.get(key);
  if (kept !== undefined) return open(context, decodeRow(schema, kept));
  const { privateKey, publicKey } = await generate('rsa', { modulusLength: 2048 });
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  const sealed = await sealer.seal(place, der);
  der.fill(0);
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const outcome = await table.putIfAbsent(key, formatted({ sealed, publicKey: pem }));
  if (outcome.row === undefined) throw new CodedError('internal', 'a row that was put is not there');
  return open(context, decodeRow(schema, outcome.row));
}

/** Seals it anew if it is not sealed with the data key in force. Whether it did. */
export async function resealSigningKey({ table, sealer, instanceCrn }: SigningKeyContext): Promise<boolean> {
  const key = keyOf(instanceCrn);
  const kept = await table.get(key);
  if (kept === undefined) return false;
  const { sealed: before } = decodeRow(schema, kept);
  if (await isCurrent(sealer, before)) return false;
  const der = await sealer.open(place, before);
  const sealed = await sealer.seal(place, der);
  der.fill(0);
  return (await table.update(key, { set: { sealed } }, { field: 'sealed', is: '=', to: before })).applied;
}

const keyOf = (instanceCrn: string): Key => ({ partition: partitionOf(instanceCrn, 'signing-key'), sort: 'current' });

async function open({ sealer, instanceCrn }: SigningKeyContext, row: z.infer<typeof schema>): Promise<KeyObject> {
  const der = Buffer.from(await sealer.open(place, row.sealed));
  try {
    const privateKey = privateKeyObject({ key: der, type: 'pkcs8', format: 'der' });
    if (createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString() === row.publicKey) {
      return privateKey;
    }
  } catch {
    // The reason would be about a private key.
  } finally {
    der.fill(0);
  }
  throw new CodedError(
    'instance_content_unreadable',
    `what was sealed as the signing key of ${instanceCrn} is not the key that its public half belongs to`,
  );
}
