import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { companionsOf } from '../../certificate/file-layout.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError, type ErrorCode } from '../../errors.ts';
import { fileName } from '../../foreign-text.ts';
import { limits } from '../../limits.ts';
import { endedBy, fileError, ifThere, readRegularFile } from '../../regular-file.ts';
import type { Runtime } from '../../runtime.ts';
import { contentFacts } from '../../store/content-facts.ts';
import { type FoundMark, formatMark, type Mark, markDigest, parseMark, sameMark } from '../../store/mark.ts';
import type {
  CallOptions,
  CertificateMetadata,
  DescriptiveMetadata,
  FindOptions,
  ListPage,
  NewCertificate,
  PassedOver,
  Reading,
  Store,
  StoredCertificate,
  UnreadableElement,
  Vacancy,
  VacantElement,
  WriteAnswer,
} from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { directoryDefaults as defaults } from './defaults.ts';
import { flush, removeLeftovers, replaceDurably, writeVersion } from './files.ts';
import { readIdentity, writeIdentity } from './identity.ts';
import { isId, listElements, nameOfId, namesNow } from './listing.ts';
import {
  type ElementFiles,
  type ElementReading,
  isOurs,
  proveFolder,
  readElement,
  sideFile,
  versions,
} from './read.ts';
import type { DirectoryConfig } from './settings.ts';
import { tryImport } from './trial.ts';
import { watchDirectory } from './watch.ts';

export interface DirectoryStoreOptions {
  /** Tells this folder from every other one, for ever: a path is the same on many machines. */
  readonly id: string;
  readonly path: string;
  readonly region: string;
  readonly runtime: Runtime;
  /**
   * For how long after a change by others the next one is waited for, in milliseconds. Default:
   * `directoryDefaults`.
   */
  readonly quietMs?: number;
  /** Versions that stay beside the one in force. Default: `directoryDefaults`. */
  readonly keepVersions?: number;
  /** Certificates on a page of a listing. Default 200. */
  readonly pageSize?: number;
}

const format = 1;
const sideSchema = z.object({
  format: z.literal(format),
  name: z.string(),
  description: z.string(),
  tags: z.array(z.string()),
  mark: z.optional(z.string()),
});
const isOfAnotherFormat = (raw: unknown) =>
  z.safeParse(z.object({ format: z.number() }), raw).data?.format !== undefined &&
  z.safeParse(z.object({ format: z.literal(format) }), raw).error !== undefined;
/** A write that nobody waits for any more may hang in a file system for so long. */
const settlesMs = 30_000;

/** What stands beside the files of one certificate; the mark is absent where there is none. */
interface Side extends DescriptiveMetadata {
  readonly mark?: FoundMark;
}

interface RefuseOptions {
  readonly orVacant?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What the file system answers to a write. */
const writeCodes: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'store_full',
  EDQUOT: 'store_full',
  EROFS: 'store_not_writable',
  EACCES: 'store_not_writable',
  EPERM: 'store_not_writable',
  ENOTSUP: 'store_not_writable',
  EOPNOTSUPP: 'store_not_writable',
  ENOSYS: 'store_not_writable',
};

/**
 * Failures of a folder that we made which writing it anew mends. A file of another user, or a disk
 * that fails, it does not.
 */
const mendedByWriting: ReadonlySet<ErrorCode> = new Set([
  'file_missing',
  'file_link_dangling',
  'file_link_loop',
  'file_not_regular',
  'file_too_large',
  'store_layout_unknown',
  'store_form_unknown',
]);

/** The store of the configuration. */
export function openStore(
  { id, path, region, quietMs, keepVersions }: DirectoryConfig,
  { runtime }: StoreContext,
): Store {
  return directoryStore({ id, path, region, runtime, ...defined({ quietMs, keepVersions }) });
}

/**
 * A folder with one folder for each certificate, as certbot keeps them under `live`, or with the
 * files of many, as lego and HAProxy have them (`file-layout.ts` names the tools). As a primary it
 * is read as it is, through symbolic links: what stands there and cannot be read is told by its
 * path, and never taken for absent. As a backup it gets a folder for each copy, in which `current`
 * leads to the version in force (`cert.pem`, `chain.pem`, `fullchain.pem`, `privkey.pem`); earlier
 * versions stay under `versions`. Private keys lie there as they are, in files that only their
 * owner may read: who chooses this kind chooses that.
 *
 * Names, descriptions, tags and marks stand in `certstandby.json` beside the files. Only folders
 * that this made are ever removed or written to. Every name that a file system takes is an id,
 * except those that begin with a dot: no tool keeps a certificate there, and what is being written
 * has such a name.
 */
export function directoryStore(options: DirectoryStoreOptions): Store {
  const { path: root, runtime, pageSize = 200 } = options;
  const { quietMs = defaults.quietMs, keepVersions = defaults.keepVersions } = options;
  const storeId = `directory:${options.id}`;
  const pathOf = (id: string) => join(root, id);

  async function attempt<T>(
    what: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
    coded: (thrown: unknown) => CodedError = (thrown) => fileError(pathIn(thrown), thrown),
  ): Promise<T> {
    try {
      return await endedBy(signal, root, work);
    } catch (thrown) {
      if (signal?.aborted) throw ended(what, signal);
      await proveRoot();
      throw coded(thrown);
    }
  }

  const ended = (what: string, signal: AbortSignal) =>
    new CodedError('store_unavailable', `${what} was ended`, { cause: signal.reason, fields: { store: storeId } });

  /** The path that the system had trouble with. */
  function pathIn(thrown: unknown): string {
    return (thrown as NodeJS.ErrnoException | undefined)?.path ?? root;
  }

  function attemptWrite<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return attempt(what, signal, work, (thrown) => {
      const system = (thrown as NodeJS.ErrnoException | undefined)?.code ?? '';
      const code = writeCodes[system];
      if (thrown instanceof CodedError || code === undefined) return fileError(pathIn(thrown), thrown);
      const fields = { store: storeId, path: pathIn(thrown) };
      return new CodedError(code, `${what} failed: ${pathIn(thrown)} (${system})`, { cause: thrown, fields });
    });
  }

  /**
   * Where the folder of all is missing, so is a disk, or a person's word that it is to be here:
   * nobody makes it by the way, and nothing is said of what was in it.
   */
  async function proveRoot(): Promise<void> {
    try {
      await proveFolder(root);
    } catch (cause) {
      const { code, message, fields } = asCodedError(cause);
      const words =
        code === 'file_missing'
          ? `the folder ${root} is not there: mount it, or make it (mkdir -m 700 ${root})`
          : `the folder ${root} cannot be read: ${message}`;
      throw new CodedError('store_root_unusable', words, { cause, fields: { ...fields, store: storeId } });
    }
  }

  /**
   * One element as it is now. Throws what stands in the way, of a folder that we made as something
   * that is written anew.
   */
  async function element(
    id: string,
    request: { readonly withKey: boolean; readonly settleMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<ElementReading> {
    const path = pathOf(id);
    try {
      return await readElement(path, { ...request, now: runtime.now() });
    } catch (thrown) {
      const error = fileError(path, thrown);
      if (!mendedByWriting.has(error.code) || !(await isOurs(path).catch(() => false))) throw error;
      throw unreadable(id, error.message, error);
    }
  }

  function unreadable(id: string, words: string, cause?: unknown): CodedError {
    const reason = cause === undefined ? {} : { reason: asCodedError(cause).code };
    const fields = { store: storeId, certificate: id, path: pathOf(id), ...reason };
    return new CodedError('store_content_unreadable', words, { cause, fields });
  }

  async function reading<T>(
    id: string,
    { signal }: CallOptions,
    withKey: boolean,
    value: (files: ElementFiles) => Promise<T>,
  ): Promise<Reading<T>> {
    if (!isId(id)) return { state: 'absent' };
    try {
      const found = await attempt(`reading ${pathOf(id)}`, signal, () =>
        element(id, { withKey, settleMs: quietMs, signal }),
      );
      if (found.state === 'whole') return { state: 'present', value: await value(found.files) };
      if (found.state === 'changing') throw changing(id, found.waitMs);
      if (found.state === 'none') {
        const vacancy = await vacancyAt(id);
        if (vacancy !== undefined) return { state: 'vacant', ...vacancy };
        throw unreadableAs(id, found.reason);
      }
      await proveRoot();
      return { state: 'absent' };
    } catch (thrown) {
      const name = await nameOf(id);
      return { state: 'unreadable', error: asCodedError(thrown), ...defined({ name }) };
    }
  }

  /**
   * What is known of a folder in which nothing looks like a certificate, and which says all the
   * same whose copy it is: one that was carried here and not to its end, or was emptied.
   * `undefined` where nothing says so.
   */
  async function vacancyAt(id: string): Promise<Vacancy | undefined> {
    const side = await readSide(id).catch(() => undefined);
    if (side?.mark === undefined) return undefined;
    const { mark, name } = side;
    return { why: (await isThere(join(pathOf(id), versions))) ? 'empty' : 'half-made', mark, name };
  }

  /** Occupied, and no certificate: nobody said that one is gone. */
  function unreadableAs(id: string, reason: string): CodedError {
    const fields = { store: storeId, certificate: id, path: pathOf(id), found: reason };
    return new CodedError('store_layout_unknown', `${pathOf(id)} is there, and is ${reason}`, { fields });
  }

  function changing(id: string, waitMs: number): CodedError {
    const remedy =
      `It is read once nothing there has changed for ${quietMs / 1000} s (the setting quiet): try again then. ` +
      'If that never comes, see what writes there.';
    const fields = { store: storeId, certificate: id, retryAfterMs: Math.ceil(waitMs), remedy };
    return new CodedError('store_unavailable', `${pathOf(id)} is being changed`, { fields });
  }

  function contentOf(id: string, files: ElementFiles): CertificateContent {
    try {
      return files.content();
    } catch (cause) {
      throw unreadable(id, `${pathOf(id)}: ${asCodedError(cause).message}`, cause);
    }
  }

  async function describe(id: string, files: ElementFiles, content?: CertificateContent): Promise<CertificateMetadata> {
    const { revision, changedAt } = files;
    const side = await readSide(id);
    return {
      id,
      ...side,
      domains: [],
      ...(content && contentFacts(content)),
      revision: createHash('sha256').update(revision).digest('hex').slice(0, 32),
      lastModified: Math.floor(changedAt),
    };
  }

  /**
   * What stands beside the files. Throws `store_content_unreadable` where something does that
   * cannot be read.
   */
  async function readSide(id: string): Promise<Side> {
    const file = join(pathOf(id), sideFile);
    const bare = { name: nameOfId(id), description: '', tags: [] };
    // A certificate whose files lie in the folder of all has none of its own.
    if (companionsOf(id) !== undefined && (await isFile(pathOf(id)))) return bare;
    let text: string | undefined;
    try {
      text = (await ifThere(readRegularFile(file, { maxBytes: limits.storeSideFileBytes })))?.toString('utf8');
    } catch (cause) {
      throw unreadable(id, asCodedError(cause).message, cause);
    }
    if (text === undefined) return bare;
    let raw: unknown;
    try {
      raw = JSON.parse(text);
    } catch (cause) {
      throw unreadable(id, `${file} ${text === '' ? 'is empty' : 'is not JSON'}`, cause);
    }
    const parsed = z.safeParse(sideSchema, raw);
    if (!parsed.success)
      throw isOfAnotherFormat(raw) ? newer(id, file) : unreadable(id, `${file} is not what belongs there`);
    const { name, description, tags } = parsed.data;
    const mark = parsed.data.mark === undefined ? undefined : parseMark(parsed.data.mark);
    return { name, description, tags, ...defined({ mark }) };
  }

  function newer(id: string, path: string): CodedError {
    const fields = { store: storeId, certificate: id, path };
    return new CodedError('store_version_unknown', `${path} is not of format ${format}, which this program reads`, {
      fields,
    });
  }

  const nameOf = (id: string) =>
    readSide(id).then(
      ({ name }) => name,
      () => undefined,
    );

  function sideText({ name, description, tags }: DescriptiveMetadata, mark: Mark | undefined): string {
    const side = { format, name, description, tags, ...(mark && { mark: formatMark(mark) }) };
    return `${JSON.stringify(side, undefined, 2)}\n`;
  }

  /** What a listing says of one; nothing where it is gone by now. */
  async function listed(
    id: string,
    signal?: AbortSignal,
  ): Promise<{
    readonly certificate?: CertificateMetadata;
    readonly unreadable?: UnreadableElement;
    readonly vacant?: VacantElement;
    readonly passedOver?: PassedOver;
  }> {
    const place = pathOf(id);
    let content: CertificateContent | undefined;
    try {
      const found = await element(id, { withKey: false, settleMs: 0, signal });
      if (found.state === 'absent') return {};
      if (found.state === 'none') {
        const vacancy = await vacancyAt(id);
        return vacancy === undefined
          ? { passedOver: { id, place, reason: found.reason } }
          : { vacant: { id, ...vacancy } };
      }
      if (found.state === 'changing') throw changing(id, 0);
      content = contentOf(id, found.files);
      return { certificate: await describe(id, found.files, content) };
    } catch (thrown) {
      // It is there all the same, and keeps no other from being listed.
      return { unreadable: await unreadableElement(id, fileError(place, thrown), content) };
    }
  }

  async function unreadableElement(
    id: string,
    error: CodedError,
    content: CertificateContent | undefined,
  ): Promise<UnreadableElement> {
    const side = await readSide(id).catch(() => undefined);
    const ours = await isOurs(pathOf(id)).catch(() => false);
    return {
      id,
      place: pathOf(id),
      error,
      ...(side && { name: side.name }),
      ...(side?.mark && { mark: side.mark }),
      ...(content && { facts: contentFacts(content) }),
      ...(ours && { ours }),
    };
  }

  function taken(id: string, cause?: unknown): CodedError {
    const fields = { store: storeId, certificate: id, path: pathOf(id) };
    return new CodedError('store_conflict', `${pathOf(id)} is there already`, { cause, fields });
  }

  async function carries(id: string, mark: Mark): Promise<boolean> {
    const side = await readSide(id).catch(() => undefined);
    return sameMark(side?.mark, mark) && (await isOurs(pathOf(id)));
  }

  /** The folder of a copy whose readers look for its name. Throws where none can have it. */
  function exactId(name: string): string {
    if (isId(name) && Buffer.byteLength(name) <= limits.fileNameBytes) return name;
    throw new CodedError('store_name_unfit', `no folder can have the name ${name}`, {
      fields: { store: storeId, name },
    });
  }

  /**
   * Throws unless the folder is one that we have made, or, `orVacant`, one of ours that holds no
   * certificate.
   */
  async function refuseForeign(id: string, { orVacant = false, signal }: RefuseOptions = {}): Promise<void> {
    const path = pathOf(id);
    const fields = { store: storeId, certificate: id };
    if (!isId(id) || !(await isThere(path))) throw new CodedError('store_gone', `there is no ${path}`, { fields });
    if (await isOurs(path).catch(() => false)) return;
    if ((await listed(id, signal)).vacant !== undefined) {
      if (orVacant) return;
      throw new CodedError('store_gone', `there is no certificate in ${path}`, { fields });
    }
    const message = `${path} was not made by certstandby, and is neither written to nor removed`;
    throw new CodedError('store_refused', message, { fields });
  }

  /**
   * Writes over a vacant folder of ours, or over one that was vacant and is not any more. What says
   * whose it is comes first.
   */
  async function writeInto(id: string, { content, metadata, mark }: NewCertificate): Promise<WriteAnswer> {
    const path = pathOf(id);
    const fields = { store: storeId, certificate: id };
    if (!isId(id) || !(await isThere(path))) throw new CodedError('store_gone', `there is no ${path}`, { fields });
    const side = await readSide(id);
    if (mark === undefined || !sameMark(side.mark, mark))
      throw new CodedError('store_conflict', `${path} is not a place for this certificate`, { fields });
    await replaceDurably(path, sideFile, sideText(metadata, mark));
    await writeVersion(path, content, keepVersions);
    return answer(id);
  }

  /** Whether anything has this name. Throws unless the folder of all is there to say so. */
  async function isThere(path: string): Promise<boolean> {
    const error = await stat(path).then(
      () => undefined,
      (thrown) => fileError(path, thrown),
    );
    if (error?.code !== 'file_missing') return true;
    await proveRoot();
    return false;
  }

  let rootTidied = false;
  const tidy = (folder: string) => removeLeftovers(folder, { now: runtime.now(), settledMs: settlesMs });

  /**
   * Passes on what is, or was, a certificate: a folder that never was one is nothing to look at. Of
   * what was there at the beginning nobody knows.
   */
  function onceCertificates(names: readonly string[], changed: (id: string) => void): (id: string) => void {
    const known = new Set(names);
    const tell = async (id: string): Promise<void> => {
      if (!known.has(id) && (await listed(id)).passedOver !== undefined) return;
      known.add(id);
      changed(id);
    };
    return (id) => void tell(id).catch(() => changed(id));
  }

  async function answer(id: string): Promise<WriteAnswer> {
    const { certificate } = await listed(id);
    return certificate === undefined ? { id } : { id, metadata: certificate };
  }

  return {
    id: storeId,
    kind: 'directory',
    region: options.region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: true,
      uniqueNames: false,
      idsAreReferredTo: false,
      findsMarks: true,
      settlesMs,
      listingLagMs: 0,
      readSettlesMs: 0,
    },

    list: ({ cursor, signal }) =>
      attempt(`listing ${root}`, signal, async () => {
        const elements = await listElements(root);
        const rest = elements.ids.filter((id) => cursor === undefined || id > cursor);
        const page = rest.slice(0, pageSize);
        const certificates: CertificateMetadata[] = [];
        // What can be asked for by no id is on the first page.
        const unreadable = cursor === undefined ? [...elements.unreadable] : [];
        const passedOver = cursor === undefined ? [...elements.passedOver] : [];
        const vacant: VacantElement[] = [];
        for (const id of page) {
          signal?.throwIfAborted();
          const found = await listed(id, signal);
          if (found.certificate !== undefined) certificates.push(found.certificate);
          if (found.unreadable !== undefined) unreadable.push(found.unreadable);
          if (found.vacant !== undefined) vacant.push(found.vacant);
          if (found.passedOver !== undefined) passedOver.push(found.passedOver);
        }
        const last = page.at(-1);
        const answer: ListPage = { certificates, unreadable, passedOver, ...(vacant.length > 0 && { vacant }) };
        return last !== undefined && rest.length > page.length ? { ...answer, cursor: last } : answer;
      }),

    async readMetadata(id, call = {}) {
      let whole: ElementFiles | undefined;
      const found = await reading(id, call, false, async (files): Promise<CertificateMetadata> => {
        whole = files;
        return describe(id, files, contentOf(id, files));
      });
      if (found.state !== 'unreadable' || whole === undefined) return found;
      // The content of the files cannot be understood; what stands beside them can.
      const described = await describe(id, whole).catch(() => undefined);
      return described === undefined ? found : { state: 'present', value: described };
    },
    read: (id, call = {}) =>
      reading(id, call, true, async (files): Promise<StoredCertificate> => {
        const content = contentOf(id, files);
        try {
          return { metadata: await describe(id, files, content), content };
        } catch (thrown) {
          content.privateKey?.pem.wipe();
          throw thrown;
        }
      }),

    findByMark: (mark, { signal, unreadable: tell, vacant: tellVacant }: FindOptions = {}) =>
      attempt(`looking for copies in ${root}`, signal, async () => {
        const found: CertificateMetadata[] = [];
        for (const id of (await listElements(root)).ids) {
          signal?.throwIfAborted();
          const side = await readSide(id).catch(() => undefined);
          if (side !== undefined && !sameMark(side.mark, mark)) continue;
          const { certificate, unreadable, vacant } = await listed(id, signal);
          if (vacant !== undefined && sameMark(vacant.mark, mark)) tellVacant?.(vacant);
          if (side === undefined && unreadable?.ours) tell?.(unreadable);
          // One of ours whose content cannot be understood is a copy all the same, and is written
          // anew.
          else if (unreadable?.mark !== undefined) found.push(bareOf(id, unreadable));
          else if (certificate !== undefined && sameMark(certificate.mark, mark)) found.push(certificate);
        }
        return found;
      }),

    import: (entry, { signal } = {}) =>
      attemptWrite(`importing into ${root}`, signal, async () => {
        if (entry.into !== undefined) return writeInto(entry.into, entry);
        const { content, metadata, mark, token, exactName } = entry;
        const wanted = exactName === true ? exactId(metadata.name) : derivedId(metadata.name, mark);
        let id = wanted;
        if (await isThere(pathOf(wanted))) {
          // What was imported once is not imported again: a look mends it if it is something else.
          if (token !== undefined && mark !== undefined && (await carries(wanted, mark))) return answer(wanted);
          if (exactName === true) throw taken(wanted);
          // A copy that a restore gave another mark keeps its folder.
          id = `${wanted}-${randomUUID().slice(0, 8)}`;
        }
        // Once in the life of a process: an estate is large, and processes are seldom killed.
        if (!rootTidied) await tidy(root);
        rootTidied = true;
        const fresh = join(root, `.new-${randomUUID()}`);
        await mkdir(fresh, { mode: 0o700 });
        try {
          await writeVersion(fresh, content, keepVersions);
          await replaceDurably(fresh, sideFile, sideText(metadata, mark));
          await rename(fresh, pathOf(id));
        } catch (thrown) {
          await rm(fresh, { recursive: true, force: true });
          // Somebody else was faster by a moment: the next look finds what he made.
          throw isTaken(thrown) ? taken(id, thrown) : thrown;
        }
        await flush(root);
        return answer(id);
      }),

    reimport: (id, content, { signal } = {}) =>
      attemptWrite(`replacing ${pathOf(id)}`, signal, async () => {
        await refuseForeign(id);
        await tidy(join(pathOf(id), 'versions'));
        await writeVersion(pathOf(id), content, keepVersions);
        // What stands beside it and cannot be read would make the copy unreadable again. Its mark
        // comes with the next description.
        const damaged = await readSide(id).then(
          () => false,
          (thrown) => asCodedError(thrown).code === 'store_content_unreadable',
        );
        if (damaged)
          await replaceDurably(pathOf(id), sideFile, sideText({ name: id, description: '', tags: [] }, undefined));
        return answer(id);
      }),

    updateMetadata: (id, metadata, mark, { signal } = {}) =>
      attemptWrite(`describing ${pathOf(id)}`, signal, async () => {
        await refuseForeign(id);
        await replaceDurably(pathOf(id), sideFile, sideText(metadata, mark));
        return answer(id);
      }),

    delete: (id, { signal } = {}) =>
      attemptWrite(`removing ${pathOf(id)}`, signal, async () => {
        if (!isId(id) || !(await isThere(pathOf(id)))) return;
        await refuseForeign(id, { orVacant: true, signal });
        // Gone at once, whatever becomes of the rest.
        const gone = join(root, `.gone-${randomUUID()}`);
        await rename(pathOf(id), gone);
        await flush(root);
        await rm(gone, { recursive: true, force: true });
      }),

    asKept: ({ name, description, tags }) => ({ name, description, tags }),

    identity: ({ signal } = {}) =>
      attempt(`looking at ${root}`, signal, async () => {
        await proveRoot();
        return readIdentity(root);
      }),

    giveIdentity: (identity, { signal, instead = false } = {}) =>
      attemptWrite(`marking ${root}`, signal, () => writeIdentity(root, identity, { instead })),

    diagnosis: {
      address: root,
      async clock({ signal } = {}) {
        await attempt(`looking at ${root}`, signal, proveRoot);
        return undefined;
      },
      mayImport: ({ signal } = {}) =>
        attemptWrite(`trying an import into ${root}`, signal, async () => {
          await tryImport(root, { now: runtime.now(), settledMs: settlesMs });
          return true;
        }),
    },

    watch: (changed) => watchDirectory({ root, quietMs, changed: onceCertificates(namesNow(root), changed) }),
  };
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/** A copy of which only what stands beside its files can be read. */
function bareOf(id: string, { mark, name = id }: UnreadableElement): CertificateMetadata {
  return { id, name, description: '', tags: [], domains: [], ...defined({ mark }) };
}

/**
 * The folder of a copy: of its mark alone, so that it is the same for every importer and under
 * every name, and another one for each certificate of each primary. What is imported without a mark
 * gets one that nothing else has.
 */
function derivedId(name: string, mark: Mark | undefined): string {
  if (mark === undefined) return `${readable(name)}-${randomUUID().slice(0, 8)}`;
  return `${readable(mark.certificate)}-${markDigest(mark).slice(0, 16)}`;
}

/** Whether a rename found its new name taken. */
function isTaken(thrown: unknown): boolean {
  return ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes((thrown as NodeJS.ErrnoException | undefined)?.code ?? '');
}

/** A name as a folder's name may be, for people who look there. */
function readable(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return fileName(plain.slice(0, 60), 'certificate');
}
