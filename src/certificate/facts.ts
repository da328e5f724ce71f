import { type KeyObject, X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import type { CertificateContent, CertificateFacts } from './certificate.ts';
import { commonNameOf, distinguishedName, domainsOf } from './names.ts';
import { structureOf } from './structure.ts';

/**
 * OpenSSL's long names of the algorithms that sign certificates. An algorithm that is not here goes by its
 * dotted identifier.
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

/** The same for public keys. */
const keyNames: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.1': 'rsaEncryption',
  '1.2.840.113549.1.1.10': 'rsassaPss',
  '1.2.840.10040.4.1': 'dsaEncryption',
  '1.2.840.10045.2.1': 'id-ecPublicKey',
  '1.3.101.112': 'ED25519',
  '1.3.101.113': 'ED448',
};

const keyBitsByName: Readonly<Record<string, number>> = {
  prime256v1: 256,
  secp256k1: 256,
  secp384r1: 384,
  secp521r1: 521,
  ed25519: 256,
  ed448: 456,
};

/**
 * What a certificate (of a content, its leaf) says of itself. Throws `certificate_malformed` where it cannot be
 * understood.
 */
export function factsOf(of: CertificateContent | X509Certificate): CertificateFacts {
  const certificate = of instanceof X509Certificate ? of : of.leaf;
  const { signatureOid, keyOid, alternativeNames } = structureOf(certificate);
  const commonName = commonNameOf(certificate, 'subject');
  return {
    subject: distinguishedName(certificate.subject),
    ...(commonName === undefined ? {} : { commonName }),
    domains: eachOnce([...(commonName ? [commonName] : []), ...domainsOf(alternativeNames)]),
    issuer: commonNameOf(certificate, 'issuer') || distinguishedName(certificate.issuer),
    serial: certificate.serialNumber.toLowerCase(),
    notBefore: timeOf(certificate.validFrom),
    notAfter: timeOf(certificate.validTo),
    signatureAlgorithm: signatureNames[signatureOid] ?? signatureOid,
    keyAlgorithm: `${keyNames[keyOid] ?? keyOid}${keyBitsText(certificate)}`,
  };
}

const validity = /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT$/;

/**
 * The moment that OpenSSL writes as `Jan  1 00:00:00 2030 GMT`, in epoch milliseconds. It writes `Bad time value` for what is no
 * date, and years before 1000 short, which `Date.parse` would take for this century. Throws `certificate_malformed`.
 */
export function timeOf(text: string): number {
  const time = validity.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new CodedError('certificate_malformed', 'the validity of the certificate is not a date');
  return time;
}

/** ` 2048 bit`, or nothing for keys that the platform cannot read. */
function keyBitsText(certificate: X509Certificate): string {
  let key: KeyObject;
  try {
    key = certificate.publicKey;
  } catch {
    return '';
  }
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  const bits = modulusLength ?? keyBitsByName[namedCurve ?? key.asymmetricKeyType ?? ''];
  return bits === undefined ? '' : ` ${bits} bit`;
}

/** Domain names are the same in upper and lower case; the first spelling stays. */
function eachOnce(domains: readonly string[]): readonly string[] {
  const seen = new Map<string, string>();
  for (const domain of domains) if (!seen.has(domain.toLowerCase())) seen.set(domain.toLowerCase(), domain);
  return [...seen.values()];
}
