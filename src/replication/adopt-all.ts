import { factsOf } from '../certificate/facts.ts';
import { asCodedError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { type KnownSides, proveAdoption } from './adopt.ts';
import { includes, includesName, type Link } from './link.ts';
import { listCopies } from './listed-copies.ts';
import { listAll } from './shared-listing.ts';
import type { Worker } from './worker.ts';

/** A copy that somebody else made, and what is to become of it. */
export interface AdoptionLine {
  readonly copy: string;
  /** What it is called in the backup. */
  readonly name: string;
  /**
   * `adopt`: it holds what its original holds, key included where that is given. `differs`: it is a
   * copy of it by its leaf, and something else in it differs. `stranger`: the primary has no
   * certificate with its leaf. `refused`: `how` says why.
   */
  readonly action: 'adopt' | 'differs' | 'stranger' | 'refused';
  /** Its original, where it is known. */
  readonly certificate?: string;
  /** What differs, or why it is refused; empty if there is nothing to say. */
  readonly how: string;
}

export interface AdoptionPlan {
  readonly lines: readonly AdoptionLine[];
  /** Certificates of the primary that could not be read: copies of these are strangers here. */
  readonly notRead: number;
  /** For `adopt`, so that it does not list both sides for each of them. */
  readonly known: KnownSides;
}

/**
 * Everything in a backup that carries no mark, each with what `adopt` would do with it: proven by
 * reading both sides in full, one at a time, so that memory holds no estate of keys. Changes
 * nothing. Throws what the listings throw.
 */
export async function planAdoptions(
  worker: Worker,
  link: Link,
  options: {
    readonly store: Store;
    /** Only copies with names that fit. */
    readonly fits?: (name: string) => boolean;
    readonly signal?: AbortSignal;
    /** Called for each copy that was looked at. */
    readonly proven?: (line: AdoptionLine) => void;
    /** How many copies there are, once that is known. */
    readonly listed?: (total: number) => void;
  },
): Promise<AdoptionPlan> {
  const { store, fits = () => true, signal, proven = () => {}, listed = () => {} } = options;
  const { runtime } = worker;
  const foreign: { readonly id: string; readonly name: string }[] = [];
  const copies = await listCopies(link.primary.id, store, {
    runtime,
    signal,
    foreign: (id, name) => {
      if (fits(name)) foreign.push({ id, name });
    },
  });
  listed(foreign.length);
  const { bySerial, notRead } = foreign.length === 0 ? nothing : await originals(worker, link, signal);
  const known: KnownSides = { copies, candidates: (serial) => bySerial.get(serial) ?? [] };
  const lines: AdoptionLine[] = [];
  /** Which copy is to be that of a certificate: a second one would be one too many. */
  const taken = new Map<string, string>();
  for (const { id, name } of foreign) {
    signal?.throwIfAborted();
    const line = await lineFor(worker, link, { store, copy: id, name, known, taken });
    if (line.action === 'adopt' && line.certificate !== undefined) taken.set(line.certificate, id);
    lines.push(line);
    proven(line);
  }
  return { lines, notRead, known };
}

const nothing = { bySerial: new Map<string, readonly string[]>(), notRead: 0 };

/**
 * Ids of the primary's certificates by serial number; where a listing does not say that, by a read
 * in full. Only of those that the link copies.
 */
async function originals({ runtime }: Worker, { primary, filter }: Link, signal: AbortSignal | undefined) {
  const bySerial = new Map<string, string[]>();
  let notRead = 0;
  const unreadable = () => {
    notRead += 1;
  };
  for await (const metadata of listAll(primary, { runtime, unreadable, signal })) {
    if (!includes(filter, metadata) || !includesName(filter, metadata.name)) continue;
    const serial = metadata.serial ?? (await serialOf(primary, metadata.id));
    if (serial === undefined) notRead += 1;
    else bySerial.set(serial, [...(bySerial.get(serial) ?? []), metadata.id]);
  }
  return { bySerial, notRead };
}

async function serialOf(store: Store, id: string): Promise<string | undefined> {
  const reading = await store.read(id);
  if (reading.state !== 'present') return undefined;
  const { content } = reading.value;
  content.privateKey?.pem.wipe();
  return factsOf(content).serial;
}

async function lineFor(
  worker: Worker,
  link: Link,
  asked: {
    readonly store: Store;
    readonly copy: string;
    readonly name: string;
    readonly known: KnownSides;
    readonly taken: ReadonlyMap<string, string>;
  },
): Promise<AdoptionLine> {
  const { store, copy, name, known, taken } = asked;
  try {
    const { certificate, differs, isSame } = await proveAdoption(worker, link, { store, copy, known });
    const other = taken.get(certificate);
    if (other !== undefined)
      return { copy, name, certificate, action: 'refused', how: `${other} is another copy of the same certificate` };
    return { copy, name, certificate, action: isSame ? 'adopt' : 'differs', how: differs };
  } catch (thrown) {
    const { code, message, fields } = asCodedError(thrown);
    if (code === 'adopt_refused' && fields.found === 0) return { copy, name, action: 'stranger', how: '' };
    return { copy, name, action: 'refused', how: message };
  }
}
