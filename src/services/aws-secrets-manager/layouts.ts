import type { CertificateContent, CertificatePem } from '../../certificate/certificate.ts';
import { parseContent, toPem } from '../../certificate/pem.ts';
import { asPkcs8 } from '../../certificate/private-key.ts';
import { Secret } from '../../secret.ts';
import type { SecretLayout } from './settings.ts';

/** The value of a secret, as the service gives it: the one or the other. */
export interface SecretValue {
  readonly text?: string;
  readonly binary?: Uint8Array;
}

type Members = Readonly<Record<string, unknown>>;

/** Names of members that hold one certificate, and of whom they are known. */
const layouts: readonly { readonly certificate: string; readonly chain?: string; readonly key: string }[] = [
  // Kubernetes, and what is pushed from there.
  { certificate: 'tls.crt', key: 'tls.key' },
  // A template of users of external-secrets.
  { certificate: 'fullchain', key: 'key' },
  { certificate: 'fullchain.pem', key: 'privkey.pem' },
  // AWS's own sample of rotation.
  { certificate: 'CERTIFICATE_PEM', chain: 'CERTIFICATE_CHAIN_PEM', key: 'PRIVATE_KEY_PEM' },
  { certificate: 'certificate', chain: 'certificate_chain', key: 'private_key' },
  // AWS's clients of Kafka.
  { certificate: 'certificate', chain: 'certificateChain', key: 'privateKey' },
  { certificate: 'cert', chain: 'chain', key: 'key' },
];

/** What a value turned out to be. */
export type ReadValue =
  | { readonly is: 'certificate'; readonly content: CertificateContent }
  /** `reason` follows the name of the secret. */
  | { readonly is: 'something-else'; readonly reason: string };

/**
 * The certificate in the value of a secret, in any of the usual layouts. Throws what `parseContent`
 * throws for what holds a certificate and cannot be understood.
 */
export function readValue({ text, binary }: SecretValue): ReadValue {
  const plain = text ?? (binary === undefined ? '' : Buffer.from(binary).toString('latin1'));
  const object = asObject(plain);
  const found = object === undefined ? inText(plain) : inMembers(object);
  if (found === undefined)
    return { is: 'something-else', reason: binary === undefined ? 'holds no certificate' : 'is binary, and no PEM' };
  if (!/-----BEGIN (?:X509 )?CERTIFICATE-----/.test(found.certificate + (found.intermediate ?? '')))
    return { is: 'something-else', reason: 'holds a private key, and no certificate' };
  try {
    return { is: 'certificate', content: parseContent(found) };
  } finally {
    found.privateKey?.wipe();
  }
}

function inText(text: string): CertificatePem | undefined {
  return isPem(text) ? { certificate: text } : undefined;
}

function inMembers(object: Members): CertificatePem | undefined {
  const members = { ...object, ...nested(object, 'data'), ...nested(object, 'stringData') };
  const pem = (name: string | undefined) => (name === undefined ? undefined : pemOf(members[name]));
  const found = layouts.flatMap(({ certificate, chain, key }) => {
    const [leaf, intermediate, privateKey] = [pem(certificate), pem(chain), pem(key)];
    return leaf === undefined ? [] : [{ leaf, intermediate, privateKey }];
  });
  // Several layouts share a name for the certificate: the one whose key is there is meant.
  const meant = found.find(({ privateKey }) => privateKey !== undefined) ?? found[0];
  if (meant === undefined) return undefined;
  const { leaf: certificate, intermediate, privateKey } = meant;
  return {
    certificate,
    ...(intermediate !== undefined && { intermediate }),
    ...(privateKey !== undefined && { privateKey: new Secret(privateKey) }),
  };
}

/** A Kubernetes secret as a whole keeps them one level below. */
function nested(object: Members, name: string): Members {
  const value = object[name];
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : {};
}

const isPem = (text: string) => text.includes('-----BEGIN ');

/** PEM, or the base64 of it, as Kubernetes writes it. */
function pemOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  if (isPem(value)) return value;
  const decoded = /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(value) ? Buffer.from(value, 'base64').toString('latin1') : '';
  return isPem(decoded) ? decoded : undefined;
}

function asObject(text: string): Members | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The value that a copy gets: members sorted and without white space, the key in PKCS#8, so that
 * equal content is equal text.
 */
export function writeValue(content: CertificateContent, layout: SecretLayout): string {
  const { certificate, intermediate = '' } = toPem(content);
  const pkcs8 = content.privateKey && asPkcs8(content.privateKey);
  const key = pkcs8?.reveal();
  pkcs8?.wipe();
  if (layout === 'pem') return `${certificate}${intermediate}${key ?? ''}`;
  if (layout === 'snake-case')
    return JSON.stringify({
      certificate,
      ...(intermediate !== '' && { certificate_chain: intermediate }),
      ...(key !== undefined && { private_key: key }),
    });
  return JSON.stringify({ 'tls.crt': certificate + intermediate, ...(key !== undefined && { 'tls.key': key }) });
}
