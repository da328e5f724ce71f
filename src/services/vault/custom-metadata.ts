import { cutText, type FoundMark, formatMarkWithin, type Mark, parseMark } from '../../store/mark.ts';
import type { DescriptiveMetadata } from '../../store/store.ts';

// What stands beside the content of a secret and is ours: entries of its custom metadata, and in
// version 1 of the engine, which has none, fields of the secret itself. Values there have 1 to 512
// bytes, and none but characters that print.

/** Entries or fields, by their names. */
export type Entries = Readonly<Record<string, string>>;

const markName = 'certstandby';
const nameName = 'certstandby-name';
const descriptionName = 'certstandby-description';
/** Its layout is ours to choose: it was made by us, and not taken over. */
const layoutName = 'certstandby-layout';

const valueBytes = 512;
/** A mark that is longer than these hold is kept by its digests. */
const markParts = 4;
const descriptionParts = 4;
/** A copy always has a name: a value cannot be empty. */
const nameless = 'unnamed';

/** Whether an entry or a field is one of ours. */
export const isOurs = (name: string): boolean => name === markName || name.startsWith(`${markName}-`);

/** Those of ours among them. */
export function ourEntries(entries: Entries): Entries {
  return Object.fromEntries(Object.entries(entries).filter(([name]) => isOurs(name)));
}

/** What a copy with this name, description and mark carries. */
export function entriesOf(
  { name, description }: DescriptiveMetadata,
  mark: Mark | undefined,
  { isMade }: { readonly isMade: boolean },
): Entries {
  const marked = mark === undefined ? '' : formatMarkWithin(mark, valueBytes * markParts);
  return {
    ...parted(chunks(marked, valueBytes, (text) => text).slice(0, markParts), (part) =>
      part === 1 ? markName : `${markName}-${part}`,
    ),
    ...parted(escaped(named(name), 1), () => nameName),
    ...parted(escaped(description, descriptionParts), (part) => `${descriptionName}-${part}`),
    ...(isMade && { [layoutName]: 'as configured' }),
  };
}

/** The mark, name and description among entries; `name` is absent where nobody has written one. */
export function readEntries(entries: Entries): {
  readonly mark?: FoundMark;
  readonly name?: string;
  readonly description: string;
  readonly isMade: boolean;
} {
  const all = (first: string, of: (part: number) => string, parts: number) =>
    [first, ...Array.from({ length: parts - 1 }, (_, index) => of(index + 2))]
      .map((name) => entries[name])
      .filter((value) => value !== undefined)
      .join('');
  const mark = parseMark(all(markName, (part) => `${markName}-${part}`, markParts));
  const name = unescaped(entries[nameName] ?? '');
  const description = unescaped(all(`${descriptionName}-1`, (part) => `${descriptionName}-${part}`, descriptionParts));
  return {
    ...(mark && { mark }),
    ...(name !== undefined && name !== '' && { name }),
    description: description ?? '',
    isMade: entries[layoutName] !== undefined,
  };
}

/** Name and description as they come back. */
export function asKept({ name, description }: DescriptiveMetadata): DescriptiveMetadata {
  const back = (text: string, parts: number) => unescaped(escaped(text, parts).join('')) ?? '';
  return { name: back(named(name), 1), description: back(description, descriptionParts), tags: [] };
}

const named = (name: string) => (name === '' ? nameless : name);

function parted(values: readonly string[], nameOf: (part: number) => string): Entries {
  return Object.fromEntries(values.map((value, index) => [nameOf(index + 1), value]));
}

/** A text as the inside of a JSON string, in so many values, cut at whole characters. */
function escaped(text: string, parts: number): readonly string[] {
  // No character takes less than a byte.
  return chunks(cutText(text, valueBytes * parts), valueBytes, escapedCharacter).slice(0, parts);
}

function unescaped(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(`"${text}"`);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Letters and digits of the first plane; every other character is spelled out, as servers differ.
 */
const plainCharacter = /^(?:[ !#-[\]-~]|[\p{L}\p{N}])$/u;

function escapedCharacter(character: string): string {
  if (character.length === 1 && plainCharacter.test(character)) return character;
  if (character === '\\' || character === '"') return `\\${character}`;
  if (character === '\n') return '\\n';
  return [...Array(character.length).keys()]
    .map((unit) => `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`)
    .join('');
}

/** Pieces of so many bytes at the most, each of whole characters as they are written. */
function chunks(text: string, bytes: number, written: (character: string) => string): readonly string[] {
  const pieces: string[] = [];
  let piece = '';
  let length = 0;
  for (const character of text) {
    const next = written(character);
    const more = Buffer.byteLength(next);
    if (length + more > bytes) {
      pieces.push(piece);
      piece = '';
      length = 0;
    }
    piece += next;
    length += more;
  }
  return piece === '' ? pieces : [...pieces, piece];
}
