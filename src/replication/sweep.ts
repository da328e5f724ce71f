import type { Dispatch } from '../dispatch/dispatch.ts';
import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Link } from './link.ts';
import { wakeHints } from './resolve-hints.ts';
import { type KeySource, keySourceOf, refreshVerificationKeys } from './verification-keys.ts';

export interface Sweeper {
  readonly records: ReplicationRecords;
  readonly linkRecords: LinkRecords;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly log: Log;
  /** Wake-ups that one sweep of a link hands over at the most; the next sweep goes on. */
  readonly most?: number;
}

/**
 * Wakes what is due, hints too, and refreshes the keys that verify notifications: those of the
 * primaries, and those of `keys` that others serve. Each link alone: one that fails does not hold
 * up the others. Never throws.
 */
export async function sweep(
  sweeper: Sweeper,
  links: readonly Link[],
  keys: readonly KeySource[] = [],
): Promise<{ readonly woken: number; readonly byLink: ReadonlyMap<string, number> }> {
  const refreshing = Promise.all(keys.map((source) => refreshVerificationKeys(sweeper, source)));
  const woken = await Promise.all(
    links.map(async (link) => {
      const source = keySourceOf(link);
      const [due] = await Promise.all([
        wakeDue(sweeper, link),
        wakeDueHints(sweeper, link),
        source && refreshVerificationKeys(sweeper, source),
      ]);
      return [link.name, due] as const;
    }),
  );
  await refreshing;
  return { woken: woken.reduce((sum, [, count]) => sum + count, 0), byLink: new Map(woken) };
}

export async function wakeDue(
  { records, dispatch, runtime, log, most = limits.sweepWakes }: Sweeper,
  link: Link,
): Promise<number> {
  try {
    const certificates = await records.due(link.name, runtime.now(), most);
    if (certificates.length > 0) {
      await dispatch.dispatch(certificates.map((certificate) => ({ link: link.name, certificate })));
    }
    return certificates.length;
  } catch (thrown) {
    log('error', 'sweep_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
    return 0;
  }
}

async function wakeDueHints(sweeper: Sweeper, link: Link): Promise<void> {
  try {
    await wakeHints(sweeper, link);
  } catch (thrown) {
    sweeper.log('error', 'sweep_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
  }
}
