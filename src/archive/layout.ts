import * as z from 'zod/mini';
import type { CertificatePem } from '../certificate/certificate.ts';
import { keyProblem } from '../certificate/judgement.ts';
import { parseContent, toPem } from '../certificate/pem.ts';
import { CodedError } from '../errors.ts';
import { fileNames } from '../foreign-text.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';
import { type ArchivedCertificate, type ArchiveEntry, damaged } from './archive.ts';

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

/**
 * The certificates of an archive's files, which stand folder by folder. Throws `archive_damaged` for a path that leads out of the
 * archive, a file that belongs to no certificate, a folder in two pieces, a missing key, and too many or too large files.
 */
export async function* certificatesIn(
  archive: string,
  files: AsyncIterable<Pick<ArchiveFile, 'path' | 'bytes'>>,
): AsyncGenerator<ArchiveEntry> {
  const seen = new Set<string>();
  let folder: string | undefined;
  let collected = new Map<string, Buffer>();
  for await (const { path, bytes } of files) {
    const [of, file] = placeOf(archive, path);
    if (of !== folder) {
      if (folder !== undefined) yield toEntry(archive, folder, collected);
      if (seen.has(of)) throw damaged(archive, `${of} comes a second time`);
      if (seen.size >= limits.archiveCertificates)
        throw damaged(archive, `it holds more than ${limits.archiveCertificates} certificates`);
      seen.add(of);
      folder = of;
      collected = new Map();
    }
    if (collected.has(file)) throw damaged(archive, `${path} is there twice`);
    collected.set(file, bytes);
  }
  if (folder !== undefined) yield toEntry(archive, folder, collected);
}

/** Folder and file of a path; a path of one part stands in the folder `''`. Only plain names: no `..`, no root, no backslash. */
function placeOf(archive: string, path: string): readonly [string, string] {
  const parts = path.replace(/^\.\//, '').split('/');
  const plain = parts.every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\:\p{Cc}]/u.test(part));
  if (!plain || parts.length > 2)
    throw damaged(archive, `the path ${JSON.stringify(path)} is not <certificate>/<file>`);
  const file = parts.at(-1) ?? '';
  if (![...certificateFiles, ...chainFiles, ...keyFiles, ...ignored, sideFile].includes(file))
    throw damaged(archive, `${JSON.stringify(path)} is no file of a certificate`);
  return [parts.length === 2 ? (parts[0] ?? '') : '', file];
}

function toEntry(archive: string, folder: string, files: ReadonlyMap<string, Buffer>): ArchiveEntry {
  const entry = folder === '' ? archive : folder;
  const text = (names: readonly string[]) =>
    names.flatMap((name) => files.get(name)?.toString('utf8') ?? []).join('\n');
  const side = sideOf(archive, entry, files.get(sideFile));
  const key = keyFiles.flatMap((name) => files.get(name) ?? [])[0];
  const privateKey = key && new Secret(key);
  key?.fill(0);
  const intermediate = text([...chainFiles, 'cert.pem']);
  const [first] = certificateFiles.filter((name) => files.has(name));
  if (first === undefined) throw damaged(archive, `${entry} holds no certificate`);
  const pem: CertificatePem = {
    certificate: text([first]),
    ...(intermediate === '' ? {} : { intermediate }),
    ...(privateKey ? { privateKey } : {}),
  };
  try {
    const { name = '', description, tags, from, keyless } = side;
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
  archive: string,
  entry: string,
  bytes: Buffer | undefined,
): Partial<z.infer<typeof sideSchema>> & { description: string; tags: string[] } {
  if (bytes === undefined) return { description: '', tags: [] };
  let raw: unknown;
  try {
    raw = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw damaged(archive, `the ${sideFile} of ${entry} is not JSON`, cause);
  }
  const parsed = z.safeParse(sideSchema, raw);
  if (!parsed.success)
    throw damaged(archive, `the ${sideFile} of ${entry} is not of format 1, which this program reads`);
  return parsed.data;
}
