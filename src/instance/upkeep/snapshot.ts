import { CodedError } from '../../errors.ts';
import { dataKeyPartition } from '../../keys/keyring.ts';
import type { Runtime } from '../../runtime.ts';
import type { FrozenTable, Row, Table } from '../../table/table.ts';
import { type CertificateRow, decodeCertificate, isIssued } from '../certificates/certificate-row.ts';
import { certificateRowKeys } from '../certificates/certificate-row-keys.ts';
import { rowsIn } from '../rows/instance-rows.ts';
import { keptPartitions, partitionOf } from '../rows/partitions.ts';
import { formatted } from '../rows/row-format.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import { instanceKey } from '../tenants/registry.ts';
import { type LineWriter, writeLines } from './snapshot-file.ts';
import {
  dataKeyLine,
  endLine,
  endPlace,
  headerLine,
  rowLine,
  rowPlace,
  type SnapshotHeader,
} from './snapshot-format.ts';

/** A snapshot that was taken. */
export interface SnapshotReport extends SnapshotHeader {
  readonly path: string;
  readonly certificates: number;
  readonly rows: number;
  readonly sha256: string;
  /**
   * Certificates whose row or content cannot be understood or is not there: kept as they are, for
   * people who can mend them.
   */
  readonly broken: readonly string[];
}

/** How often a certificate is read again that is changed while it is read. */
const attempts = 20;

type Reader = Pick<FrozenTable, 'get' | 'query'>;

/**
 * Writes all of an instance to a file, beside running servers: each certificate whole, with its
 * content in force and the one before, as of a moment while it was taken; and as of one moment for
 * all where the table can be frozen. Notifications on their way are not kept: what they tell of is
 * in the snapshot, and reconcile sees it. Memory does not grow with the number of certificates.
 * Throws `archive_exists`, `archive_unusable`, `instance_not_found`, and what table and keys throw;
 * then there is no file.
 */
export async function takeSnapshot(context: {
  readonly table: Table;
  readonly sealer: Sealer;
  readonly runtime: Pick<Runtime, 'now'>;
  readonly instanceCrn: string;
  readonly path: string;
  readonly signal?: AbortSignal;
  readonly progress?: () => void;
}): Promise<SnapshotReport> {
  const { table, sealer, runtime, instanceCrn, path, signal, progress } = context;
  const header: SnapshotHeader = { instance: instanceCrn, takenAt: runtime.now() };
  const totals = { rows: 0, certificates: 0, sha256: '' };
  const broken: string[] = [];

  async function writeRows(writer: LineWriter, reader: Reader): Promise<void> {
    const put = async (row: Row) => {
      const bytes = Buffer.from(JSON.stringify(row));
      try {
        await writer.write(rowLine(await sealer.seal(rowPlace(header, totals.rows), bytes)));
      } finally {
        bytes.fill(0);
      }
      totals.rows += 1;
    };
    const registered = await reader.get(instanceKey(instanceCrn));
    if (registered === undefined) {
      throw new CodedError('instance_not_found', `there is no instance ${instanceCrn} here`);
    }
    await put(registered);
    for (const partition of keptPartitions(instanceCrn)) {
      // Each order is written with its certificate, so that the two belong together.
      if (partition === partitionOf(instanceCrn, 'order')) continue;
      for await (const row of rowsIn(reader, partition, signal)) await put(row);
    }
    const keys = certificateRowKeys(instanceCrn);
    for await (const { sort } of rowsIn(reader, keys.partition('certificate'), signal)) {
      const rows = await certificateRowsOf(reader, instanceCrn, sort).catch((thrown: unknown) => {
        if (!isBroken(thrown)) throw thrown;
        broken.push(sort);
        return asTheyAre(reader, instanceCrn, sort);
      });
      for (const row of rows) await put(row);
      if (rows.length > 0) totals.certificates += 1;
      progress?.();
    }
    await put({ ...keys.counter, count: totals.certificates });
  }

  /**
   * All data keys that anything in the file may need: those of now, which rows before them cannot
   * be newer than.
   */
  async function writeDataKeys(writer: LineWriter, written: Set<string>): Promise<void> {
    for await (const row of rowsIn(table, dataKeyPartition(instanceCrn), signal)) {
      if (typeof row.id !== 'string' || written.has(row.id)) continue;
      await writer.write(dataKeyLine(row));
      written.add(row.id);
    }
  }

  async function writeEnd(writer: LineWriter): Promise<void> {
    const written = new Set<string>();
    for (let attempt = 0; attempt < attempts; attempt++) {
      await writeDataKeys(writer, written);
      totals.sha256 = writer.digest();
      const sealed = await sealer.seal(endPlace(header), Buffer.from(JSON.stringify(totals)));
      // Unless a data key was made just now: then that one is written too.
      if (written.has(sealer.sealedWith(sealed))) return writer.write(endLine(sealed));
    }
    throw new CodedError('keys_unavailable', `the data keys of ${instanceCrn} are changed again and again`);
  }

  await writeLines(path, async (writer) => {
    await writer.write(headerLine(header));
    const frozen = await table.freeze?.();
    try {
      await writeRows(writer, frozen ?? table);
    } finally {
      frozen?.end();
    }
    await writeEnd(writer);
  });
  return { ...header, path, ...totals, broken };
}

/**
 * A certificate as of one moment: its row, its contents, its place in the index, and the order that
 * it waits for. Nothing if it is not there.
 */
async function certificateRowsOf(reader: Reader, instanceCrn: string, id: string): Promise<readonly Row[]> {
  const keys = certificateRowKeys(instanceCrn);
  // A content is never changed, so row and contents belong together if all are there; two reimports
  // in between remove one.
  for (let attempt = 0; attempt < attempts; attempt++) {
    const row = await reader.get(keys.certificate(id));
    const certificate = row && decodeCertificate(row);
    if (row === undefined || certificate?.state !== 'live') return [];
    const contents = await Promise.all(contentsOf(certificate).map((content) => reader.get(keys.content(id, content))));
    const there = contents.filter((content) => content !== undefined);
    if (there.length < contents.length) continue;
    const { imported, issuance, expiresOn, content, version } = certificate;
    const order = imported === false ? await reader.get(orderKey(instanceCrn, id)) : undefined;
    // An order ends after the row of its certificate says so. One that stays away is lost, which
    // the next renewal of the certificate shows.
    const belongs = issuance?.status !== 'pending' || order?.order === issuance.order;
    if (!belongs && attempt < attempts - 1) continue;
    const entry = { id, expiresOn, content };
    const kept = await reader.get(keys.entry(entry));
    // It is written before the certificate, and is removed only when that has moved on.
    const preparedAt = typeof kept?.preparedAt === 'number' ? kept.preparedAt : certificate.lastModified;
    const indexed = { ...formatted({ ...entry, version, preparedAt }), ...keys.entry(entry) };
    return [...(order === undefined ? [] : [order]), ...there, indexed, row];
  }
  throw new CodedError('instance_content_unreadable', `the content of certificate ${id} is not where its row says`);
}

const orderKey = (instanceCrn: string, id: string) => ({ partition: partitionOf(instanceCrn, 'order'), sort: id });

/** One certificate that cannot be understood must not keep the others from being saved. */
function isBroken(thrown: unknown): boolean {
  const code = thrown instanceof CodedError ? thrown.code : undefined;
  return code === 'table_row_unreadable' || code === 'instance_content_unreadable';
}

/** The row of a certificate, every content of it and its order, whatever they are. */
async function asTheyAre(reader: Reader, instanceCrn: string, id: string): Promise<readonly Row[]> {
  const keys = certificateRowKeys(instanceCrn);
  const contents = await reader.query({ partition: keys.partition('content'), beginsWith: `${id}/`, limit: 100 });
  const others = await Promise.all([reader.get(orderKey(instanceCrn, id)), reader.get(keys.certificate(id))]);
  return [...contents.rows, ...others.filter((row) => row !== undefined)];
}

function contentsOf(certificate: CertificateRow): readonly string[] {
  const { content, previous } = certificate;
  return [...(isIssued(certificate) ? [content] : []), ...(previous === undefined ? [] : [previous])];
}
