import { randomUUID } from 'node:crypto';
import { open, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CodedError } from '../errors.ts';
import { csvLine } from '../foreign-text.ts';
import { publicIdOf } from '../ibm-cloud/crn.ts';
import { limits } from '../limits.ts';
import { readRegularFile } from '../regular-file.ts';
import type { MappedId } from '../replication/id-map.ts';

const header = 'name,old store,old id,new store,new id\n';

/**
 * The map of old and new ids as CSV, each line with its line end. Ids are those of the service's
 * own API.
 */
export function idMapLines(rows: readonly MappedId[]): readonly string[] {
  const cells = ({ store, certificate }: MappedId['now']) => [store, publicIdOf(store, certificate)];
  return [header, ...rows.map(({ name, before, now }) => csvLine([name, ...cells(before), ...cells(now)]))];
}

/**
 * Writes the map to a file, whole or not at all. Rows of a map that stands there and are not among
 * these are kept: a map only grows. Throws `map_file_unusable` where something else stands there or
 * nothing can be written, and then leaves all as it was.
 */
export async function writeIdMap(path: string, rows: readonly MappedId[]): Promise<void> {
  const lines = idMapLines(rows);
  const written = new Set(lines.map(idsIn));
  const kept = (await linesOf(path)).filter((line) => !written.has(idsIn(line)));
  // What the path leads to is replaced, not a link to it.
  const target = await realpath(path).catch(() => path);
  const partial = join(dirname(target), `.${randomUUID()}.partial`);
  try {
    const file = await open(partial, 'wx', 0o644);
    try {
      await file.writeFile([...lines, ...kept].join(''));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, target);
  } catch (cause) {
    await rm(partial, { force: true });
    const { code = 'error' } = cause as NodeJS.ErrnoException;
    throw new CodedError('map_file_unusable', `the map of ids cannot be written to ${path} (${code})`, {
      cause,
      fields: { path },
    });
  }
}

/** The rows of the map that stands there; none if nothing does. */
async function linesOf(path: string): Promise<readonly string[]> {
  let text: string;
  try {
    text = (await readRegularFile(path, { maxBytes: limits.idMapBytes })).toString('utf8');
  } catch (cause) {
    if (cause instanceof CodedError && cause.code === 'file_missing') return [];
    throw new CodedError('map_file_unusable', `${path} cannot be read as a map of ids`, { cause, fields: { path } });
  }
  const [first = '', ...rest] = text.split(/\r?\n/);
  const rows = rest.filter((line) => line !== '');
  if (text !== '' && (`${first}\n` !== header || rows.some((line) => cellsOf(line) === undefined)))
    throw new CodedError('map_file_unusable', `${path} is no map of ids: it was left as it is`, { fields: { path } });
  // The version before wrote ids without what names their store.
  return rows.map((line) => {
    const [name = '', ...ids] = cellsOf(line) ?? [];
    const full = [0, 2].flatMap((at) => [ids[at] ?? '', publicIdOf(ids[at] ?? '', ids[at + 1] ?? '')]);
    return csvLine([name, ...full]);
  });
}

/** What tells a row from others: all but the name, which people change. */
const idsIn = (line: string) => JSON.stringify(cellsOf(line.trimEnd())?.slice(1));

/**
 * The five cells of a row that this program wrote, or a program that people keep tables with;
 * `undefined` if it is none.
 */
function cellsOf(line: string): readonly string[] | undefined {
  const cells = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)];
  const whole = cells.map(([cell]) => cell).join('') === line;
  return whole && cells.length === 5
    ? cells.map(([, quoted, plain = '']) => quoted?.replaceAll('""', '"') ?? plain)
    : undefined;
}
