import { X509Certificate } from 'node:crypto';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import type { CertificateContent, CertificateFacts } from './certificate.ts';
import { contentOf, type DerElement, derTag, elementsIn } from './der.ts';
import { commonNameOf, distinguishedName, domainsOf, readName } from './names.ts';
import { alternativeNamesOf, type CertificateStructure, readingCertificate, structureOf } from './structure.ts';

/**
 * OpenSSL's long names of the algorithms that sign certificates. An algorithm that is not here goes
 * by its dotted identifier.
 */
const signatureNames: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.4': 'md5WithRSAEncryption',
  '1.2.840.113549.1.1.5': 'sha1WithRSAEncryption',
  '1.2.840.113549.1.1.10': 'rsassaPss',
  '1.2.840.113549.1.1.11': 'sha256WithRSAEncryption',
  '1.2.840.113549.1.1.12': 'sha384WithRSAEncryption',
  '1.2.840.113549.1.1.13': 'sha512WithRSAEncryption',
  '1.2.840.113549.1.1.14': 'sha224WithRSAEncryption',
  '1.2.840.10045.4.1': 'ecdsa-with-SHA1',
  '1.2.840.10045.4.3.1': 'ecdsa-with-SHA224',
  '1.2.840.10045.4.3.2': 'ecdsa-with-SHA256',
  '1.2.840.10045.4.3.3': 'ecdsa-with-SHA384',
  '1.2.840.10045.4.3.4': 'ecdsa-with-SHA512',
  '1.3.101.112': 'ED25519',
  '1.3.101.113': 'ED448',
};

const known = new WeakMap<X509Certificate, CertificateFacts>();

/**
 * What a certificate (of a content, its leaf) says of itself, read from its DER once. Throws
 * `certificate_malformed` where it cannot be understood, and `certificate_key_unsupported` where
 * its key is too large to verify with.
 */
export function factsOf(of: CertificateContent | X509Certificate): CertificateFacts {
  const certificate = of instanceof X509Certificate ? of : of.leaf;
  const facts = known.get(certificate) ?? readFacts(structureOf(certificate));
  known.set(certificate, facts);
  return facts;
}

function readFacts(structure: CertificateStructure): CertificateFacts {
  return readingCertificate(() => {
    const { signatureOid, publicKey } = structure;
    const [subject, issuer] = [readName(structure.subject), readName(structure.issuer)];
    const commonName = commonNameOf(subject);
    return {
      subject: distinguishedName(subject),
      ...defined({ commonName }),
      domains: eachOnce([...(commonName ? [commonName] : []), ...domainsOf(alternativeNamesOf(structure))]),
      issuer: commonNameOf(issuer) || distinguishedName(issuer),
      serial: serialText(structure.serial),
      ...readValidity(structure.validity),
      signatureAlgorithm: signatureNames[signatureOid] ?? signatureOid,
      keyAlgorithm: `${publicKey.algorithm}${publicKey.bits === undefined ? '' : ` ${publicKey.bits} bit`}`,
    };
  });
}

/**
 * Hex without leading zero bytes; with a minus sign, where it is negative, as OpenSSL writes it.
 * RFC 5280 wants neither that nor 0.
 */
function serialText(serial: DerElement | undefined): string {
  const content = contentOf(serial, derTag.integer);
  if (content.length === 0) throw new RangeError('DER: an integer without a byte');
  const value = BigInt.asIntN(content.length * 8, BigInt(`0x${Buffer.from(content).toString('hex')}`));
  if (value === 0n) return '0';
  const digits = (value < 0n ? -value : value).toString(16);
  return `${value < 0n ? '-' : ''}${digits.length % 2 === 1 ? '0' : ''}${digits}`;
}

/** When a certificate is valid, epoch milliseconds. */
type Validity = Pick<CertificateFacts, 'notBefore' | 'notAfter'>;

/** When a certificate is valid. Throws `certificate_malformed`. */
export function validityOf(certificate: X509Certificate): Validity {
  return known.get(certificate) ?? readingCertificate(() => readValidity(structureOf(certificate).validity));
}

function readValidity(validity: DerElement | undefined): Validity {
  const [notBefore, notAfter] = elementsIn(validity, derTag.sequence).map(readTime);
  if (notBefore === undefined || notAfter === undefined) throw new RangeError('DER: a date is missing');
  return { notBefore, notAfter };
}

const digits = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?Z$/;

/**
 * A Time of RFC 5280 section 4.1.2.5; the seconds may be missing, as old programs left them out.
 * Two digits of a year are those of 1950 to 2049. Throws `certificate_malformed` for what is no
 * date, and for years before 1000.
 */
function readTime({ tag, content }: DerElement): number {
  const text = Buffer.from(content).toString('latin1');
  const full = tag === derTag.utcTime ? `${text < '50' ? '20' : '19'}${text}` : text;
  const isTime = tag === derTag.utcTime || tag === derTag.generalizedTime;
  const [year = 0, ...rest] = ((isTime && digits.exec(full)) || []).slice(1).map(Number);
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = rest;
  const seconds = Number.isNaN(second) ? 0 : second;
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, seconds));
  // What is too large for its place would move the date on.
  const parts = [
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
  ];
  if (year < 1000 || [month, day, hour, minute, seconds].some((part, index) => part !== parts[index]))
    throw new CodedError('certificate_malformed', 'the validity of the certificate is not a date');
  return date.getTime();
}

/** Domain names are the same in upper and lower case; the first spelling stays. */
function eachOnce(domains: readonly string[]): readonly string[] {
  const seen = new Map<string, string>();
  for (const domain of domains) if (!seen.has(domain.toLowerCase())) seen.set(domain.toLowerCase(), domain);
  return [...seen.values()];
}
