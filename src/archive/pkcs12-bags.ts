import { type DerElement, derTag, oidText, readElement, readElements } from '../certificate/der.ts';
import { CodedError, type ErrorCode, type ErrorFields } from '../errors.ts';
import { limits } from '../limits.ts';
import { derOfBer, implicitOctets } from './pkcs12-ber.ts';
import { type PassphraseForm, passphraseForms } from './pkcs12-ciphers.ts';
import { decrypt, macHolds } from './pkcs12-unsealing.ts';

/** A certificate of a PKCS#12 file, not yet looked at. */
export interface CertificateBag {
  readonly der: Uint8Array;
  readonly name?: string;
  /** `localKeyId` in hexadecimal: the key bag with the same one belongs to it. */
  readonly keyId?: string;
  /**
   * Java's word for a certificate that stands alone, as an alias of its own: it belongs to no key.
   */
  readonly trusted: boolean;
}

/**
 * A private key of a PKCS#12 file as PKCS#8 (DER), not yet looked at. The bytes are their taker's,
 * to be overwritten.
 */
export interface KeyBag {
  readonly der: Uint8Array;
  /** Why it could not be opened: then there are no bytes. */
  readonly problem?: { readonly code: ErrorCode; readonly message: string; readonly fields: ErrorFields };
  /**
   * Its friendly name, unless that is the name of a key container of Windows, which nobody gave it.
   */
  readonly name?: string;
  readonly keyId?: string;
}

export interface Pkcs12Bags {
  readonly certificates: readonly CertificateBag[];
  readonly keys: readonly KeyBag[];
  /** What else the file holds, in words: `a revocation list`. */
  readonly passedOver: readonly string[];
}

export interface OpenOptions {
  /** UTF-8; `undefined` where none was given, which is not the same as an empty one. */
  readonly passphrase: string | undefined;
  /** Whether a file without a MAC is read: nobody can know whether it was changed. */
  readonly acceptNoMac: boolean;
}

const oids = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  envelopedData: '1.2.840.113549.1.7.3',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  safeContentsBag: '1.2.840.113549.1.12.10.1.6',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  windowsProvider: '1.3.6.1.4.1.311.17.1',
  javaTrusted: '2.16.840.1.113894.746875.1.1',
} as const;

/** Bags that hold neither certificates nor keys of certificates. */
const otherBags: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.12.10.1.4': 'a revocation list',
  '1.2.840.113549.1.12.10.1.5': 'a secret',
};

/**
 * Opens one PKCS#12 file (RFC 7292) in BER or DER: checks its seal, then decrypts and takes apart
 * what it holds. It is told the file's messages apart by code, without the file's name:
 *
 * - `archive_damaged`: it is no PKCS#12 file, or cut short;
 * - `archive_passphrase_missing`, `archive_passphrase_wrong`;
 * - `archive_not_sealed`: it has no MAC, and that was not accepted;
 * - `archive_costly`: more rounds or bags than `limits` allow;
 * - `archive_unsupported`: it is whole, and holds what is not known here.
 */
export function openBags(bytes: Uint8Array, { passphrase, acceptNoMac }: OpenOptions): Pkcs12Bags {
  const { safe, mac } = readable(
    () => outermost(bytes),
    'archive_damaged',
    'it is no PKCS#12 file, or it is cut short',
  );
  if (mac === undefined && !acceptNoMac) {
    throw new CodedError('archive_not_sealed', 'it has no MAC, so that nobody can know whether it was changed');
  }
  if (mac !== undefined && passphrase === undefined) throw passphraseMissing();
  const form = readable(
    () => mac && macHolds(mac, safe, passphrase ?? ''),
    'archive_damaged',
    'its seal (the MAC) cannot be read',
  );
  if (mac !== undefined && form === undefined) throw passphraseWrong(passphrase);
  const contents = new Contents(form === undefined ? passphrase : form);
  return readable(
    () => contents.read(safe),
    form === undefined ? 'archive_damaged' : 'archive_unsupported',
    form === undefined
      ? 'its contents cannot be read, and without a MAC nobody can know whether they were changed'
      : 'its seal holds, so that it was not changed, and its contents are not as RFC 7292 says',
  );
}

/** The sealed content of the file, and its MacData if there is one. */
function outermost(bytes: Uint8Array) {
  const [version, authenticated, mac] = readElements(readElement(derOfBer(bytes)).content);
  if (version?.tag !== derTag.integer) throw new RangeError('DER: no version');
  const [oid, wrapped] = readElements(required(authenticated).content);
  const kind = oidText(required(oid).content);
  if (kind === oids.signedData)
    throw new CodedError('archive_unsupported', 'it is signed with a key, not sealed by a passphrase');
  if (kind !== oids.data) throw new RangeError(`DER: contents of kind ${kind}`);
  return { safe: readElement(required(wrapped).content).content, mac };
}

/** What a sealed content holds, as far as it has been read. */
class Contents {
  readonly #certificates: CertificateBag[] = [];
  readonly #keys: KeyBag[] = [];
  readonly #passedOver: string[] = [];
  readonly #secret: PassphraseForm | string | undefined;
  #bags = 0;

  /**
   * `secret` is the form of the passphrase that the seal holds under, or the passphrase where there
   * is no seal.
   */
  constructor(secret: PassphraseForm | string | undefined) {
    this.#secret = secret;
  }

  /** Reads an AuthenticatedSafe (RFC 7292 section 4.1). */
  read(safe: Uint8Array): Pkcs12Bags {
    try {
      for (const part of readElements(readElement(derOfBer(safe)).content)) this.#readPart(part);
    } catch (thrown) {
      for (const { der } of this.#keys) der.fill(0);
      throw thrown;
    }
    return { certificates: this.#certificates, keys: this.#keys, passedOver: this.#passedOver };
  }

  #readPart(part: DerElement): void {
    const [oid, wrapped] = readElements(part.content);
    const kind = oidText(required(oid).content);
    const inner = readElement(required(wrapped).content);
    if (kind === oids.data) this.#readBags(derOfBer(inner.content), 0);
    else if (kind === oids.encryptedData) {
      const [, info] = readElements(inner.content);
      const [, algorithm, encrypted] = readElements(required(info).content);
      this.#readBags(derOfBer(this.#decrypt(required(algorithm), implicitOctets(required(encrypted)))), 0);
    } else {
      const what =
        kind === oids.envelopedData ? 'for a key and not by a passphrase' : `in a way not known here (${kind})`;
      this.#passedOver.push(`a part that is encrypted ${what}`);
    }
  }

  /** Reads SafeContents (RFC 7292 section 4.2), and those in it. */
  #readBags(contents: Uint8Array, depth: number): void {
    if (depth > limits.pkcs12Depth) throw new RangeError('DER: bags in bags in bags');
    for (const bag of readElements(readElement(contents).content)) {
      this.#bags += 1;
      if (this.#bags > limits.pkcs12Bags) {
        throw new CodedError('archive_costly', `it holds more than ${limits.pkcs12Bags} keys and certificates`, {
          fields: { limit: limits.pkcs12Bags },
        });
      }
      const [oid, value, attributes] = readElements(bag.content);
      this.#readBag(oidText(required(oid).content), required(value).content, attributesOf(attributes), depth);
    }
  }

  #readBag(kind: string, value: Uint8Array, attributes: BagAttributes, depth: number): void {
    const { name, keyId, ofWindows, trusted } = attributes;
    const known = { ...(name && { name }), ...(keyId && { keyId }) };
    if (kind === oids.safeContentsBag) this.#readBags(value, depth + 1);
    else if (kind === oids.certificateBag) {
      const [oid, wrapped] = readElements(readElement(value).content);
      if (oidText(required(oid).content) === oids.x509Certificate)
        this.#certificates.push({ der: readElement(required(wrapped).content).content, ...known, trusted });
      else this.#passedOver.push('a certificate that is none of X.509');
    } else if (kind === oids.shroudedKeyBag || kind === oids.keyBag) {
      const own = { ...(name && !ofWindows && { name }), ...(keyId && { keyId }) };
      this.#keys.push({ ...own, ...(kind === oids.keyBag ? { der: Buffer.from(value) } : this.#unshrouded(value)) });
    } else
      this.#passedOver.push(`${otherBags[kind] ?? `a bag of kind ${kind}`}${name === undefined ? '' : ` (${name})`}`);
  }

  /**
   * The PKCS#8 in an EncryptedPrivateKeyInfo. A key whose encryption is not known here keeps no
   * other key from being read.
   */
  #unshrouded(value: Uint8Array): Pick<KeyBag, 'der' | 'problem'> {
    const [algorithm, encrypted] = readElements(readElement(value).content);
    let plain: Uint8Array = new Uint8Array();
    try {
      plain = this.#decrypt(required(algorithm), required(encrypted).content);
      return { der: derOfBer(plain) };
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'archive_unsupported') throw thrown;
      const { code, message, fields } = thrown;
      return { der: new Uint8Array(), problem: { code, message, fields } };
    } finally {
      plain.fill(0);
    }
  }

  #decrypt(algorithm: DerElement, encrypted: Uint8Array): Buffer {
    const secret = this.#secret;
    if (secret === undefined) throw passphraseMissing();
    if (typeof secret === 'string') {
      // Without a seal the first form that opens something is the right one.
      for (const form of passphraseForms(secret)) {
        const plain = opened(() => decrypt(algorithm, encrypted, form));
        if (plain !== undefined) return plain;
      }
      throw passphraseWrong(secret);
    }
    const plain = opened(() => decrypt(algorithm, encrypted, secret));
    if (plain !== undefined) return plain;
    throw new CodedError(
      'archive_passphrase_wrong',
      'its seal holds under this passphrase, and what it holds is encrypted under another one',
    );
  }
}

/**
 * What was decrypted, if it is ASN.1 as it should be; `undefined` where the padding is wrong, or
 * what came out is none.
 */
function opened(decrypting: () => Buffer): Buffer | undefined {
  let plain: Buffer;
  try {
    plain = decrypting();
  } catch (thrown) {
    if (thrown instanceof CodedError || thrown instanceof RangeError) throw thrown;
    return undefined;
  }
  // Other bytes pass for right padding once in 256 times; both kinds of content begin with a
  // sequence.
  if (plain[0] === derTag.sequence) return plain;
  plain.fill(0);
  return undefined;
}

interface BagAttributes {
  readonly name?: string;
  readonly keyId?: string;
  readonly ofWindows: boolean;
  readonly trusted: boolean;
}

function attributesOf(set: DerElement | undefined): BagAttributes {
  const values = new Map(
    readElements(set?.content ?? new Uint8Array()).map((attribute) => {
      const [oid, found] = readElements(attribute.content);
      return [oidText(required(oid).content), readElements(required(found).content)[0]] as const;
    }),
  );
  const name = textOf(values.get(oids.friendlyName));
  const keyId = values.get(oids.localKeyId);
  return {
    ...(name && { name }),
    ...(keyId && { keyId: Buffer.from(keyId.content).toString('hex') }),
    ofWindows: values.has(oids.windowsProvider),
    trusted: values.has(oids.javaTrusted),
  };
}

/** A friendly name: a BMPString by the book, and a UTF8String by some. */
function textOf(element: DerElement | undefined): string {
  if (element === undefined) return '';
  const bytes = Buffer.from(element.content);
  const text = element.tag === 0x1e ? bytes.swap16().toString('utf16le') : bytes.toString('utf8');
  // Some end it with a zero, as C does. White space alone names nothing; around a name it is of the
  // name.
  const ended = text.endsWith('\0') ? text.slice(0, -1) : text;
  return ended.trim() === '' ? '' : ended;
}

function passphraseMissing(): CodedError {
  return new CodedError('archive_passphrase_missing', 'it is opened by a passphrase, and none was given');
}

function passphraseWrong(passphrase: string | undefined): CodedError {
  const which = passphrase === '' ? 'the empty passphrase' : 'the passphrase';
  return new CodedError('archive_passphrase_wrong', `${which} does not open it, or it was changed`);
}

/** What `read` gives; what it throws without a code gets this one. */
function readable<T>(read: () => T, code: 'archive_damaged' | 'archive_unsupported', what: string): T {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    throw new CodedError(code, what, { cause: thrown });
  }
}

function required(element: DerElement | undefined): DerElement {
  if (element === undefined) throw new RangeError('DER: an element is missing');
  return element;
}
