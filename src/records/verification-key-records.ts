import { createHash } from 'node:crypto';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Key, Row, Table } from '../table/table.ts';

/** A key that verifies notifications, as the table keeps it. */
export interface KeptKey {
  /**
   * What the sender calls it; SHA-256 of the key, where the sender has one key and no name for it.
   */
  readonly id: string;
  readonly pem: string;
  /** Where it was served, if its sender says from where its keys come: it proves no other one. */
  readonly from?: string;
  /** Since when its sender does not serve it any more, epoch milliseconds; absent: it does. */
  readonly goneAt?: number;
}

/** The keys of a link as they stand on the table. */
export interface KeptKeys {
  readonly keys: readonly KeptKey[];
  /**
   * Ids of keys that a person dropped: they do not come back, even where a service still serves
   * them.
   */
  readonly dropped: readonly string[];
  /** Goes up with each write: what one is conditional on. */
  readonly version: number;
}

/**
 * What a row keeps; `undefined` if it is damaged. By hand and not by a schema: the callback reads
 * this row and no other one, and what reads schemas would be loaded for it alone.
 */
function readRow({ pem, keys = [], dropped = [], version = 0 }: Row) {
  const isSound =
    (pem === undefined || typeof pem === 'string') &&
    isListOf(keys, isKeptKey) &&
    isListOf(dropped, (id) => typeof id === 'string') &&
    typeof version === 'number';
  if (!isSound) return undefined;
  return {
    pem,
    keys: keys.map(({ id, pem, from, goneAt }) => ({ id, pem, ...defined({ from, goneAt }) })),
    dropped,
    version,
  };
}

const isListOf = <T>(value: unknown, isOne: (item: unknown) => item is T): value is readonly T[] =>
  Array.isArray(value) && value.every(isOne);

function isKeptKey(value: unknown): value is KeptKey {
  if (typeof value !== 'object' || value === null) return false;
  const { id, pem, from, goneAt } = value as Partial<Record<keyof KeptKey, unknown>>;
  const isServedSomewhere = from === undefined || typeof from === 'string';
  return typeof id === 'string' && typeof pem === 'string' && isServedSomewhere && isMoment(goneAt);
}

const isMoment = (value: unknown) => value === undefined || typeof value === 'number';

/**
 * The id of a key whose sender has none: SHA-256 of its DER, from PEM of a `PUBLIC KEY`, in hex.
 */
export const keyIdOf = (pem: string): string =>
  createHash('sha256')
    .update(Buffer.from(pem.replace(/-----[A-Z ]+-----/g, ''), 'base64'))
    .digest('hex');

/** What is kept is used as long as its sender serves it, and for `limits.goneKeyMs` after. */
export const isUsable = ({ goneAt }: KeptKey, now: number): boolean =>
  goneAt === undefined || now < goneAt + limits.goneKeyMs;

/**
 * The keys that verify what comes to each callback, of a link or a sender, by its name: on a table.
 */
export function verificationKeyRecords(table: Table) {
  const keyOf = (link: string): Key => ({ partition: 'verification-key.1', sort: link });

  async function verificationKeys(link: string): Promise<KeptKeys> {
    const row = await table.get(keyOf(link));
    if (row === undefined) return { keys: [], dropped: [], version: 0 };
    const kept = readRow(row);
    if (kept === undefined)
      throw new CodedError(
        'table_row_unreadable',
        `what is kept of the verification keys of the callback ${link} is damaged`,
        {
          fields: { link },
        },
      );
    const { pem, keys, dropped, version } = kept;
    // The version before knows one key, and no names. What it has written since is as good.
    const written = pem === undefined || keys.some((key) => key.pem === pem) ? [] : [{ id: keyIdOf(pem), pem }];
    const known = [...written, ...keys];
    return { keys: known.filter(({ id }) => !dropped.includes(id)), dropped, version };
  }

  /**
   * Writes the set under the condition that nobody wrote since it was read. Answers whether it did.
   */
  async function save(
    link: string,
    read: KeptKeys,
    { keys, dropped }: Pick<KeptKeys, 'keys' | 'dropped'>,
    now: number,
  ): Promise<boolean> {
    // The one key that the version before knows.
    const pem = servedPem(keys);
    const outcome = await table.update(
      keyOf(link),
      {
        add: { version: 1 },
        set: {
          keys: keys.map((key) => ({ ...key })),
          dropped: [...dropped],
          fetchedAt: now,
          ...defined({ pem }),
        },
        ...(pem === undefined ? { remove: ['pem'] } : {}),
      },
      read.version === 0 ? { absent: 'version' } : { field: 'version', is: '=', to: read.version },
    );
    return outcome.applied;
  }

  return {
    verificationKeys,

    /** PEM of the key that the primary serves now, as far as it has been fetched. */
    async verificationKey(link: string): Promise<string | undefined> {
      return servedPem((await verificationKeys(link)).keys);
    },

    /**
     * Keeps the set that was made of `read`. Answers whether it did: not if somebody wrote
     * meanwhile.
     */
    saveVerificationKeys: (link: string, read: KeptKeys, keys: readonly KeptKey[], now: number): Promise<boolean> =>
      save(link, read, { keys, dropped: read.dropped }, now),

    /**
     * Drops a key at once and for ever: a person's word. Answers whether there was one of this id.
     * Throws `verification_key_last` where no key would be left that is used.
     */
    async dropVerificationKey(link: string, id: string, now: number): Promise<boolean> {
      for (let tries = 1; tries <= dropTries; tries += 1) {
        const read = await verificationKeys(link);
        const keys = read.keys.filter((key) => key.id !== id);
        if (keys.length === read.keys.length) return false;
        refuseNoKeyLeft(link, id, keys, now);
        if (await save(link, read, { keys, dropped: [...read.dropped, id] }, now)) return true;
      }
      throw new CodedError(
        'table_unavailable',
        `the keys of the callback ${link} change faster than they can be written`,
      );
    },

    /** Forgets them, and what was dropped: the link has another primary. */
    async forgetVerificationKeys(link: string): Promise<void> {
      await table.delete(keyOf(link));
    },
  };
}

const dropTries = 5;

/** Throws `verification_key_last` if none of the keys that stay is used. */
export function refuseNoKeyLeft(link: string, dropped: string, staying: readonly KeptKey[], now: number): void {
  if (staying.some((key) => isUsable(key, now))) return;
  throw new CodedError('verification_key_last', `${link} has no other verification key than ${dropped}: it stays`, {
    fields: { link, key: dropped },
  });
}

/** The one that its sender serves, else the one that it served last. */
const servedPem = (keys: readonly KeptKey[]): string | undefined =>
  (keys.find(({ goneAt }) => goneAt === undefined) ?? keys[0])?.pem;
