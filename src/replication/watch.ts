import type { Dispatch } from '../dispatch/dispatch.ts';
import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Link } from './link.ts';

interface Watcher {
  readonly records: ReplicationRecords;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly log: Log;
}

/**
 * Has a certificate looked at whenever the primary of a link, where that can be watched, tells of a change: asked for durably, then
 * woken, as after a notification. What cannot be written, or happened while nobody watched, is found by reconcile.
 */
export function watchPrimaries(
  { records, dispatch, runtime, log }: Watcher,
  links: readonly Link[],
): { close(): void } {
  async function changed(link: string, certificate: string): Promise<void> {
    try {
      const now = runtime.now();
      await records.ask({ link, certificate, now, eventAt: now });
      await dispatch.dispatch([{ link, certificate }]);
      log('info', 'change_seen', { link, certificate });
    } catch (thrown) {
      log('error', 'change_not_noted', { link, certificate, ...errorFields(asCodedError(thrown)) });
    }
  }
  const watches = links.map(({ name, primary }) =>
    primary.watch?.((certificate) => {
      void changed(name, certificate);
    }),
  );
  return {
    close() {
      for (const watch of watches) watch?.close();
    },
  };
}
