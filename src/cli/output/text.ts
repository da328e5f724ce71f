import { clean } from '../../words.ts';

export { clean, count, duration, thousands } from '../../words.ts';

/** Text for terminals: widths as a terminal shows them, tables; and the words that stand in it. */

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
/**
 * What terminals show two columns wide: East Asian scripts and their punctuation, full-width forms,
 * emoji.
 */
const wide =
  /^[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|^\p{Emoji_Presentation}/u;
const plainText = /^[ -~]*$/;

/** Columns that a text takes on a terminal. */
export function widthOf(text: string): number {
  if (plainText.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += wide.test(segment) ? 2 : 1;
  return width;
}

/** The text, or its beginning and an ellipsis where it is wider than that. */
export function cut(text: string, most: number): string {
  if (widthOf(text) <= most) return text;
  let kept = '';
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    width += widthOf(segment);
    if (width > most - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

export interface Column {
  readonly title: string;
  /** Numbers stand at the right. */
  readonly right?: boolean;
  /** Wider cells are cut. */
  readonly most?: number;
}

/** Text of a cell, and what paints it once its width is known. */
export type Cell = string | { readonly text: string; readonly paint: (text: string) => string };

const gap = '  ';

/**
 * A table as lines: the headings, then a line a row; each column as wide as its widest cell. Cells
 * may be foreign text.
 */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  paintTitle: (text: string) => string = (text) => text,
): string[] {
  const painted = rows.map((row) =>
    columns.map(({ most = Number.POSITIVE_INFINITY }, index) => {
      const cell = row[index] ?? '';
      const { text, paint } = typeof cell === 'string' ? { text: cell, paint: (same: string) => same } : cell;
      return { text: cut(clean(text), most), paint };
    }),
  );
  const widths = columns.map(({ title }, index) =>
    painted.reduce((width, row) => Math.max(width, widthOf(row[index]?.text ?? '')), widthOf(title)),
  );
  const titles = columns.map(({ title }) => ({ text: title, paint: paintTitle }));
  return [titles, ...painted].map((cells) =>
    cells
      .map(({ text, paint }, index) => {
        const padding = ' '.repeat((widths[index] ?? 0) - widthOf(text));
        if (columns[index]?.right) return padding + paint(text);
        return index === columns.length - 1 ? paint(text) : paint(text) + padding;
      })
      .join(gap)
      .trimEnd(),
  );
}
