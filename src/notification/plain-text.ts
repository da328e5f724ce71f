const plain = /^[ -~]*$/;
const unfit = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * Text from outside, fit for fields and logs: at most `maximum` UTF-16 units, without control and format characters (a line
 * break, an escape sequence, a change of writing direction), line separators and lone surrogates.
 */
export function plainText(text: string, maximum: number): string {
  const kept = text.length > maximum ? text.slice(0, maximum) : text;
  return plain.test(kept) ? kept : kept.replace(unfit, '');
}
