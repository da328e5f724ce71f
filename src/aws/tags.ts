import { defined } from '../defined.ts';
import { type FoundMark, isWhole, type Mark, markDigest, storeDigest } from '../store/mark.ts';
import type { DescriptiveMetadata } from '../store/store.ts';

/**
 * What we write on a copy in AWS, as tags. A key has at most 128 characters, a value 256: letters
 * and digits of any script, spaces and `_ . : / = + - @` (ACM, "Tag"; Secrets Manager the same).
 * Every other character, and `=`, stands as `=XX`, the hexadecimal of each of its UTF-8 bytes; what
 * is longer goes on in a tag of the same name with `.2`, `.3` behind it.
 *
 * A mark is `certstandby:mark`, its digests, which a service can be asked for, and beside it what
 * the digests are of: `certstandby:store`, `certstandby:certificate`, `certstandby:origins`.
 */
export type Tags = ReadonlyMap<string, string>;

const ours = 'certstandby:';
export const markTag = `${ours}mark`;
const nameTag = `${ours}name`;
const descriptionTag = `${ours}description`;
/** The keys of the tags that came with the original; those of others stay as they are. */
const carriedTag = `${ours}tags`;

const keyCharacters = 128;
const valueCharacters = 256;
/** Of the fifty tags of a resource so many are left for what came with the original. */
const mostCarried = 20;
/** Parts of one text: more of a mark is not kept, and its digests stand for it. */
const mostParts = 6;

const fits = /^[\p{L}\p{N} _.:/+@-]$/u;
const tagText = /^[\p{L}\p{N} _.:/=+@-]*$/u;

/** Text in the characters of a tag. Answers how much of it, in whole characters, takes `most`. */
function encodeWithin(text: string, most: number): { readonly kept: string; readonly encoded: string } {
  const encoded: string[] = [];
  let [length, end] = [0, 0];
  const characters = [...text.toWellFormed()];
  for (const [index, character] of characters.entries()) {
    const isBlankAtAnEnd = character === ' ' && (encoded.at(-1) ?? ' ') === ' ';
    const isLast = index === characters.length - 1;
    const isPlain =
      fits.test(character) && character.length === 1 && !(character === ' ' && (isBlankAtAnEnd || isLast));
    const written = isPlain ? character : [...Buffer.from(character)].map(escapeOf).join('');
    if (length + written.length > most) break;
    encoded.push(written);
    length += written.length;
    end = index + 1;
  }
  // A blank that a cut left at the end would not be kept.
  if (encoded.at(-1) === ' ') encoded[encoded.length - 1] = escapeOf(0x20);
  return { kept: characters.slice(0, end).join(''), encoded: encoded.join('') };
}

const escapeOf = (byte: number) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('%', '%25').replaceAll('=', '%'));
  } catch {
    return undefined;
  }
}

/** Characters in so many parts: of several each may be cut before a blank. */
const roomOf = (parts: number): number => (parts === 1 ? valueCharacters : parts * (valueCharacters - 2));

/** Text as tags of this name, of which there is room for so many parts. */
function partsOf(name: string, text: string, most: number): readonly (readonly [string, string])[] {
  let rest = encodeWithin(text, roomOf(most)).encoded;
  const parts: (readonly [string, string])[] = [];
  while (rest !== '') {
    let end = Math.min(valueCharacters, rest.length);
    // Neither part begins or ends with a blank.
    while (end < rest.length && (rest[end - 1] === ' ' || rest[end] === ' ')) end -= 1;
    parts.push([parts.length === 0 ? name : `${name}.${parts.length + 1}`, rest.slice(0, end)]);
    rest = rest.slice(end);
  }
  return parts;
}

function textIn(tags: Tags, name: string): string | undefined {
  let encoded = tags.get(name);
  if (encoded === undefined) return undefined;
  for (let part = 2; tags.has(`${name}.${part}`); part += 1) encoded += tags.get(`${name}.${part}`);
  return decode(encoded);
}

/** The text as far as so many parts of a tag hold it. */
export const textKept = (text: string, parts = 1): string => encodeWithin(text, roomOf(parts)).kept;

/** Text in the characters of a tag, for people who look there: what does not fit is a dash. */
export const readableTag = (text: string): string =>
  [...text]
    .map((character) => (fits.test(character) && character.length === 1 ? character : '-'))
    .join('')
    .trim()
    .slice(0, valueCharacters)
    .trim();

/** The value of `markTag`, for a service that finds what has it: it begins with the digest. */
export const markValue = (mark: FoundMark): string =>
  `${markDigest(mark)} ${isWhole(mark) ? storeDigest(mark.store) : mark.storeDigest}`;

export function markTags(mark: FoundMark): readonly (readonly [string, string])[] {
  const { origins = [] } = mark;
  const parts = isWhole(mark) ? wholeParts(mark) : [];
  return [[markTag, markValue(mark)], ...parts, ...partsOf(`${ours}origins`, origins.join(' '), mostParts)];
}

function wholeParts({ store, certificate }: Mark): readonly (readonly [string, string])[] {
  const isKept = [store, certificate].every((id) => textKept(id, mostParts) === id);
  if (!isKept) return [];
  return [...partsOf(`${ours}store`, store, mostParts), ...partsOf(`${ours}certificate`, certificate, mostParts)];
}

/** The mark in these tags: whole where its parts agree with its digests, else by these. */
export function markIn(tags: Tags): FoundMark | undefined {
  const [, digest, ofStore] = /^([0-9a-f]{32}) ([0-9a-f]{16})$/.exec(tags.get(markTag) ?? '') ?? [];
  if (digest === undefined || ofStore === undefined) return undefined;
  const origins = textIn(tags, `${ours}origins`)?.split(' ');
  const [store, certificate] = [textIn(tags, `${ours}store`), textIn(tags, `${ours}certificate`)];
  if (store === undefined || certificate === undefined || markDigest({ store, certificate }) !== digest)
    return { digest, storeDigest: ofStore, ...defined({ origins }) };
  return { store, certificate, ...defined({ origins }) };
}

/** What people called it, in tags: as far as it is there. */
export function namedIn(tags: Tags): string | undefined {
  return textIn(tags, nameTag);
}
/** A description in tags, where there is no other room for it. */
export const describedIn = (tags: Tags): string => textIn(tags, descriptionTag) ?? '';
export const descriptionTags = (description: string, parts: number) => partsOf(descriptionTag, description, parts);
export const nameTags = (name: string) => partsOf(nameTag, name, 1);

/** A tag that AWS itself writes: nobody else may. */
export const isOfAws = (key: string): boolean => /^aws:/i.test(key);

/** Tags as both services take them. */
export const tagList = (tags: readonly (readonly [string, string])[]) => tags.map(([Key, Value]) => ({ Key, Value }));

/** A tag as a text that travels: `key=value`, or the key alone where the value is empty. */
const carriedText = ([key, value]: readonly [string, string]) => (value === '' ? key : `${key}=${value}`);

function carriedPair(text: string): readonly [string, string] | undefined {
  const [, key = '', value = ''] = /^([^=]*)(?:=(.*))?$/s.exec(text) ?? [];
  const isOurs = key.startsWith(ours) || isOfAws(key);
  const isTag = key !== '' && tagText.test(key) && tagText.test(value) && key.trim() === key && value.trim() === value;
  return isTag && !isOurs && key.length <= keyCharacters && value.length <= valueCharacters ? [key, value] : undefined;
}

/** The tags of an original as a copy holds them, in order; what is no tag of AWS is left out. */
function carried(tags: DescriptiveMetadata['tags'], not: (key: string) => boolean): ReadonlyMap<string, string> {
  const all = tags.map(carriedPair).filter((pair) => pair !== undefined);
  const pairs = all.filter(([key]) => !not(key));
  const each = new Map([...new Map(pairs)].slice(0, mostCarried));
  return new Map([...each].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Those tags as texts, as they are read back. `not`: keys that mean something else here. */
export const tagsKept = (tags: DescriptiveMetadata['tags'], not: (key: string) => boolean = () => false) =>
  [...carried(tags, not)].map(carriedText);

/** What is written for the tags of an original, on a copy with the list of their keys. */
export function carriedTags(
  tags: DescriptiveMetadata['tags'],
  isCopy: boolean,
  not: (key: string) => boolean = () => false,
): readonly (readonly [string, string])[] {
  const pairs = [...carried(tags, not)];
  const keys = pairs.map(([key]) => encodeWithin(key, valueCharacters).encoded.replaceAll(' ', escapeOf(0x20)));
  return isCopy ? [...pairs, ...listParts(keys)] : pairs;
}

function listParts(keys: readonly string[]): readonly (readonly [string, string])[] {
  // Its own encoding: keys are encoded already, and no blank is inside one.
  const lines: string[] = [];
  for (const key of keys) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + key.length <= valueCharacters)
      lines[lines.length - 1] = `${last} ${key}`;
    else lines.push(key);
  }
  return lines.map((line, index) => [index === 0 ? carriedTag : `${carriedTag}.${index + 1}`, line] as const);
}

/**
 * The tags that came with the original, or, where nothing says which these are, all that people
 * wrote.
 */
export function carriedIn(tags: Tags, not: (key: string) => boolean = () => false): readonly string[] {
  const listed = [...tags].filter(([key]) => key === carriedTag || key.startsWith(`${carriedTag}.`));
  const isCopy = tags.has(markTag);
  const keys = new Set(listed.flatMap(([, keysOf]) => keysOf.split(' ').map((key) => decode(key) ?? key)));
  return [...tags]
    .filter(([key]) => (isCopy ? keys.has(key) : !key.startsWith(ours) && !isOfAws(key) && !not(key)))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(carriedText);
}

/** Keys that a description of ours has written and the next one does not. */
export function outdatedTags(before: Tags, wanted: Tags): readonly string[] {
  const carriedBefore = before.has(markTag) ? carriedIn(before).map((text) => text.split('=')[0] ?? '') : [];
  const written = [...before.keys()].filter((key) => key.startsWith(ours));
  return [...new Set([...written, ...carriedBefore])].filter((key) => !wanted.has(key));
}
