import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { type Key, pagesOf, type Row, type Table } from '../table/table.ts';
import { brakeRecords } from './brake-records.ts';
import { hintRecords } from './hint-records.ts';
import { intakeRecords } from './intake-records.ts';
import { reconcileRecords } from './reconcile-records.ts';
import { fitsTable, numberIn } from './row-fields.ts';
import { verificationKeyRecords } from './verification-key-records.ts';
import { waitingHintRecords } from './waiting-hint-records.ts';

/** Which way a link points. */
export interface Binding {
  /** The primary that its records belong to; absent before the first start. */
  readonly primary?: string;
  /** Primaries that it had before. */
  readonly former: readonly string[];
  /** It was pointed at this primary, and records of the direction before may still be there. */
  readonly repointing: boolean;
  /** When each backup completed its first reconcile, by store id. */
  readonly reconciled: ReadonlyMap<string, number>;
}

/** A certificate in a store. */
export interface Place {
  readonly store: string;
  readonly certificate: string;
}

/**
 * A process whose configuration says otherwise must not go on: it would write in a direction that
 * is no longer the link's.
 */
export function moved(link: string, configured: string, recorded: unknown): CodedError {
  return new CodedError('configuration_link_moved', `the records of link ${link} belong to another primary`, {
    fields: { link, configured, recorded: String(recorded) },
  });
}

/**
 * What is known of a link as a whole: which primary its records belong to, which backups have
 * completed their first reconcile, the keys that verify the primary's notifications, how its
 * reconciles and verifies go, and what was told that names no id.
 */
export function linkRecords(table: Table) {
  const keyOf = (link: string): Key => ({ partition: 'link.1', sort: link });
  const homeKeyOf = (link: string, { store, certificate }: Place): Key => ({
    partition: `restored.1/${link}`,
    sort: `${store} ${certificate}`,
  });
  const keys = verificationKeyRecords(table);

  async function bindingOf(link: string): Promise<Binding> {
    const row = (await table.get(keyOf(link))) ?? {};
    const { primary, former, turning } = row as Row;
    const reconciled = new Map<string, number>();
    for (const [field, value] of Object.entries(row)) {
      if (field.startsWith('reconciled/') && typeof value === 'number')
        reconciled.set(field.slice('reconciled/'.length), value);
    }
    return {
      ...(typeof primary === 'string' ? { primary } : {}),
      former: Array.isArray(former) ? former.filter((store) => typeof store === 'string') : [],
      repointing: turning === true,
      reconciled,
    };
  }

  return {
    ...reconcileRecords(table),
    ...brakeRecords(table),
    ...hintRecords(table),
    ...waitingHintRecords(table),
    ...intakeRecords(table),
    ...keys,

    /**
     * Binds the link's records to this primary. Throws `configuration_link_moved` if they belong to
     * another one.
     */
    async bind(link: string, primary: string): Promise<void> {
      const outcome = await table.update(
        keyOf(link),
        { set: { primary } },
        { any: [{ absent: 'primary' }, { field: 'primary', is: '=', to: primary }] },
      );
      if (!outcome.applied) throw moved(link, primary, outcome.row?.primary);
    },

    bindingOf,

    /** When each backup completed its first reconcile, by store id. */
    reconciled: async (link: string): Promise<ReadonlyMap<string, number>> => (await bindingOf(link)).reconciled,

    /** The primary that the link's records belong to; `undefined` before the first start. */
    boundTo: async (link: string): Promise<string | undefined> => (await bindingOf(link)).primary,

    /**
     * Points the link at another primary. What was known of the old one is no longer true: when its
     * backups were compared, and the key of its notifications. Until `repointed`, records of the
     * old direction may still be there. Throws `configuration_link_moved` if somebody else has
     * pointed it elsewhere meanwhile.
     */
    async repoint(link: string, { primary: from, former }: Binding, to: string): Promise<void> {
      const row = await table.get(keyOf(link));
      const compared = Object.keys(row ?? {}).filter((field) => field.startsWith('reconciled/'));
      const formers = new Set([...former, ...(from === undefined ? [] : [from])].filter((store) => store !== to));
      const outcome = await table.update(
        keyOf(link),
        {
          set: { primary: to, former: [...formers], turning: true },
          remove: [...compared, 'lastReconcileAt', 'firstReconcileAt'],
        },
        from === undefined ? { absent: 'primary' } : { field: 'primary', is: '=', to: from },
      );
      if (!outcome.applied) throw moved(link, to, outcome.row?.primary);
      await keys.forgetVerificationKeys(link);
    },

    /** No record of the old direction is left. */
    async repointed(link: string): Promise<void> {
      await table.update(keyOf(link), { remove: ['turning'] });
    },

    /**
     * Whether a restore of the link ended before its end, and when, if it could still say so (epoch
     * milliseconds).
     */
    async unfinishedRestore(link: string): Promise<{ readonly stoppedAt?: number } | undefined> {
      const row = await table.get(keyOf(link));
      if (row?.restoring !== true) return undefined;
      return defined({ stoppedAt: numberIn(row, 'restoreStoppedAt') });
    },

    /** Notes that a restore is under way, that it was stopped at a moment, or that it is done. */
    async noteRestore(link: string, how: 'begun' | 'done' | { readonly stoppedAt: number }): Promise<void> {
      if (how === 'done') await table.update(keyOf(link), { remove: ['restoring', 'restoreStoppedAt'] });
      else if (how === 'begun')
        await table.update(keyOf(link), { set: { restoring: true }, remove: ['restoreStoppedAt'] });
      else await table.update(keyOf(link), { set: { restoreStoppedAt: how.stoppedAt } });
    },

    /**
     * Where a certificate came from when it was moved to the primary it is in now; `undefined` if
     * it was not.
     */
    async homeOf(link: string, now: Place): Promise<Place | undefined> {
      const row = await table.get(homeKeyOf(link, now));
      const { store, certificate } = (row ?? {}) as Row;
      return typeof store === 'string' && typeof certificate === 'string' ? { store, certificate } : undefined;
    },

    /** Whether it can be written down where this certificate was before, or is now. */
    canKeepHome: (link: string, place: Place): boolean => fitsTable(homeKeyOf(link, place)),

    /**
     * Writes down where a certificate is now, and where it was: the map of old ids to new ones, and
     * the way home.
     */
    async saveHome(link: string, now: Place, before: Place, name: string): Promise<void> {
      const { store, certificate } = before;
      await table.update(homeKeyOf(link, now), { set: { store, certificate, name } });
    },

    /**
     * All that `saveHome` wrote down of a link, for every primary that it had. The version before
     * kept no names.
     */
    async *homes(
      link: string,
    ): AsyncGenerator<{ readonly now: Place; readonly before: Place; readonly name?: string }> {
      const { partition } = homeKeyOf(link, { store: '', certificate: '' });
      for await (const rows of pagesOf(table, { partition, limit: 500 })) {
        for (const { sort, store, certificate, name } of rows) {
          // Ids of stores hold no blank.
          const at = sort.indexOf(' ');
          const now = { store: sort.slice(0, at), certificate: sort.slice(at + 1) };
          if (typeof store === 'string' && typeof certificate === 'string')
            yield { now, before: { store, certificate }, ...(typeof name === 'string' ? { name } : {}) };
        }
      }
    },

    /** When the last successful reconcile began; `undefined` before the first. */
    async lastReconcileAt(link: string): Promise<number | undefined> {
      return numberIn(await table.get(keyOf(link)), 'lastReconcileAt');
    },

    /**
     * Since when the next reconcile is awaited: when the last successful one began, or, before the
     * first, when somebody first asked, which is noted.
     */
    async reconcileAwaitedSince(link: string, now: number): Promise<number> {
      const last = await this.lastReconcileAt(link);
      if (last !== undefined) return last;
      const { row } = await table.update(keyOf(link), { set: { awaitedSince: now } }, { absent: 'awaitedSince' });
      return numberIn(row, 'awaitedSince') ?? now;
    },

    /** Notes a completed reconcile of these backups, and that it was one. */
    async noteReconciled(link: string, backups: readonly string[], at: number): Promise<void> {
      const set = Object.fromEntries(backups.map((backup) => [`reconciled/${backup}`, at]));
      await table.update(keyOf(link), { set: { ...set, lastReconcileAt: at } });
      await table.update(keyOf(link), { set: { firstReconcileAt: at } }, { absent: 'firstReconcileAt' });
    },

    /**
     * When the link completed its first reconcile; `undefined` if it has not, or before that was
     * kept.
     */
    async firstReconciledAt(link: string): Promise<number | undefined> {
      return numberIn(await table.get(keyOf(link)), 'firstReconcileAt');
    },
  };
}

export type LinkRecords = ReturnType<typeof linkRecords>;
