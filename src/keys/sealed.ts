import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { CodedError } from '../errors.ts';

/**
 * Where a sealed value belongs; it opens nowhere else. `certificate` is empty for what belongs to
 * the tenant as such.
 */
export interface Place {
  readonly certificate: string;
  readonly field: string;
  readonly version: string;
}

/** The whole of what a sealed value is bound to. */
export interface Binding {
  /** The id of the data key: `<version>-<8 hex>`. */
  readonly dataKey: string;
  readonly tenant: string;
  readonly place: Place;
}

/** The format of a sealed value, as its header says it. */
const format = 'certstandby-sealed.1';
const formats = /^certstandby-sealed\.\d+$/;
const dataKeyIds = /^[1-9]\d{0,8}-[0-9a-f]{8}$/;
const cipher = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

/**
 * Seals content: JWE compact (RFC 7516) with `alg` dir and `enc` A256GCM (RFC 7518, 4.5 and 5.3).
 * The protected header, which GCM authenticates, says which data key, which tenant and which place.
 * The IV is random: a data key should be rotated before 2^32 values (NIST SP 800-38D, 8.3). Written
 * on `node:crypto`: a tenth of what a general JOSE library costs for a value this small.
 */
export function sealValue(key: Uint8Array, binding: Binding, content: Uint8Array): string {
  const header = headerOf(binding);
  const iv = randomBytes(ivBytes);
  const sealing = createCipheriv(cipher, key, iv, { authTagLength: tagBytes });
  sealing.setAAD(Buffer.from(header, 'latin1'));
  // In this mode `final` adds nothing.
  const ciphertext = sealing.update(content);
  sealing.final();
  return `${header}..${base64url(iv)}.${base64url(ciphertext)}.${base64url(sealing.getAuthTag())}`;
}

/**
 * Opens what `sealValue` made for this very binding, with this very key: bytes of their own, for
 * the caller to wipe. Whatever else throws `sealed_unreadable`; each value has one spelling, and
 * any other is refused too.
 */
export function openValue(key: Uint8Array, binding: Binding, sealed: string): Uint8Array {
  const [header = '', encryptedKey, iv = '', ciphertext = '', tag = '', ...more] = sealed.split('.');
  if (encryptedKey !== '' || more.length > 0)
    throw unreadable('it is not of five parts, the second one empty', binding);
  // Nothing in the header is a choice, so the one that must stand there is made anew and compared
  // whole.
  if (header !== headerOf(binding)) throw unreadable('it says that it belongs elsewhere', binding);
  const opening = createDecipheriv(cipher, key, decoded(iv, binding, ivBytes), { authTagLength: tagBytes });
  opening.setAAD(Buffer.from(header, 'latin1'));
  opening.setAuthTag(decoded(tag, binding, tagBytes));
  const content = opening.update(decoded(ciphertext, binding));
  try {
    opening.final();
  } catch {
    content.fill(0);
    throw unreadable('it was changed, or sealed with another key', binding);
  }
  return content;
}

/**
 * Which data key a sealed value says it needs. Throws `sealed_unreadable` when it is no sealed
 * value of a format known here.
 */
export function dataKeyOf(sealed: string): string {
  const header = parsed(sealed.slice(0, Math.max(0, sealed.indexOf('.'))));
  const { typ, kid } = header ?? {};
  if (typeof typ === 'string' && typ !== format && formats.test(typ))
    throw unreadable(`it has the format ${typ}, and this version knows ${format}`);
  if (typ !== format || typeof kid !== 'string' || !dataKeyIds.test(kid)) throw unreadable('it is no sealed value');
  return kid;
}

function headerOf({ dataKey, tenant, place: { certificate, field, version } }: Binding): string {
  const place = { tenant, certificate, field, version };
  return base64url(Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM', typ: format, kid: dataKey, place })));
}

function parsed(header: string): { readonly typ?: unknown; readonly kid?: unknown } | undefined {
  try {
    return JSON.parse(Buffer.from(header, 'base64url').toString()) ?? undefined;
  } catch {
    return undefined;
  }
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}

/**
 * Node's decoder skips what it does not understand, so the text must also be what its encoder makes
 * of the bytes.
 */
function decoded(text: string, binding: Binding, length?: number): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  if (base64url(bytes) !== text) throw unreadable('a part of it is not base64url', binding);
  if (length !== undefined && bytes.length !== length) throw unreadable('a part of it has the wrong length', binding);
  return bytes;
}

function unreadable(found: string, binding?: Binding): CodedError {
  const { certificate, field, version } = binding?.place ?? {};
  const fields = { tenant: binding?.tenant, dataKey: binding?.dataKey, certificate, field, version };
  return new CodedError('sealed_unreadable', `a sealed value does not open: ${found}`, { fields });
}
