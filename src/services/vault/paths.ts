import { createHash } from 'node:crypto';
import { CodedError } from '../../errors.ts';
import { fileName } from '../../foreign-text.ts';
import type { Runtime } from '../../runtime.ts';
import { type Mark, markDigest } from '../../store/mark.ts';
import type { Live, Place, PlaceRead } from './key-value.ts';
import { type SecretData, valueField } from './layouts.ts';

/** Whether an id is that of a folder whose secrets are one certificate together. */
export const isFolder = (id: string): boolean => id.endsWith('/');

/**
 * Whether a text can be an id: the path of a secret or of a folder, of segments that a URL keeps as
 * they are.
 */
export function isId(id: string): boolean {
  const segments = id.replace(/\/$/, '').split('/');
  // Half a surrogate pair has no UTF-8.
  return segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..' && segment.isWellFormed());
}

/** What a certificate is called that nobody has given a name. */
export function nameOfId(id: string): string {
  return id.replace(/\/$/, '').split('/').at(-1) ?? id;
}

/** The path of a copy whose readers look for its name. Throws `store_name_unfit`. */
export function exactId(name: string, store: string): string {
  if (isId(name) && !isFolder(name) && Buffer.byteLength(name) <= mostBytes) return name;
  throw new CodedError('store_name_unfit', `no secret can have the path ${name}`, { fields: { store, name } });
}
const mostBytes = 512;

/**
 * The path of a copy: of its mark alone, so that it is the same for every importer and under every
 * name. What is imported without a mark gets one that nothing else has.
 */
export function derivedId(name: string, mark: Mark | undefined, { newId }: Pick<Runtime, 'newId'>): string {
  if (mark === undefined) return `${readable(name)}-${newId().slice(0, 8)}`;
  return `${readable(mark.certificate)}-${markDigest(mark).slice(0, 16)}`;
}

/** A name as a path may have it, for people who look there. */
function readable(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return fileName(plain.slice(0, 60), 'certificate');
}

/** Secrets that are one certificate together as one; `undefined` where none of them is there. */
export function joined(members: ReadonlyMap<string, PlaceRead | Place>): PlaceRead | Place | undefined {
  const live = [...members].filter(
    (member): member is [string, Live & { readonly data?: SecretData }] => member[1].state === 'live',
  );
  const [first] = live;
  if (first === undefined) return undefined;
  const revisions = live.map(([name, { revision = '' }]) => `${name} ${revision}`).toSorted();
  const changedAt = Math.max(...live.map(([, place]) => place.changedAt ?? 0));
  const hasData = live.every(([, { data }]) => data !== undefined);
  const data = Object.fromEntries(
    live.map(([name, place]) => [name, place.data?.[valueField] ?? Object.values(place.data ?? {})[0]]),
  );
  return {
    state: 'live',
    number: 0,
    entries: {},
    revision: createHash('sha256').update(JSON.stringify(revisions)).digest('hex').slice(0, 32),
    ...(changedAt > 0 && { changedAt }),
    ...(hasData && { data }),
  };
}
