import { X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { contentOf, type DerElement, derTag, elementsIn, oidIn, readElement, readWhole } from './der.ts';
import { type PublicKey, readPublicKey } from './public-key.ts';
import { recentlyRead } from './recently-read.ts';

/** A certificate as it stands in its DER (RFC 5280 section 4.1), as far as it is asked for here. */
export interface CertificateStructure {
  /** Dotted object identifier of the algorithm that signed it. */
  readonly signatureOid: string;
  /** INTEGER. */
  readonly serial: DerElement | undefined;
  /** Name, of RFC 5280 section 4.1.2.4. */
  readonly issuer: DerElement | undefined;
  /** SEQUENCE of two times. */
  readonly validity: DerElement | undefined;
  /** Name. */
  readonly subject: DerElement | undefined;
  readonly publicKey: PublicKey;
  /** [3] around all of them; absent without any. */
  readonly extensions: DerElement | undefined;
}

const structures = new WeakMap<X509Certificate, CertificateStructure>();

const recent = recentlyRead();

/**
 * A certificate from its DER; the same object for the same bytes, as long as it is remembered. Its
 * public key was read before the platform sees it. Throws `certificate_malformed`, and
 * `certificate_key_unsupported` for a key that is too large to verify with.
 */
export function readCertificate(der: Buffer): X509Certificate {
  const digest = recent.digestOf(der);
  const known = recent.get(digest);
  if (known !== undefined) return known;
  const structure = readStructure(der);
  try {
    const certificate = new X509Certificate(der);
    structures.set(certificate, structure);
    recent.set(digest, certificate, der.length);
    return certificate;
  } catch (cause) {
    throw new CodedError('certificate_malformed', 'a certificate cannot be read', { cause });
  }
}

/** The structure of a certificate, read once. Throws what `readCertificate` throws. */
export function structureOf(certificate: X509Certificate): CertificateStructure {
  const structure = structures.get(certificate) ?? readStructure(certificate.raw);
  structures.set(certificate, structure);
  return structure;
}

/** The public key of a certificate. Throws what `readCertificate` throws. */
export const publicKeyOf = (certificate: X509Certificate): PublicKey => structureOf(certificate).publicKey;

function readStructure(der: Uint8Array): CertificateStructure {
  return readingCertificate(() => {
    const [toBeSigned, signature] = elementsIn(readWhole(der), derTag.sequence);
    const fields = elementsIn(toBeSigned, derTag.sequence);
    // version [0] is left out of version 1; then serial, signature, issuer, validity, subject, key;
    // and optional [1] [2] [3].
    const [serial, , issuer, validity, subject, key, ...optional] =
      fields[0]?.tag === derTag.constructed(0) ? fields.slice(1) : fields;
    if (key === undefined) throw new RangeError('DER: the public key is missing');
    return {
      signatureOid: oidIn(elementsIn(signature, derTag.sequence)[0]),
      serial,
      issuer,
      validity,
      subject,
      publicKey: readPublicKey(key.whole),
      extensions: optional.find(({ tag }) => tag === derTag.constructed(3)),
    };
  });
}

const subjectAlternativeName = '2.5.29.17';
const keyUsage = '2.5.29.15';

/**
 * The names of the subject alternative name extension, one element of DER each. Empty without that
 * extension. Throws `certificate_malformed`.
 */
export function alternativeNamesOf(structure: CertificateStructure): readonly DerElement[] {
  return readingCertificate(() => {
    const names = extensionIn(structure, subjectAlternativeName);
    return names === undefined ? [] : elementsIn(names, derTag.sequence);
  });
}

/**
 * The bits of the key usage extension that are set (RFC 5280 section 4.2.1.3: 0 digitalSignature, 5
 * keyCertSign, ...); `undefined` if the extension is not there. Throws `certificate_malformed`.
 */
export function keyUsagesOf(structure: CertificateStructure): ReadonlySet<number> | undefined {
  return readingCertificate(() => {
    const usage = extensionIn(structure, keyUsage);
    if (usage === undefined) return undefined;
    // How many bits at the end are unused, then the bits, the first one highest.
    const [, ...bytes] = contentOf(usage, derTag.bitString);
    const bits = bytes.flatMap((byte, index) =>
      [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte & (0x80 >> bit)) !== 0).map((bit) => index * 8 + bit),
    );
    return new Set(bits);
  });
}

/**
 * Whether the key usage extension is there and says that the key signs certificates. Throws
 * `certificate_malformed`.
 */
export const saysItSignsCertificates = (structure: CertificateStructure): boolean =>
  keyUsagesOf(structure)?.has(5) === true;

/** The value of an extension; `undefined` if it is not there. */
function extensionIn({ extensions }: CertificateStructure, wanted: string): DerElement | undefined {
  if (extensions === undefined) return undefined;
  for (const extension of elementsIn(readElement(extensions.content), derTag.sequence)) {
    // extnID, then critical (left out if false), then extnValue.
    const [id, ...rest] = elementsIn(extension, derTag.sequence);
    if (oidIn(id) === wanted) return readElement(contentOf(rest.at(-1), derTag.octetString));
  }
  return undefined;
}

/**
 * Does a reading of a certificate's DER. Throws `certificate_malformed` where it throws something
 * else than a coded error.
 */
export function readingCertificate<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError('certificate_malformed', 'the DER of the certificate does not follow RFC 5280', { cause });
  }
}
