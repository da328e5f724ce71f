import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Runtime } from '../../runtime.ts';
import type { Key, Row, Table, Value } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import type { ChannelVersion } from '../tenants/instance.ts';
import { type ChannelType, type EventType, eventTypes, type InstanceEvent } from './events.ts';

/** One event on its way to one channel. */
export interface Notification {
  /**
   * Sorts by the moment of the event. The same until it is delivered or sent again, among the dead
   * letters too.
   */
  readonly id: string;
  readonly channel: string;
  readonly type: ChannelType;
  /** Payload version. */
  readonly version: ChannelVersion;
  readonly event: InstanceEvent;
  /**
   * The change that it tells of: what the certificate's version is once it is made. Absent where
   * there is nothing to wait for.
   */
  readonly change?: { readonly id: string; readonly version: number } | undefined;
  /** Attempts made so far. */
  readonly attempts: number;
}

/**
 * A notification that waits. Until `wakeAt` (epoch milliseconds) the process that wrote it is at
 * work on it.
 */
export interface Pending extends Notification {
  readonly wakeAt: number;
}

/** A notification that was given up. */
export interface DeadLetter extends Notification {
  readonly reason: string;
  /** When it was given up, epoch milliseconds. */
  readonly at: number;
}

const versions = [1, 2, 3, 4, 5] as const satisfies readonly ChannelVersion[];
export const itemSchema = z.object({
  cert_crn: z.string(),
  domains: z.string(),
  expires_on: z.optional(z.union([z.number(), z.string()])),
  name: z.string(),
  additional_info: z.optional(z.string()),
  auto_renewed: z.optional(z.boolean()),
  previous_expires_on: z.optional(z.number()),
});
const notificationFields = {
  channel: z.string(),
  type: z.enum(['url', 'slack']),
  version: z.literal(versions),
  event: z.object({
    id: z.string(),
    type: z.enum(eventTypes as [EventType, ...EventType[]]),
    at: z.number(),
    items: z.array(itemSchema),
    validation: z.optional(z.object({ domain: z.string(), txt_record_name: z.string(), txt_record_val: z.string() })),
  }),
  change: z.optional(z.object({ id: z.string(), version: z.number() })),
  attempts: z.number(),
};
const pendingSchema = z.object({ ...notificationFields, wakeAt: z.number() });
const letterSchema = z.object({ ...notificationFields, reason: z.string(), at: z.number(), expiresAt: z.number() });

const deadLetterSeconds = 30 * 86_400;
/** How long it is remembered that something was told that is told once. */
const rememberedSeconds = 30 * 86_400;

export interface NotificationRows {
  /** False if there is one of this id, or was one that is told once. */
  put(notification: Pending): Promise<boolean>;
  /**
   * Takes it until another moment, or lets go of it by a moment that has passed. Undefined if
   * somebody else has it, or it is delivered: then it is no longer ours.
   */
  take(
    notification: Pending,
    to: {
      readonly wakeAt: number;
      readonly attempts?: number;
    },
  ): Promise<Pending | undefined>;
  readonly remove: (id: string) => Promise<void>;
  /**
   * Those that somebody may take by this moment, the one that waits longest first; and why others
   * cannot be read.
   */
  due(
    until: number,
    cursor?: string,
  ): Promise<{
    readonly pending: readonly Pending[];
    readonly unreadable: readonly CodedError[];
    readonly cursor?: string | undefined;
  }>;
  /**
   * Puts it among the dead letters, where it stays for 30 days, and then takes it from those that
   * wait.
   */
  bury(notification: Notification, reason: string, at: number): Promise<void>;
  /**
   * A page of dead letters, oldest event first, after this one. Those whose time is over are not
   * among them.
   */
  letters(request: { readonly after?: string | undefined; readonly size: number; readonly now: number }): Promise<{
    letters: (DeadLetter & {
      readonly expiresAt: number;
    })[];
    last: string | undefined;
  }>;
  letter(id: string): Promise<DeadLetter | undefined>;
  removeLetter(id: string): Promise<void>;
}

/**
 * The notifications of one instance that wait, and those that were given up, on the table: they
 * outlive the process.
 */
export function notificationRows(context: {
  readonly table: Table;
  readonly instanceCrn: string;
  readonly runtime: Pick<Runtime, 'now'>;
}): NotificationRows {
  const { table, instanceCrn, runtime } = context;
  const waiting = partitionOf(instanceCrn, 'notification');
  const dead = partitionOf(instanceCrn, 'dead-letter');
  const pendingKey = (id: string): Key => ({ partition: waiting, sort: id });
  const letterKey = (id: string): Key => ({ partition: dead, sort: id });

  /** A row that cannot be read must not hold up the others. */
  function readPending(row: Row): Pending | CodedError {
    try {
      return { ...decodeRow(pendingSchema, row), id: row.sort };
    } catch (thrown) {
      return asCodedError(thrown);
    }
  }

  /**
   * A notification that is sent once leaves a row without content, which nothing wakes: a second
   * one is refused.
   */
  async function remove(id: string): Promise<void> {
    if (!isToldOnce(id)) {
      await table.delete(pendingKey(id));
      return;
    }
    const expiresAt = Math.floor(runtime.now() / 1000) + rememberedSeconds;
    await table.update(pendingKey(id), {
      set: formatted({ expiresAt }),
      remove: [...Object.keys(notificationFields), 'wakeAt'],
    });
  }

  return {
    async put(notification: Pending): Promise<boolean> {
      const fields = formatted({ ...fieldsOf(notification), wakeAt: notification.wakeAt });
      return (await table.putIfAbsent(pendingKey(notification.id), fields)).applied;
    },

    async take(
      notification: Pending,
      to: { readonly wakeAt: number; readonly attempts?: number },
    ): Promise<Pending | undefined> {
      const attempts = to.attempts ?? notification.attempts;
      const outcome = await table.update(
        pendingKey(notification.id),
        { set: { wakeAt: to.wakeAt, attempts } },
        { field: 'wakeAt', is: '=', to: notification.wakeAt },
      );
      // A table that asks again after a lost answer is refused by its own first write.
      const taken = outcome.row !== undefined && (outcome.applied || outcome.row.wakeAt === to.wakeAt);
      return taken ? { ...notification, attempts, wakeAt: to.wakeAt } : undefined;
    },

    remove,

    async due(
      until: number,
      cursor?: string,
    ): Promise<{
      readonly pending: readonly Pending[];
      readonly unreadable: readonly CodedError[];
      readonly cursor?: string | undefined;
    }> {
      const page = await table.queryIndex({
        partition: waiting,
        until,
        limit: limits.tablePageRows,
        ...defined({ cursor }),
      });
      const read = page.rows.map(readPending);
      return {
        pending: read.filter((one): one is Pending => !(one instanceof CodedError)),
        unreadable: read.filter((one): one is CodedError => one instanceof CodedError),
        cursor: page.cursor,
      };
    },

    async bury(notification: Notification, reason: string, at: number): Promise<void> {
      const expiresAt = Math.floor(at / 1000) + deadLetterSeconds;
      await table.putIfAbsent(
        letterKey(notification.id),
        formatted({ ...fieldsOf(notification), reason, at, expiresAt }),
      );
      await remove(notification.id);
    },

    async letters(request: { readonly after?: string | undefined; readonly size: number; readonly now: number }) {
      const page = await table.query({
        partition: dead,
        limit: request.size,
        ...defined({ after: request.after }),
      });
      const letters = page.rows.map(decodeLetter).filter(({ expiresAt }) => expiresAt * 1000 > request.now);
      return { letters, last: page.cursor === undefined ? undefined : page.rows.at(-1)?.sort };
    },

    async letter(id: string): Promise<DeadLetter | undefined> {
      const row = await table.get(letterKey(id));
      return row && decodeLetter(row);
    },

    async removeLetter(id: string): Promise<void> {
      await table.delete(letterKey(id));
    },
  };
}

function decodeLetter(row: Row): DeadLetter & { readonly expiresAt: number } {
  return { ...decodeRow(letterSchema, row), id: row.sort };
}

function fieldsOf({ channel, type, version, event, change, attempts }: Notification): Readonly<Record<string, Value>> {
  const { validation, ...rest } = event;
  const items = event.items.map((item) => definedOf({ ...item }));
  return {
    channel,
    type,
    version,
    event: { ...rest, items, ...(validation !== undefined && { validation: { ...validation } }) },
    attempts,
    ...(change !== undefined && { change: { ...change } }),
  };
}

/** A table takes nothing that is undefined. */
export function definedOf(fields: Readonly<Record<string, Value | undefined>>): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, Value] => entry[1] !== undefined));
}

/**
 * The id of a notification of an event of this moment: 15 digits, so that ids sort by it, and an id
 * that nobody else has.
 */
export function notificationId(at: number, newId: string): string {
  return `${String(at).padStart(15, '0')}-${newId}`;
}

const once = 'once-';

/**
 * The id of the notification of an event that a channel gets once, however many processes send it.
 */
export function onceId({ id, at }: Pick<InstanceEvent, 'id' | 'at'>, channel: string): string {
  return notificationId(at, once + createHash('sha256').update(`${id} ${channel}`).digest('hex').slice(0, 32));
}

const isToldOnce = (id: string) => id.slice(16).startsWith(once);

/** What a dead letter that is not there is answered with. */
export function noSuchLetter(id: string): CodedError {
  return new CodedError('instance_not_found', `there is no dead letter ${id} in this instance`);
}
