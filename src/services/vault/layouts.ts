import type { CertificateContent } from '../../certificate/certificate.ts';
import { factsOf } from '../../certificate/facts.ts';
import { parseContent, toPem } from '../../certificate/pem.ts';
import { formatBlock } from '../../certificate/pem-blocks.ts';
import { CodedError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import { isOurs } from './custom-metadata.ts';
import type { Layout } from './settings.ts';

// How people keep certificates in a secret: no convention exists. Names as acme.sh, fabio,
// external-secrets, Traefik Enterprise, and scripts around the PKI engine write them.

const certificateNames = [
  'certificate',
  'cert',
  'crt',
  'tls.crt',
  'fullchain',
  'fullchain.pem',
  'cert.pem',
  'bundle',
  'pem',
] as const;
const keyNames = ['private_key', 'privateKey', 'key', 'tls.key', 'privkey', 'privkey.pem', 'cert.key'] as const;
const chainNames = ['ca_chain', 'chain', 'chain.pem'] as const;
/** One authority; in `ca.crt` it is the one that clients trust, and no part of what is served. */
const issuerNames = ['issuing_ca', 'ca'] as const;
/** Fields that hold leaf and chain in one text, whatever stands beside them. */
const wholeNames: ReadonlySet<string> = new Set(['fullchain', 'fullchain.pem', 'tls.crt', 'bundle', 'pem']);
/** The one field of each of four secrets (acme.sh). */
export const valueField = 'value';

/** What a secret holds, by the names of its fields. */
export type SecretData = Readonly<Record<string, unknown>>;

/** Fields that the configuration names. */
export interface GivenFields {
  readonly certificate: string;
  readonly key?: string;
  readonly chain?: string;
}

interface Fields {
  readonly certificates: readonly string[];
  readonly keys: readonly string[];
  readonly chains: readonly string[];
  readonly issuers: readonly string[];
}

function fieldsAmong(names: ReadonlySet<string>, given: GivenFields | undefined): Fields {
  const there = (...some: readonly (string | undefined)[]) =>
    some.filter((name): name is string => name !== undefined && names.has(name));
  if (given !== undefined)
    return {
      certificates: there(given.certificate),
      keys: there(given.key),
      chains: there(given.chain),
      issuers: [],
    };
  return {
    certificates: there(...certificateNames),
    keys: there(...keyNames),
    chains: there(...chainNames),
    issuers: there(...issuerNames),
  };
}

/** Whether a secret with fields of these names may be a certificate. */
export function looksLikeCertificate(names: Iterable<string>, given?: GivenFields): boolean {
  return fieldsAmong(new Set(names), given).certificates.length > 0;
}

/**
 * The names of a folder of secrets that are one certificate together, as acme.sh writes them; none
 * if they are not.
 */
export function companionsAmong(names: readonly string[]): readonly string[] {
  const members = names.filter((name) => companionNames.has(name));
  const has = (...some: readonly string[]) => some.some((name) => members.includes(name));
  return has('cert.pem', 'fullchain.pem') && has('cert.key', 'privkey.pem') ? members : [];
}
/** Whether a secret of this name may be one of such a folder. */
export const isCompanion = (name: string): boolean => companionNames.has(name);
const companionNames: ReadonlySet<string> = new Set([
  'cert.pem',
  'fullchain.pem',
  'chain.pem',
  'cert.key',
  'privkey.pem',
]);

/**
 * The certificate in a secret. Which fields it stands in is found by their usual names, unless they
 * are given; a value may be PEM, PEM whose line ends are `\n` in two characters, base64 of PEM, or
 * a list of PEM. Throws `store_layout_unknown` where no field holds one, and what `parseContent`
 * throws, with the names of the fields and never their values.
 */
export function readContent(data: SecretData, given?: GivenFields): CertificateContent {
  const found = fieldsAmong(new Set(Object.keys(data)), given);
  const certificates = found.certificates.filter((name) => pemOf(data[name]) !== undefined);
  if (certificates.length === 0) throw noCertificate(data, found);
  const textOf = (names: readonly string[]) => names.map((name) => pemOf(data[name]) ?? '').filter(Boolean);
  const certificate = textOf(certificates).join('\n');
  const isAlone = (certificate.match(/-----BEGIN (?:X509 )?CERTIFICATE-----/g) ?? []).length === 1;
  const chain = textOf(found.chains.length > 0 || !isAlone ? found.chains : found.issuers.slice(0, 1));
  const unusable = found.keys.find((name) => pemOf(data[name]) === undefined && data[name] !== '');
  if (unusable !== undefined)
    throw new CodedError('certificate_malformed', `the field ${unusable} holds no private key in PEM`, {
      fields: { part: unusable, reason: 'no_pem' },
    });
  const key = textOf(found.keys).join('\n');
  const privateKey = new Secret(key);
  const names = {
    certificate: wordsFor(certificates),
    intermediate: wordsFor(found.chains.length > 0 ? found.chains : found.issuers),
    privateKey: wordsFor(found.keys),
  };
  try {
    return parseContent(
      {
        certificate,
        ...(chain.length > 0 && { intermediate: chain.join('\n') }),
        ...(key !== '' && { privateKey }),
      },
      names,
    );
  } catch (thrown) {
    throw withFields(thrown, names);
  } finally {
    privateKey.wipe();
  }
}

/** Where two values are no one certificate, the fields that they stand in are said. */
function withFields(thrown: unknown, names: { readonly certificate: string; readonly privateKey: string }): unknown {
  if (!(thrown instanceof CodedError)) return thrown;
  const { reason } = thrown.fields;
  const where = reason === 'several_leaves' ? names.certificate : reason === 'several_keys' ? names.privateKey : '';
  if (where === '') return thrown;
  const { code, message, fields, cause } = thrown;
  return new CodedError(code, `${message}, in ${where}`, { ...(cause !== undefined && { cause }), fields });
}

const wordsFor = (names: readonly string[]) =>
  names.length === 1 ? `the field ${names[0]}` : `the fields ${names.join(' and ')}`;

function noCertificate(data: SecretData, { certificates }: Fields): CodedError {
  const names = Object.keys(data).filter((name) => !isOurs(name));
  const found =
    certificates.length > 0
      ? `${wordsFor(certificates)} ${certificates.length === 1 ? 'holds' : 'hold'} no PEM`
      : `none of its fields has the name of a certificate's: ${names.slice(0, 10).join(', ') || 'there are none'}`;
  return new CodedError('store_layout_unknown', found, {
    fields: {
      fields: names.slice(0, 10),
      remedy:
        'Where it is a certificate, name its fields: certificateField, keyField and chainField of the store. Where it is none, put prefix on the folder of the certificates.',
    },
  });
}

/** The fields of a copy in one of the layouts that are written. */
export function writeContent(content: CertificateContent, layout: Layout): Record<string, unknown> {
  const { leaf, chain, whole, key } = partsOf(content);
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  switch (layout) {
    case 'pki':
      return { certificate: leaf, ...(key && { private_key: key }), ...(chain !== '' && { ca_chain: chain }) };
    case 'tls':
      return { 'tls.crt': whole, ...(key && { 'tls.key': key }) };
    case 'cert-key':
      return { cert: whole, ...(key && { key }) };
    case 'traefik-enterprise':
      return { cert: base64(whole), ...(key && { key: base64(key) }) };
  }
}

/**
 * The same fields as before with other content: readers of a copy that was taken over find what
 * they look for, in the form in which it was. Fields that are not a certificate's stay, what the
 * PKI engine says beside it follows. `undefined` where it has no fields of a certificate.
 */
export function rewriteContent(
  data: SecretData,
  content: CertificateContent,
  given?: GivenFields,
): Record<string, unknown> | undefined {
  const { certificates, keys, chains, issuers } = fieldsAmong(new Set(Object.keys(data)), given);
  if (certificates.length === 0) return undefined;
  const { leaf, chain, chainPems, whole, key = '' } = partsOf(content);
  const apart = chains.length > 0 || certificates.some((name) => wholeNames.has(name));
  const written: Record<string, unknown> = {};
  const put = (name: string, text: string) => {
    written[name] = inFormOf(data[name], text);
  };
  for (const name of certificates) {
    const before = pemOf(data[name]) ?? '';
    const text = (wholeNames.has(name) && chains.length === 0) || !apart ? whole : leaf;
    put(name, before.includes('PRIVATE KEY-----') ? `${text}${key}` : text);
  }
  for (const name of keys) put(name, key);
  for (const name of chains) written[name] = Array.isArray(data[name]) ? chainPems : inFormOf(data[name], chain);
  for (const name of issuers) put(name, chainPems[0] ?? '');
  const { serial, notAfter } = factsOf(content);
  if (typeof data.serial_number === 'string') written.serial_number = serial.match(/../g)?.join(':') ?? serial;
  if (typeof data.expiration === 'number') written.expiration = Math.floor(notAfter / 1000);
  const others = Object.entries(data).filter(([name]) => !(name in written));
  return { ...Object.fromEntries(others), ...written };
}

function partsOf(content: CertificateContent) {
  const { certificate: leaf, intermediate: chain = '', privateKey } = toPem(content);
  const chainPems = content.chain.map(({ raw }) => formatBlock('CERTIFICATE', raw));
  return { leaf, chain, chainPems, whole: leaf + chain, key: privateKey?.reveal() };
}

/** The PEM in a value; `undefined` where there is none. */
function pemOf(value: unknown): string | undefined {
  if (Array.isArray(value)) {
    const texts = value.map(pemOf);
    return texts.length > 0 && texts.every((text) => text !== undefined) ? texts.join('\n') : undefined;
  }
  if (typeof value !== 'string') return undefined;
  if (value.includes('-----BEGIN ')) return isEscaped(value) ? value.replace(/\\r\\n|\\n/g, '\n') : value;
  if (!isBase64(value)) return undefined;
  const decoded = Buffer.from(value, 'base64').toString('utf8');
  return decoded.includes('-----BEGIN ') ? decoded : undefined;
}

const isEscaped = (value: string) => value.includes('\\n') && !value.trim().includes('\n');
const isBase64 = (value: string) => /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(value);

/** A text in the form in which another value is. */
function inFormOf(before: unknown, text: string): string {
  if (typeof before !== 'string' || before === '') return text;
  if (before.includes('-----BEGIN ')) return isEscaped(before) ? text.replace(/\n/g, '\\n') : text;
  return isBase64(before) ? Buffer.from(text).toString('base64') : text;
}
