import { createHash } from 'node:crypto';
import { defined } from '../defined.ts';

/** What we leave on a copy to know it again: which certificate of which primary it is a copy of. */
export interface Mark {
  /** Id of the primary store. */
  readonly store: string;
  /** Id of the certificate there. */
  readonly certificate: string;
  /**
   * Where the original is a copy itself: the stores that it came through, first the one that it was
   * copied from into `store`, as `storeDigest` has them. Absent where it is none. Says nothing
   * about which certificate is meant.
   */
  readonly origins?: readonly string[];
  /**
   * It was read as a text that an older version wrote: the next description of the copy writes it
   * as it is written now.
   */
  readonly outdated?: true;
}

/** A mark of which a store with little room kept no more than digests. */
export interface MarkDigest {
  /** `markDigest` of the mark. */
  readonly digest: string;
  /** `storeDigest` of its store. */
  readonly storeDigest: string;
  readonly origins?: readonly string[];
}

/** A mark as a store gives it back. */
export type FoundMark = Mark | MarkDigest;

const markDigestDigits = 32;
const storeDigestDigits = 16;
/** Through more stores than this no certificate is copied on. */
export const mostOrigins = 16;

const originWords = `((?: [0-9a-f]{${storeDigestDigits}}){0,${mostOrigins}})`;
const plainPattern = /^certstandby:1 (\S+) (\S+)$/;
const encodedPattern = new RegExp(`^certstandby:2 (\\S+) (\\S+)${originWords}$`);
const digestPattern = new RegExp(
  `^certstandby:3 ([0-9a-f]{${markDigestDigits}}) ([0-9a-f]{${storeDigestDigits}})${originWords}$`,
);
/** What a mark holds as it is: everything in ASCII that prints, white space apart. */
const plain = /^[!-~]+$/;

/**
 * A mark as text.
 *
 * `certstandby:1 <primary store id> <certificate id there>` where both ids are printable ASCII
 * without white space, as in every version.
 *
 * `certstandby:2 <store> <certificate> <origin>...` for any other id (a space, an umlaut, a line
 * end) and where there are origins. Each byte of the UTF-8 of an id outside of `!` to `~`, and `%`
 * itself, is `%` and two upper-case hexadecimal digits; origins are digests of store ids. Ids are
 * well-formed Unicode.
 *
 * `certstandby:3 <digest> <digest of the store id> <origin>...` where a store has room for no more:
 * 63 characters without origins.
 */
export function formatMark(mark: FoundMark): string {
  const origins = (mark.origins ?? []).map((origin) => ` ${origin}`).join('');
  if (!isWhole(mark)) return `certstandby:3 ${mark.digest} ${mark.storeDigest}${origins}`;
  const { store, certificate } = mark;
  return origins === '' && plain.test(store) && plain.test(certificate)
    ? `certstandby:1 ${store} ${certificate}`
    : `certstandby:2 ${encode(store)} ${encode(certificate)}${origins}`;
}

/**
 * The mark as text of at most so many characters: by digests where the whole one is longer, even if
 * these do not fit either.
 */
export function formatMarkWithin(mark: FoundMark, characters: number): string {
  const whole = formatMark(mark);
  return whole.length <= characters ? whole : formatMark(digested(mark));
}

/**
 * The mark in a text that is nothing but a mark, else `undefined`. Ids of `certstandby:1` are never
 * decoded, whatever they hold. Of the others only the one spelling that `formatMark` writes is a
 * mark.
 */
export function parseMark(text: string): FoundMark | undefined {
  const [, store, certificate] = plainPattern.exec(text) ?? [];
  if (store !== undefined && certificate !== undefined) {
    const isAsNow = plain.test(store) && plain.test(certificate);
    return { store, certificate, ...(!isAsNow && { outdated: true }) };
  }
  const [, digest, owner, through = ''] = digestPattern.exec(text) ?? [];
  if (digest !== undefined && owner !== undefined) return { digest, storeDigest: owner, ...originsIn(through) };
  const [, first, second, beyond = ''] = encodedPattern.exec(text) ?? [];
  const ids = [first, second].map((id) => (id === undefined ? undefined : decode(id)));
  if (ids[0] === undefined || ids[1] === undefined) return undefined;
  const mark = { store: ids[0], certificate: ids[1], ...originsIn(beyond) };
  return formatMark(mark) === text ? mark : undefined;
}

function originsIn(words: string): Pick<Mark, 'origins'> {
  return words === '' ? {} : { origins: words.slice(1).split(' ') };
}

function encode(id: string): string {
  const bytes = [...Buffer.from(id, 'utf8')];
  return bytes
    .map((byte) => (byte > 0x20 && byte < 0x7f && byte !== 0x25 ? String.fromCharCode(byte) : hexOf(byte)))
    .join('');
}

const hexOf = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Whether all of a mark is known, and not its digests alone. */
export function isWhole(mark: FoundMark): mark is Mark {
  return 'certificate' in mark;
}

/** The mark, if all of it is known. */
export function wholeMark(mark: FoundMark | undefined): Mark | undefined {
  return mark !== undefined && isWhole(mark) ? mark : undefined;
}

/**
 * The digest of a mark, 32 hex digits: of the store and the certificate that it names, each with
 * its length before it, so that no two marks have one text. The same however the mark is written,
 * and whatever its origins.
 */
export function markDigest(mark: FoundMark): string {
  if (!isWhole(mark)) return mark.digest;
  return digestOf([mark.store, mark.certificate]).slice(0, markDigestDigits);
}

/** The digest of the id of a store, 16 hex digits. */
export function storeDigest(store: string): string {
  return digestOf([store]).slice(0, storeDigestDigits);
}

function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(text));
    hash.update(length).update(text);
  }
  return hash.digest('hex');
}

function digested(mark: FoundMark): MarkDigest {
  if (!isWhole(mark)) return mark;
  const { store, origins } = mark;
  return { digest: markDigest(mark), storeDigest: storeDigest(store), ...defined({ origins }) };
}

/** Whether two marks name the same certificate, as far as both are known. */
export function sameMark(a: FoundMark | undefined, b: FoundMark | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  if (isWhole(a) && isWhole(b)) return a.store === b.store && a.certificate === b.certificate;
  return markDigest(a) === markDigest(b);
}

/** Whether a mark names a certificate of this store. */
export function isOfStore(mark: FoundMark, store: string): boolean {
  return isWhole(mark) ? mark.store === store : mark.storeDigest === storeDigest(store);
}

/**
 * Whether what carries this mark came from this store or through it: a copy of it there would be a
 * copy of itself.
 */
export function cameThrough(mark: FoundMark, store: string): boolean {
  return isOfStore(mark, store) || mark.origins?.includes(storeDigest(store)) === true;
}

/**
 * The mark of a copy, with its origins if the original carries a mark itself. Of more origins than
 * `mostOrigins` only so many are kept: nothing is copied on then.
 */
export function markOfCopy({ store, certificate }: Mark, original: FoundMark | undefined): Mark {
  if (original === undefined) return { store, certificate };
  const from = isWhole(original) ? storeDigest(original.store) : original.storeDigest;
  const origins = [from, ...(original.origins ?? [])].slice(0, mostOrigins);
  return { store, certificate, origins };
}

/** Whether two marks say the same of where the original came from. */
export function sameOrigins(a: FoundMark | undefined, b: FoundMark | undefined): boolean {
  return (a?.origins ?? []).join() === (b?.origins ?? []).join();
}

/**
 * For services without tags: the description with the mark as its last line, the text before it cut
 * so that all of it fits `maximum` characters. A mark for which that is not room enough is written
 * by its digests, and these all the same if they do not fit. Text that would read as a mark is
 * taken off the end first, so that what is read back carries this mark or none.
 */
export function writeMarkedDescription(description: string, mark: FoundMark | undefined, maximum: number): string {
  if (mark === undefined) return unmarked(description, maximum);
  const line = formatMarkWithin(mark, maximum);
  const kept = unmarked(description, Math.max(0, maximum - line.length - 1));
  return kept === '' ? line : `${kept}\n${line}`;
}

/** The description without its mark, and the mark if its last line is one. */
export function readMarkedDescription(text: string): { readonly description: string; readonly mark?: FoundMark } {
  const lineStart = text.lastIndexOf('\n') + 1;
  const mark = parseMark(text.slice(lineStart).trimEnd());
  return mark === undefined ? { description: text } : { description: text.slice(0, Math.max(0, lineStart - 1)), mark };
}

/** At most so many UTF-16 units, never half a surrogate pair. */
export function cutText(text: string, maximum: number): string {
  if (text.length <= maximum) return text;
  const end = maximum > 0 && /[\uD800-\uDBFF]/.test(text.charAt(maximum - 1)) ? maximum - 1 : maximum;
  return text.slice(0, end);
}

/**
 * Cut to `maximum`, its last line no mark: several may stand there, and a cut can make one of a
 * line that was none.
 */
function unmarked(description: string, maximum: number): string {
  let text = cutText(description, maximum);
  for (let read = readMarkedDescription(text); read.mark !== undefined; read = readMarkedDescription(text))
    text = read.description;
  return text;
}
