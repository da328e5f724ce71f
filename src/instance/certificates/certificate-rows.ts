import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import { pagesOf, type Row, type Table, type Value } from '../../table/table.ts';
import { rowsIn } from '../rows/instance-rows.ts';
import { formatted } from '../rows/row-format.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import { certificatePlaces } from './certificate-places.ts';
import {
  type CertificateRow,
  type ContentPem,
  decodeCertificate,
  decodeEntry,
  type ExpiryEntry,
  isIssued,
  type KeptFacts,
  type Made,
  notIssuedYet,
  type OrderedFields,
  openContent,
  type SecretFields,
  sealContent,
  sealedOf,
} from './certificate-row.ts';
import { certificateRowKeys } from './certificate-row-keys.ts';

/** What a change sets, and the content and index row that were written for it. */
interface Decision {
  readonly set: Readonly<Record<string, Value>>;
  readonly remove?: readonly string[];
  readonly prepared?: Prepared;
}

/**
 * A content and its index row, written, and in force only once the certificate's row names them.
 */
interface Prepared extends Pick<CertificateRow, 'id' | 'expiresOn' | 'content'> {
  readonly preparedAt: number;
}

/**
 * How long after it was prepared a content may still come into force. Much less than what upkeep
 * takes for left behind.
 */
const preparedGoodMs = 10 * 60_000;

/**
 * What is known of a change before it is made: the certificate as it will be, and the version that
 * the change will be.
 */
export type ComingChange = Pick<CertificateRow, 'id' | 'name' | 'domains' | 'expiresOn' | 'version'>;

/** Fields of a certificate's row that a change sets beside its content. */
export type FurtherFields = Partial<Pick<CertificateRow, 'name' | 'description'> & OrderedFields & SecretFields>;

/** What is given of a new certificate. */
type NewEntry = KeptFacts &
  Omit<SecretFields, 'locks' | 'included'> & {
    readonly id?: string;
    readonly name: string;
    readonly description: string;
  };

/**
 * Further rows of a change, written before the certificate's row is: got ready, then written in the
 * same moment as the content, so that an engine that gathers writes flushes once. Called again
 * where another change was faster, and this one becomes a later version.
 */
export type WriteBefore = (coming: ComingChange) => Promise<() => Promise<unknown>>;

/**
 * How often a change is tried against others of the same certificate before the caller is told to
 * come back.
 */
const attempts = 20;

export interface CertificateRows {
  /** The certificate, or undefined if there is none. */
  get(id: string): Promise<CertificateRow | undefined>;
  /**
   * The content in force, with the row that names it. Throws `instance_not_issued` for an order
   * that has come to none yet.
   */
  read(id: string): Promise<
    | {
        readonly row: CertificateRow;
        readonly pem: ContentPem;
      }
    | undefined
  >;
  /**
   * The content before the one in force; no `pem` if there is none. Undefined if there is no such
   * certificate.
   */
  readPrevious(id: string): Promise<
    | {
        readonly row: CertificateRow;
        readonly pem?: ContentPem | undefined;
      }
    | undefined
  >;
  /** Adds a certificate under a new id, or this new one. Throws `instance_full`. */
  add(entry: NewEntry, pem: ContentPem, maximum: number, writeBefore?: WriteBefore): Promise<CertificateRow>;
  /**
   * Adds a certificate that was ordered, and has no content until it is issued. Throws
   * `instance_full`.
   */
  reserve(
    entry: Pick<CertificateRow, 'id' | 'name' | 'description' | 'domains' | 'keyAlgorithm'> & OrderedFields,
    maximum: number,
  ): Promise<CertificateRow>;
  /**
   * Replaces the content and keeps the one before. `judge` may refuse by throwing; `further` says
   * what else is to be set. Undefined if there is no such certificate. Throws `instance_locked`
   * where the version before, which would be lost, is held fast.
   */
  replaceContent(
    id: string,
    facts: KeptFacts,
    pem: ContentPem,
    judge: (row: CertificateRow) => void,
    writeBefore?: WriteBefore,
    further?: (row: CertificateRow) => FurtherFields,
  ): Promise<CertificateRow | undefined>;
  /** Changes name and description. Undefined if there is no such certificate. */
  describe(
    id: string,
    texts: {
      readonly name?: string;
      readonly description?: string;
    },
  ): Promise<CertificateRow | undefined>;
  /**
   * Changes further fields of a certificate, as `decide` says of the row as it is. Undefined if
   * there is no such certificate, or `decide` says that there is nothing to change. What it throws
   * is thrown.
   */
  alter(
    id: string,
    decide: (row: CertificateRow) => FurtherFields | undefined,
    writeBefore?: WriteBefore,
  ): Promise<CertificateRow | undefined>;
  /**
   * Notes that somebody has downloaded what is in force of an ordered certificate. No change of the
   * certificate: its version stays.
   */
  noteDownload(certificateRow: CertificateRow): Promise<void>;
  /**
   * Removes the content before the one in force, if it is this one. Undefined if there is no such
   * certificate. Throws `instance_locked`.
   */
  removePrevious(id: string, content: string): Promise<CertificateRow | undefined>;
  /**
   * Every certificate, page by page, in no order that means something. What `mayBe` says no to, of
   * the row as it lies, is passed over unread. What cannot be read is told by its id, and keeps no
   * other from being listed.
   */
  all(mayBe?: (row: Row) => boolean, damaged?: (id: string) => void): AsyncGenerator<CertificateRow>;
  /**
   * Removes a certificate with all that belongs to it, and finishes a removal that was interrupted.
   * Undefined if there was none. Throws `instance_locked`.
   */
  remove(id: string, writeBefore?: WriteBefore): Promise<CertificateRow | undefined>;
  /** How many certificates there are. */
  readonly count: () => Promise<number>;
  /** A page of the index by expiry, from this position on. */
  entries(request: {
    readonly from?: string | undefined;
    readonly limit: number;
    readonly cursor?: string | undefined;
  }): Promise<{
    readonly entries: readonly ExpiryEntry[];
    readonly cursor?: string | undefined;
  }>;
  /** Removes what an interrupted change has left of this entry, where that is certain. */
  repair(entry: ExpiryEntry, row: CertificateRow): Promise<void>;
  /** The certificate's row whatever its state. */
  readonly getAnyState: (id: string) => Promise<CertificateRow | undefined>;
  readonly finishRemoval: (row: CertificateRow) => Promise<void>;
}

/**
 * The certificates of one instance on a table. Four partitions: the certificates, their contents,
 * an index by expiry, a count.
 *
 * The row of the certificate is what counts. Content and index row are written before it and never
 * changed after, each under a key of its own, and removed only when the certificate's row has moved
 * past them. So a crash at any point leaves either the old state or the new one, and at most rows
 * that nothing points to, which readers pass over.
 */
export function certificateRows(context: {
  table: Table;
  sealer: Sealer;
  runtime: Runtime;
  log: Log;
  instanceCrn: string;
}): CertificateRows {
  const { table, sealer, runtime, log, instanceCrn } = context;
  const keys = certificateRowKeys(instanceCrn);
  const places = certificatePlaces({ table, counter: keys.counter, certificates: keys.partition('certificate') });

  /**
   * Writes content and index row of the version to come, side by side: on an engine that gathers
   * writes, with one flush.
   */
  async function prepare(
    coming: ComingChange,
    pem: ContentPem,
    writeBefore: WriteBefore | undefined,
  ): Promise<Prepared> {
    const { id, version, expiresOn } = coming;
    const content = `${String(version).padStart(10, '0')}-${runtime.newId()}`;
    const preparedAt = runtime.now();
    const [sealed, writeFurther] = await Promise.all([sealContent(sealer, id, content, pem), writeBefore?.(coming)]);
    const entry = { id, expiresOn, content };
    await Promise.all([
      table.putIfAbsent(keys.entry(entry), formatted({ ...entry, version, preparedAt })),
      table.putIfAbsent(keys.content(id, content), formatted({ sealed, preparedAt })),
      writeFurther?.(),
    ]);
    return { ...entry, preparedAt };
  }

  /** After so long, what was prepared may have been tidied away. */
  function checkInTime({ id, preparedAt }: Prepared): void {
    const tookMs = runtime.now() - preparedAt;
    if (tookMs <= preparedGoodMs) return;
    throw new CodedError('table_unavailable', `writing the content of certificate ${id} took ${tookMs} ms`);
  }

  async function get(id: string): Promise<CertificateRow | undefined> {
    const row: Row | undefined = await table.get(keys.certificate(id));
    return row && decodeCertificate(row);
  }

  /**
   * One change against all others: read, decide, write if nobody was faster. Undefined if there is
   * no such certificate, or it was decided that there is nothing to change.
   */
  async function change(
    id: string,
    decide: (row: CertificateRow, version: number) => Promise<Decision | undefined>,
  ): Promise<{ readonly before: CertificateRow; readonly after: CertificateRow } | undefined> {
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const before = await get(id);
      if (before?.state !== 'live') return undefined;
      const version = before.version + 1;
      const decision = await decide(before, version);
      if (decision === undefined) return undefined;
      const { set, remove = [], prepared } = decision;
      if (prepared !== undefined) checkInTime(prepared);
      const lastModified = Math.max(runtime.now(), before.lastModified + 1);
      const outcome = await table.update(
        keys.certificate(id),
        { set: { ...set, version, lastModified }, remove },
        { field: 'version', is: '=', to: before.version },
      );
      const after = outcome.row && decodeCertificate(outcome.row);
      if (after !== undefined && (outcome.applied || holds(after, prepared?.content))) return { before, after };
      if (prepared !== undefined) {
        await table.delete(keys.entry(prepared));
        await table.delete(keys.content(id, prepared.content));
      }
    }
    throw new CodedError(
      'instance_busy',
      `certificate ${id} was changed ${attempts} times while this change was tried`,
    );
  }

  /** Removes contents that no row points to and no row can come to point to. */
  async function removeContents(id: string, which: (content: string) => boolean): Promise<void> {
    const contents = { partition: keys.partition('content'), beginsWith: `${id}/`, limit: 20 };
    for await (const rows of pagesOf(table, contents)) {
      for (const row of rows) {
        if (which(row.sort.slice(id.length + 1))) await table.delete({ partition: row.partition, sort: row.sort });
      }
    }
  }

  /** Work after the row has changed: it must not turn a change that was made into a failure. */
  async function afterwards(id: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const code = error instanceof CodedError ? error.code : 'internal';
      log('warn', 'instance_cleanup_failed', { instance: instanceCrn, certificate: id, code });
    }
  }

  /**
   * Removes what a removed certificate leaves; its own row last, so that an interrupted removal is
   * continued.
   */
  async function finishRemoval(row: CertificateRow): Promise<void> {
    await removeContents(row.id, () => true);
    await table.delete(keys.entry(row));
    const outcome = await table.delete(keys.certificate(row.id), { field: 'state', is: '=', to: 'removed' });
    if (outcome.applied) await places.free();
  }

  return {
    async get(id: string): Promise<CertificateRow | undefined> {
      const row = await get(id);
      return row?.state === 'live' ? row : undefined;
    },

    async read(id: string): Promise<{ readonly row: CertificateRow; readonly pem: ContentPem } | undefined> {
      // Two reimports between the two reads remove the content that the row named; then the row
      // names another.
      for (let attempt = 1; attempt <= attempts; attempt++) {
        const row = await get(id);
        if (row?.state !== 'live') return undefined;
        if (!isIssued(row)) throw new CodedError('instance_not_issued', `certificate ${id} has not been issued`);
        const kept = await table.get(keys.content(id, row.content));
        if (kept === undefined) continue;
        return { row, pem: await openContent(sealer, id, row.content, sealedOf(kept)) };
      }
      throw new CodedError('instance_content_unreadable', `the content of certificate ${id} is not where its row says`);
    },

    async readPrevious(
      id: string,
    ): Promise<{ readonly row: CertificateRow; readonly pem?: ContentPem | undefined } | undefined> {
      for (let attempt = 1; attempt <= attempts; attempt++) {
        const row = await get(id);
        if (row?.state !== 'live') return undefined;
        if (row.previous === undefined) return { row };
        const kept = await table.get(keys.content(id, row.previous));
        if (kept === undefined) continue;
        return { row, pem: await openContent(sealer, id, row.previous, sealedOf(kept)) };
      }
      throw new CodedError(
        'instance_content_unreadable',
        `the previous content of certificate ${id} is not where its row says`,
      );
    },

    async add(entry: NewEntry, pem: ContentPem, maximum: number, writeBefore?: WriteBefore): Promise<CertificateRow> {
      const place = places.take(maximum);
      // Where nothing can be refused, nothing need wait either.
      if (maximum !== Number.POSITIVE_INFINITY) await place;
      const id = entry.id ?? newCertificateId(runtime);
      const [prepared] = await Promise.all([prepare({ ...entry, id, version: 1 }, pem, writeBefore), place]);
      const { content } = prepared;
      const now = runtime.now();
      const nobody = { at: now, by: '' };
      const { id: _id, domains, created = nobody, made = nobody, ...given } = entry;
      const fields = formatted({
        ...valuesOf({ ...given, created, made, included: includedIn(pem) }),
        domains: [...domains],
        state: 'live',
        version: 1,
        lastModified: now,
        content,
      });
      checkInTime(prepared);
      const outcome = await table.putIfAbsent(keys.certificate(id), fields);
      if (outcome.row?.content !== content) throw new CodedError('internal', `the new id ${id} is taken`);
      return decodeCertificate(outcome.row);
    },

    async reserve(
      entry: Pick<CertificateRow, 'id' | 'name' | 'description' | 'domains' | 'keyAlgorithm'> & OrderedFields,
      maximum: number,
    ): Promise<CertificateRow> {
      await places.take(maximum);
      const { id, domains, ...given } = entry;
      const content = `${String(1).padStart(10, '0')}-${runtime.newId()}`;
      const place = { id, expiresOn: notIssuedYet, content };
      await table.putIfAbsent(keys.entry(place), formatted({ ...place, version: 1, preparedAt: runtime.now() }));
      const unknown = { issuer: '', serialNumber: '', beginsOn: 0, expiresOn: notIssuedYet, algorithm: '' };
      const fields = { ...valuesOf(given), ...unknown, domains: [...domains], state: 'live', version: 1, content };
      const outcome = await table.putIfAbsent(
        keys.certificate(id),
        formatted({ ...fields, lastModified: runtime.now() }),
      );
      if (outcome.row?.content !== content) throw new CodedError('internal', `the new id ${id} is taken`);
      return decodeCertificate(outcome.row);
    },

    async replaceContent(
      id: string,
      facts: KeptFacts,
      pem: ContentPem,
      judge: (row: CertificateRow) => void,
      writeBefore?: WriteBefore,
      further: (row: CertificateRow) => FurtherFields = () => ({}),
    ): Promise<CertificateRow | undefined> {
      const changed = await change(id, async (row, version) => {
        judge(row);
        requireUnlocked(row, [row.previous]);
        const prepared = await prepare({ ...row, ...facts, version }, pem, writeBefore);
        const set = {
          ...valuesOf({ made: { at: runtime.now(), by: '' }, ...further(row), included: includedIn(pem) }),
          ...facts,
          domains: [...facts.domains],
          content: prepared.content,
          // What was only ordered had no content.
          ...(isIssued(row) && { previous: row.content, before: beforeOf(row) }),
        };
        return { set, prepared };
      });
      if (changed === undefined) return undefined;
      const { before, after } = changed;
      const newest = String(after.version).padStart(10, '0');
      await afterwards(id, async () => {
        await table.delete(keys.entry(before));
        // A content of a higher version may be on its way to a row; one of a lower version can no
        // longer get there.
        await removeContents(
          id,
          (content) => content.slice(0, 10) <= newest && content !== after.content && content !== after.previous,
        );
      });
      return after;
    },

    async describe(
      id: string,
      texts: { readonly name?: string; readonly description?: string },
    ): Promise<CertificateRow | undefined> {
      const changed = await change(id, async () => ({ set: texts }));
      return changed?.after;
    },

    async alter(
      id: string,
      decide: (row: CertificateRow) => FurtherFields | undefined,
      writeBefore?: WriteBefore,
    ): Promise<CertificateRow | undefined> {
      const changed = await change(id, async (row, version) => {
        const set = decide(row);
        if (set === undefined) return undefined;
        await (await writeBefore?.({ ...row, ...set, version }))?.();
        // What a removal is conditional on is there only while there is a lock.
        return { set: valuesOf(set), remove: set.locks?.length === 0 ? ['locks'] : [] };
      });
      return changed?.after;
    },

    async removePrevious(id: string, content: string): Promise<CertificateRow | undefined> {
      const changed = await change(id, async (row) => {
        if (row.previous !== content) return undefined;
        requireUnlocked(row, [content]);
        return { set: {}, remove: ['previous', 'before'] };
      });
      if (changed !== undefined) await afterwards(id, () => table.delete(keys.content(id, content)));
      return changed?.after;
    },

    async *all(
      mayBe: (row: Row) => boolean = () => true,
      damaged: (id: string) => void = () => {},
    ): AsyncGenerator<CertificateRow> {
      for await (const row of rowsIn(table, keys.partition('certificate'))) {
        if (row.state !== 'live' || !mayBe(row)) continue;
        let read: CertificateRow | undefined;
        try {
          read = decodeCertificate(row);
        } catch (thrown) {
          log('error', 'instance_row_unreadable', { instance: instanceCrn, ...errorFields(asCodedError(thrown)) });
          damaged(row.sort);
        }
        if (read !== undefined) yield read;
      }
    },

    async noteDownload({ id, content, imported, downloaded }: CertificateRow): Promise<void> {
      if (imported !== false || downloaded === true) return;
      await table.update(
        keys.certificate(id),
        { set: { downloaded: true } },
        { field: 'content', is: '=', to: content },
      );
    },

    async remove(id: string, writeBefore?: WriteBefore): Promise<CertificateRow | undefined> {
      const before = await get(id);
      if (before?.state === 'live') {
        requireUnlocked(before, [before.content, before.previous]);
        await (await writeBefore?.({ ...before, version: before.version + 1 }))?.();
      }
      const outcome = await table.update(
        keys.certificate(id),
        { set: { state: 'removed' }, add: { version: 1 } },
        { all: [{ field: 'state', is: '=', to: 'live' }, { absent: 'locks' }] },
      );
      if (outcome.row === undefined) return undefined;
      const row = decodeCertificate(outcome.row);
      if (row.state === 'live')
        requireUnlocked(
          row,
          (row.locks ?? []).map(({ content }) => content),
        );
      await finishRemoval(row);
      return row;
    },

    count: () => places.taken(),

    async entries(request: {
      readonly from?: string | undefined;
      readonly limit: number;
      readonly cursor?: string | undefined;
    }): Promise<{ readonly entries: readonly ExpiryEntry[]; readonly cursor?: string | undefined }> {
      const page = await table.query({
        partition: keys.partition('expiry'),
        limit: request.limit,
        ...defined({ after: request.from, cursor: request.cursor }),
      });
      const entries = page.rows.map(decodeEntry);
      return { entries, cursor: page.cursor };
    },

    async repair(entry: ExpiryEntry, row: CertificateRow): Promise<void> {
      await afterwards(entry.id, async () => {
        if (row.state === 'removed') await finishRemoval(row);
        else if (row.version >= entry.version) await table.delete(keys.entry(entry));
      });
    },

    getAnyState: get,
    finishRemoval,
  };
}

/** A new id of a certificate: 32 hex characters. */
export function newCertificateId(runtime: Pick<Runtime, 'newId'>): string {
  return runtime.newId().replaceAll('-', '').toLowerCase();
}

/** Fields as a table takes them. */
function valuesOf(fields: FurtherFields): Readonly<Record<string, Value>> {
  const { issuance, renewal, created, made, labels, included, locks, ...plain } = fields;
  const given = Object.entries(plain).filter(
    (entry): entry is [string, string | number | boolean] => entry[1] !== undefined,
  );
  return {
    ...Object.fromEntries(given),
    ...(issuance !== undefined && { issuance: { ...issuance } }),
    ...(renewal !== undefined && { renewal: { ...renewal } }),
    ...(created !== undefined && { created: { ...created } }),
    ...(made !== undefined && { made: madeValue(made) }),
    ...(labels !== undefined && { labels: [...labels] }),
    ...(included !== undefined && { included: [...included] }),
    ...(locks !== undefined && locks.length > 0 && { locks: locks.map((lock) => ({ ...lock })) }),
  };
}

const includedIn = ({ intermediate, priv_key }: ContentPem): readonly ('key' | 'chain')[] => [
  ...(priv_key === undefined ? [] : (['key'] as const)),
  ...(intermediate === undefined ? [] : (['chain'] as const)),
];

const madeValue = ({ at, by, metadata }: Made): Value => ({ at, by, ...defined({ metadata }) });

/** What is kept of the version in force when another takes its place. */
function beforeOf({ serialNumber, beginsOn, expiresOn, made }: CertificateRow): Value {
  return { serialNumber, beginsOn, expiresOn, ...(made !== undefined && { made: madeValue(made) }) };
}

/** Throws `instance_locked` where one of these versions is held fast. */
function requireUnlocked({ id, locks = [] }: CertificateRow, contents: readonly (string | undefined)[]): void {
  const held = locks.filter(({ content }) => contents.includes(content));
  if (held.length === 0) return;
  throw new CodedError(
    'instance_locked',
    `The requested action can't be completed because the secret version is locked: ${id}, by ${held
      .map(({ name }) => name)
      .slice(0, 10)
      .join(', ')}`,
    { fields: { certificate: id } },
  );
}

/**
 * Whether this content got into the row: a table that asks again after a lost answer is refused by
 * its own first write.
 */
function holds(row: CertificateRow, content: string | undefined): boolean {
  return content !== undefined && (row.content === content || row.previous === content);
}

/**
 * Whether a change that was prepared has come into force: the certificate has that version or a
 * later one; or, for a deletion, is gone. A certificate that is gone makes its earlier changes
 * moot.
 */
export async function wasChanged(
  rows: CertificateRows,
  type: string,
  change: { readonly id: string; readonly version: number },
): Promise<boolean> {
  const row = await rows.get(change.id);
  return type === 'cert_deleted' ? row === undefined : row !== undefined && row.version >= change.version;
}
