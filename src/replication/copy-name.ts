import { createHash } from 'node:crypto';
import { type FoundMark, isWhole, type Mark, markDigest } from '../store/mark.ts';
import type { DescriptiveMetadata, Store } from '../store/store.ts';
import type { Naming } from './link.ts';

/**
 * The name and description for a copy. Where names are unique, sixteen hex digits of the mark keep
 * copies apart, however short a name must be: of the store and the certificate there, so that two
 * primaries with one `web/shop-tls` do not meet. Where readers look for the name (`exact`) it is
 * the original's.
 */
export function descriptive(
  metadata: DescriptiveMetadata,
  mark: Mark,
  store: Store,
  naming: Naming = 'derived',
): DescriptiveMetadata {
  const { name, description, tags } = metadata;
  const plain = { name, description, tags };
  if (naming === 'exact' || !store.abilities.uniqueNames) return plain;
  return withSuffix(plain, suffixOf(mark), mark, store);
}

/**
 * The same as versions before named it, by the certificate alone; `undefined` where that is no
 * other name. Such a copy is renamed when it is next written.
 */
export function descriptiveBefore(
  metadata: DescriptiveMetadata,
  mark: Mark,
  store: Store,
  naming: Naming = 'derived',
): DescriptiveMetadata | undefined {
  const { name, description, tags } = metadata;
  if (naming === 'exact' || !store.abilities.uniqueNames) return undefined;
  return withSuffix({ name, description, tags }, formerSuffixOf(mark), mark, store);
}

/**
 * For a copy that takes the place of another one while that still has the name: a later look gives
 * the name over.
 */
export function descriptiveReplacement(
  given: DescriptiveMetadata,
  replacement: string,
  mark: Mark,
  store: Store,
): DescriptiveMetadata {
  if (!store.abilities.uniqueNames) return given;
  return withSuffix(given, `-${sha256(replacement).slice(0, 8)}`, mark, store);
}

/**
 * The name of the original, as far as a copy's name tells: without what `descriptive`, or a version
 * before, put behind it.
 */
export function givenName(name: string, mark: FoundMark | undefined, store: Store): string {
  if (mark === undefined || !store.abilities.uniqueNames) return name;
  const suffixes = [suffixOf(mark), ...(isWhole(mark) ? [formerSuffixOf(mark)] : [])];
  const suffix = suffixes.find((one) => name.endsWith(one)) ?? '';
  return name.slice(0, name.length - suffix.length);
}

/** The name cut so that the suffix stays whole in what the store keeps of it. */
function withSuffix(metadata: DescriptiveMetadata, suffix: string, mark: Mark, store: Store): DescriptiveMetadata {
  const { name } = metadata;
  const kept = store.asKept({ ...metadata, name: `${name}${suffix}` }, mark).name;
  const charactersLeft = kept.endsWith(suffix) ? name.length : Math.max(0, kept.length - suffix.length);
  return { ...metadata, name: `${name.slice(0, charactersLeft)}${suffix}` };
}

const suffixOf = (mark: FoundMark): string => `-${markDigest(mark).slice(0, 16)}`;
const formerSuffixOf = (mark: Mark): string => `-${sha256(mark.certificate).slice(0, 8)}`;
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
