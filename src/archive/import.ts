import { fingerprintOf } from '../certificate/fingerprint.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { listAll } from '../replication/shared-listing.ts';
import type { Runtime } from '../runtime.ts';
import type { Store, UnreadableElement } from '../store/store.ts';
import type { ArchiveEntry } from './archive.ts';

/** What an import does, or would do, with one certificate of the archive. */
export interface ImportLine {
  readonly entry: string;
  readonly name: string;
  readonly fingerprint: string;
  /** `present`: the store holds the same already. `conflict`: it holds another one of this name. */
  readonly action: 'import' | 'replace' | 'present' | 'conflict';
  /** Of the certificate in the store; absent before an import. */
  readonly id?: string;
}

export interface ImportOptions {
  /** Replace what the store holds under the same name. */
  readonly replace?: boolean;
  readonly wanted: (name: string) => boolean;
  readonly signal?: AbortSignal;
  readonly planned?: (lines: readonly ImportLine[]) => void;
  readonly done?: (line: ImportLine) => void;
}

/** What an import found to do. */
export interface ImportPlan {
  readonly lines: readonly ImportLine[];
  /** Does it. Throws what the store throws, `archive_damaged` if the archive is not the same any more, and `interrupted`. */
  apply(): Promise<void>;
}

/**
 * Reads the whole archive, and compares it with what the store holds under the same names: nothing is imported unless all of it can
 * be. Doing it again imports only what is not there, so that one that was stopped goes on.
 * Throws what `entries` throws, and `archive_conflict`.
 */
export async function planImport(
  runtime: Runtime,
  store: Store,
  entries: () => AsyncIterable<ArchiveEntry>,
  options: ImportOptions,
): Promise<ImportPlan> {
  const { signal, replace = false, done } = options;
  const archived: { entry: string; name: string; fingerprint: string }[] = [];
  for await (const each of wantedOf(entries(), options)) {
    archived.push({
      entry: each.entry,
      name: store.asKept(each, undefined).name,
      fingerprint: fingerprintOf(each.content),
    });
  }
  const held = await heldUnder(runtime, store, new Set(archived.map(({ name }) => name)), signal);
  const lines = new Map(compare(archived, held, replace).map((line) => [line.entry, line]));
  const conflicts = [...lines.values()].filter(({ action }) => action === 'conflict');
  if (conflicts.length > 0) {
    const names = conflicts.slice(0, 5).map(({ name }) => name);
    const more = conflicts.length > names.length ? `, and ${conflicts.length - names.length} more` : '';
    throw new CodedError('archive_conflict', `${store.id} holds others under the names ${names.join(', ')}${more}`, {
      fields: { store: store.id, conflicts: conflicts.length },
    });
  }
  return {
    lines: [...lines.values()],
    async apply() {
      for await (const each of wantedOf(entries(), options)) {
        const line = lines.get(each.entry);
        if (line === undefined || line.fingerprint !== fingerprintOf(each.content)) {
          throw new CodedError('archive_damaged', `${each.entry} was changed while it was imported`);
        }
        signal?.throwIfAborted();
        const applied = await applyOne(store, each, line, signal);
        done?.(applied);
      }
    },
  };
}

/** Those that are wanted; the key of each is overwritten when the next is asked for. */
async function* wantedOf(entries: AsyncIterable<ArchiveEntry>, { wanted, signal }: ImportOptions) {
  for await (const each of entries) {
    signal?.throwIfAborted();
    try {
      if (wanted(each.name)) yield each;
    } finally {
      each.content.privateKey?.pem.wipe();
    }
  }
}

/** What the store holds under these names, in full: fingerprints by id. */
async function heldUnder(runtime: Runtime, store: Store, names: ReadonlySet<string>, signal: AbortSignal | undefined) {
  const held = new Map<string, { id: string; fingerprint: string }[]>();
  // Whether what stands there under one of these names is the same cannot be said; under another it is nobody's concern here.
  const unreadable = ({ name, error }: UnreadableElement) => {
    if (name !== undefined && names.has(name)) throw error;
  };
  for await (const { id, name } of listAll(store, { runtime, signal, unreadable })) {
    if (!names.has(name)) continue;
    const reading = await store.read(id, { ...(signal && { signal }) });
    if (reading.state === 'absent') continue;
    if (reading.state === 'unreadable') throw reading.error;
    held.set(name, [...(held.get(name) ?? []), { id, fingerprint: fingerprintOf(reading.value.content) }]);
    reading.value.content.privateKey?.pem.wipe();
  }
  return held;
}

/** Names need not be unique on either side: what is equal goes together first, and only one against one can be replaced. */
function compare(
  archived: readonly { entry: string; name: string; fingerprint: string }[],
  held: ReadonlyMap<string, readonly { id: string; fingerprint: string }[]>,
  replace: boolean,
): readonly ImportLine[] {
  const left = new Map([...held].map(([name, those]) => [name, [...those]]));
  const lines: ImportLine[] = [];
  const open: (typeof archived)[number][] = [];
  for (const each of archived) {
    const those = left.get(each.name) ?? [];
    const at = those.findIndex(({ fingerprint }) => fingerprint === each.fingerprint);
    const [same] = at < 0 ? [] : those.splice(at, 1);
    if (same === undefined) open.push(each);
    else lines.push({ ...each, action: 'present', id: same.id });
  }
  for (const each of open) {
    const [other, ...others] = left.get(each.name) ?? [];
    const oneToOne = others.length === 0 && open.filter(({ name }) => name === each.name).length === 1;
    if (other === undefined) lines.push({ ...each, action: 'import' });
    else if (replace && oneToOne) lines.push({ ...each, action: 'replace', id: other.id });
    else lines.push({ ...each, action: 'conflict', id: other.id });
  }
  return lines;
}

async function applyOne(
  store: Store,
  each: ArchiveEntry,
  line: ImportLine,
  signal: AbortSignal | undefined,
): Promise<ImportLine> {
  const { name, description, tags, content } = each;
  const options = { ...(signal && { signal }) };
  try {
    if (line.action === 'import') {
      const { id } = await store.import({ content, metadata: { name, description, tags } }, options);
      return { ...line, id };
    }
    if (line.action === 'replace' && line.id !== undefined) await store.reimport(line.id, content, options);
    return line;
  } catch (thrown) {
    const { code, message, fields } = asCodedError(thrown);
    throw new CodedError(code, `${line.entry}: ${message}`, { cause: thrown, fields });
  }
}
