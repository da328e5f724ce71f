import * as z from 'zod/mini';
import type { CertificatePem } from '../certificate/certificate.ts';
import { type Layout, layoutOfFolder, layoutsOfFlat, looksLike, partOf } from '../certificate/file-layout.ts';
import { keyProblem } from '../certificate/judgement.ts';
import { parseContent, toPem } from '../certificate/pem.ts';
import { keysApart } from '../certificate/pem-blocks.ts';
import { CodedError } from '../errors.ts';
import { fileNames } from '../foreign-text.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';
import {
  type ArchivedCertificate,
  type ArchiveEntry,
  type ArchiveItem,
  damaged,
  entryDamaged,
  type PassedOverFile,
} from './archive.ts';

/**
 * One file of an archive. `path` is `<folder>/<file>`, or `<file>` where the archive holds one
 * certificate.
 */
export interface ArchiveFile {
  readonly path: string;
  readonly bytes: Buffer;
  /** Nobody but its owner may read it. */
  readonly secret: boolean;
}

/** Names, description and tags beside the PEM files. A directory store reads the same file. */
const sideFile = 'certstandby.json';
const sideSchema = z.object({
  format: z.literal(1),
  name: z.string().check(z.maxLength(limits.archiveTextCharacters)),
  description: z._default(z.string().check(z.maxLength(limits.archiveTextCharacters)), ''),
  tags: z._default(z.array(z.string().check(z.maxLength(limits.archiveTextCharacters))), []),
  from: z.optional(z.object({ store: z.string(), id: z.string() })),
  /** Said of a certificate that was kept without one: nowhere else may a key be missing. */
  keyless: z._default(z.boolean(), false),
});

/** File names of one certificate; `whole` is the leaf with its chain. */
interface Names {
  readonly leaf: string;
  readonly chain: string;
  readonly whole?: string;
  readonly key: string;
}

/** As certbot lays out a certificate in its live folder. */
export const certbotNames: Names = { leaf: 'cert.pem', chain: 'chain.pem', whole: 'fullchain.pem', key: 'privkey.pem' };
/** As Certificate Manager names the three texts of a download. */
export const certificateManagerNames: Names = { leaf: 'content.pem', chain: 'intermediate.pem', key: 'priv_key.pem' };

/** May stand beside a certificate's file that has no chain in it, whichever tool made the rest. */
const chainFiles: readonly string[] = ['chain.pem', 'intermediate.pem', 'cert.pem'];
/** Where one of these cannot be read, a certificate must not be put together from what is left. */
const knownFiles: readonly string[] = [
  ...Object.values(certbotNames),
  ...Object.values(certificateManagerNames),
  'tls.crt',
  'tls.key',
  sideFile,
];
/** What certbot leaves beside them, for people. */
const ignored: readonly string[] = ['README'];

/**
 * Gives each certificate a folder name of its own. The name that it really has stands in the file
 * of names beside it, or in the PKCS#12.
 */
export const folderNames = (): ((name: string) => string) => fileNames('certificate');

/**
 * The files of one certificate in `folder`. The bytes of the secret one are its taker's, to be
 * overwritten as soon as may be.
 */
export function filesOf(certificate: ArchivedCertificate, folder: string, names: Names): readonly ArchiveFile[] {
  const { certificate: leaf, intermediate = '', privateKey } = toPem(certificate.content);
  const { name, description, tags, from } = certificate;
  const keyless = privateKey === undefined ? { keyless: true } : {};
  const side = { format: 1, name, description, tags, ...(from && { from }), ...keyless };
  const file = (file: string, bytes: Buffer, secret = false) => ({ path: `${folder}/${file}`, bytes, secret });
  return [
    file(names.leaf, Buffer.from(leaf)),
    ...(intermediate === '' ? [] : [file(names.chain, Buffer.from(intermediate))]),
    ...(names.whole === undefined ? [] : [file(names.whole, Buffer.from(leaf + intermediate))]),
    ...(privateKey === undefined ? [] : [file(names.key, privateKey.revealBytes(), true)]),
    file(sideFile, Buffer.from(`${JSON.stringify(side, undefined, 2)}\n`)),
  ];
}

/** A file of an archive, or why it cannot be had. */
export type FoundFile = Pick<ArchiveFile, 'path' | 'bytes'> | { readonly path: string; readonly error: CodedError };

/**
 * The certificates of an archive's files, which stand folder by folder. What is wrong with one
 * certificate (a file that cannot be read, a missing key, a folder in two pieces) refuses that one;
 * files that belong to none are passed over. Throws `archive_damaged` for too many certificates,
 * and where there is nothing but files that belong to none.
 */
export async function* certificatesIn(archive: string, files: AsyncIterable<FoundFile>): AsyncGenerator<ArchiveItem> {
  const seen = new Set<string>();
  const passedOver: string[] = [];
  let certificates = 0;
  // What lies beside the folders may come between them.
  const beside = openFolder('', false);
  let open: OpenFolder | undefined;
  const close = function* (folder: OpenFolder | undefined) {
    for (const item of folder === undefined ? [] : itemsOf(archive, folder)) {
      if ('file' in item) passedOver.push(item.file);
      else certificates += 1;
      yield item;
    }
  };
  for await (const found of files) {
    const place = placeOf(found.path);
    if (place === undefined) {
      certificates += 1;
      const path = JSON.stringify(found.path);
      yield { entry: found.path, error: entryDamaged(path, 'its path is not <certificate>/<file>') };
      continue;
    }
    if (place.folder === '') {
      if ('error' in found && !knownFiles.includes(place.file) && partOf(place.file) === undefined) {
        // It may be the folder of a certificate.
        certificates += 1;
        yield { entry: place.file, name: place.file, error: found.error };
      } else add(beside, place.file, found);
      continue;
    }
    if (place.folder !== open?.folder) {
      yield* close(open);
      if (seen.size >= limits.archiveCertificates)
        throw damaged(archive, `it holds more than ${limits.archiveCertificates} certificates`);
      open = openFolder(place.folder, seen.has(place.folder));
      seen.add(place.folder);
    }
    add(open, place.file, found);
  }
  yield* close(open);
  yield* close(beside);
  if (certificates > 0 || passedOver.length === 0) return;
  const others = passedOver.slice(0, limits.passedOverNamed).join(', ');
  throw new CodedError(
    'archive_damaged',
    `${archive} cannot be taken as an archive: it holds no certificate; it holds ${others}`,
    {
      fields: { archive, reason: 'no_certificate' },
    },
  );
}

/** The files of one certificate, as far as they have come. */
interface OpenFolder {
  readonly folder: string;
  readonly files: Map<string, Buffer>;
  /** Bytes in `files`. */
  held: number;
  /** Files that could not be read, and by their names may be of the certificate. */
  readonly unread: Map<string, CodedError>;
  readonly problems: CodedError[];
  readonly others: OtherFile[];
  /** Other files beyond those that are named. */
  unnamed: number;
}

/** A file whose name says nothing of a certificate. */
interface OtherFile extends PassedOverFile {
  /** It holds PEM all the same. */
  readonly isPem: boolean;
}

function openFolder(folder: string, again: boolean): OpenFolder {
  const problems = again ? [entryDamaged(folder, 'it comes a second time')] : [];
  return { folder, files: new Map(), held: 0, unread: new Map(), problems, others: [], unnamed: 0 };
}

function add(open: OpenFolder, file: string, found: FoundFile): void {
  const { folder, files, unread, problems } = open;
  const known = knownFiles.includes(file);
  const named = known || partOf(file) !== undefined;
  if ('error' in found && known) problems.push(found.error);
  else if ('error' in found && named) unread.set(file, found.error);
  else if (named && files.has(file)) problems.push(entryDamaged(folder || file, `${file} is there twice`));
  else if ('bytes' in found && (known || (named && isPem(found.bytes)))) hold(open, file, found.bytes);
  else if (ignored.includes(file)) return;
  else if ('error' in found) passOver(open, { file: found.path, why: found.error.message, isPem: false });
  else passOver(open, { file: found.path, why: whyNot(found.bytes), isPem: isPem(found.bytes) });
}

function hold(open: OpenFolder, file: string, bytes: Buffer): void {
  const { folder, files, problems } = open;
  open.held += bytes.length;
  if (open.held <= limits.archiveFolderBytes) files.set(file, bytes);
  else {
    bytes.fill(0);
    const most = `${limits.archiveFolderBytes >> 20} MiB`;
    if (problems.length < limits.passedOverNamed)
      problems.push(entryDamaged(folder === '' ? file : folder, `the files beside each other have more than ${most}`));
  }
}

function passOver(open: OpenFolder, file: OtherFile): void {
  if (open.others.length >= limits.passedOverNamed) open.unnamed += 1;
  else open.others.push(file);
}

const isPem = (bytes: Buffer): boolean => bytes.includes('-----BEGIN ');

/** Why a file is of no certificate: it has another form, or another name. */
function whyNot(bytes: Buffer): string {
  const found = isPem(bytes) ? undefined : looksLike(bytes);
  return found === undefined ? 'no certificate has a file of this name' : `it is ${found}, and PEM is read here`;
}

/**
 * What one folder comes to: a certificate, or why it is none; and what was passed over beside it.
 */
function* itemsOf(archive: string, open: OpenFolder): Generator<ArchiveItem> {
  const { folder, files, unread, problems } = open;
  const entry = folder === '' ? archive : folder;
  const names = new Set([...files.keys(), ...unread.keys()].filter((name) => name !== sideFile));
  try {
    const named = nameIn(entry, files, problems);
    for (const error of problems.slice(0, limits.passedOverNamed)) yield { entry, error, ...named };
    if (folder === '' && !isOfOne(open)) yield* flatItems(open, names);
    // Beside the folders of certificates lies what is somebody else's; in the folder of one, PEM is
    // of that one.
    else if (problems.length === 0 && (names.size > 0 || (folder !== '' && open.others.some(({ isPem }) => isPem))))
      yield toItem(entry, open, () => layoutIn(entry, open, names));
    for (const { file, why } of open.others) yield { file, why };
    if (open.unnamed > 0) yield { file: entry, why: `${open.unnamed} more files of other names` };
  } finally {
    for (const bytes of files.values()) bytes.fill(0);
  }
}

/**
 * Whether the files that lie in no folder are those of one certificate, and not of several with a
 * name each.
 */
function isOfOne({ files, unread, problems }: OpenFolder): boolean {
  const names = [...files.keys(), ...unread.keys()];
  const { certificates, nameless } = layoutsOfFlat(names);
  const one = nameless !== undefined || files.has(sideFile) || files.has(certificateManagerNames.leaf);
  return one || problems.length > 0 || (certificates.length === 0 && names.some((name) => knownFiles.includes(name)));
}

/**
 * The certificates whose files lie side by side, each under a name of its own, as lego and Caddy
 * leave them.
 */
function* flatItems(open: OpenFolder, names: ReadonlySet<string>): Generator<ArchiveItem> {
  const { certificates, incomplete } = layoutsOfFlat(names);
  for (const layout of certificates) {
    const { certificate, key } = layout;
    const bytes = open.files.get(certificate);
    const keyless = key === undefined && bytes !== undefined && !bytes.includes('PRIVATE KEY-----');
    // Among many files side by side it is an authority's, or a part of a chain.
    if (keyless) passOver(open, { file: certificate, why: 'it is a certificate without a private key', isPem: true });
    else yield toItem(certificate, open, () => layout);
  }
  for (const { name: file, lacks } of incomplete) {
    const error = open.unread.get(file);
    if (error === undefined) passOver(open, { file, why: `the ${lacks} that belongs to it is not there`, isPem: true });
    else yield { entry: file, name: file, error };
  }
}

/**
 * The files of the certificate that a folder is of. Those of other names are passed over. Throws
 * `archive_entry_damaged`.
 */
function layoutIn(entry: string, open: OpenFolder, names: ReadonlySet<string>): Layout {
  const { leaf, chain, key } = certificateManagerNames;
  const found = names.has(leaf) ? { layout: { certificate: leaf, chain, key } } : layoutOfFolder(names);
  if (found === undefined) {
    const there = [...names, ...open.others.map(({ file }) => file)].join(', ');
    throw entryDamaged(entry, `it holds no certificate under a name that is known here; it holds ${there}`);
  }
  if ('several' in found) {
    const files = found.several.slice(0, 5).join(', ');
    throw entryDamaged(entry, `it holds several certificates (${files}), and one folder is one certificate`);
  }
  const { layout } = found;
  const used = [...Object.values(layout), ...chainFiles, ...knownFiles];
  for (const name of names)
    if (!used.includes(name))
      passOver(open, {
        file: open.folder === '' ? name : `${open.folder}/${name}`,
        why: `${layout.certificate} beside it is read`,
        isPem: true,
      });
  return layout;
}

function toItem(entry: string, open: OpenFolder, layoutOf: () => Layout): ArchiveItem {
  try {
    return toEntry(entry, open, layoutOf());
  } catch (thrown) {
    const error = thrown instanceof CodedError ? thrown : entryDamaged(entry, 'it cannot be understood', thrown);
    return { entry, error, ...nameIn(entry, open.files, []) };
  }
}

/**
 * What a certificate is called that cannot be taken: as its side file says, or else its folder.
 * Nothing where that file is the trouble.
 */
function nameIn(
  entry: string,
  files: ReadonlyMap<string, Buffer>,
  problems: readonly CodedError[],
): { readonly name?: string } {
  if (problems.some(({ fields }) => String(fields.path ?? '').endsWith(sideFile))) return {};
  try {
    return { name: sideOf(entry, files.get(sideFile)).name || entry };
  } catch {
    return {};
  }
}

/**
 * Folder and file of a path; a path of one part stands in the folder `''`. `undefined` unless it is
 * made of plain names.
 */
function placeOf(path: string): { readonly folder: string; readonly file: string } | undefined {
  const parts = path.replace(/^\.\//, '').split('/');
  const plain = parts.every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\p{Cc}]/u.test(part));
  if (!plain || parts.length > 2) return undefined;
  return { folder: parts.length === 2 ? (parts[0] ?? '') : '', file: parts.at(-1) ?? '' };
}

function toEntry(entry: string, { files, unread }: OpenFolder, layout: Layout): ArchiveEntry {
  const { certificate, chain, key } = layout;
  for (const file of [certificate, chain, key]) {
    const error = unread.get(file ?? '');
    if (error !== undefined) throw error;
  }
  const { name = '', description, tags, from, keyless } = sideOf(entry, files.get(sideFile));
  const textOf = (file: string) => files.get(file)?.toString('utf8') ?? '';
  const own = keysApart(textOf(certificate));
  const beside = new Set(
    [...(chain === undefined ? [] : [chain]), ...chainFiles].filter((file) => file !== certificate),
  );
  const above = keysApart([...beside].map(textOf).join('\n'));
  const keyBytes = key === undefined ? undefined : files.get(key);
  const inline = own.keys + above.keys;
  const privateKey = keyBytes ? new Secret(keyBytes) : inline === '' ? undefined : new Secret(inline);
  try {
    const pem: CertificatePem = {
      certificate: own.rest,
      ...(above.rest.trim() === '' ? {} : { intermediate: above.rest }),
      ...(privateKey ? { privateKey } : {}),
    };
    const content = readEntry(entry, pem, keyless);
    return { entry, name: name || entry, description, tags, content, ...(from && { from }) };
  } finally {
    privateKey?.wipe();
  }
}

/**
 * The content of an entry, its private key the right one. Throws `certificate_*`, with the entry's
 * name.
 */
export function readEntry(entry: string, pem: CertificatePem, keyless = false) {
  try {
    const content = parseContent(pem);
    const problem = keyProblem(content);
    if (problem === undefined || (keyless && problem.code === 'certificate_key_missing')) return content;
    content.privateKey?.pem.wipe();
    throw problem;
  } catch (thrown) {
    if (!(thrown instanceof CodedError)) throw thrown;
    throw new CodedError(thrown.code, `${entry} in the archive: ${thrown.message}`, {
      fields: { ...thrown.fields, entry },
    });
  }
}

function sideOf(
  entry: string,
  bytes: Buffer | undefined,
): Partial<z.infer<typeof sideSchema>> & { description: string; tags: string[] } {
  if (bytes === undefined) return { description: '', tags: [] };
  let raw: unknown;
  try {
    raw = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw entryDamaged(entry, `its ${sideFile} is not JSON`, cause);
  }
  const parsed = z.safeParse(sideSchema, raw);
  if (parsed.success) return parsed.data;
  throw entryDamaged(entry, `its ${sideFile} is not of format 1, which this program reads`);
}
