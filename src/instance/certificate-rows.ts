import { CodedError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { Key, Table, Value } from '../table/table.ts';
import { certificatePlaces } from './certificate-places.ts';
import {
  type CertificateRow,
  type ContentPem,
  decodeCertificate,
  decodeContent,
  decodeEntry,
  type ExpiryEntry,
  expiryPosition,
  type KeptFacts,
} from './certificate-row.ts';

/** What a change sets, and the content and index row that were written for it. */
interface Decision {
  readonly set: Readonly<Record<string, Value>>;
  readonly prepared?: Pick<CertificateRow, 'id' | 'expiresOn' | 'content'>;
}

/** How often a change is tried against others of the same certificate before the caller is told to come back. */
const attempts = 20;

/**
 * The certificates of one instance on a table. Four partitions: the certificates, their contents, an index by expiry, a count.
 *
 * The row of the certificate is what counts. Content and index row are written before it and never changed after, each under a key of
 * its own, and removed only when the certificate's row has moved past them. So a crash at any point leaves either the old state or the new one,
 * and at most rows that nothing points to, which readers pass over.
 */
export function certificateRows(context: { table: Table; runtime: Runtime; log: Log; instanceCrn: string }) {
  const { table, runtime, log, instanceCrn } = context;
  const partition = (what: string) => `instance.1/${instanceCrn}/${what}`;
  const certificateKey = (id: string): Key => ({ partition: partition('certificate'), sort: id });
  const contentKey = (id: string, content: string): Key => ({
    partition: partition('content'),
    sort: `${id}/${content}`,
  });
  const entryKey = (row: Pick<CertificateRow, 'id' | 'expiresOn' | 'content'>): Key => ({
    partition: partition('expiry'),
    sort: `${expiryPosition(row.expiresOn, row.id)}/${row.content}`,
  });
  const places = certificatePlaces({
    table,
    counter: { partition: partition('counter'), sort: 'certificates' },
    certificates: partition('certificate'),
  });

  /** Writes content and index row of the version to come. Returns the name of the content. */
  async function prepare(id: string, version: number, pem: ContentPem, expiresOn: number): Promise<string> {
    const content = `${String(version).padStart(10, '0')}-${runtime.newId()}`;
    await table.putIfAbsent(contentKey(id, content), {
      content: pem.content,
      ...(pem.intermediate !== undefined && { intermediate: pem.intermediate }),
      ...(pem.priv_key !== undefined && { priv_key: pem.priv_key }),
    });
    await table.putIfAbsent(entryKey({ id, expiresOn, content }), { id, content, version, expiresOn });
    return content;
  }

  async function get(id: string): Promise<CertificateRow | undefined> {
    const row = await table.get(certificateKey(id));
    return row && decodeCertificate(row);
  }

  /** One change against all others: read, decide, write if nobody was faster. Undefined if there is no such certificate. */
  async function change(
    id: string,
    decide: (row: CertificateRow, version: number) => Promise<Decision>,
  ): Promise<{ readonly before: CertificateRow; readonly after: CertificateRow } | undefined> {
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const before = await get(id);
      if (before?.state !== 'live') return undefined;
      const version = before.version + 1;
      const { set, prepared } = await decide(before, version);
      const lastModified = Math.max(runtime.now(), before.lastModified + 1);
      const outcome = await table.update(
        certificateKey(id),
        { set: { ...set, version, lastModified } },
        { field: 'version', is: '=', to: before.version },
      );
      const after = outcome.row && decodeCertificate(outcome.row);
      if (after !== undefined && (outcome.applied || holds(after, prepared?.content))) return { before, after };
      if (prepared !== undefined) {
        await table.delete(entryKey(prepared));
        await table.delete(contentKey(id, prepared.content));
      }
    }
    throw new CodedError(
      'instance_busy',
      `certificate ${id} was changed ${attempts} times while this change was tried`,
    );
  }

  /** Removes contents that no row points to and no row can come to point to. */
  async function removeContents(id: string, which: (content: string) => boolean): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await table.query({
        partition: partition('content'),
        beginsWith: `${id}/`,
        limit: 20,
        ...(cursor && { cursor }),
      });
      for (const row of page.rows) {
        if (which(row.sort.slice(id.length + 1))) await table.delete({ partition: row.partition, sort: row.sort });
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
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

  /** Removes what a removed certificate leaves; its own row last, so that whoever is interrupted is continued. */
  async function finishRemoval(row: CertificateRow): Promise<void> {
    await removeContents(row.id, () => true);
    await table.delete(entryKey(row));
    const outcome = await table.delete(certificateKey(row.id), { field: 'state', is: '=', to: 'removed' });
    if (outcome.applied) await places.free();
  }

  return {
    /** The certificate, or undefined if there is none. */
    async get(id: string): Promise<CertificateRow | undefined> {
      const row = await get(id);
      return row?.state === 'live' ? row : undefined;
    },

    /** The content in force, with the row that names it. */
    async read(id: string): Promise<{ readonly row: CertificateRow; readonly pem: ContentPem } | undefined> {
      // Two reimports between the two reads remove the content that the row named; then the row names another.
      for (let attempt = 1; attempt <= attempts; attempt++) {
        const row = await get(id);
        if (row?.state !== 'live') return undefined;
        const kept = await table.get(contentKey(id, row.content));
        if (kept !== undefined) return { row, pem: decodeContent(kept) };
      }
      throw new CodedError('table_row_unreadable', `the content of certificate ${id} is not where its row says`);
    },

    /** Adds a certificate under a new id. Throws `instance_full`. */
    async add(
      entry: KeptFacts & { readonly name: string; readonly description: string },
      pem: ContentPem,
      maximum: number,
    ): Promise<CertificateRow> {
      await places.take(maximum);
      const id = runtime.newId().replaceAll('-', '').toLowerCase();
      const content = await prepare(id, 1, pem, entry.expiresOn);
      const { domains, ...facts } = entry;
      const fields = {
        ...facts,
        domains: [...domains],
        state: 'live',
        version: 1,
        lastModified: runtime.now(),
        content,
      };
      const outcome = await table.putIfAbsent(certificateKey(id), fields);
      if (outcome.row?.content !== content) throw new CodedError('internal', `the new id ${id} is taken`);
      return decodeCertificate(outcome.row);
    },

    /** Replaces the content and keeps the one before. `judge` may refuse by throwing. Undefined if there is no such certificate. */
    async replaceContent(
      id: string,
      facts: KeptFacts,
      pem: ContentPem,
      judge: (row: CertificateRow) => void,
    ): Promise<CertificateRow | undefined> {
      const changed = await change(id, async (row, version) => {
        judge(row);
        const content = await prepare(id, version, pem, facts.expiresOn);
        const set = { ...facts, domains: [...facts.domains], content, previous: row.content };
        return { set, prepared: { id, content, expiresOn: facts.expiresOn } };
      });
      if (changed === undefined) return undefined;
      const { before, after } = changed;
      const newest = String(after.version).padStart(10, '0');
      await afterwards(id, async () => {
        await table.delete(entryKey(before));
        // A content of a higher version may be on its way to a row; one of a lower version can no longer get there.
        await removeContents(
          id,
          (content) => content.slice(0, 10) <= newest && content !== after.content && content !== after.previous,
        );
      });
      return after;
    },

    /** Changes name and description. Undefined if there is no such certificate. */
    async describe(
      id: string,
      texts: { readonly name?: string; readonly description?: string },
    ): Promise<CertificateRow | undefined> {
      const changed = await change(id, async () => ({ set: texts }));
      return changed?.after;
    },

    /** Removes a certificate with all that belongs to it, and finishes a removal that was interrupted. Undefined if there was none. */
    async remove(id: string): Promise<CertificateRow | undefined> {
      const outcome = await table.update(
        certificateKey(id),
        { set: { state: 'removed' }, add: { version: 1 } },
        { field: 'state', is: '=', to: 'live' },
      );
      if (outcome.row === undefined) return undefined;
      const row = decodeCertificate(outcome.row);
      await finishRemoval(row);
      return row;
    },

    /** A page of the index by expiry, from this position on. */
    async entries(request: {
      readonly from?: string | undefined;
      readonly limit: number;
      readonly cursor?: string | undefined;
    }): Promise<{ readonly entries: readonly ExpiryEntry[]; readonly cursor?: string | undefined }> {
      const page = await table.query({
        partition: partition('expiry'),
        limit: request.limit,
        ...(request.from !== undefined && { after: request.from }),
        ...(request.cursor !== undefined && { cursor: request.cursor }),
      });
      const entries = page.rows.map(decodeEntry);
      return { entries, cursor: page.cursor };
    },

    /** Removes what an interrupted change has left of this entry, where that is certain. */
    async repair(entry: ExpiryEntry, row: CertificateRow): Promise<void> {
      await afterwards(entry.id, async () => {
        if (row.state === 'removed') await finishRemoval(row);
        else if (row.version >= entry.version) await table.delete(entryKey(entry));
      });
    },

    /** The certificate's row whatever its state. */
    getAnyState: get,
  };
}

export type CertificateRows = ReturnType<typeof certificateRows>;

/** Whether this content got into the row: a table that asks again after a lost answer is refused by its own first write. */
function holds(row: CertificateRow, content: string | undefined): boolean {
  return content !== undefined && (row.content === content || row.previous === content);
}
