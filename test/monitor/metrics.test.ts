import { expect, test } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import type { LinkFigures } from '../../src/monitor/figures.ts';
import { createMetrics, type LinkView, type MetricsOptions } from '../../src/monitor/metrics.ts';
import type { Readiness } from '../../src/monitor/readiness.ts';
import { startMonitorServer } from '../../src/monitor/server.ts';
import type { Link } from '../../src/replication/link.ts';
import type { PassReport } from '../../src/replication/pass/replicate.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';

const link = { name: 'shop', primary: { id: 'crn:primary' }, backups: [{ id: 'crn:backup' }] } as unknown as Link;
const figures: LinkFigures = {
  states: { equal: 3, behind: 1, refused: 0, keyless: 0, withheld: 0, excluded: 0, marked: 0, authority: 0, gone: 0 },
  pending: 1,
  pendingSince: 40_000,
  failing: new Map([['', { store: 'crn:backup', code: 'store_limited', count: 1 }]]),
  vanished: 2,
  earliestExpiry: 90_000,
};

function metricsWith(
  view: Partial<LinkView> = {},
  now = () => 100_000,
  readiness: Readiness = { problems: [], waiting: [] },
  audit?: MetricsOptions['audit'],
) {
  return createMetrics({
    audit,
    version: '1.2.3',
    storeNames: new Map([['crn:backup', 'london']]),
    links: [{ link, figures: async () => figures, lastReconcileAt: async () => 70_000, ...view }],
    readiness: async () => readiness,
    now,
    process: false,
  });
}

/** The lines of the exposition, without comments and buckets. */
const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !/^#|_bucket/.test(line));

test('gauges are what the records say at the moment they are asked for', async () => {
  expect(lines(await metricsWith().text())).toEqual([
    'certstandby_ready 1',
    'certstandby_records_readable{link="shop"} 1',
    'certstandby_certificates{link="shop",state="equal"} 3',
    'certstandby_certificates{link="shop",state="behind"} 1',
    'certstandby_certificates{link="shop",state="refused"} 0',
    'certstandby_certificates{link="shop",state="keyless"} 0',
    'certstandby_certificates{link="shop",state="withheld"} 0',
    'certstandby_certificates{link="shop",state="excluded"} 0',
    'certstandby_certificates{link="shop",state="marked"} 0',
    'certstandby_certificates{link="shop",state="authority"} 0',
    'certstandby_certificates{link="shop",state="gone"} 0',
    'certstandby_pending{link="shop"} 1',
    'certstandby_oldest_pending_seconds{link="shop"} 60',
    'certstandby_failing{link="shop",store="london",code="store_limited"} 1',
    'certstandby_vanished{link="shop"} 2',
    'certstandby_earliest_expiry_timestamp_seconds{link="shop"} 90',
    'certstandby_last_reconcile_age_seconds{link="shop"} 30',
    'certstandby_audit_waiting 0',
    'certstandby_audit_lost 0',
    'certstandby_audit_failing_seconds 0',
    'certstandby_info{version="1.2.3"} 1',
  ]);
});

test('gauges say how it goes with the audit trail of the process', async () => {
  const audit = () => ({ waiting: 12, lost: 3, failingSince: 40_000 });
  const text = lines(await metricsWith({}, undefined, undefined, audit).text());
  expect(text.filter((line) => line.includes('audit'))).toEqual([
    'certstandby_audit_waiting 12',
    'certstandby_audit_lost 3',
    'certstandby_audit_failing_seconds 60',
  ]);
});

test('what backups refuse, hold and have changed behind our back is counted by backup', async () => {
  const about = { store: 'crn:backup', message: '', names: [], since: 0 };
  const refusal = { ...about, withoutCopy: 0, stopped: 0 };
  const findings = {
    refusals: [
      {
        ...refusal,
        code: 'store_content_refused',
        certificates: 7,
        withoutCopy: 2,
        stops: { certificate: 'c', name: 'c', at: 500_000 },
      },
      {
        ...refusal,
        code: 'store_held',
        certificates: 1,
        stopped: 1,
        stops: { certificate: 'd', name: 'd', at: 300_000 },
      },
    ],
    keptBeside: [{ ...about, code: 'store_in_use', copies: 3, ids: [], again: 0 }],
    overwritten: [{ ...about, certificates: 4, times: 12, lastAt: 0 }],
  } as const;
  const text = await metricsWith({ figures: async () => ({ ...figures, findings }) }).text();
  expect(lines(text).filter((line) => /_(refused|copies)/.test(line))).toEqual([
    'certstandby_refused{link="shop",backup="london",code="store_content_refused"} 7',
    'certstandby_refused{link="shop",backup="london",code="store_held"} 1',
    'certstandby_refused_stopped{link="shop",backup="london"} 3',
    'certstandby_refused_stop_timestamp_seconds{link="shop",backup="london"} 300',
    'certstandby_copies_not_removable{link="shop",backup="london"} 3',
    'certstandby_copies_overwritten{link="shop",backup="london"} 4',
  ]);
});

test('a reconcile that never was is infinitely old; records that cannot be read are said to be, and old figures go', async () => {
  expect(await metricsWith({ lastReconcileAt: async () => undefined }).text()).toContain(
    'certstandby_last_reconcile_age_seconds{link="shop"} +Inf',
  );
  let now = 100_000;
  let broken = false;
  const metrics = metricsWith(
    {
      figures: async () => {
        if (broken) throw new CodedError('table_unavailable', 'no');
        return figures;
      },
    },
    () => now,
  );
  expect(await metrics.text()).toContain('certstandby_pending{link="shop"} 1');
  broken = true;
  now += 1_000;
  const text = await metrics.text();
  expect(text).toContain('certstandby_records_readable{link="shop"} 0');
  expect(text).not.toContain('certstandby_pending{');
  broken = false;
  expect(await metrics.text()).toContain('certstandby_pending{link="shop"} 1');
});

test('records are counted at most once in the least time, and in twenty times what counting takes', async () => {
  let now = 0;
  let counted = 0;
  const metrics = metricsWith(
    {
      figures: async () => {
        counted += 1;
        now += 500;
        return figures;
      },
    },
    () => now,
  );
  await metrics.text();
  now = 10_499;
  await Promise.all([metrics.text(), metrics.text()]);
  expect(counted).toBe(1);
  now = 10_500;
  await metrics.text();
  expect(counted).toBe(2);
});

const state = { store: 'crn:backup', attempts: 0, replicatedAt: 7_000 };
const report = (more: Partial<PassReport> = {}): PassReport =>
  ({
    link: 'shop',
    certificate: 'c',
    verdict: { kind: 'sound' },
    primary: { changedAt: 5_000, changedAtFrom: 'last-modified' },
    record: { eventAt: 5_500, primary: {} },
    backups: [{ state, actions: ['reimported'], equal: true }],
    committedAt: 8_000,
    ...more,
  }) as unknown as PassReport;

test('the lag is from the change to the last write; the sender’s part of it apart', async () => {
  const metrics = metricsWith();
  metrics.passed(report());
  const text = await metrics.text();
  expect(text).toContain('certstandby_lag_seconds_sum{link="shop"} 2\n');
  expect(text).toContain('certstandby_lag_seconds_bucket{le="1",link="shop"} 0\n');
  expect(text).toContain('certstandby_lag_seconds_bucket{le="2.5",link="shop"} 1\n');
  expect(text).toContain('certstandby_sender_delay_seconds_sum{link="shop"} 0.5\n');
  expect(text).toContain('certstandby_copy_actions_total{link="shop",backup="london",action="reimported"} 1\n');
});

test.each<[string, Partial<PassReport>]>([
  ['a pass that wrote nothing', { backups: [{ state, actions: [], equal: true }] as unknown as PassReport['backups'] }],
  [
    'a pass that left a backup behind',
    { backups: [{ state, actions: ['reimported'], equal: false }] as unknown as PassReport['backups'] },
  ],
  ['the first copy of what nobody told us about', { record: {} as PassReport['record'] }],
])('no lag: %s', async (_, more) => {
  const metrics = metricsWith();
  metrics.passed(report(more));
  expect(await metrics.text()).not.toContain('certstandby_lag_seconds_count{');
});

test('a callback that waits for what proves its sender is told, and the program is ready', async () => {
  const waiting = { code: 'notification_key_missing', callback: 'ci', message: 'not here', remedy: 'x' } as const;
  const text = await metricsWith({}, undefined, { problems: [], waiting: [waiting] }).text();
  expect(text).toContain('certstandby_ready 1\n');
  expect(text).toContain('certstandby_callback_waiting{callback="ci"} 1\n');
});

test('notifications and answers are counted by the sender that they came by', async () => {
  const metrics = metricsWith();
  const event = { kind: 'other' } as LifecycleEvent;
  metrics.acknowledged('shop', event, 'new', 'certbot');
  metrics.acknowledged('shop', event, 'new', 'certificate-manager');
  metrics.answered(202, 'certbot');
  metrics.answered(404);
  const text = await metrics.text();
  for (const line of [
    'notifications_total{link="shop",kind="other",answer="new",sender="certbot"} 1',
    'notifications_total{link="shop",kind="other",answer="new",sender="certificate-manager"} 1',
    'callback_answers_total{status="202",sender="certbot"} 1',
    'callback_answers_total{status="404",sender=""} 1',
  ])
    expect(text).toContain(`certstandby_${line}\n`);
});

test('failures are counted by the store and the code', async () => {
  const metrics = metricsWith();
  const error = new CodedError('store_unanswered', 'no answer');
  metrics.passed(
    report({ backups: [{ state, actions: [], equal: false, error }] as unknown as PassReport['backups'] }),
  );
  metrics.passed(report({ verdict: { kind: 'unreadable', error } as PassReport['verdict'], backups: [] }));
  const text = await metrics.text();
  expect(text).toContain('certstandby_failures_total{link="shop",store="london",code="store_unanswered"} 1\n');
  expect(text).toContain('certstandby_failures_total{link="shop",store="crn:primary",code="store_unanswered"} 1\n');
});

test('the listener has three pages, and says why it is not ready', async () => {
  const problems = [{ code: 'table_unavailable', message: 'full', remedy: 'make room' }] as const;
  let ready: readonly (typeof problems)[number][] = [];
  let waiting: Readiness['waiting'] = [];
  const server = await startMonitorServer({
    metrics: { text: async () => 'a_metric 1\n', contentType: 'text/plain; version=0.0.4' },
    readiness: async () => ({ problems: ready, waiting }),
    host: '127.0.0.1',
    port: 0,
    log: silentLog,
  });
  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(server.url + path, { method });
    return [response.status, await response.text()];
  };
  try {
    expect(await ask('/metrics?x')).toEqual([200, 'a_metric 1\n']);
    expect(await ask('/readyz')).toEqual([200, '{"status":"ok"}']);
    // One sender whose keys cannot be had does not take the others out of service, and is told.
    waiting = [{ code: 'notification_key_missing', callback: 'ci', message: 'not here', remedy: 'fetch it' }];
    expect(await ask('/readyz')).toEqual([200, JSON.stringify({ status: 'ok', waiting })]);
    ready = problems;
    expect(await ask('/readyz')).toEqual([503, JSON.stringify({ status: 'not ready', problems })]);
    expect(await ask('/healthz')).toEqual([200, '{"status":"ok"}']);
    expect((await ask('/metrics', 'POST'))[0]).toBe(405);
    expect((await ask('/toString'))[0]).toBe(404);
  } finally {
    await server.close();
  }
});
