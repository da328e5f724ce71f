import { fingerprintOf } from '../certificate/fingerprint.ts';
import { keyProblem } from '../certificate/judgement.ts';
import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import { patiently } from '../replication/patient-read.ts';
import { readInTime } from '../replication/read-in-time.ts';
import { listAll } from '../replication/shared-listing.ts';
import type { Runtime } from '../runtime.ts';
import type { CertificateMetadata, Store, UnreadableElement } from '../store/store.ts';
import type { ArchiveWriter } from './archive.ts';

/** What a download came to. */
export interface Download {
  readonly downloaded: number;
  /** Those that could not be read, and so are not in the archive. */
  readonly missing: readonly DownloadProblem[];
  /**
   * Those that are in it and would not serve, or be taken by an import: their key is another one's,
   * or absent.
   */
  readonly suspect: readonly DownloadProblem[];
}

export interface DownloadProblem {
  readonly id: string;
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface DownloadOptions {
  readonly wanted: (name: string) => boolean;
  readonly signal?: AbortSignal;
  readonly listed?: (total: number) => void;
  readonly downloaded?: (certificate: {
    readonly id: string;
    readonly name: string;
    readonly fingerprint: string;
  }) => void;
}

/** Reads at once: while one is written the next ones are on their way. */
const readAhead = 8;

/**
 * Writes the certificates of a store to an archive, private keys included, in the order of the
 * store's listing. Nothing is left under the archive's path, nor beside it, if it throws: what the
 * listing throws, what the writer throws, and `interrupted`.
 */
export async function download(
  runtime: Runtime,
  store: Store,
  writer: ArchiveWriter,
  { wanted, signal, listed, downloaded }: DownloadOptions,
): Promise<Download> {
  const missing: DownloadProblem[] = [];
  const suspect: DownloadProblem[] = [];
  let done = 0;
  try {
    if (!store.abilities.givesKeys) {
      throw new CodedError(
        'store_refused',
        `${store.id} gives no private keys back, so nothing can be downloaded from it`,
      );
    }
    const found: CertificateMetadata[] = [];
    const unreadable = ({ id, name, place, error }: UnreadableElement) => {
      if (name !== undefined && !wanted(name)) return;
      missing.push({ id: id ?? place, name: name ?? place, code: error.code, message: error.message });
    };
    for await (const metadata of listAll(store, { runtime, signal, unreadable }))
      if (wanted(metadata.name)) found.push(metadata);
    listed?.(found.length);
    const read = (id: string) => patiently({ runtime, signal }, () => readInTime(runtime, store, id, signal));
    const readings = found.slice(0, readAhead).map(({ id }) => read(id));
    for (const reading of readings) reading.catch(() => undefined);
    for (const [index, { id, name }] of found.entries()) {
      const reading = await readings[index % readAhead];
      signal?.throwIfAborted();
      const next = found[index + readAhead];
      if (next) {
        const ahead = read(next.id);
        ahead.catch(() => undefined);
        readings[index % readAhead] = ahead;
      }
      if (reading?.state !== 'present') {
        // Removed since it was listed: then it is not missing.
        if (reading?.state === 'unreadable')
          missing.push({ id, name, code: reading.error.code, message: reading.error.message });
        continue;
      }
      const { metadata, content, keyWithheld = false } = reading.value;
      try {
        const { name, description, tags } = metadata;
        await writer.add({ name, description, tags, content, from: { store: store.id, id } });
        const problem = keyWithheld ? withheld(store) : keyProblem(content);
        if (problem) suspect.push({ id, name, code: problem.code, message: problem.message });
        done += 1;
        downloaded?.({ id, name, fingerprint: fingerprintOf(content) });
      } finally {
        content.privateKey?.pem.wipe();
      }
    }
    await writer.finish();
    return { downloaded: done, missing, suspect };
  } catch (thrown) {
    await writer.abandon();
    if (signal?.aborted) throw new CodedError('interrupted', 'the download was stopped; nothing of it was kept');
    throw asCodedError(thrown);
  }
}

const withheld = ({ id }: Store) =>
  new CodedError('certificate_key_withheld', `${id} does not give its private key back`, { fields: { store: id } });
