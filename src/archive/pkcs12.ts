import { createHash, randomBytes, type X509Certificate } from 'node:crypto';
import { basename } from 'node:path';
import type { CertificateContent } from '../certificate/certificate.ts';
import { derTag } from '../certificate/der.ts';
import { readBlocks } from '../certificate/pem-blocks.ts';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { privateKeyObject } from '../private-key-object.ts';
import { readRegularFile } from '../regular-file.ts';
import type { Secret } from '../secret.ts';
import { type ArchiveItem, type ArchiveUnlock, type ArchiveWriter, damaged } from './archive.ts';
import { bmpString, element, integer, objectIdentifier, octetString, sequence, setOf } from './der-writing.ts';
import { folderNames } from './layout.ts';
import { folderWriter } from './pem-folder.ts';
import { encrypt, macData, type Salt } from './pkcs12-ciphers.ts';
import { entriesOf } from './pkcs12-entries.ts';
import type { Pkcs12Opener } from './pkcs12-thread.ts';

const oids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
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

/**
 * A folder with one `.p12` file for each certificate. PKCS#12 has no place for description and
 * tags.
 */
export function pkcs12Writer(path: string, options: Pkcs12Options): Promise<ArchiveWriter> {
  const nameFor = folderNames();
  return folderWriter(path, ({ name, content }) => [
    { path: `${nameFor(name)}.p12`, bytes: formatPkcs12(name, content, options), secret: true },
  ]);
}

/**
 * One certificate as a PKCS#12 file (RFC 7292): its chain and itself encrypted, its key encrypted,
 * all of it sealed.
 */
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
    const pkcs8 = privateKeyObject(pem).export({ type: 'pkcs8', format: 'der' });
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

/** Reads PKCS#12 files, one after the other, in a thread that starts with the first one. */
export interface Pkcs12Reader {
  /**
   * The certificates of one file, one for each private key in it, and what else it holds. Throws
   * `archive_*`, `certificate_key_missing` for a file without a key, what `regular-file.ts` throws,
   * and the signal's reason.
   */
  read(path: string): AsyncGenerator<ArchiveItem>;
  close(): Promise<void>;
}

export function pkcs12Reader({ passphrase, acceptNoMac = false }: ArchiveUnlock, signal?: AbortSignal): Pkcs12Reader {
  let opener: Pkcs12Opener | undefined;
  return {
    async *read(path) {
      const entry = basename(path);
      const bytes = await readRegularFile(path, { maxBytes: limits.pkcs12FileBytes, ...defined({ signal }) });
      opener ??= (await import('./pkcs12-thread.ts')).pkcs12Opener(signal);
      try {
        const bags = await opener.open(unarmoured(entry, bytes), { ...defined({ passphrase }), acceptNoMac });
        yield* entriesOf(entry, bags);
      } catch (thrown) {
        signal?.throwIfAborted();
        throw thrown instanceof CodedError ? about(entry, thrown) : thrown;
      }
    },
    async close() {
      await opener?.close();
    },
  };
}

/**
 * Whether a name is one that PKCS#12 files have. Java's keystores are PKCS#12 since Java 9,
 * whatever their name.
 */
export const isPkcs12Name = (path: string): boolean => /\.(p12|pfx|pkcs12)$/i.test(path);

/**
 * Whether the first bytes of a file, one a character, are those of PKCS#12 (the version 3 in a
 * sequence, BER or DER), or of its PEM.
 */
export function beginsAsPkcs12(beginning: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: bytes, one a character.
  const sequenceWithVersion3 = /^0(?:[\0-\x80]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x03/s;
  return beginning.startsWith(pemBeginning) || sequenceWithVersion3.test(beginning);
}

/** The same with the name of the file, unless it has one. */
function about(entry: string, error: CodedError): CodedError {
  const { code, message, fields, cause } = error;
  if (fields.entry !== undefined) return error;
  return new CodedError(code, `${entry}: ${message}`, { cause, fields: { ...fields, entry } });
}

const pemBeginning = '-----BEGIN PKCS12-----';

/** Base64 of a SEQUENCE, and nothing else. */
const bareBase64 = /^MI[A-Za-z0-9+/\s]+={0,2}\s*$/;

/**
 * The file without what some put around it: the armour of PEM (GnuTLS), base64 alone (Azure Key
 * Vault). In memory of its own.
 */
function unarmoured(entry: string, bytes: Buffer): Uint8Array<ArrayBuffer> {
  if (bytes.toString('latin1', 0, 2) === 'MI') {
    const text = bytes.toString('latin1');
    if (bareBase64.test(text)) return Uint8Array.from(Buffer.from(text, 'base64'));
  }
  if (!bytes.toString('latin1', 0, pemBeginning.length).startsWith(pemBeginning)) return Uint8Array.from(bytes);
  const [block] = readBlocks(bytes.toString('latin1'));
  if (block === undefined) throw damaged(entry, 'it is cut short');
  return Uint8Array.from(Buffer.from(block.base64, 'base64'));
}
