import * as z from 'zod/mini';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import type { Key, Row, Table } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import type { Sealer } from '../rows/sealed-places.ts';

/**
 * One order or renewal that is under way: at most one for each certificate. Moments are epoch
 * milliseconds.
 */
export interface Order {
  /** Id of the certificate. */
  readonly id: string;
  /** Tells it from other orders of the certificate. */
  readonly order: string;
  readonly kind: 'order' | 'renewal';
  readonly auto: boolean;
  readonly rotateKeys: boolean;
  readonly domains: readonly string[];
  readonly startedAt: number;
  /** Tells who works on it from those who did before; until `wakeAt` nobody else takes it. */
  readonly holder: string;
  readonly wakeAt: number;
  /** What has been done, sealed. */
  readonly sealed?: string | undefined;
}

/**
 * What has been done of an order. It holds the private key of a certificate that is not there yet.
 */
export interface OrderProgress {
  /** Its address at the authority. */
  readonly url?: string | undefined;
  /** PKCS#8, PEM. */
  readonly privateKey?: Secret | undefined;
  /** Whether the certificate was asked for. */
  readonly finalized?: boolean | undefined;
  readonly challenges: readonly PublishedChallenge[];
  /** Attempts in a row that failed. */
  readonly failures: number;
}

/** A record that somebody was asked to publish. */
export interface PublishedChallenge {
  readonly url: string;
  readonly domain: string;
  readonly value: string;
  readonly publishedAt: number;
  readonly by: 'hook' | 'channel';
  /** Whether it was found in DNS. */
  readonly seen?: boolean | undefined;
  /** Whether the authority was told. */
  readonly answered: boolean;
}

const orderSchema = z.object({
  order: z.string(),
  kind: z.enum(['order', 'renewal']),
  auto: z.boolean(),
  rotateKeys: z.boolean(),
  domains: z.array(z.string()),
  startedAt: z.number(),
  holder: z.string(),
  wakeAt: z.number(),
  sealed: z.optional(z.string()),
});

const progressSchema = z.object({
  url: z.optional(z.string()),
  privateKey: z.optional(z.string()),
  finalized: z.optional(z.boolean()),
  challenges: z.array(
    z.object({
      url: z.string(),
      domain: z.string(),
      value: z.string(),
      publishedAt: z.number(),
      by: z.enum(['hook', 'channel']),
      seen: z.optional(z.boolean()),
      answered: z.boolean(),
    }),
  ),
  failures: z.number(),
});

export interface OrderRows {
  /** False if another one of the same certificate is under way. */
  put(order: Order): Promise<boolean>;
  get(id: string): Promise<Order | undefined>;
  /** Takes it until a moment. Undefined if somebody was faster, or it is over. */
  readonly take: (order: Order, until: number) => Promise<Order | undefined>;
  /**
   * Keeps what has been done, and holds it until another moment. Undefined if it is no longer ours.
   */
  save(order: Order, progress: OrderProgress, until: number): Promise<Order | undefined>;
  /** Holds it until another moment; one that has passed lets go of it. */
  readonly hold: (order: Order, until: number) => Promise<Order | undefined>;
  /**
   * What has been done of it; the caller wipes the private key. Throws
   * `instance_content_unreadable`.
   */
  progress(order: Order): Promise<OrderProgress>;
  remove(order: Order): Promise<void>;
  /**
   * Those that nobody holds at this moment, a page at the most; and why others cannot be read,
   * which hold up no other.
   */
  due(until: number): Promise<{
    readonly orders: readonly Order[];
    readonly unreadable: readonly CodedError[];
  }>;
}

/**
 * The orders of one instance that are under way, on the table: they outlive the process, and one
 * process works on each.
 */
export function orderRows(context: {
  readonly table: Table;
  readonly sealer: Sealer;
  readonly runtime: Runtime;
  readonly instanceCrn: string;
}): OrderRows {
  const { table, sealer, runtime, instanceCrn } = context;
  const partition = partitionOf(instanceCrn, 'order');
  const keyOf = (id: string): Key => ({ partition, sort: id });
  const decode = (row: Row): Order => ({ id: row.sort, ...decodeRow(orderSchema, row) });
  const placeOf = ({ id, order }: Order) => ({ certificate: id, field: 'order', version: order });

  /** An update by its holder. Undefined if another one holds it by now. */
  async function held(
    { id, holder }: Order,
    set: { readonly holder?: string; readonly wakeAt: number; readonly sealed?: string },
  ): Promise<Order | undefined> {
    const outcome = await table.update(keyOf(id), { set }, { field: 'holder', is: '=', to: holder });
    // A table that asks again after a lost answer is refused by its own first write.
    const ours = outcome.row !== undefined && (outcome.applied || outcome.row.holder === set.holder);
    return ours && outcome.row !== undefined ? decode(outcome.row) : undefined;
  }

  return {
    async put(order: Order): Promise<boolean> {
      const { id, ...fields } = order;
      const { sealed: _, domains, ...rest } = fields;
      const outcome = await table.putIfAbsent(keyOf(id), formatted({ ...rest, domains: [...domains] }));
      return outcome.applied || outcome.row?.order === order.order;
    },

    async get(id: string): Promise<Order | undefined> {
      const row = await table.get(keyOf(id));
      return row && decode(row);
    },

    take: (order: Order, until: number): Promise<Order | undefined> =>
      held(order, { holder: runtime.newId(), wakeAt: until }),

    async save(order: Order, progress: OrderProgress, until: number): Promise<Order | undefined> {
      const { privateKey, challenges, ...rest } = progress;
      const kept = { ...rest, challenges, ...(privateKey !== undefined && { privateKey: privateKey.reveal() }) };
      const bytes = Buffer.from(JSON.stringify(kept));
      try {
        return await held(order, { wakeAt: until, sealed: await sealer.seal(placeOf(order), bytes) });
      } finally {
        bytes.fill(0);
      }
    },

    hold: (order: Order, until: number): Promise<Order | undefined> => held(order, { wakeAt: until }),

    async progress(order: Order): Promise<OrderProgress> {
      if (order.sealed === undefined) return { challenges: [], failures: 0 };
      const bytes = Buffer.from(await sealer.open(placeOf(order), order.sealed));
      try {
        const parsed = z.safeParse(progressSchema, JSON.parse(bytes.toString()));
        if (parsed.success) {
          const { privateKey, ...rest } = parsed.data;
          return { ...rest, ...(privateKey !== undefined && { privateKey: new Secret(privateKey) }) };
        }
      } catch {
        // The message of the syntax error quotes what it read: perhaps a private key.
      } finally {
        bytes.fill(0);
      }
      throw new CodedError(
        'instance_content_unreadable',
        `what is kept of the order of certificate ${order.id} is none`,
      );
    },

    async remove({ id, order }: Order): Promise<void> {
      await table.delete(keyOf(id), { field: 'order', is: '=', to: order });
    },

    async due(
      until: number,
    ): Promise<{ readonly orders: readonly Order[]; readonly unreadable: readonly CodedError[] }> {
      const orders: Order[] = [];
      const unreadable: CodedError[] = [];
      for (const row of (await table.queryIndex({ partition, until, limit: limits.tablePageRows })).rows) {
        try {
          orders.push(decode(row));
        } catch (thrown) {
          unreadable.push(asCodedError(thrown));
        }
      }
      return { orders, unreadable };
    },
  };
}
