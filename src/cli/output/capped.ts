/** So many findings of one cause are shown one by one; the rest is counted. */
const shownOfCause = 5;

/** Keeps hundreds of findings of one cause from hiding the others. */
export function cappedByCause<T>(): {
  /** Whether one more of this cause is shown by itself. */
  readonly shows: (cause: string, finding: T) => boolean;
  /**
   * The causes of which not all were shown: the first finding of each, and how many more there are
   * than were shown.
   */
  readonly rest: () => readonly { readonly cause: string; readonly first: T; readonly more: number }[];
} {
  const found = new Map<string, { readonly first: T; number: number }>();
  return {
    shows(cause, finding) {
      const all = found.get(cause) ?? { first: finding, number: 0 };
      all.number += 1;
      found.set(cause, all);
      return all.number <= shownOfCause;
    },
    rest: () =>
      [...found].flatMap(([cause, { first, number }]) =>
        number > shownOfCause ? [{ cause, first, more: number - shownOfCause }] : [],
      ),
  };
}
