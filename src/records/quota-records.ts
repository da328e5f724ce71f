import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Key, Row, Table } from '../table/table.ts';
import { numberIn } from './row-fields.ts';

/** A quota of a store: `name` tells it from the others, and uses count for `perMs` milliseconds. */
interface CountedQuota {
  readonly store: string;
  readonly name: string;
  readonly perMs: number;
}

/** Uses by the number of the span of time in which they lie. */
type Spans = Readonly<Record<string, number>>;

/**
 * How much of each quota of a store has been used: a row for each quota, in which uses are counted
 * by spans of time, a sixty-fourth of the period each. A span counts until its last moment is a
 * period ago, so that no period ever sees more than the quota; what is counted comes back up to a
 * span later than it might. Rows change under the condition that nobody else has changed them
 * meanwhile.
 */
export function quotaRecords(table: Table) {
  const keyOf = ({ store, name }: CountedQuota): Key => ({ partition: `quota.1/${store}`, sort: name });
  const spanMs = ({ perMs }: CountedQuota) => Math.max(1, Math.ceil(perMs / limits.quotaSpans));
  /**
   * Uses of one quota by this process, one after the other: else they would only meet in the table.
   */
  const lines = new Map<string, Promise<unknown>>();

  function inLine<T>(quota: CountedQuota, work: () => Promise<T>): Promise<T> {
    const name = JSON.stringify(keyOf(quota));
    const before = lines.get(name) ?? Promise.resolve();
    const after = before.then(work, work);
    lines.set(name, after);
    void after.catch(() => undefined).finally(() => lines.get(name) === after && lines.delete(name));
    return after;
  }

  function spansOf(quota: CountedQuota, row: Row | undefined): Spans {
    const spans = row?.spans ?? {};
    const isSpans = (value: unknown): value is Spans =>
      typeof value === 'object' && value !== null && Object.values(value).every((count) => typeof count === 'number');
    if (isSpans(spans)) return spans;
    throw new CodedError(
      'table_row_unreadable',
      `what is kept of the quota "${quota.name}" of ${quota.store} is damaged`,
    );
  }

  /** When a span no longer counts. */
  const endOf = (quota: CountedQuota, span: string) => (Number(span) + 1) * spanMs(quota) + quota.perMs;
  /**
   * Spans that count at a moment, the earliest first. Those of a clock that was ahead are among
   * them.
   */
  const living = (quota: CountedQuota, spans: Spans, now: number) =>
    Object.entries(spans)
      .filter(([span]) => endOf(quota, span) > now)
      .sort(([a], [b]) => Number(a) - Number(b));
  const sum = (spans: readonly (readonly [string, number])[]) => spans.reduce((total, [, count]) => total + count, 0);

  /**
   * Writes what `next` makes of the spans, unless that is `undefined`. Answers the spans as they
   * are then.
   */
  async function change(quota: CountedQuota, next: (spans: Spans) => Spans | undefined): Promise<Spans | undefined> {
    let row = await table.get(keyOf(quota));
    for (let tries = 0; tries < limits.quotaTries; tries += 1) {
      const spans = next(spansOf(quota, row));
      if (spans === undefined) return undefined;
      const version = numberIn(row, 'version') ?? 0;
      const outcome = await table.update(
        keyOf(quota),
        { set: { spans, version: version + 1 } },
        row === undefined ? { absent: 'version' } : { field: 'version', is: '=', to: version },
      );
      if (outcome.applied) return spans;
      row = outcome.row;
    }
    throw new CodedError(
      'table_unavailable',
      `the quota "${quota.name}" of ${quota.store} changes faster than it can be counted`,
    );
  }

  return {
    /**
     * Counts one use at a moment (epoch milliseconds) if fewer than `most` lie in the period before
     * it. If not it answers when there will be room; `until` is absent if there never will. Throws
     * what the table throws.
     */
    useQuota: (
      quota: CountedQuota,
      now: number,
      most: number,
    ): Promise<{ readonly used: true } | { readonly used: false; readonly until?: number }> =>
      inLine(quota, async () => {
        let until: number | undefined;
        const span = String(Math.floor(now / spanMs(quota)));
        const used = await change(quota, (spans) => {
          const alive = living(quota, spans, now);
          if (sum(alive) < most) {
            const kept = Object.fromEntries(alive);
            return { ...kept, [span]: (kept[span] ?? 0) + 1 };
          }
          // There is room when so many of the earliest have gone that fewer than `most` are left.
          let left = sum(alive);
          const last = alive.find(([, count]) => {
            left -= count;
            return left < most;
          });
          until = last === undefined ? undefined : endOf(quota, last[0]);
          return undefined;
        });
        if (used !== undefined) return { used: true };
        return { used: false, ...defined({ until }) };
      }),

    /** Takes back one use of that moment: nothing was sent. */
    giveBackQuota: (quota: CountedQuota, now: number): Promise<void> =>
      inLine(quota, async () => {
        const span = String(Math.floor(now / spanMs(quota)));
        await change(quota, (spans) => {
          const count = spans[span] ?? 0;
          return count > 0 ? { ...spans, [span]: count - 1 } : undefined;
        });
      }),

    /**
     * How many uses lie in the period before a moment, and when the first of them no longer will.
     */
    async quotaUsed(quota: CountedQuota, now: number): Promise<{ readonly count: number; readonly nextAt?: number }> {
      const alive = living(quota, spansOf(quota, await table.get(keyOf(quota))), now).filter(([, count]) => count > 0);
      const [first] = alive;
      return { count: sum(alive), ...(first === undefined ? {} : { nextAt: endOf(quota, first[0]) }) };
    },
  };
}
