import { createHash, createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { CertificateContent } from '../certificate/certificate.ts';
import { type DerElement, derTag, oidText, readElement, readElements } from '../certificate/der.ts';
import { formatBlock } from '../certificate/pem-blocks.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { Secret } from '../secret.ts';
import { type ArchiveEntry, type ArchiveUnlock, type ArchiveWriter, damaged, fileProblem } from './archive.ts';
import { bmpString, element, integer, objectIdentifier, octetString, sequence, setOf } from './der-writing.ts';
import { folderNames, readEntry } from './layout.ts';
import { folderWriter } from './pem-folder.ts';
import { decrypt, encrypt, macData, macHolds, type Salt } from './pkcs12-ciphers.ts';

const oids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
} as const;

interface Pkcs12Options {
  readonly passphrase: Secret;
  /** Triple DES and SHA-1, for programs that know nothing newer. */
  readonly legacy?: boolean;
  readonly salt?: Salt;
}

/** A folder with one `.p12` file for each certificate. PKCS#12 has no place for description and tags. */
export function pkcs12Writer(path: string, options: Pkcs12Options): Promise<ArchiveWriter> {
  const nameFor = folderNames();
  return folderWriter(path, ({ name, content }) => [
    { path: `${nameFor(name)}.p12`, bytes: formatPkcs12(name, content, options), secret: true },
  ]);
}

/** One certificate as a PKCS#12 file (RFC 7292): its chain and itself encrypted, its key encrypted, all of it sealed. */
function formatPkcs12(
  name: string,
  { leaf, chain, privateKey }: CertificateContent,
  { passphrase, legacy = false, salt = randomBytes }: Pkcs12Options,
): Buffer {
  const secret = passphrase.reveal();
  const keyId = createHash('sha1').update(leaf.raw).digest();
  const own = setOf(
    sequence(objectIdentifier(oids.friendlyName), setOf(bmpString(name))),
    sequence(objectIdentifier(oids.localKeyId), setOf(octetString(keyId))),
  );
  const bag = (oid: string, value: Uint8Array, ...attributes: readonly Uint8Array[]) =>
    sequence(objectIdentifier(oid), element(derTag.constructed(0), value), ...attributes);
  const certificateBag = ({ raw }: X509Certificate, ...attributes: readonly Uint8Array[]) =>
    bag(
      oids.certificateBag,
      sequence(objectIdentifier(oids.x509Certificate), element(derTag.constructed(0), octetString(raw))),
      ...attributes,
    );
  // Only a certificate with a key carries its id: without one it would look for it.
  const named =
    privateKey === undefined ? setOf(sequence(objectIdentifier(oids.friendlyName), setOf(bmpString(name)))) : own;
  const certificates = sequence(
    certificateBag(leaf, named),
    ...chain.map((certificate) => certificateBag(certificate)),
  );
  const parts = [encryptedPart(certificates, secret, salt, legacy)];
  if (privateKey !== undefined) {
    const pem = privateKey.pem.revealBytes();
    const pkcs8 = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
    const { algorithm, encrypted } = encrypt(pkcs8, secret, salt, legacy);
    pem.fill(0);
    pkcs8.fill(0);
    parts.push(dataPart(sequence(bag(oids.shroudedKeyBag, sequence(algorithm, octetString(encrypted)), own))));
  }
  const safe = sequence(...parts);
  return sequence(integer(3), dataPart(safe), macData(safe, secret, salt, legacy));
}

function dataPart(content: Uint8Array): Buffer {
  return sequence(objectIdentifier(oids.data), element(derTag.constructed(0), octetString(content)));
}

function encryptedPart(content: Uint8Array, passphrase: string, salt: Salt, legacy: boolean): Buffer {
  const { algorithm, encrypted } = encrypt(content, passphrase, salt, legacy);
  const inner = sequence(objectIdentifier(oids.data), algorithm, element(derTag.primitive(0), encrypted));
  return sequence(objectIdentifier(oids.encryptedData), element(derTag.constructed(0), sequence(integer(0), inner)));
}

/** The certificates of a `.p12` file, or of a folder of them. Throws `archive_*` and `certificate_*`. */
export async function* readPkcs12(path: string, { passphrase }: ArchiveUnlock): AsyncGenerator<ArchiveEntry> {
  if (passphrase === undefined) {
    throw new CodedError('archive_passphrase_wrong', `${path} is opened by a passphrase, and none was given`);
  }
  const folder = (await stat(path)).isDirectory();
  const files = folder ? (await readdir(path)).sort().map((name) => join(path, name)) : [path];
  for (const file of files) {
    if (!isPkcs12Name(file)) throw damaged(path, `${basename(file)} is no .p12 file`);
    const { size } = await stat(file);
    if (size > limits.archiveFileBytes)
      throw damaged(path, `${basename(file)} has ${size} bytes, which no .p12 file has`);
    const bytes = await readFile(file).catch((thrown) => Promise.reject(fileProblem('reading', file, thrown)));
    yield parsePkcs12(basename(file), bytes, passphrase);
  }
}

export const isPkcs12Name = (path: string): boolean => /\.(p12|pfx)$/i.test(path);

/** One certificate out of a PKCS#12 file. `entry` is its name in messages, and the certificate's if it says none. */
function parsePkcs12(entry: string, bytes: Uint8Array, passphrase: Secret): ArchiveEntry {
  const secret = passphrase.reveal();
  try {
    const { certificates, keys, name } = bagsOf(entry, bytes, secret);
    if (keys.length > 1) {
      throw new CodedError(
        'archive_unsupported',
        `${entry} holds ${keys.length} private keys; one certificate per file is read here`,
      );
    }
    const privateKey = keys[0];
    try {
      const pem = { certificate: certificates.join(''), ...(privateKey && { privateKey }) };
      const content = readEntry(entry, pem);
      return { entry, name: name || entry.replace(/\.(p12|pfx)$/i, ''), description: '', tags: [], content };
    } finally {
      privateKey?.wipe();
    }
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    throw damaged(entry, 'it is no PKCS#12 file in DER, cut short, or changed', thrown);
  }
}

function bagsOf(entry: string, bytes: Uint8Array, passphrase: string) {
  const file = readElement(bytes);
  if (file.end !== bytes.length) throw new RangeError('DER: bytes after the end');
  const [, authenticated, mac] = readElements(file.content);
  const safe = dataOf(required(authenticated));
  if (mac === undefined) {
    throw new CodedError('archive_unsupported', `${entry} is not sealed: whether it was changed cannot be known`);
  }
  if (!macHolds(mac, safe, passphrase)) {
    throw new CodedError('archive_passphrase_wrong', `the passphrase does not open ${entry}, or it was changed`, {
      fields: { entry },
    });
  }
  const certificates: string[] = [];
  const keys: Secret[] = [];
  let name: string | undefined;
  for (const part of readElements(readElement(safe).content)) {
    for (const bag of readElements(readElement(contentsOf(part, passphrase)).content)) {
      const [oid, value, attributes] = readElements(bag.content);
      const kind = oidText(required(oid).content);
      const inner = readElement(required(value).content);
      if (kind === oids.certificateBag) {
        const [, wrapped] = readElements(inner.content);
        const der = readElement(required(wrapped).content).content;
        certificates.push(formatBlock('CERTIFICATE', new X509Certificate(der).raw));
        name ??= friendlyName(attributes);
      } else if (kind === oids.shroudedKeyBag) {
        const [algorithm, encrypted] = readElements(inner.content);
        const der = decrypt(required(algorithm), required(encrypted).content, passphrase);
        keys.push(new Secret(formatBlock('PRIVATE KEY', der)));
        der.fill(0);
      } else if (kind === oids.keyBag) {
        keys.push(new Secret(formatBlock('PRIVATE KEY', required(value).content)));
      }
    }
  }
  return { certificates, keys, name };
}

/** SafeContents of one part, decrypted if it is encrypted. */
function contentsOf(part: DerElement, passphrase: string): Uint8Array {
  const [oid, wrapped] = readElements(part.content);
  const kind = oidText(required(oid).content);
  if (kind === oids.data) return dataOf(part);
  if (kind !== oids.encryptedData)
    throw new CodedError('archive_unsupported', `a PKCS#12 file with contents ${kind} is not read here`);
  const [, inner] = readElements(readElement(required(wrapped).content).content);
  const [, algorithm, encrypted] = readElements(required(inner).content);
  return decrypt(required(algorithm), required(encrypted).content, passphrase);
}

/** What a ContentInfo of kind data holds. */
function dataOf(info: DerElement): Uint8Array {
  const [, wrapped] = readElements(info.content);
  return readElement(required(wrapped).content).content;
}

function friendlyName(attributes: DerElement | undefined): string | undefined {
  for (const attribute of readElements(attributes?.content ?? new Uint8Array())) {
    const [oid, values] = readElements(attribute.content);
    if (oid === undefined || oidText(oid.content) !== oids.friendlyName) continue;
    const text = readElement(required(values).content).content;
    return Buffer.from(text.length % 2 === 0 ? text : text.subarray(1))
      .swap16()
      .toString('utf16le');
  }
  return undefined;
}

function required(element: DerElement | undefined): DerElement {
  if (element === undefined) throw new RangeError('DER: an element is missing');
  return element;
}
