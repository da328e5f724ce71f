import type { Dispatch } from '../dispatch/dispatch.ts';
import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { LifecycleEvent } from '../notification/event.ts';
import type { IdempotencyRecords } from '../records/idempotency-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Timing } from './timing.ts';

export interface Intake {
  readonly records: ReplicationRecords;
  readonly notifications: IdempotencyRecords;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly timing: Timing;
  readonly log: Log;
}

/**
 * Makes "these certificates must be looked at again" durable for a verified event, then wakes workers. Resolves after the writes;
 * no certificate service is called. A repeat is not dispatched, whatever the number of repeats: it is due, and the sweep looks
 * once. It must be looked at, because two genuine notifications can be the same bytes.
 * Throws `table_unavailable` if not all could be written: the sender's next try then counts as new.
 */
export async function acknowledge(intake: Intake, link: string, event: LifecycleEvent): Promise<'new' | 'repeat'> {
  const { records, notifications, runtime, timing } = intake;
  const now = runtime.now();
  const occurredAt = event.occurredAt === undefined ? undefined : Math.min(event.occurredAt, now);
  const certificates = event.certificates.map(({ id }) => id);

  const remembering = notifications.remember({
    link,
    digest: event.digest,
    type: event.type,
    now,
    keepMs: timing.notificationKeepMs,
  });
  const asking = certificates.map((certificate) =>
    records.ask({ link, certificate, now, eventAt: now, ...(occurredAt === undefined ? {} : { occurredAt }) }),
  );
  const [remembered, ...asked] = await Promise.allSettled([remembering, ...asking]);
  const failed = [remembered, ...asked].find((result) => result.status === 'rejected');
  if (failed?.status === 'rejected') {
    await notifications.forget(link, event.digest).catch(() => undefined);
    throw asCodedError(failed.reason);
  }
  const isNew = remembered.status === 'fulfilled' && remembered.value;
  if (isNew) await wake(intake, link, certificates);
  return isNew ? 'new' : 'repeat';
}

async function wake(intake: Intake, link: string, certificates: readonly string[]): Promise<void> {
  try {
    await intake.dispatch.dispatch(certificates.map((certificate) => ({ link, certificate })));
  } catch (thrown) {
    // What was asked for is durable; the sweep wakes it within a minute.
    intake.log('warn', 'dispatch_failed', { link, ...errorFields(asCodedError(thrown)) });
  }
}
