/** What we leave on a copy to know it again: which certificate of which primary it is a copy of. */
export interface Mark {
  /** Id of the primary store. */
  readonly store: string;
  /** Id of the certificate there. */
  readonly certificate: string;
}

const plainPattern = /^certstandby:1 (\S+) (\S+)$/;
const encodedPattern = /^certstandby:2 (\S+) (\S+)$/;
/** What a mark holds as it is: everything in ASCII that prints, white space apart. */
const plain = /^[!-~]+$/;

/**
 * The mark as text: `certstandby:1 <primary store id> <certificate id there>` where both ids are printable ASCII without white
 * space, as in every version. Any other id (a space, an umlaut, a line end) is written as `certstandby:2`, in which each byte of
 * its UTF-8 outside of `!` to `~`, and `%` itself, is `%` and two upper-case hexadecimal digits. Ids are well-formed Unicode.
 */
export function formatMark({ store, certificate }: Mark): string {
  return plain.test(store) && plain.test(certificate)
    ? `certstandby:1 ${store} ${certificate}`
    : `certstandby:2 ${encode(store)} ${encode(certificate)}`;
}

/**
 * The mark in a text that is nothing but a mark, else `undefined`. Ids of `certstandby:1` are never decoded, whatever they hold.
 * Of `certstandby:2` only the one spelling that `formatMark` writes is a mark.
 */
export function parseMark(text: string): Mark | undefined {
  const [, store, certificate] = plainPattern.exec(text) ?? [];
  if (store !== undefined && certificate !== undefined) return { store, certificate };
  const [, ...ids] = encodedPattern.exec(text) ?? [];
  const [first, second] = ids.map(decode);
  if (first === undefined || second === undefined) return undefined;
  const mark = { store: first, certificate: second };
  return formatMark(mark) === text ? mark : undefined;
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

/** Whether two marks name the same certificate. */
export function sameMark(a: Mark | undefined, b: Mark | undefined): boolean {
  return a !== undefined && b !== undefined && a.store === b.store && a.certificate === b.certificate;
}

/**
 * For services without tags: the description with the mark as its last line, the text before it cut so that all of it fits
 * `maximum` characters. A mark that does not fit alone is written all the same. Text that would read as a mark is taken off the
 * end first, so that what is read back carries this mark or none.
 */
export function writeMarkedDescription(description: string, mark: Mark | undefined, maximum: number): string {
  if (mark === undefined) return unmarked(description, maximum);
  const line = formatMark(mark);
  const kept = unmarked(description, Math.max(0, maximum - line.length - 1));
  return kept === '' ? line : `${kept}\n${line}`;
}

/** The description without its mark, and the mark if its last line is one. */
export function readMarkedDescription(text: string): { readonly description: string; readonly mark?: Mark } {
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

/** Cut to `maximum`, its last line no mark: several may stand there, and a cut can make one of a line that was none. */
function unmarked(description: string, maximum: number): string {
  let text = cutText(description, maximum);
  for (let read = readMarkedDescription(text); read.mark !== undefined; read = readMarkedDescription(text))
    text = read.description;
  return text;
}
