import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { Key, Table, WriteOutcome } from '../../table/table.ts';
import { type CertificateRow, type ExpiryEntry, expiryPosition } from '../certificates/certificate-row.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import {
  type CalendarFacts,
  dayMs,
  eventsDue,
  farthestDays,
  type Midnights,
  mayBeDueBeforehand,
  midnightOf,
} from './calendar-days.ts';
import type { Deliveries } from './delivery.ts';
import { type CalendarEvent, calendarEvents, certificateItem, type EventItem } from './events.ts';
import { definedOf, itemSchema } from './notification-rows.ts';

/** Certificates in one notification. Receivers take no more. */
const itemsAtOnce = limits.notificationCertificates;
/** What the items of one step may take as JSON, so that a row holds them. */
const itemsBytes = 200 * 1024;
/**
 * How long steps are kept, so that nobody who was held up takes one twice: as long as notifications
 * that were sent.
 */
const keptSeconds = 30 * 86_400;

/**
 * How far the calendar is: the last midnight that is done, and the one that is being looked at,
 * with the midnights before it that were missed.
 */
const stateSchema = z.object({
  day: z.optional(z.number()),
  running: z.optional(z.number()),
  after: z.optional(z.number()),
});

const stepSchema = z.object({
  at: z.number(),
  groups: z.array(z.object({ id: z.string(), type: z.enum(calendarEvents), items: z.array(itemSchema) })),
  /** Where the step after it begins; absent after the last one. */
  next: z.optional(z.object({ pass: z.number(), from: z.string() })),
});

/**
 * The events of one step: each of one kind, about certificates that expire on the same day where
 * the kind is about expiry.
 */
interface Step extends z.infer<typeof stepSchema> {}
interface Group {
  readonly type: CalendarEvent;
  readonly items: EventItem[];
}

/** A stretch of the index by expiry, and the kinds of events that are looked for in it. */
interface Pass {
  readonly from: number;
  readonly before: number;
  readonly types: readonly CalendarEvent[];
  readonly mayBeDue: (entry: ExpiryEntry) => boolean;
}

const everything = Number.MAX_SAFE_INTEGER;

function passesOf(midnights: Midnights): readonly Pass[] {
  const tomorrow = midnights.until + dayMs;
  return [
    {
      from: 0,
      before: tomorrow,
      types: ['cert_expired_reimport_required', 'cert_expired_renew_required'],
      mayBeDue: () => true,
    },
    {
      from: tomorrow,
      before: tomorrow + farthestDays * dayMs,
      types: ['cert_about_to_expire_reimport_required', 'cert_about_to_expire_renew_required'],
      mayBeDue: ({ expiresOn }) => mayBeDueBeforehand(expiresOn, midnights),
    },
    {
      from: tomorrow,
      before: everything,
      types: ['cert_issued_not_downloaded', 'cert_renewed_not_downloaded'],
      mayBeDue: () => true,
    },
  ];
}

export interface Calendar {
  /**
   * Does what is to be done until now. A day that somebody has begun, and perhaps did not live to
   * end, is ended first.
   */
  run(signal?: AbortSignal): Promise<void>;
}

/**
 * Tells the channels of one instance, at each midnight by UTC, what is about to expire, what has
 * expired and what nobody has downloaded. `calendar-days.ts` says what that is.
 *
 * Any number of processes may do it at once, and each may be killed anywhere. A day is a list of
 * steps on the table. What stands in a step is decided by the first that writes it; everybody takes
 * the steps in order, and puts the notifications of each, which have one id each, and of which the
 * table takes the first and remembers it when it has been sent. So the second process changes
 * nothing.
 */
export function calendar(context: {
  readonly instanceCrn: string;
  readonly rows: CertificateRows;
  readonly deliveries: Pick<Deliveries, 'publishOnce'>;
  readonly table: Table;
  readonly runtime: Pick<Runtime, 'now' | 'newId'>;
  readonly log: Log;
}): Calendar {
  const { instanceCrn, rows, deliveries, table, runtime, log } = context;
  const stateKey: Key = { partition: partitionOf(instanceCrn, 'calendar'), sort: 'state' };
  const stepKey = (midnight: number, number: number): Key => ({
    partition: partitionOf(instanceCrn, 'calendar'),
    sort: `step/${midnight}/${String(number).padStart(6, '0')}`,
  });

  async function* entriesFrom(position: string): AsyncGenerator<ExpiryEntry> {
    let cursor: string | undefined;
    do {
      const page = await rows.entries({ from: position, limit: limits.tablePageRows, cursor });
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  /**
   * The certificate of an entry, if the entry is of the content in force. One that cannot be read
   * holds up no other.
   */
  async function certificateOf(entry: ExpiryEntry): Promise<CertificateRow | undefined> {
    try {
      const row = await rows.get(entry.id);
      return row?.content === entry.content ? row : undefined;
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.code !== 'table_row_unreadable') throw error;
      log('error', 'instance_row_unreadable', { instance: instanceCrn, ...errorFields(error) });
      return undefined;
    }
  }

  /** What is to be told from this place on, as much as one step takes. */
  async function decide(place: { readonly pass: number; readonly from: string }, midnights: Midnights): Promise<Step> {
    const passes = passesOf(midnights);
    const pass = passes[place.pass];
    if (pass === undefined) throw new CodedError('internal', `the calendar has no pass ${place.pass}`);
    const groups = new Map<CalendarEvent, Group>();
    let bytes = 0;
    let day: number | undefined;
    let position = place.from === '' ? expiryPosition(pass.from, '') : place.from;
    const stepWith = (next: Step['next']): Step => ({
      at: runtime.now(),
      groups: [...groups.values()].map((group) => ({ id: runtime.newId(), ...group })),
      ...defined({ next }),
    });
    for await (const entry of entriesFrom(position)) {
      if (entry.expiresOn >= pass.before) break;
      const row = pass.mayBeDue(entry) ? await certificateOf(entry) : undefined;
      const due = row === undefined ? [] : eventsDue(factsOf(row, entry), midnights);
      const type = pass.types.find((each) => due.includes(each));
      if (row !== undefined && type !== undefined) {
        const item = itemOf(instanceCrn, row, type);
        const group = groups.get(type) ?? { type, items: [] };
        const isNewDay = groups.size > 0 && day !== midnightOf(entry.expiresOn);
        bytes += Buffer.byteLength(JSON.stringify(item));
        if (isNewDay || group.items.length === itemsAtOnce || (groups.size > 0 && bytes > itemsBytes)) {
          return stepWith({ pass: place.pass, from: position });
        }
        day = midnightOf(entry.expiresOn);
        groups.set(type, group);
        group.items.push(item);
      }
      position = entry.sort;
    }
    return stepWith(place.pass + 1 < passes.length ? { pass: place.pass + 1, from: '' } : undefined);
  }

  /**
   * The step of this number: as it is kept, else as it is decided now, unless somebody is faster.
   */
  async function stepOf(key: Key, place: NonNullable<Step['next']>, midnights: Midnights): Promise<Step> {
    let row = await table.get(key);
    if (row === undefined) {
      const { at, groups, next } = await decide(place, midnights);
      const kept = groups.map(({ items, ...group }) => ({ ...group, items: items.map(definedOf) }));
      const expiresAt = Math.floor(at / 1000) + keptSeconds;
      row = (await table.putIfAbsent(key, formatted({ at, groups: kept, expiresAt, ...(next && { next }) }))).row;
    }
    if (row === undefined) throw new CodedError('internal', 'a row that was put is not there');
    return decodeRow(stepSchema, row);
  }

  /** Takes all steps of a day. */
  async function work(midnights: Midnights, signal: AbortSignal | undefined): Promise<void> {
    let place: Step['next'] = { pass: 0, from: '' };
    for (let number = 0; place !== undefined; number++) {
      signal?.throwIfAborted();
      const { at, groups, next }: Step = await stepOf(stepKey(midnights.until, number), place, midnights);
      for (const group of groups) await deliveries.publishOnce({ at, ...group });
      place = next;
    }
  }

  return {
    async run(signal?: AbortSignal): Promise<void> {
      const today = midnightOf(runtime.now());
      for (;;) {
        const row = await table.get(stateKey);
        const state = row === undefined ? {} : decodeRow(stateSchema, row);
        const { day, running, after } = state;
        if (running !== undefined && after !== undefined) {
          await work({ after, until: running }, signal);
          const change = { set: formatted({ day: running }), remove: ['running', 'after'] };
          await table.update(stateKey, change, { field: 'running', is: '=', to: running });
        } else if (day === undefined || day < today) {
          await begin(day, today);
        } else {
          return;
        }
      }
    },
  };

  /** Only one day is under way at a time. If somebody else has begun one, that is the one. */
  function begin(day: number | undefined, today: number): Promise<WriteOutcome> {
    const unchanged = day === undefined ? ({ absent: 'day' } as const) : ({ field: 'day', is: '=', to: day } as const);
    const change = { set: formatted({ running: today, after: day ?? today - dayMs }) };
    return table.update(stateKey, change, { all: [{ absent: 'running' }, unchanged] });
  }
}

function factsOf(row: CertificateRow, entry: ExpiryEntry): CalendarFacts {
  const { imported = true, expiresOn, downloaded, issuedAt, previousExpiresOn } = row;
  return { imported, expiresOn, since: entry.preparedAt, downloaded, issuedAt, previousExpiresOn };
}

function itemOf(instanceCrn: string, row: CertificateRow, type: CalendarEvent): EventItem {
  const item = certificateItem(instanceCrn, row);
  if (type !== 'cert_renewed_not_downloaded') return item;
  return {
    ...item,
    auto_renewed: row.issuance?.auto ?? false,
    previous_expires_on: row.previousExpiresOn,
  };
}
