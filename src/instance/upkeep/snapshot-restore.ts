import { isDeepStrictEqual } from 'node:util';
import { CodedError } from '../../errors.ts';
import { dataKeyPartition } from '../../keys/keyring.ts';
import type { Runtime } from '../../runtime.ts';
import type { Key, Row, Table, Value } from '../../table/table.ts';
import { hasRows } from '../rows/instance-rows.ts';
import { allPartitions, partitionsOf, registryPartitions } from '../rows/partitions.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import { type InstanceRegistry, instanceKey } from '../tenants/registry.ts';
import { readLines } from './snapshot-file.ts';
import {
  damaged,
  endPlace,
  parseHeader,
  parseLine,
  parseTotals,
  rowPlace,
  type SnapshotHeader,
  type SnapshotTotals,
} from './snapshot-format.ts';

/** A snapshot that was found whole. */
export interface CheckedSnapshot extends SnapshotHeader, SnapshotTotals {
  readonly path: string;
}

/** A keyring of this tenant whose data keys are these rows, as they lay on a table. */
export type KeyringOver = (tenant: string, dataKeys: readonly Row[]) => Promise<Sealer>;

/** Rows that are written side by side. */
const together = 32;

interface ReadSnapshot {
  readonly checked: CheckedSnapshot;
  readonly sealer: Sealer;
  readonly dataKeys: readonly Row[];
}

/**
 * Reads a snapshot to its last byte: it is whole, as it was written by somebody who had the data
 * key, and the root keys open it. Throws `snapshot_unknown`, `snapshot_damaged`,
 * `archive_unusable`, and `keys_unreadable` and the like where no root key opens it.
 */
export async function checkSnapshot(path: string, keyringOver: KeyringOver): Promise<CheckedSnapshot> {
  return (await read(path, keyringOver)).checked;
}

async function read(path: string, keyringOver: KeyringOver): Promise<ReadSnapshot> {
  let header: SnapshotHeader | undefined;
  let end: { readonly sealed: string; readonly sha256: string } | undefined;
  let rows = 0;
  const dataKeys: Row[] = [];
  for await (const { line, before } of readLines(path)) {
    if (header === undefined) {
      header = parseHeader(line, path);
      continue;
    }
    if (end !== undefined) throw damaged(path, 'something stands after its last line');
    const parsed = parseLine(line, path);
    if (parsed.kind === 'row') rows += 1;
    else if (parsed.kind === 'data-key') dataKeys.push(parsed.row as Row);
    else end = { sealed: parsed.sealed, sha256: before() };
  }
  if (header === undefined) throw new CodedError('snapshot_unknown', `${path} is empty`, { fields: { path } });
  if (end === undefined) throw damaged(path, 'its last line is missing, so it was cut short');
  const { instance } = header;
  if (dataKeys.some(({ partition }) => partition !== dataKeyPartition(instance))) {
    throw damaged(path, `a data key in it is not one of ${instance}`);
  }
  const sealer = await keyringOver(instance, dataKeys);
  const totals = parseTotals(await opened(sealer, endPlace(header), end.sealed, path), path);
  if (totals.sha256 !== end.sha256 || totals.rows !== rows) {
    throw damaged(path, `its SHA-256 is ${end.sha256}, and ${totals.sha256} was sealed`);
  }
  return { checked: { path, ...header, ...totals }, sealer, dataKeys };
}

async function opened(sealer: Sealer, place: Parameters<Sealer['open']>[0], sealed: string, path: string) {
  try {
    const bytes = await sealer.open(place, sealed);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
    bytes.fill(0);
    return text;
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code === 'sealed_unreadable') {
      throw damaged(path, 'a line in it was changed, moved, or sealed elsewhere', thrown);
    }
    throw thrown;
  }
}

/** The rows of a snapshot that was checked. */
async function* rowsOf({ checked, sealer }: ReadSnapshot): AsyncGenerator<Row> {
  const { path, instance } = checked;
  const registered = instanceKey(instance);
  let number = 0;
  let first = true;
  for await (const { line } of readLines(path)) {
    if (first) {
      first = false;
      continue;
    }
    const parsed = parseLine(line, path);
    if (parsed.kind !== 'row') continue;
    const row = JSON.parse(await opened(sealer, rowPlace(checked, number), parsed.sealed, path)) as Row;
    const isRegistered = row.partition === registered.partition && row.sort === registered.sort;
    if (!isRegistered && !row.partition.startsWith(partitionsOf(instance))) {
      throw damaged(path, `a row in it belongs to ${row.partition}`);
    }
    number += 1;
    yield row;
  }
  if (number !== checked.rows) throw damaged(path, 'it was changed while it was read');
}

/** Where it stands which snapshot an instance is being restored from. */
const markOf = (instance: string): Key => ({ partition: registryPartitions.restore, sort: instance });

/**
 * Brings an instance back from a snapshot, into a table that does not have it: the data keys, its
 * rows, and last, when everything else is there, the row by which servers know it. All of the file
 * is checked before anything is written. Killed in the middle, the same snapshot goes on; another
 * one is refused, also while the first is still at work. An instance that had been deleted when the
 * snapshot was taken comes back undeleted. Throws what `checkSnapshot` throws, `instance_not_empty`
 * and `instance_erased`.
 */
export async function restoreSnapshot(context: {
  readonly table: Table;
  readonly registry: InstanceRegistry;
  readonly runtime: Pick<Runtime, 'newId'>;
  readonly path: string;
  readonly keyringOver: KeyringOver;
  readonly signal?: AbortSignal;
  readonly progress?: () => void;
}): Promise<CheckedSnapshot> {
  const { table, registry, runtime, path, keyringOver, signal, progress } = context;
  const snapshot = await read(path, keyringOver);
  const { instance, sha256 } = snapshot.checked;
  if (await registry.wasErased(instance)) {
    throw new CodedError('instance_erased', `the instance ${instance} was here, was deleted, and has been erased`);
  }
  await begin({ table, instance, sha256, attempt: runtime.newId() });

  let registered: Row | undefined;
  const batch: Row[] = [];
  const flush = () =>
    Promise.all(
      batch.splice(0).map((row) => table.putIfAbsent({ partition: row.partition, sort: row.sort }, fieldsOf(row))),
    );
  const put = async (row: Row) => {
    batch.push(row);
    if (batch.length < together) return;
    await flush();
    signal?.throwIfAborted();
  };
  for (const row of snapshot.dataKeys) await put(row);
  for await (const row of rowsOf(snapshot)) {
    if (row.partition === instanceKey(instance).partition) registered = row;
    else await put(row);
    progress?.();
  }
  await flush();
  if (registered === undefined) throw damaged(path, 'it does not say what the instance is');
  const { deletedAt: _deleted, erasing: _erasing, ...fields } = fieldsOf(registered);
  const last = await table.putIfAbsent(instanceKey(instance), fields);
  // The same row: written by this call, though its first answer was lost, or by another restore of
  // the same snapshot.
  if (!last.applied && !(last.row !== undefined && isDeepStrictEqual(fieldsOf(last.row), fields))) {
    throw notEmpty(instance, 'another command has made it meanwhile');
  }
  await registry.announce();
  await table.delete(markOf(instance), { field: 'sha256', is: '=', to: sha256 });
  return snapshot.checked;
}

/**
 * Takes the table for this snapshot, in two writes, so that rows of two snapshots never mix: a mark
 * that others may still replace, and, after the look that finds nothing of the instance, the word
 * that rows follow. Only a restore of the same snapshot replaces it, and a restore that was
 * replaced since the look is refused. Throws `instance_not_empty`.
 */
async function begin(context: {
  readonly table: Table;
  readonly instance: string;
  readonly sha256: string;
  readonly attempt: string;
}): Promise<void> {
  const { table, instance, sha256, attempt } = context;
  const key = markOf(instance);
  const hasBegun = (mark: Row | undefined) => mark?.begun === true && mark.sha256 === sha256;
  await checkEmpty(table, instance, hasBegun(await table.get(key)));
  const change = { set: { sha256, attempt, format: 1 } };
  const mine = { field: 'sha256', is: '=', to: sha256 } as const;
  const marked = await table.update(key, change, { any: [{ absent: 'begun' }, mine] });
  if (!marked.applied) throw notEmpty(instance, otherSnapshot(marked.row));
  try {
    await checkEmpty(table, instance, hasBegun(marked.row));
  } catch (thrown) {
    await table.delete(key, { all: [{ absent: 'begun' }, { field: 'attempt', is: '=', to: attempt }] });
    throw thrown;
  }
  const begun = await table.update(key, { set: { begun: true } }, { field: 'attempt', is: '=', to: attempt });
  if (!begun.applied && !hasBegun(begun.row)) throw notEmpty(instance, otherSnapshot(begun.row));
}

function otherSnapshot(mark: Row | undefined): string {
  if (mark === undefined) return 'another command has restored it meanwhile';
  return `a restore from its snapshot of SHA-256 ${String(mark.sha256)} is under way or was begun, and only that snapshot goes on`;
}

/**
 * Throws `instance_not_empty` if the instance is there, or anything of it that this very snapshot
 * has not brought.
 */
async function checkEmpty(table: Table, instance: string, isBegun: boolean): Promise<void> {
  // Once it is known it lives on: a certificate that was deleted since must not come back.
  if ((await table.get(instanceKey(instance))) !== undefined) throw notEmpty(instance, 'it is there');
  for (const partition of isBegun ? [] : allPartitions(instance)) {
    if (await hasRows(table, partition)) throw notEmpty(instance, `there are rows of it in ${partition}`);
  }
}

function notEmpty(instance: string, found: string): CodedError {
  return new CodedError('instance_not_empty', `${instance} cannot be restored here: ${found}`);
}

function fieldsOf(row: Row): Readonly<Record<string, Value>> {
  const { partition: _partition, sort: _sort, ...fields } = row;
  return fields;
}
