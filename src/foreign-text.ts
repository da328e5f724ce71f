/**
 * The ways out for foreign text: names, messages and paths that somebody else wrote. Each medium
 * has one way, and everything that this program shows or writes takes it: a terminal, a page, a
 * table for spreadsheets, a line of JSON, a file's name, a chat. Characters that nobody sees, or
 * that change how their neighbours are shown, come out visible, as `\u{202e}`: never as they are,
 * and never silently left out. test/gates/ways-out.test.ts finds code that goes past this.
 */

/**
 * What is not shown as itself: controls (ESC and its sequences, DEL, C1), format characters
 * (reading direction, zero width, tags), half surrogates, private and unassigned characters, line
 * and paragraph separators, and every other character that Unicode says is invisible. Of combining
 * marks the fifth in a row and those after it, which would be drawn over other lines. Made when
 * there is something to look for: to gather these characters takes milliseconds.
 */
const unseen = () => /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?<=\p{M}{4})\p{M}/gu;
/** What needs no second look. */
const plain = /^[ -~]*$/;

const codePointOf = (character: string): number => character.codePointAt(0) ?? 0;

/**
 * Foreign text on one line, with every character that is not shown as itself spelled out: `\u{1b}`,
 * `\u{202e}`.
 */
export function visible(text: string): string {
  if (plain.test(text)) return text;
  return text.replace(unseen(), (character) => `\\u{${codePointOf(character).toString(16)}}`);
}

/**
 * `visible`, and no longer than this (in UTF-16 units): what was cut off is told as an ellipsis.
 */
export function visibleWithin(text: string, most: number): string {
  // What is far too long is not looked at whole.
  const shown = visible(text.length > most ? text.slice(0, most + 1) : text);
  if (shown.length <= most) return shown;
  const kept = shown.slice(0, most - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}

/**
 * A value as JSON in which every character that is not shown as itself stands as `\uXXXX`: the same
 * value to every reader of JSON.
 */
export function jsonText(value: unknown, indent?: number): string {
  // Outside of its strings JSON has nothing but ASCII and, with an indent, line feeds.
  const text = JSON.stringify(value, undefined, indent);
  if (text === undefined || plain.test(text)) return text;
  return text.replace(unseen(), (character) =>
    character === '\n'
      ? character
      : [...Array(character.length).keys()]
          .map((unit) => `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`)
          .join(''),
  );
}

/** Markup of a page that `html` has made: nothing else gets into a page as it is. */
export class Html {
  readonly #markup: string;
  private constructor(markup: string) {
    this.#markup = markup;
  }
  /**
   * The tag of every piece of a page. Text in it comes out as text, whatever it holds; pieces and
   * lists of pieces stay what they are.
   */
  static tag(pieces: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
    const parts = values.map((value, index) => Html.#of(value) + (pieces[index + 1] ?? ''));
    return new Html((pieces[0] ?? '') + parts.join(''));
  }
  static #of(value: HtmlValue): string {
    if (value instanceof Html) return value.#markup;
    if (typeof value === 'object') return value.map((each) => each.#markup).join('');
    return visible(String(value)).replace(/[&<>"'`]/g, (character) => `&#${codePointOf(character)};`);
  }
  toString(): string {
    return this.#markup;
  }
}

type HtmlValue = string | number | Html | readonly Html[];

/** See `Html.tag`. */
export const html = Html.tag;

/**
 * What a spreadsheet takes for the beginning of a formula, also after blanks, and in full width.
 */
const formula = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/**
 * One line of a table as CSV (RFC 4180, but for the line end, which is a line feed): every cell in
 * quotes, so that it is one cell whatever the reader's separator is. A cell that a spreadsheet
 * would compute gets an apostrophe before it, which makes it text there.
 */
export function csvLine(cells: readonly string[]): string {
  const cell = (text: string) =>
    `"${(formula.test(text) ? `'${visible(text)}` : visible(text)).replaceAll('"', '""')}"`;
  return `${cells.map(cell).join(',')}\n`;
}

/**
 * Foreign text in a message of Slack, where `&`, `<` and `>` mean something (Slack, "Formatting
 * text").
 */
export function slackText(text: string): string {
  return visible(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/**
 * Names of devices on Windows, whatever stands after a dot. Superscript digits count as digits
 * there.
 */
const device = /^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9]|lpt[0-9])$/i;

/**
 * A file's or folder's name near to foreign text that Linux, macOS and Windows all take, and that
 * no shell or program takes for something else: letters, digits and `. _ - ` inside, at most 60
 * characters (240 bytes), no leading dash or dot, no trailing dot or blank, no device. Different
 * texts may get one name: see `fileNames`.
 */
export function fileName(text: string, otherwise: string): string {
  const near = text
    .normalize('NFC')
    .replaceAll('*', '_wildcard')
    .replace(/[^\p{L}\p{M}\p{N}._ -]+|(?<=\p{M}{4})\p{M}+/gu, '_')
    // A mark needs a letter before it, and a dash would make the name an option.
    .replace(/^[-. \p{M}]+/u, '');
  const short =
    [...near]
      .slice(0, 60)
      .join('')
      .replace(/[. ]+$/, '') || otherwise;
  const [stem = ''] = short.split('.');
  return device.test(stem.normalize('NFKC').trim()) ? `${stem.trimEnd()}_${short.slice(stem.length)}` : short;
}

/** What a file system that knows no case and no forms of Unicode holds two names for one by. */
const sameOnDisk = (name: string): string => name.normalize('NFKD').toUpperCase().toLowerCase().normalize('NFKD');

/**
 * Gives each text a `fileName` of its own among all that this has given, whatever the file system
 * takes for the same.
 */
export function fileNames(otherwise: string): (text: string) => string {
  const taken = new Set<string>();
  return (text) => {
    const base = fileName(text, otherwise);
    let free = base;
    for (let number = 2; taken.has(sameOnDisk(free)); number += 1) free = `${base}-${number}`;
    taken.add(sameOnDisk(free));
    return free;
  };
}
