import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { asCodedError } from '../../src/errors.ts';
import type { ReplicationRecord } from '../../src/records/replication-record.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { sameMark, wholeMark } from '../../src/store/mark.ts';
import type { Store, StoredCertificate } from '../../src/store/store.ts';
import type { Table } from '../../src/table/table.ts';
import { listedFully } from './listed.ts';
import { forgedId } from './load.ts';
import { linkName } from './program.ts';

/** What became of the promises. */
export interface Findings {
  /**
   * Certificates in notifications that were answered with 2xx, and how many of them have been
   * looked at.
   */
  readonly acknowledged: number;
  readonly replicated: number;
  readonly lost: number;
  /** Copies beyond the one of each certificate. */
  readonly doubled: number;
  /** Records, copies and places that cannot be understood. */
  readonly unreadable: number;
  /** Every promise that does not hold, in words; those above too. */
  readonly broken: readonly string[];
}

/**
 * What was acknowledged against what the records say: each acknowledgement counts one up, and has
 * been looked at.
 */
export async function checkRecords(table: Table, acknowledged: ReadonlyMap<string, number>): Promise<Findings> {
  const records = replicationRecords(table);
  const broken: string[] = [];
  let unreadable = 0;
  let all = 0;
  let replicated = 0;
  for (const [certificate, times] of acknowledged) {
    all += times;
    const record = await records.get(linkName, certificate).catch((thrown: unknown) => asCodedError(thrown));
    if (record instanceof Error) {
      if (record.code !== 'table_row_unreadable') throw record;
      unreadable += 1;
      broken.push(`the record of ${certificate} is unreadable`);
      continue;
    }
    const { requested = 0, replicated: done = 0 } = record ?? {};
    replicated += Math.min(times, requested, done);
    if (requested < times) broken.push(`${certificate}: acknowledged ${times} times, asked for ${requested} times`);
    if (done !== requested) broken.push(`${certificate}: asked for ${requested} times, looked at up to ${done}`);
  }
  if ((await records.get(linkName, forgedId)) !== undefined) broken.push('a forged notification left a record');
  return { acknowledged: all, replicated, lost: all - replicated, doubled: 0, unreadable, broken };
}

/**
 * Both sides in full: one marked copy of each certificate, equal in content and description, and
 * known to its record; and nothing beside them that is half made or cannot be read.
 */
export async function checkCopies(
  primary: Store,
  backup: Store,
  table: Table,
): Promise<Pick<Findings, 'doubled' | 'unreadable' | 'broken'>> {
  const broken: string[] = [];
  let doubled = 0;
  const everything = await listedFully(backup);
  const copies = everything.certificates.filter(({ mark }) => wholeMark(mark)?.store === primary.id);
  const { certificates: originals } = await listedFully(primary);
  for (const { id, why } of everything.vacant) broken.push(`${id} of ${backup.id} is ${why}`);
  for (const { place } of everything.unreadable) broken.push(`${place} of ${backup.id} cannot be read`);
  for (const { id } of originals) {
    const mark = { store: primary.id, certificate: id };
    const own = copies.filter((copy) => sameMark(copy.mark, mark));
    const [copy] = own;
    if (own.length > 1) {
      doubled += own.length - 1;
      broken.push(`${id} has ${own.length} copies in ${backup.id}`);
    }
    if (copy === undefined) {
      broken.push(`${id} has no copy in ${backup.id}`);
      continue;
    }
    const [original, held] = await Promise.all([inFull(primary, id), inFull(backup, copy.id)]);
    if (fingerprintOf(original.content) !== fingerprintOf(held.content))
      broken.push(`the copy of ${id} in ${backup.id} differs`);
    if (original.metadata.name !== nameOf(held, backup) || original.metadata.description !== held.metadata.description)
      broken.push(`the copy of ${id} in ${backup.id} is described differently`);
    const record: ReplicationRecord | undefined = await replicationRecords(table).get(linkName, id);
    if (record?.backups.find(({ store }) => store === backup.id)?.id !== copy.id)
      broken.push(`the record of ${id} knows another copy in ${backup.id}`);
  }
  const known = new Set(originals.map(({ id }) => id));
  for (const { mark: found } of copies) {
    const mark = wholeMark(found);
    if (mark !== undefined && !known.has(mark.certificate)) broken.push(`a copy of nothing: ${mark.certificate}`);
  }
  return { doubled, unreadable: everything.unreadable.length, broken };
}

/** All that a store holds and did not come from a primary, as text to compare. */
export async function strangersIn(backup: Store, primary: Store): Promise<string> {
  const others = (await listedFully(backup)).certificates.filter(({ mark }) => wholeMark(mark)?.store !== primary.id);
  const full = await Promise.all(others.map(({ id }) => inFull(backup, id)));
  return JSON.stringify(full.map(({ metadata, content }) => ({ metadata, fingerprint: fingerprintOf(content) })));
}

/** The name of a copy, without what keeps it apart from others where names are unique. */
function nameOf({ metadata: { name } }: StoredCertificate, { abilities }: Store): string {
  return abilities.uniqueNames ? name.replace(/-[0-9a-f]{16}$/, '') : name;
}

async function inFull(store: Store, id: string): Promise<StoredCertificate> {
  const reading = await store.read(id);
  if (reading.state === 'present') return reading.value;
  throw new Error(`${store.id} does not show ${id}: ${reading.state}`);
}

/**
 * Which of the files of a folder holds a private key or another secret, in any of the spellings
 * that are at hand.
 */
export function leaksIn(folder: string, keysPem: Iterable<string>, secrets: readonly string[]): readonly string[] {
  const needles = ['PRIVATE KEY', ...secrets].map((text) => Buffer.from(text));
  for (const pem of keysPem) needles.push(...spellings(pem));
  const leaks: string[] = [];
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    if (needles.some((needle) => bytes.includes(needle))) leaks.push(`${entry.name} holds a secret`);
  }
  return leaks;
}

/**
 * The private number of an EC key as bytes, in hex, in base64url, and the part of its PEM that no
 * line break cuts.
 */
function spellings(pem: string): readonly Buffer<ArrayBuffer>[] {
  const { d = '' } = createPrivateKey(pem).export({ format: 'jwk' });
  const number = Buffer.from(d, 'base64url');
  const encoded = pem.replace(/-----[^-]+-----|\s/g, '');
  return [number, Buffer.from(number.toString('hex')), Buffer.from(d), Buffer.from(encoded.slice(64, 88))];
}
