import { CodedError } from '../errors.ts';
import type { Key, Table } from '../table/table.ts';
import { reconcileRecords } from './reconcile-records.ts';

/**
 * What is known of a link as a whole: which primary its records belong to, which backups have completed their first reconcile,
 * the key that verifies the primary's notifications, and how its reconciles and verifies go.
 */
export function linkRecords(table: Table) {
  const keyOf = (link: string): Key => ({ partition: 'link.1', sort: link });

  return {
    ...reconcileRecords(table),

    /** Binds the link's records to this primary. Throws `configuration_link_moved` if they belong to another one. */
    async bind(link: string, primary: string): Promise<void> {
      const outcome = await table.update(
        keyOf(link),
        { set: { primary } },
        { any: [{ absent: 'primary' }, { field: 'primary', is: '=', to: primary }] },
      );
      if (outcome.applied) return;
      throw new CodedError('configuration_link_moved', `the records of link ${link} belong to another primary`, {
        fields: { link, configured: primary, recorded: String(outcome.row?.primary) },
      });
    },

    /** When each backup completed its first reconcile, by store id. */
    async reconciled(link: string): Promise<ReadonlyMap<string, number>> {
      const row = await table.get(keyOf(link));
      const backups = new Map<string, number>();
      for (const [field, value] of Object.entries(row ?? {})) {
        if (field.startsWith('reconciled/') && typeof value === 'number')
          backups.set(field.slice('reconciled/'.length), value);
      }
      return backups;
    },

    /** The primary that the link's records belong to; `undefined` before the first start. */
    async boundTo(link: string): Promise<string | undefined> {
      const row = await table.get(keyOf(link));
      return typeof row?.primary === 'string' ? row.primary : undefined;
    },

    /** When the last successful reconcile began; `undefined` before the first. */
    async lastReconcileAt(link: string): Promise<number | undefined> {
      const row = await table.get(keyOf(link));
      return typeof row?.lastReconcileAt === 'number' ? row.lastReconcileAt : undefined;
    },

    /** Notes a completed reconcile of these backups, and that it was one. */
    async noteReconciled(link: string, backups: readonly string[], at: number): Promise<void> {
      const set = Object.fromEntries(backups.map((backup) => [`reconciled/${backup}`, at]));
      await table.update(keyOf(link), { set: { ...set, lastReconcileAt: at } });
      await table.update(keyOf(link), { set: { firstReconcileAt: at } }, { absent: 'firstReconcileAt' });
    },

    /** When the link completed its first reconcile; `undefined` if it has not, or before that was kept. */
    async firstReconciledAt(link: string): Promise<number | undefined> {
      const at = (await table.get(keyOf(link)))?.firstReconcileAt;
      return typeof at === 'number' ? at : undefined;
    },

    /** PEM of the public key that verifies the primary's notifications, if it has been fetched. */
    async verificationKey(link: string): Promise<string | undefined> {
      const row = await table.get({ partition: 'verification-key.1', sort: link });
      return typeof row?.pem === 'string' ? row.pem : undefined;
    },

    async saveVerificationKey(link: string, pem: string, now: number): Promise<void> {
      await table.update({ partition: 'verification-key.1', sort: link }, { set: { pem, fetchedAt: now } });
    },
  };
}

export type LinkRecords = ReturnType<typeof linkRecords>;
