import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { asCodedError, CodedError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import {
  codeOf,
  type FolderFiles,
  flush,
  isOurs,
  readFolder,
  removeLeftovers,
  replaceDurably,
  sideFile,
  tryTo,
  writeVersion,
} from './directory-files.ts';
import { watchDirectory } from './directory-watch.ts';
import { formatMark, type Mark, parseMark, sameMark } from './mark.ts';
import type { CallOptions, CertificateMetadata, DescriptiveMetadata, Reading, Store, WriteAnswer } from './store.ts';

export interface DirectoryStoreOptions {
  /** Tells this folder from every other one, for ever: a path is the same on many machines. */
  readonly id: string;
  readonly path: string;
  readonly region: string;
  readonly runtime: Runtime;
  /** For how long after a change by others the next one is waited for, in milliseconds. Default 2 s. */
  readonly quietMs?: number;
  /** Versions that stay beside the one in force. Default 3. */
  readonly keepVersions?: number;
  /** Certificates on a page of a listing. Default 200. */
  readonly pageSize?: number;
}

/** A name that is one step down, and hidden from nobody. */
const idPattern = /^[\w*][\w.*@-]{0,200}$/;
const format = 1;
const sideSchema = z.object({
  format: z.literal(format),
  name: z.string(),
  description: z.string(),
  tags: z.array(z.string()),
  mark: z.optional(z.string()),
});
/** A write that nobody waits for any more may hang in a file system for so long. */
const settlesMs = 30_000;

/**
 * A folder with one folder for each certificate, as certbot keeps them under `live`. As a primary it is read as it is, through
 * symbolic links. As a backup it gets a folder for each copy, in which `current` leads to the version in force
 * (`cert.pem`, `chain.pem`, `fullchain.pem`, `privkey.pem`); earlier versions stay under `versions`. Private keys lie there as they
 * are, in files that only their owner may read: who chooses this kind chooses that.
 *
 * Names, descriptions, tags and marks stand in `certstandby.json` beside the files. Only folders that this made are ever removed or
 * written to.
 */
export function directoryStore(options: DirectoryStoreOptions): Store {
  const { path: root, runtime, quietMs = 2_000, keepVersions = 3, pageSize = 200 } = options;
  const storeId = `directory:${options.id}`;
  const folderOf = (id: string) => join(root, id);

  /** What the file system said, as a coded error. */
  function failure(thrown: unknown, what: string): CodedError {
    if (thrown instanceof CodedError) return thrown;
    const code = codeOf(thrown);
    const denied = code === 'EACCES' || code === 'EPERM';
    return new CodedError(denied ? 'store_unauthorized' : 'store_unavailable', `${what} (${code})`, {
      cause: thrown,
      fields: { store: storeId },
    });
  }

  async function attempt<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (signal?.aborted) {
      throw new CodedError('store_unavailable', `${what}: ended before it began`, { cause: signal.reason });
    }
    try {
      return await work();
    } catch (thrown) {
      await refuseMissingRoot();
      throw failure(thrown, `${what} failed`);
    }
  }

  /** Where the folder of all is missing, so is a disk, or a person's word that it is to be here: nobody makes it by the way. */
  async function refuseMissingRoot(): Promise<void> {
    if ((await tryTo(() => stat(root)).catch(() => true)) !== undefined) return;
    const message = `the folder ${root} is not there: mount it, or make it (mkdir -m 700 ${root})`;
    throw new CodedError('store_unavailable', message, { fields: { store: storeId } });
  }

  async function reading<T>(
    id: string,
    signal: AbortSignal | undefined,
    withKey: boolean,
    value: (metadata: CertificateMetadata, content: CertificateContent) => T,
  ): Promise<Reading<T>> {
    try {
      if (!idPattern.test(id)) return { state: 'absent' };
      const found = await attempt(`reading ${folderOf(id)}`, signal, () =>
        readFolder(folderOf(id), { withKey, settleMs: quietMs, now: runtime.now() }),
      );
      if (found.state === 'whole') {
        const content = contentOf(id, found.files);
        return { state: 'present', value: value(await describe(id, found.files, content), content) };
      }
      if (found.state === 'changing') throw changing(id, found.waitMs);
      await refuseMissingRoot();
      return { state: 'absent' };
    } catch (thrown) {
      return { state: 'unreadable', error: failure(thrown, `reading ${folderOf(id)} failed`) };
    }
  }

  function changing(id: string, waitMs: number): CodedError {
    const fields = { store: storeId, certificate: id, retryAfterMs: Math.ceil(waitMs) };
    return new CodedError('store_unavailable', `${folderOf(id)} is being changed`, { fields });
  }

  function contentOf(id: string, files: FolderFiles): CertificateContent {
    try {
      return files.content();
    } catch (cause) {
      const { code, message } = asCodedError(cause);
      const fields = { store: storeId, certificate: id, reason: code };
      throw new CodedError('store_content_unreadable', `${folderOf(id)}: ${message}`, { cause, fields });
    }
  }

  async function describe(
    id: string,
    { revision, changedAt }: FolderFiles,
    content: CertificateContent,
  ): Promise<CertificateMetadata> {
    const { mark, ...descriptive } = await readSide(id);
    const facts = content && factsOf(content);
    return {
      id,
      ...descriptive,
      ...(mark && { mark }),
      domains: facts?.domains ?? [],
      ...(facts && {
        issuer: facts.issuer,
        serial: facts.serial,
        notBefore: facts.notBefore,
        notAfter: facts.notAfter,
      }),
      revision: createHash('sha256').update(revision).digest('hex').slice(0, 32),
      lastModified: Math.floor(changedAt),
    };
  }

  async function readSide(id: string): Promise<DescriptiveMetadata & { readonly mark?: Mark }> {
    const file = join(folderOf(id), sideFile);
    const text = await tryTo(() => readFile(file, 'utf8'));
    if (text === undefined) return { name: id, description: '', tags: [] };
    const unreadable = (why: string, cause?: unknown) =>
      new CodedError('store_content_unreadable', `${file} ${why}`, {
        cause,
        fields: { store: storeId, certificate: id },
      });
    let raw: unknown;
    try {
      raw = JSON.parse(text);
    } catch (cause) {
      throw unreadable('is not JSON', cause);
    }
    const parsed = z.safeParse(sideSchema, raw);
    if (!parsed.success) throw unreadable(`is not of format ${format}, which this program reads`);
    const { name, description, tags } = parsed.data;
    const mark = parsed.data.mark === undefined ? undefined : parseMark(parsed.data.mark);
    return { name, description, tags, ...(mark && { mark }) };
  }

  function sideText({ name, description, tags }: DescriptiveMetadata, mark: Mark | undefined): string {
    const side = { format, name, description, tags, ...(mark && { mark: formatMark(mark) }) };
    return `${JSON.stringify(side, undefined, 2)}\n`;
  }

  /** Ids of everything that may be a certificate, in order. */
  async function ids(): Promise<readonly string[]> {
    const entries = await readdir(root, { withFileTypes: true });
    return entries
      .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && idPattern.test(entry.name))
      .map(({ name }) => name)
      .sort();
  }

  /** What a listing says of one: what is being changed, or cannot be understood, is there all the same. */
  async function listed(id: string): Promise<CertificateMetadata | undefined> {
    const bare = { id, name: id, description: '', tags: [], domains: [] };
    try {
      const found = await readFolder(folderOf(id), { withKey: false, settleMs: 0, now: runtime.now() });
      if (found.state === 'absent') return undefined;
      if (found.state === 'changing') return bare;
      return await describe(id, found.files, found.files.content());
    } catch (thrown) {
      // What cannot be understood is there all the same: a read of it says what is wrong.
      if (thrown instanceof CodedError) return bare;
      throw thrown;
    }
  }

  /** Throws unless the folder is one that we have made. */
  async function refuseForeign(id: string): Promise<void> {
    if (!idPattern.test(id) || (await tryTo(() => readdir(folderOf(id)))) === undefined) {
      throw new CodedError('store_gone', `there is no ${folderOf(id)}`, {
        fields: { store: storeId, certificate: id },
      });
    }
    if (await isOurs(folderOf(id))) return;
    const message = `${folderOf(id)} was not made by certstandby, and is neither written to nor removed`;
    throw new CodedError('store_refused', message, { fields: { store: storeId, certificate: id } });
  }

  let rootTidied = false;
  const tidy = (folder: string) => removeLeftovers(folder, { now: runtime.now(), settledMs: settlesMs });

  async function answer(id: string): Promise<WriteAnswer> {
    const found = await listed(id);
    return found === undefined ? { id } : { id, metadata: found };
  }

  return {
    id: storeId,
    kind: 'directory',
    region: options.region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: false,
      uniqueNames: false,
      findsMarks: true,
      settlesMs,
      listingLagMs: 0,
      readSettlesMs: 0,
    },

    list: ({ cursor, signal }) =>
      attempt(`listing ${root}`, signal, async () => {
        const rest = (await ids()).filter((id) => cursor === undefined || id > cursor);
        const page = rest.slice(0, pageSize);
        const certificates: CertificateMetadata[] = [];
        for (const id of page) {
          const found = await listed(id);
          if (found !== undefined) certificates.push(found);
        }
        const last = page.at(-1);
        return { certificates, ...(last !== undefined && rest.length > page.length && { cursor: last }) };
      }),

    readMetadata: (id, { signal } = {}) => reading(id, signal, false, (metadata) => metadata),
    read: (id, { signal } = {}) => reading(id, signal, true, (metadata, content) => ({ metadata, content })),

    findByMark: (mark, { signal }: CallOptions = {}) =>
      attempt(`looking for copies in ${root}`, signal, async () => {
        const found: CertificateMetadata[] = [];
        for (const id of await ids()) {
          // One of ours whose mark cannot be read may be the one that is looked for: better none than a second.
          if (!sameMark((await readSide(id)).mark, mark)) continue;
          const copy = await listed(id);
          if (copy !== undefined) found.push(copy);
        }
        return found;
      }),

    import: ({ content, metadata, mark }, { signal } = {}) =>
      attempt(`importing into ${root}`, signal, async () => {
        const id = `${readable(metadata.name)}-${randomUUID().slice(0, 8)}`;
        // Once in the life of a process: an estate is large, and processes are seldom killed.
        if (!rootTidied) await tidy(root);
        rootTidied = true;
        const fresh = join(root, `.new-${randomUUID()}`);
        await mkdir(fresh, { mode: 0o700 });
        try {
          await writeVersion(fresh, content, keepVersions);
          await replaceDurably(fresh, sideFile, sideText(metadata, mark));
          await rename(fresh, folderOf(id));
        } catch (thrown) {
          await rm(fresh, { recursive: true, force: true });
          throw thrown;
        }
        await flush(root);
        return answer(id);
      }),

    reimport: (id, content, { signal } = {}) =>
      attempt(`replacing ${folderOf(id)}`, signal, async () => {
        await refuseForeign(id);
        await tidy(join(folderOf(id), 'versions'));
        await writeVersion(folderOf(id), content, keepVersions);
        return answer(id);
      }),

    updateMetadata: (id, metadata, mark, { signal } = {}) =>
      attempt(`describing ${folderOf(id)}`, signal, async () => {
        await refuseForeign(id);
        await replaceDurably(folderOf(id), sideFile, sideText(metadata, mark));
        return answer(id);
      }),

    delete: (id, { signal } = {}) =>
      attempt(`removing ${folderOf(id)}`, signal, async () => {
        if (!idPattern.test(id) || (await tryTo(() => readdir(folderOf(id)))) === undefined) return;
        await refuseForeign(id);
        // Gone at once, whatever becomes of the rest.
        const gone = join(root, `.gone-${randomUUID()}`);
        await rename(folderOf(id), gone);
        await flush(root);
        await rm(gone, { recursive: true, force: true });
      }),

    asKept: ({ name, description, tags }) => ({ name, description, tags }),

    diagnosis: {
      address: root,
      async clock({ signal } = {}) {
        await attempt(`looking at ${root}`, signal, () => access(root, constants.R_OK | constants.X_OK));
        return undefined;
      },
      mayImport: ({ signal } = {}) =>
        attempt(`looking at ${root}`, signal, async () => {
          const denied = await access(root, constants.W_OK | constants.X_OK).then(() => undefined, codeOf);
          return denied === undefined;
        }),
    },

    watch: (changed) => watchDirectory({ root, quietMs, isId: (name) => idPattern.test(name), changed }),
  };
}

/** A name as a folder's name may be, for people who look there. */
function readable(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return plain.slice(0, 60) || 'certificate';
}
