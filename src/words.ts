import { visibleWithin } from './foreign-text.ts';

/** What every sentence for people is made of: foreign text, numbers, lengths of time. */

/** More than this of one text of somebody else's is not shown, in UTF-16 units. */
const mostShown = 2_000;

/**
 * Foreign text as a person gets to see it: on one line, every character visible, and not without
 * end.
 */
export function clean(text: string): string {
  return visibleWithin(text, mostShown);
}

/**
 * A whole number as people read it: `2,000`. Not by `toLocaleString`: its first call loads the
 * locale data of the platform, which takes longer than everything else in a cold function.
 */
export const thousands = (number: number): string => String(number).replace(/\B(?=(?:\d{3})+$)/g, ',');

/** A number of things in words: `1 certificate`, `2,000 certificates`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${thousands(number)} ${number === 1 ? one : many}`;
}

/**
 * A length of time as a person says it, rounded to two units: `850 ms`, `1.4 s`, `3 h 20 min`,
 * `12 d`.
 */
export function duration(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 59_500) return `${Math.round(ms / 1_000)} s`;
  const [big, small, bigName, smallName] =
    ms < 3_599_500
      ? [60_000, 1_000, 'min', 's']
      : ms < 86_370_000
        ? [3_600_000, 60_000, 'h', 'min']
        : [86_400_000, 3_600_000, 'd', 'h'];
  const rounded = Math.round(ms / small) * small;
  const rest = Math.round((rounded % big) / small);
  return `${Math.floor(rounded / big)} ${bigName}${rest === 0 ? '' : ` ${rest} ${smallName}`}`;
}

/** Words of several lines as lines below another one. */
export const linesBelow = (words: string): readonly string[] => words.split('\n').map((line) => `  ${line}`);
