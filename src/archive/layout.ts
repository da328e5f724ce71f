import * as z from 'zod/mini';
import type { CertificatePem } from '../certificate/certificate.ts';
import { keyProblem } from '../certificate/judgement.ts';
import { parseContent, toPem } from '../certificate/pem.ts';
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

/** One file of an archive. `path` is `<folder>/<file>`, or `<file>` where the archive holds one certificate. */
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

const certificateFiles: readonly string[] = ['fullchain.pem', 'cert.pem', 'content.pem', 'tls.crt'];
const chainFiles: readonly string[] = ['chain.pem', 'intermediate.pem'];
const keyFiles: readonly string[] = ['privkey.pem', 'priv_key.pem', 'tls.key'];
const knownFiles: readonly string[] = [...certificateFiles, ...chainFiles, ...keyFiles, sideFile];
/** What certbot leaves beside them, for people. */
const ignored: readonly string[] = ['README'];

/** Gives each certificate a folder name of its own. The name that it really has stands in the file of names beside it, or in the PKCS#12. */
export const folderNames = (): ((name: string) => string) => fileNames('certificate');

/** The files of one certificate in `folder`. The bytes of the secret one are its taker's, to be overwritten as soon as may be. */
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
 * The certificates of an archive's files, which stand folder by folder. What is wrong with one certificate (a file that cannot be
 * read, a missing key, a folder in two pieces) refuses that one; files that belong to none are passed over. Throws `archive_damaged`
 * for too many certificates, and where there is nothing but files that belong to none.
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
      if ('error' in found && !knownFiles.includes(place.file)) {
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
  throw damaged(archive, `it holds no certificate; it holds ${others}`);
}

/** The files of one certificate, as far as they have come. */
interface OpenFolder {
  readonly folder: string;
  readonly files: Map<string, Buffer>;
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
  return { folder, files: new Map(), problems, others: [], unnamed: 0 };
}

function add(open: OpenFolder, file: string, found: FoundFile): void {
  const { folder, files, problems, others } = open;
  const known = knownFiles.includes(file);
  if ('error' in found && known) problems.push(found.error);
  else if (known && files.has(file)) problems.push(entryDamaged(folder || file, `${file} is there twice`));
  else if (known && 'bytes' in found) files.set(file, found.bytes);
  else if (ignored.includes(file)) return;
  else if (others.length >= limits.passedOverNamed) open.unnamed += 1;
  else if ('error' in found) others.push({ file: found.path, why: found.error.message, isPem: false });
  else others.push({ file: found.path, why: 'no certificate has a file of this name', isPem: isPem(found.bytes) });
}

const isPem = (bytes: Buffer): boolean => bytes.includes('-----BEGIN ');

/** What one folder comes to: a certificate, or why it is none; and what was passed over beside it. */
function* itemsOf(archive: string, { folder, files, problems, others, unnamed }: OpenFolder): Generator<ArchiveItem> {
  const entry = folder === '' ? archive : folder;
  const parts = [...files.keys()].filter((name) => name !== sideFile);
  // Beside the folders of certificates lies what is somebody else's; in the folder of one, PEM is of that one.
  const isCertificate = parts.length > 0 || (folder !== '' && others.some(({ isPem }) => isPem));
  try {
    const named = nameIn(entry, files, problems);
    for (const error of problems.slice(0, limits.passedOverNamed)) yield { entry, error, ...named };
    if (problems.length === 0 && isCertificate) yield toItem(entry, files, others);
    for (const { file, why } of others) yield { file, why };
    if (unnamed > 0) yield { file: entry, why: `${unnamed} more files of other names` };
  } finally {
    for (const bytes of files.values()) bytes.fill(0);
  }
}

function toItem(entry: string, files: ReadonlyMap<string, Buffer>, others: readonly OtherFile[]): ArchiveItem {
  try {
    return toEntry(entry, files, others);
  } catch (thrown) {
    const error = thrown instanceof CodedError ? thrown : entryDamaged(entry, 'it cannot be understood', thrown);
    return { entry, error, ...nameIn(entry, files, []) };
  }
}

/** What a certificate is called that cannot be taken: as its side file says, or else its folder. Nothing where that file is the trouble. */
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

/** Folder and file of a path; a path of one part stands in the folder `''`. `undefined` unless it is made of plain names. */
function placeOf(path: string): { readonly folder: string; readonly file: string } | undefined {
  const parts = path.replace(/^\.\//, '').split('/');
  const plain = parts.every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\p{Cc}]/u.test(part));
  if (!plain || parts.length > 2) return undefined;
  return { folder: parts.length === 2 ? (parts[0] ?? '') : '', file: parts.at(-1) ?? '' };
}

function toEntry(entry: string, files: ReadonlyMap<string, Buffer>, others: readonly OtherFile[]): ArchiveEntry {
  const text = (names: readonly string[]) =>
    names.flatMap((name) => files.get(name)?.toString('utf8') ?? []).join('\n');
  const { name = '', description, tags, from, keyless } = sideOf(entry, files.get(sideFile));
  const key = keyFiles.flatMap((name) => files.get(name) ?? [])[0];
  const privateKey = key && new Secret(key);
  try {
    const [first] = certificateFiles.filter((name) => files.has(name));
    if (first === undefined) {
      const there = [...files.keys(), ...others.map(({ file }) => file)].join(', ');
      throw entryDamaged(entry, `it holds no certificate under a name that is known here; it holds ${there}`);
    }
    const intermediate = text([...chainFiles, 'cert.pem']);
    const pem: CertificatePem = {
      certificate: text([first]),
      ...(intermediate === '' ? {} : { intermediate }),
      ...(privateKey ? { privateKey } : {}),
    };
    const content = readEntry(entry, pem, keyless);
    return { entry, name: name || entry, description, tags, content, ...(from && { from }) };
  } finally {
    privateKey?.wipe();
  }
}

/** The content of an entry, its private key the right one. Throws `certificate_*`, with the entry's name. */
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
