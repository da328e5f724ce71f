import * as z from 'zod/mini';
import type { Table } from '../table/table.ts';
import { certificatesExpiring } from './certificate-listing.ts';
import type { CertificateRow } from './certificate-row.ts';
import type { CertificateRows } from './certificate-rows.ts';
import type { Deliveries } from './delivery.ts';
import { certificateItem, type EventItem } from './events.ts';
import { decodeRow, formatted } from './row-format.ts';

const dayMs = 86_400_000;
/** Days before expiry on which it is told of (Certificate Manager's documentation, "Notification event types"). */
const daysBefore = [90, 60, 30, 10, 1];
/** Certificates in one notification. Receivers take no more. */
const itemsAtOnce = 100;

const doneSchema = z.object({ day: z.number() });

/**
 * Tells the channels of one instance, once a day by UTC, which certificates are about to expire (90, 60, 30, 10 and 1 days before) and
 * which have expired (each day from that of the expiry on, until they are reimported or deleted). One notification tells of
 * certificates that expire on the same day.
 */
export function expiryNotices(context: {
  readonly instanceCrn: string;
  readonly rows: CertificateRows;
  readonly deliveries: Pick<Deliveries, 'publish'>;
  readonly table: Table;
  readonly now: () => number;
}) {
  const { instanceCrn, rows, deliveries, table, now } = context;
  const key = { partition: `instance.1/${instanceCrn}/expiry-notices`, sort: 'day' };

  async function tell(type: Parameters<Deliveries['publish']>[0], stretch: { from: number; before: number }) {
    let items: EventItem[] = [];
    let day: number | undefined;
    const send = async () => {
      if (items.length > 0) await deliveries.publish(type, items);
      items = [];
    };
    for await (const row of certificatesExpiring(rows, stretch)) {
      if (items.length === itemsAtOnce || dayOf(row) !== day) await send();
      day = dayOf(row);
      items.push(certificateItem(instanceCrn, row));
    }
    await send();
  }

  return {
    /** Tells what there is to tell today, if that has not been done. A server that dies in between begins the day again. */
    async run(): Promise<void> {
      const today = Math.floor(now() / dayMs) * dayMs;
      const done = await table.get(key);
      if (done !== undefined && decodeRow(doneSchema, done).day >= today) return;
      await tell('cert_expired_reimport_required', { from: 0, before: today + dayMs });
      for (const days of daysBefore) {
        const from = today + days * dayMs;
        await tell('cert_about_to_expire_reimport_required', { from, before: from + dayMs });
      }
      await table.update(key, { set: formatted({ day: today }) });
    },
  };
}

export type ExpiryNotices = ReturnType<typeof expiryNotices>;

function dayOf({ expiresOn }: CertificateRow): number {
  return Math.floor(expiresOn / dayMs);
}
