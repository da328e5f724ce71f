import { asCodedError, type CodedError } from '../../errors.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { Row, Table } from '../../table/table.ts';
import { decodeEntry, type ExpiryEntry, openContent, openFor, sealedOf } from '../certificates/certificate-row.ts';
import { certificateRowKeys, contentOfSort } from '../certificates/certificate-row-keys.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import { resealAccountKeys } from '../orders/authority/acme-account.ts';
import { rowsIn } from '../rows/instance-rows.ts';
import { contentPlace, isCurrent, type Sealer } from '../rows/sealed-places.ts';
import { resealSigningKey } from '../tenants/signing-key.ts';

/**
 * After so long, what an import or a reimport has prepared and not brought into force is left
 * behind.
 */
const leftBehindMs = 3_600_000;
const pageRows = 100;

/** What `check` found. */
export interface UpkeepReport {
  /** Certificates whose content in force opens. */
  readonly good: number;
  /** Certificates that were ordered and not issued yet: there is nothing to open. */
  readonly notIssued: number;
  /** Certificates whose content in force, or the one before, is not there or does not open. */
  readonly unreadable: readonly { readonly id: string; readonly message: string }[];
  /** Contents that belong to no certificate. */
  readonly orphans: number;
}

export interface ResealReport {
  readonly resealed: number;
  /** Contents that do not open, and stay as they are. */
  readonly unreadable: readonly string[];
}

export interface CertificateUpkeep {
  /** Removes what interrupted imports, reimports and deletes have left behind. Answers how many. */
  tidy(signal?: AbortSignal): Promise<number>;
  /**
   * Seals everything that is not yet under the data key in force with that key. Reads and writes go
   * on beside it.
   */
  reseal(options?: { readonly signal?: AbortSignal; readonly progress?: () => void }): Promise<{
    resealed: number;
    unreadable: string[];
  }>;
  /**
   * Opens the content of every certificate, and looks for contents without one; with `repair` those
   * are removed.
   */
  check(options: { readonly repair: boolean; readonly signal?: AbortSignal }): Promise<UpkeepReport>;
}

/** Work on all certificates of one instance, page by page, beside requests. */
export function certificateUpkeep(context: {
  table: Table;
  sealer: Sealer;
  runtime: Runtime;
  log: Log;
  instanceCrn: string;
  rows: CertificateRows;
}): CertificateUpkeep {
  const { table, sealer, runtime, log, instanceCrn, rows } = context;
  const keys = certificateRowKeys(instanceCrn);

  const rowsOf = (what: Parameters<typeof keys.partition>[0], signal?: AbortSignal) =>
    rowsIn(table, keys.partition(what), signal, pageRows);

  /** True if something was removed. */
  async function tidyEntry(entry: ExpiryEntry): Promise<boolean> {
    if (entry.preparedAt > runtime.now() - leftBehindMs) return false;
    const row = await rows.getAnyState(entry.id);
    if (row?.state === 'live' && row.content === entry.content) return false;
    if (row?.state === 'removed') await rows.finishRemoval(row);
    // Content first: as long as the entry is there, an interrupted removal is continued.
    else if (row?.previous !== entry.content) await table.delete(keys.content(entry.id, entry.content));
    await table.delete(keys.entry(entry));
    return true;
  }

  async function resealRow(row: Row): Promise<boolean> {
    const { id, content } = contentOfSort(row.sort);
    const before = sealedOf(row);
    if (await isCurrent(sealer, before)) return false;
    const bytes = await openFor(sealer, id, content, before);
    try {
      const sealed = await sealer.seal(contentPlace(id, content), bytes);
      // Refused if it was removed meanwhile.
      const key = keys.content(id, content);
      return (await table.update(key, { set: { sealed } }, { field: 'sealed', is: '=', to: before })).applied;
    } finally {
      bytes.fill(0);
    }
  }

  return {
    async tidy(signal?: AbortSignal): Promise<number> {
      let removed = 0;
      for await (const row of rowsOf('expiry', signal)) {
        try {
          if (await tidyEntry(decodeEntry(row))) removed += 1;
        } catch (thrown) {
          const error = asCodedError(thrown);
          if (error.code !== 'table_row_unreadable') throw error;
          log('warn', 'instance_row_unreadable', { instance: instanceCrn, ...errorFields(error) });
        }
      }
      return removed;
    },

    async reseal(options: { readonly signal?: AbortSignal; readonly progress?: () => void } = {}) {
      const unreadable: string[] = [];
      let resealed = 0;
      if (await resealSigningKey({ table, sealer, instanceCrn })) resealed += 1;
      resealed += await resealAccountKeys({ table, sealer, instanceCrn });
      for await (const row of rowsOf('content', options.signal)) {
        try {
          if (await resealRow(row)) resealed += 1;
        } catch (thrown) {
          if (!isUnreadable(asCodedError(thrown))) throw thrown;
          unreadable.push(contentOfSort(row.sort).id);
        }
        options.progress?.();
      }
      return { resealed, unreadable } satisfies ResealReport;
    },

    async check(options: { readonly repair: boolean; readonly signal?: AbortSignal }): Promise<UpkeepReport> {
      const unreadable = new Map<string, string>();
      let good = 0;
      let notIssued = 0;
      let orphans = 0;
      const attempt = async (id: string, work: () => Promise<void>): Promise<void> => {
        try {
          await work();
        } catch (thrown) {
          const error = asCodedError(thrown);
          // An order that has come to no certificate yet has nothing to open.
          if (error.code === 'instance_not_issued') {
            notIssued += 1;
            return;
          }
          if (!isUnreadable(error)) throw error;
          unreadable.set(id, error.message);
        }
      };
      for await (const { sort: id } of rowsOf('certificate', options.signal)) {
        await attempt(id, async () => {
          // Undefined: it was removed meanwhile, or its removal is to be finished.
          if ((await rows.read(id)) !== undefined) good += 1;
        });
      }
      for await (const row of rowsOf('content', options.signal)) {
        const { id, content } = contentOfSort(row.sort);
        await attempt(id, async () => {
          const certificate = await rows.getAnyState(id);
          if (certificate?.content === content) return;
          if (certificate?.previous === content) {
            await openContent(sealer, id, content, sealedOf(row));
            return;
          }
          if (!(await isLeftBehind(row, options.repair))) return;
          orphans += 1;
        });
      }
      return { good, notIssued, unreadable: [...unreadable].map(([id, message]) => ({ id, message })), orphans };
    },
  };

  /** Whether a content that no row names has been so for long; it is removed then if asked. */
  async function isLeftBehind(row: Row, remove: boolean): Promise<boolean> {
    const preparedAt = typeof row.preparedAt === 'number' ? row.preparedAt : 0;
    if (preparedAt > runtime.now() - leftBehindMs) return false;
    if (remove) await table.delete({ partition: row.partition, sort: row.sort });
    return true;
  }
}

function isUnreadable({ code }: CodedError): boolean {
  return code === 'table_row_unreadable' || code === 'instance_content_unreadable' || code === 'sealed_unreadable';
}
