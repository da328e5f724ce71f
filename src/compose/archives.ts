import type { ArchiveUnlock } from '../archive/archive.ts';
import type { DownloadOptions } from '../archive/download.ts';
import type { ImportOptions } from '../archive/import.ts';
import type { WantedArchive } from '../archive/write-archive.ts';
import type { Runtime } from '../runtime.ts';
import type { Store } from '../store/store.ts';

/**
 * Writes certificates of a store to an archive. What archives need is loaded only here: most
 * commands never see one.
 */
export async function downloadTo(runtime: Runtime, store: Store, archive: WantedArchive, options: DownloadOptions) {
  const [{ createArchive }, { download }] = await Promise.all([
    import('../archive/write-archive.ts'),
    import('../archive/download.ts'),
  ]);
  return download(runtime, store, await createArchive(archive), options);
}

/** Reads an archive, whatever kind it is of, and plans its import into a store. */
export async function importFrom(
  runtime: Runtime,
  store: Store,
  archive: { readonly path: string; readonly unlock: ArchiveUnlock },
  options: ImportOptions,
) {
  const [{ openArchive }, { planImport }] = await Promise.all([
    import('../archive/read-archive.ts'),
    import('../archive/import.ts'),
  ]);
  const { kind, entries } = await openArchive(archive.path, archive.unlock, options.signal);
  return { kind, ...(await planImport(runtime, store, entries, options)) };
}
