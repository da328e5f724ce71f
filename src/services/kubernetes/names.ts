import { randomUUID } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { type Mark, markDigest } from '../../store/mark.ts';
import type { ObjectMetadata } from './objects.ts';

export const isLabel = (text: string): boolean => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text);

/** What the name of a secret may be (RFC 1123, section 2.1). */
export const isSubdomain = (text: string): boolean =>
  text.length <= 253 && text.split('.').every((part) => /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(part));

/** The secrets of a namespace, or of all; one of them. */
export function pathOf(namespace: string | undefined, name?: string): string {
  const all = namespace === undefined ? '/api/v1/secrets' : `/api/v1/namespaces/${namespace}/secrets`;
  return name === undefined ? all : `${all}/${name}`;
}

export const idOf = ({ namespace, name }: ObjectMetadata): string => `${namespace}/${name}`;

export const revisionOf = ({ uid, resourceVersion }: ObjectMetadata): string => `${uid}:${resourceVersion}`;

/** The name of a copy whose readers look for it. Throws where no secret can have it. */
export function exactObjectName(store: string, name: string): string {
  if (isSubdomain(name)) return name;
  throw new CodedError('store_name_unfit', `no secret can have the name ${name}`, { fields: { store, name } });
}

/**
 * The name of a copy: of its mark alone, so that it is the same for every importer and under every
 * name. What is imported without a mark gets one that nothing else has.
 */
export function derivedName(name: string, mark: Mark | undefined): string {
  if (mark === undefined) return `${readable(name)}-${randomUUID().slice(0, 8)}`;
  const original = mark.store.startsWith('kubernetes:') ? mark.certificate.replace(/^[^/]*\//, '') : mark.certificate;
  return `${readable(original)}-${markDigest(mark).slice(0, 16)}`;
}

/** A name as a secret's may begin, for people who look there. */
function readable(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)
    .replace(/^-+|-+$/g, '');
  return plain === '' ? 'certificate' : plain;
}
