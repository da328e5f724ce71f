/** What we leave on a copy to know it again: which certificate of which primary it is a copy of. */
export interface Mark {
  /** Id of the primary store. */
  readonly store: string;
  /** Id of the certificate there. */
  readonly certificate: string;
}

const pattern = /^certstandby:1 (\S+) (\S+)$/;

/** The mark as text: `certstandby:1 <primary store id> <certificate id there>`. */
export function formatMark(mark: Mark): string {
  return `certstandby:1 ${mark.store} ${mark.certificate}`;
}

/** The mark in a text that is nothing but a mark, else `undefined`. */
export function parseMark(text: string): Mark | undefined {
  const [, store, certificate] = pattern.exec(text) ?? [];
  return store !== undefined && certificate !== undefined ? { store, certificate } : undefined;
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
