import { expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { embeddedMetrics } from '../../src/monitor/embedded-metrics.ts';
import type { PassReport } from '../../src/replication/pass/replicate.ts';

/**
 * What a service that follows the specification takes out of a line: each metric, its value and
 * unit, under each set of dimensions.
 */
function metricsIn(line: string) {
  const root = JSON.parse(line);
  expect(root._aws.Timestamp).toBe(1_000_000);
  return root._aws.CloudWatchMetrics.flatMap(
    ({
      Namespace,
      Dimensions,
      Metrics,
    }: {
      Namespace: string;
      Dimensions: string[][];
      Metrics: { Name: string; Unit: string }[];
    }) =>
      Dimensions.flatMap((names) =>
        Metrics.map(({ Name, Unit }) => {
          const where = names.map((name) => `${name}=${root[name]}`).join(',');
          return `${Namespace} ${where} ${Name} ${root[Name]} ${Unit}`;
        }),
      ),
  );
}

function setUp() {
  const lines: string[] = [];
  const metrics = embeddedMetrics({ stage: 'dev', now: () => 1_000_000, write: (line) => void lines.push(line) });
  return { metrics, read: () => lines.flatMap(metricsIn) };
}

it('says what a sweep saw, by stage and by link', () => {
  const { metrics, read } = setUp();
  metrics.swept('shop', { woken: 3, dueSince: 940_000, reconcileAwaitedSince: 400_000 });
  expect(read()).toEqual([
    'certstandby Stage=dev PendingCount 3 Count',
    'certstandby Stage=dev OldestPendingSeconds 60 Seconds',
    'certstandby Stage=dev ReconcileAgeSeconds 600 Seconds',
    'certstandby Stage=dev,Link=shop PendingCount 3 Count',
    'certstandby Stage=dev,Link=shop OldestPendingSeconds 60 Seconds',
    'certstandby Stage=dev,Link=shop ReconcileAgeSeconds 600 Seconds',
  ]);
});

const report = (given: Partial<PassReport>): PassReport => ({
  link: 'shop',
  certificate: 'never-a-dimension',
  verdict: { kind: 'keyless' } as never,
  backups: [],
  record: { eventAt: 990_000 } as never,
  after: { eventAt: 990_000 } as never,
  answer: 'committed',
  beganAt: 995_000,
  committedAt: 999_000,
  ...given,
});

it('says the lag of a copy, and the part of it that was the sender’s', () => {
  const { metrics, read } = setUp();
  const written = { state: { replicatedAt: 998_500 }, actions: ['imported'], equal: true } as never;
  const primary = { changedAt: 988_000, changedAtFrom: 'last-modified' } as never;
  metrics.passed(report({ backups: [written], primary }));
  expect(read().filter((line: string) => line.includes('Link='))).toEqual([
    'certstandby Stage=dev,Link=shop LagSeconds 10.5 Seconds',
    'certstandby Stage=dev,Link=shop SenderDelaySeconds 2 Seconds',
  ]);
  expect(JSON.stringify(read())).not.toContain('never-a-dimension');
});

it('counts a pass that ended with a finding, refused or failed, and no other', () => {
  const { metrics, read } = setUp();
  const error = new CodedError('certificate_expired', 'it expired');
  metrics.passed(report({}));
  metrics.passed(report({ verdict: { kind: 'refused', error } as never }));
  metrics.passed(report({ backups: [{ state: {}, actions: [], equal: false, error } as never] }));
  expect(read().filter((line: string) => line.includes('Link='))).toEqual([
    'certstandby Stage=dev,Link=shop FailingCount 1 Count',
    'certstandby Stage=dev,Link=shop FailingCount 1 Count',
  ]);
});

it('counts refused notifications by stage alone, and what a reconcile counted', () => {
  const { metrics, read } = setUp();
  metrics.refused();
  metrics.counted('shop', { pending: 0, failing: 2 });
  expect(read()).toEqual([
    'certstandby Stage=dev RefusedCount 1 Count',
    'certstandby Stage=dev PendingCount 0 Count',
    'certstandby Stage=dev FailingCount 2 Count',
    'certstandby Stage=dev,Link=shop PendingCount 0 Count',
    'certstandby Stage=dev,Link=shop FailingCount 2 Count',
  ]);
});
