import type { Dispatch } from '../dispatch/dispatch.ts';
import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import type { ReplicationRecords } from '../records/replication-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Link } from './link.ts';
import { unkeptId } from './unkept-id.ts';

interface Watcher {
  readonly records: ReplicationRecords;
  readonly linkRecords: Pick<LinkRecords, 'askReconcile'>;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly log: Log;
}

/**
 * Has a certificate looked at whenever the primary of a link, where that can be watched, tells of a
 * change: asked for durably, then woken, as after a notification. What cannot be written, or
 * happened while nobody watched, is found by reconcile; one is asked for where no record can be
 * kept of the certificate's id.
 */
export function watchPrimaries(
  { records, linkRecords, dispatch, runtime, log }: Watcher,
  links: readonly Link[],
): { close(): void } {
  async function changed({ name: link, primary }: Link, certificate: string): Promise<void> {
    try {
      const now = runtime.now();
      if (!records.canHold(link, certificate)) {
        await linkRecords.askReconcile(link, now);
        throw unkeptId(primary.id, certificate);
      }
      await records.ask({ link, certificate, now, eventAt: now, toldBy: primary.kind });
      await dispatch.dispatch([{ link, certificate }]);
      log('info', 'change_seen', { link, certificate });
    } catch (thrown) {
      log('error', 'change_not_noted', { link, certificate, ...errorFields(asCodedError(thrown)) });
    }
  }
  const watches = links.map((link) =>
    link.primary.watch?.((certificate) => {
      void changed(link, certificate);
    }),
  );
  return {
    close() {
      for (const watch of watches) watch?.close();
    },
  };
}
