import { defined } from '../defined.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import { lagOf } from './lag.ts';

/**
 * What functions on AWS measure. Each is a line of the log that CloudWatch turns into metrics, by
 * stage, and by stage and link.
 */
export interface EmbeddedMetrics {
  /** A pass has ended. */
  passed(report: PassReport): void;
  /** A notification was refused. */
  refused(): void;
  /** What a sweep saw of a link. */
  swept(
    link: string,
    seen: {
      readonly woken: number;
      /**
       * Epoch milliseconds: since when the earliest wake-up is due, and since when a reconcile that
       * succeeds is awaited.
       */
      readonly dueSince: number | undefined;
      readonly reconcileAwaitedSince: number;
    },
  ): void;
  /** How many certificates of a link fail, counted from all its records. */
  counted(link: string, figures: { readonly pending: number; readonly failing: number }): void;
}

type Unit = 'Seconds' | 'Count';
type Values = Readonly<Record<string, readonly [number, Unit]>>;

const namespace = 'certstandby';

/**
 * Metrics in the embedded metric format (Amazon CloudWatch, "Specification: Embedded metric
 * format"): no request is sent for them. `write` gets whole lines. Names of certificates are no
 * dimensions: each would be a metric of its own, and paid for.
 */
export function embeddedMetrics(options: {
  readonly stage: string;
  readonly now: () => number;
  readonly write: (line: string) => void;
}): EmbeddedMetrics {
  const { stage, now, write } = options;

  function emit(link: string | undefined, values: Values): void {
    const Metrics = Object.entries(values).map(([Name, [, Unit]]) => ({ Name, Unit }));
    const Dimensions = link === undefined ? [['Stage']] : [['Stage'], ['Stage', 'Link']];
    const line = {
      _aws: { Timestamp: now(), CloudWatchMetrics: [{ Namespace: namespace, Dimensions, Metrics }] },
      Stage: stage,
      ...defined({ Link: link }),
      ...Object.fromEntries(Object.entries(values).map(([name, [value]]) => [name, value])),
    };
    write(`${JSON.stringify(line)}\n`);
  }
  const secondsSince = (moment: number) => Math.max(0, now() - moment) / 1_000;

  return {
    passed(report) {
      const lag = lagOf(report);
      if (lag !== undefined) emit(report.link, { LagSeconds: [lag.lagMs / 1_000, 'Seconds'] });
      if (lag?.senderMs !== undefined) emit(report.link, { SenderDelaySeconds: [lag.senderMs / 1_000, 'Seconds'] });
      if (fails(report)) emit(report.link, { FailingCount: [1, 'Count'] });
    },
    refused: () => emit(undefined, { RefusedCount: [1, 'Count'] }),
    swept(link, { woken, dueSince, reconcileAwaitedSince }) {
      emit(link, {
        PendingCount: [woken, 'Count'],
        OldestPendingSeconds: [dueSince === undefined ? 0 : secondsSince(dueSince), 'Seconds'],
        ReconcileAgeSeconds: [secondsSince(reconcileAwaitedSince), 'Seconds'],
      });
    },
    counted: (link, { pending, failing }) =>
      emit(link, { PendingCount: [pending, 'Count'], FailingCount: [failing, 'Count'] }),
  };
}

/** Whether a pass ended with something that a person may have to mend. */
function fails({ verdict, backups }: PassReport): boolean {
  return 'error' in verdict || backups.some(({ error }) => error !== undefined);
}
