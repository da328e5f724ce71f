import type { X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { type DerElement, derTag, oidText, readElement, readElements } from './der.ts';

/** What Node does not tell of a certificate, as it stands in its DER. */
export interface CertificateStructure {
  /** Dotted object identifier of the algorithm that signed it. */
  readonly signatureOid: string;
  /** Dotted object identifier of the algorithm of its public key. */
  readonly keyOid: string;
  /** The names of its subject alternative name extension, one element of DER each. Empty without that extension. */
  readonly alternativeNames: readonly DerElement[];
}

const subjectAlternativeName = '2.5.29.17';

/** Reads a certificate's DER by RFC 5280 section 4.1. Throws `certificate_malformed`. */
export function structureOf(certificate: X509Certificate): CertificateStructure {
  try {
    const [toBeSigned, signature] = within(readElement(certificate.raw), derTag.sequence);
    const fields = within(toBeSigned, derTag.sequence);
    // version [0] is left out of version 1; then serial, signature, issuer, validity, subject, key; and optional [1] [2] [3].
    const keyAt = fields[0]?.tag === derTag.constructed(0) ? 6 : 5;
    const extensions = fields.slice(keyAt + 1).find(({ tag }) => tag === derTag.constructed(3));
    return {
      signatureOid: algorithmOid(signature),
      keyOid: algorithmOid(within(fields[keyAt], derTag.sequence)[0]),
      alternativeNames: extensions ? alternativeNamesOf(extensions) : [],
    };
  } catch (cause) {
    throw new CodedError('certificate_malformed', 'the DER of the certificate does not follow RFC 5280', { cause });
  }
}

function alternativeNamesOf(extensions: DerElement): readonly DerElement[] {
  for (const extension of within(readElement(extensions.content), derTag.sequence)) {
    // extnID, then critical (left out if false), then extnValue.
    const [id, ...rest] = within(extension, derTag.sequence);
    if (oidText(contentOf(id, derTag.oid)) !== subjectAlternativeName) continue;
    return within(readElement(contentOf(rest.at(-1), derTag.octetString)), derTag.sequence);
  }
  return [];
}

const algorithmOid = (algorithm: DerElement | undefined): string =>
  oidText(contentOf(within(algorithm, derTag.sequence)[0], derTag.oid));

const within = (element: DerElement | undefined, tag: number) => readElements(contentOf(element, tag));

function contentOf(element: DerElement | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag)
    throw new RangeError(`DER: tag ${tag} was expected, ${element?.tag ?? 'nothing'} was found`);
  return element.content;
}
