import { constants } from 'node:fs';
import { access, lstat, opendir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { companionsOf, type Layout, layoutOfFlat, layoutOfFolder, looksLike } from '../../certificate/file-layout.ts';
import { parseContent } from '../../certificate/pem.ts';
import { keysApart } from '../../certificate/pem-blocks.ts';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { fileError, ifThere, kindOfFile, openRegularFile, readRegularFile } from '../../regular-file.ts';
import { Secret } from '../../secret.ts';

/**
 * A symbolic link to the version in force. It is switched by one rename, so that nobody finds half
 * of each.
 */
export const current = 'current';
/** The folder of the versions, the one in force and those before it. */
export const versions = 'versions';
/** What is kept beside the files: name, description, tags, mark. */
export const sideFile = 'certstandby.json';

/**
 * What a read of one element of the folder of all came to. What is there and cannot be read is
 * thrown.
 */
export type ElementReading =
  | { readonly state: 'whole'; readonly files: ElementFiles }
  /** Nothing has this name. Whether the folder of all is there is another question. */
  | { readonly state: 'absent' }
  /** Something is there, and nothing in it looks like a certificate. */
  | { readonly state: 'none'; readonly reason: string }
  /**
   * A file was changed while it was read, or so lately that another may follow; until then, in
   * milliseconds.
   */
  | { readonly state: 'changing'; readonly waitMs: number };

export interface ElementFiles {
  /** Once. Throws what `parseContent` throws. */
  readonly content: () => CertificateContent;
  /** Whether a private key is there, or a file that is to hold it. */
  readonly withKey: boolean;
  /** Overwrites the key, instead of `content`. */
  readonly discard: () => void;
  /** Another one for every change of a file. */
  readonly revision: string;
  /** Epoch milliseconds. */
  readonly changedAt: number;
}

export interface ReadOptions {
  readonly withKey: boolean;
  readonly settleMs: number;
  readonly now: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Whether the folder was written by us: then it is switched by one rename, and may be taken away
 * again. One that was carried here by a program that follows links (`cp -L`, a zip) is ours too:
 * `current` is a folder then, with the files in it. Throws `file_*`.
 */
export async function isOurs(folder: string): Promise<boolean> {
  const link = join(folder, current);
  try {
    const found = await lstat(link);
    return found.isSymbolicLink() || (found.isDirectory() && (await wasCarried(folder)));
  } catch (thrown) {
    if (isNothing(thrown)) return false;
    throw fileError(link, thrown);
  }
}

/**
 * Whether what we write beside the version in force is there, and that version is whole where its
 * link should be.
 */
async function wasCarried(folder: string): Promise<boolean> {
  const [side, all, files] = await Promise.all([
    statsOf(join(folder, sideFile)),
    statsOf(join(folder, versions)),
    namesIn(join(folder, current)),
  ]);
  const layout = files && layoutOfFolder(files);
  return side?.isFile() === true && all?.isDirectory() === true && layout !== undefined && !('several' in layout);
}

/**
 * Reads the files of one certificate as of one moment: what changes while it is read, or has
 * changed within `settleMs`, is not given, as the next file of the same change may not be there
 * yet. What we have written is whole at every moment. Throws `file_*` for what stands in the way of
 * a file, and `store_layout_unknown` for what is a certificate, but not as it is read here.
 */
export async function readElement(path: string, options: ReadOptions): Promise<ElementReading> {
  const found = await statsOf(path);
  if (found === undefined) return { state: 'absent' };
  if (found.isDirectory()) return readFolder(path, options);
  if (companionsOf(basename(path)) === undefined)
    return { state: 'none', reason: `${kindOfFile(found)} that is no certificate` };
  return readFlat(path, options);
}

async function readFolder(folder: string, options: ReadOptions): Promise<ElementReading> {
  const ours = await isOurs(folder);
  // Through the link once: a switch in between must not mix two versions.
  const from = ours ? await folderInForce(folder) : folder;
  const names = await namesIn(from);
  if (names === undefined) return { state: 'changing', waitMs: options.settleMs };
  const found = layoutOfFolder(names);
  if (found === undefined) return ours ? Promise.reject(emptied(from)) : lookInto(folder, names);
  if ('several' in found) {
    const files = found.several.slice(0, 5).join(', ');
    throw unknownLayout(folder, `it holds several certificates (${files}), and one folder is one certificate`);
  }
  const stamp = () => stampOf(from, found.layout, { side: join(folder, sideFile), inFolder: from });
  return readFiles(from, found.layout, stamp, { ...options, settleMs: ours ? 0 : options.settleMs });
}

/** One whose files lie in the folder of all. */
async function readFlat(path: string, options: ReadOptions): Promise<ElementReading> {
  const folder = dirname(path);
  const companions = companionsOf(basename(path)) ?? [];
  const there = await Promise.all(
    companions.map(async (name) => ((await linkStatsOf(join(folder, name))) ? [name] : [])),
  );
  const layout = layoutOfFlat(basename(path), there.flat());
  const reading = await readFiles(folder, layout, () => stampOf(folder, layout, {}), options);
  if (reading.state !== 'whole' || reading.files.withKey) return reading;
  // Among many files in one folder it is an authority's, or a part of a chain.
  reading.files.discard();
  return { state: 'none', reason: 'a certificate without a private key' };
}

async function readFiles(
  folder: string,
  layout: Layout,
  stamp: () => Promise<Stamp | undefined>,
  { withKey, settleMs, now, signal }: ReadOptions,
): Promise<ElementReading> {
  const before = await stamp();
  if (before === undefined) return { state: 'changing', waitMs: settleMs };
  const { revision, changedAt } = before;
  const age = now - changedAt;
  if (age >= 0 && age < settleMs) return { state: 'changing', waitMs: settleMs - age };
  const bounds = { maxBytes: limits.storeFileBytes, ...defined({ signal }) };
  const reading = (name: string | undefined) =>
    name === undefined ? undefined : ifThere(readRegularFile(join(folder, name), bounds));
  const [certificate, chain, key] = await Promise.all([
    reading(layout.certificate),
    reading(layout.chain),
    withKey ? reading(layout.key) : undefined,
  ]);
  const held = [certificate, chain, key];
  try {
    if (certificate === undefined || (await stamp())?.revision !== revision)
      return { state: 'changing', waitMs: settleMs };
    refuseOtherForms(join(folder, layout.certificate), certificate);
    return { state: 'whole', files: { ...taken([certificate, chain, key], layout, withKey), revision, changedAt } };
  } finally {
    for (const bytes of held) bytes?.fill(0);
  }
}

/**
 * Takes the texts out of the bytes, the keys among them as secrets. Certificates and keys may stand
 * in any of the files.
 */
function taken(
  [certificate, chain, key]: readonly (Buffer | undefined)[],
  layout: Layout,
  withKey: boolean,
): Pick<ElementFiles, 'content' | 'withKey' | 'discard'> {
  const own = keysApart(certificate?.toString('utf8') ?? '');
  const above = keysApart(chain?.toString('utf8') ?? '');
  const keys = `${own.keys}${above.keys}${key?.toString('utf8') ?? ''}`;
  const privateKey = withKey && keys !== '' ? new Secret(keys) : undefined;
  const pem = {
    certificate: own.rest,
    ...(above.rest !== '' && { intermediate: above.rest }),
    ...defined({ privateKey }),
  };
  const discard = () => privateKey?.wipe();
  const content = () => {
    try {
      return parseContent(pem);
    } finally {
      discard();
    }
  };
  return { content, discard, withKey: keys !== '' || layout.key !== undefined };
}

interface Stamp {
  readonly revision: string;
  readonly changedAt: number;
}

/**
 * What tells this state of the files from every other one; `undefined` if there is no certificate
 * any more.
 */
async function stampOf(
  folder: string,
  { certificate, chain, key }: Layout,
  beside: { readonly side?: string; readonly inFolder?: string },
): Promise<Stamp | undefined> {
  const names = [certificate, ...(chain === undefined ? [] : [chain]), ...(key === undefined ? [] : [key])];
  const stamps = await Promise.all(names.map((name) => stampOfFile(join(folder, name))));
  if (stamps[0] === undefined) return undefined;
  // Whether that one can be read is asked where it is read.
  const side = beside.side === undefined ? [] : [await stampOfFile(beside.side).catch(() => undefined)];
  const inFolder = beside.inFolder === undefined ? undefined : await statsOf(beside.inFolder);
  const moments = [...stamps.map((stamp) => stamp?.changedAt ?? 0), inFolder?.mtimeMs ?? 0];
  const revision = [...stamps, ...side].map((stamp) => stamp?.text ?? '-').join(' ');
  return { revision, changedAt: Math.max(...moments) };
}

async function stampOfFile(path: string) {
  const [link, file] = await Promise.all([linkStatsOf(path), statsOf(path)]);
  if (link === undefined || file === undefined) return undefined;
  if (!file.isFile()) {
    const found = kindOfFile(file);
    throw new CodedError('file_not_regular', `${path} is ${found}`, { fields: { path, found } });
  }
  return {
    text: `${file.ino}.${file.size}.${file.mtimeMs}.${link.mtimeMs}`,
    changedAt: Math.max(file.mtimeMs, link.mtimeMs),
  };
}

/** Where the version in force lies. Throws `file_*` where the link leads to none. */
async function folderInForce(folder: string): Promise<string> {
  const link = join(folder, current);
  try {
    return await realpath(link);
  } catch {
    // The version that it led to may just have been replaced twice: it leads to another one by now.
    return realpath(link).catch((thrown) => Promise.reject(fileError(link, thrown)));
  }
}

/**
 * The names in a folder, as far as they are UTF-8; `undefined` if it is not there. Throws `file_*`
 * if it cannot be read.
 */
async function namesIn(folder: string): Promise<ReadonlySet<string> | undefined> {
  const names = new Set<string>();
  try {
    for await (const { name } of await opendir(folder)) {
      names.add(name);
      if (names.size > limits.storeFolderFiles)
        throw unknownLayout(
          folder,
          `it holds more than ${limits.storeFolderFiles} files, and one folder is one certificate`,
        );
    }
    return names;
  } catch (thrown) {
    if (isNothing(thrown)) return undefined;
    throw fileError(folder, thrown);
  }
}

/**
 * Says what stands in a folder in which no file has a name that is known: nothing of a certificate,
 * or something that is not read here.
 */
async function lookInto(folder: string, names: ReadonlySet<string>): Promise<ElementReading> {
  const likely = [...names].sort((a, b) => Number(isLikely(b)) - Number(isLikely(a)) || (a < b ? -1 : 1));
  for (const name of likely.slice(0, limits.storeFilesLookedAt)) {
    const file = join(folder, name);
    // What has the name of a certificate and cannot be read may be one: a link into an archive that
    // is not mounted.
    const found = await lookAtFile(file).catch((thrown) =>
      isLikely(name) ? Promise.reject(fileError(file, thrown)) : undefined,
    );
    if (found === 'a private key in PEM')
      throw unknownLayout(folder, `${name} in it is ${found}, and no certificate that belongs to it is found`);
    if (found?.endsWith('in PEM'))
      throw unknownLayout(folder, `${name} in it is ${found}, and no tool known here calls it so`);
    if (found !== undefined) throw otherForm(join(folder, name), found);
  }
  return {
    state: 'none',
    reason: names.size === 0 ? 'an empty folder' : 'a folder in which nothing looks like a certificate',
  };
}

/** Whether a file of this name is worth a look at what it holds. */
export const isLikely = (name: string) =>
  /\.(?:pem|crt|cer|cert|der|key|p12|pfx|jks|jceks|keystore|p7b|p7c)$|^acme\.json$/i.test(name);

/**
 * What a file is, by its beginning; `undefined` if it looks like nothing of a certificate. Throws
 * `file_*`.
 */
export async function lookAtFile(path: string): Promise<string | undefined> {
  const file = await openRegularFile(path);
  const bytes = Buffer.alloc(limits.storeLookedAtBytes);
  try {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return looksLike(bytes.subarray(0, bytesRead));
  } finally {
    bytes.fill(0);
    await file.close();
  }
}

/** Throws where a certificate's file holds none in PEM, and says what it is. */
function refuseOtherForms(path: string, bytes: Buffer): void {
  const found = looksLike(bytes.subarray(0, limits.storeLookedAtBytes));
  if (
    found === undefined ||
    found.endsWith('in PEM') ||
    found.includes('encrypted') ||
    bytes.includes('-----BEGIN CERTIFICATE-----')
  )
    return;
  throw otherForm(path, found);
}

/** What is a certificate, or a key, and not in PEM. */
export function otherForm(path: string, found: string): CodedError {
  return new CodedError('store_form_unknown', `${path} is ${found}, and PEM is read here`, { fields: { path, found } });
}

export function unknownLayout(path: string, found: string): CodedError {
  return new CodedError('store_layout_unknown', `${path}: ${found}`, { fields: { path, found } });
}

function emptied(folder: string): CodedError {
  const found = 'the version in force holds no certificate';
  return new CodedError('file_missing', `${folder}: ${found}`, { fields: { path: folder, found } });
}

/**
 * Throws unless the folder of all is there, whole, and can be looked into: only then may anything
 * be said to be absent from it.
 */
export async function proveFolder(root: string): Promise<void> {
  try {
    const found = await stat(root);
    if (!found.isDirectory()) {
      throw new CodedError('file_not_regular', `${root} is ${kindOfFile(found)} and no folder`, {
        fields: { path: root },
      });
    }
    await access(root, constants.R_OK | constants.X_OK);
  } catch (thrown) {
    throw fileError(root, thrown);
  }
}

async function statsOf(path: string) {
  try {
    return await stat(path);
  } catch (thrown) {
    // A link that leads to nothing is there.
    if (isNothing(thrown) && (await linkStatsOf(path)) === undefined) return undefined;
    throw fileError(path, thrown);
  }
}

async function linkStatsOf(path: string) {
  try {
    return await lstat(path);
  } catch (thrown) {
    if (isNothing(thrown)) return undefined;
    throw fileError(path, thrown);
  }
}

/** Nothing has this name. Anything else that a system says is no word about that. */
function isNothing(thrown: unknown): boolean {
  return (thrown as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}
