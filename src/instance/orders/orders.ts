import { CodedError, type ErrorCode } from '../../errors.ts';
import type { Runtime } from '../../runtime.ts';
import type { Table } from '../../table/table.ts';
import { type CertificateRow, type Issuance, isIssued } from '../certificates/certificate-row.ts';
import type { CertificateRows, FurtherFields } from '../certificates/certificate-rows.ts';
import { memberOf, objectOf, optionalBoolean } from '../rows/fields.ts';
import type { Instance } from '../tenants/instance.ts';
import { orderDomains } from './order-domains.ts';
import { parseOrder } from './order-request.ts';
import type { Order, OrderRows } from './order-rows.ts';
import { isDue } from './renewal-due.ts';

/**
 * What the row of a certificate says once its order has begun, or undefined if it is not to be
 * begun any more: it has been already, or is an automatic renewal that somebody else has made
 * meanwhile.
 */
export function begun(order: Order, row: CertificateRow, nowMs: number): FurtherFields | undefined {
  // A process that took it over from a maker that was held up has begun it already, and perhaps
  // ended it.
  if (row.issuance?.order === order.order) return undefined;
  if (order.auto && !isDue(row, nowMs)) return undefined;
  return { issuance: pending(order), rotateKeys: order.rotateKeys };
}

function pending({ order, auto, startedAt }: Order): Issuance {
  return { order, status: 'pending', code: '', info: '', auto, orderedOn: startedAt };
}

/**
 * How often, and after how long each time, it is seen whether an order that has ended is forgotten.
 */
const endings = 20;
const endingMs = 50;

function running(id: string): CodedError {
  return new CodedError('instance_order_running', `certificate ${id} is being ordered or renewed already`);
}

/** How long a new order is its maker's, who writes what belongs to it. */
const makingMs = 60_000;

export interface Orders {
  /** Lets others order these domains again. */
  readonly release: (domains: readonly string[], id: string) => Promise<void>;
  /** Body: see order-request.ts. Answers the certificate that is to be. */
  order(body: unknown): Promise<CertificateRow>;
  /** Body: `{rotate_keys}`, false if absent. */
  renew(id: string, body: unknown): Promise<CertificateRow>;
  /** Body: `{auto_renew_enabled}`; clients leave it out where they mean false. */
  policy(
    id: string,
    body: unknown,
  ): Promise<{
    readonly auto_renew_enabled: boolean;
  }>;
  /**
   * Begins a renewal that is due by itself, if it still is, with the key that the last one had: the
   * same, or a new one. True if it did.
   */
  renewByItself(found: CertificateRow): Promise<boolean>;
}

/**
 * Orders and renewals of one instance as they are asked for; order-work.ts carries them out. `work`
 * is called with each that has begun; without it a server of the same table takes them up within
 * seconds. They throw `instance_not_found`, `instance_not_ordered`, `instance_order_running`,
 * `instance_limited`, `instance_full` and `instance_request_invalid`; nothing is begun then.
 */
export function orders(context: {
  readonly instance: Pick<Instance, 'crn' | 'limits' | 'rates'>;
  readonly rows: CertificateRows;
  readonly orderRows: OrderRows;
  readonly table: Table;
  readonly runtime: Runtime;
  readonly hasHook: boolean;
  readonly work?: (order: Order) => void;
}): Orders {
  const { instance, rows, orderRows, table, runtime, hasHook, work } = context;
  const domains = orderDomains({
    table,
    instanceCrn: instance.crn,
    now: runtime.now,
    perWeek: instance.limits.ordersPerDomainsPerWeek,
    isRunning: async (id) => (await orderRows.get(id)) !== undefined,
  });

  function newOrder(given: Pick<Order, 'id' | 'kind' | 'auto' | 'rotateKeys' | 'domains'>): Order {
    const startedAt = runtime.now();
    return { ...given, order: runtime.newId(), startedAt, holder: runtime.newId(), wakeAt: startedAt + makingMs };
  }

  /** Hands a new order over to the process that carries it out. */
  async function handOver(order: Order): Promise<void> {
    if (work !== undefined) work(order);
    else await orderRows.hold(order, runtime.now());
  }

  async function ordered(id: string): Promise<CertificateRow> {
    const row = await rows.get(id);
    if (row === undefined) {
      throw new CodedError('instance_not_found', `there is no certificate ${id} in this instance`);
    }
    if (row.imported !== false)
      throw new CodedError('instance_not_ordered', `certificate ${id} was imported, not ordered`);
    return row;
  }

  /**
   * Begins a renewal, or orders again what was never issued. Undefined if there is no reason to any
   * more.
   */
  async function renew(
    row: CertificateRow,
    how: { auto: boolean; rotateKeys: boolean },
  ): Promise<CertificateRow | undefined> {
    const kind = isIssued(row) ? 'renewal' : 'order';
    const order = newOrder({ id: row.id, kind, domains: row.domains, ...how });
    for (let attempt = 1; !(await orderRows.put(order)); attempt++) {
      // One that has just come to its end is about to be forgotten.
      if (attempt === endings || (await rows.get(row.id))?.issuance?.status === 'pending') throw running(row.id);
      await runtime.wait(endingMs);
    }
    const after = await rows.alter(row.id, (now) => begun(order, now, runtime.now()));
    if (after !== undefined) {
      await handOver(order);
      return after;
    }
    const now = await rows.get(row.id);
    if (now?.issuance?.order === order.order) return now;
    await orderRows.remove(order);
    return undefined;
  }

  /**
   * The certificate as it is; if it waits for an order that nobody knows of, that has failed. Such
   * a one comes from a snapshot that missed it, or had a maker that was held up for so long that a
   * sweep dropped it.
   */
  async function withoutLost(row: CertificateRow): Promise<CertificateRow> {
    const { id, issuance } = row;
    if (issuance?.status !== 'pending' || runtime.now() - issuance.orderedOn <= makingMs) return row;
    if ((await orderRows.get(id)) !== undefined) return row;
    const info = 'nothing is known any more of this order, so nobody works on it';
    const failed = { ...issuance, status: 'failed', code: 'instance_order_lost' satisfies ErrorCode, info } as const;
    const isStill = (now: CertificateRow) =>
      now.issuance?.order === issuance.order && now.issuance.status === 'pending';
    const after = await rows.alter(id, (now) => (isStill(now) ? { issuance: failed } : undefined));
    return after ?? (await rows.get(id)) ?? row;
  }

  return {
    release: domains.release,

    async order(body: unknown): Promise<CertificateRow> {
      const request = parseOrder(body, { hasHook });
      await instance.rates.order('order');
      const id = runtime.newId().replaceAll('-', '').toLowerCase();
      await domains.count('orders', request.domains, id);
      const order = newOrder({ id, kind: 'order', auto: false, rotateKeys: false, domains: request.domains });
      // First: an order without a certificate is dropped, and a certificate without its order would
      // wait for ever.
      await orderRows.put(order);
      const entry = { ...request, imported: false, rotateKeys: false, downloaded: false, issuance: pending(order) };
      const row = await rows.reserve({ id, ...entry }, instance.limits.certificates).catch(async (error: unknown) => {
        if (error instanceof CodedError && error.entry.applied === 'no') {
          await orderRows.remove(order);
          await domains.release(request.domains, id);
        }
        throw error;
      });
      // Where that took so long that a sweep has dropped it, it is there again.
      await orderRows.put(order);
      await handOver(order);
      return row;
    },

    async renew(id: string, body: unknown): Promise<CertificateRow> {
      const rotateKeys = optionalBoolean(objectOf(body), 'rotate_keys') ?? false;
      const row = await withoutLost(await ordered(id));
      if (row.issuance?.status === 'pending') throw running(id);
      await instance.rates.order('renewal');
      await domains.count('renewals', row.domains, id);
      const after = await renew(row, { auto: false, rotateKeys });
      if (after === undefined) {
        throw new CodedError('instance_not_found', `there is no certificate ${id} in this instance`);
      }
      return after;
    },

    async policy(id: string, body: unknown): Promise<{ readonly auto_renew_enabled: boolean }> {
      const fields = objectOf(body);
      const autoRenew =
        memberOf(fields, 'auto_renew_enabled') === undefined ? false : optionalBoolean(fields, 'auto_renew_enabled');
      await ordered(id);
      await instance.rates.orderPolicy(id);
      const after = await rows.alter(id, () => ({ autoRenew: autoRenew ?? false }));
      return { auto_renew_enabled: after?.autoRenew ?? false };
    },

    async renewByItself(found: CertificateRow): Promise<boolean> {
      const row = found.autoRenew === true ? await withoutLost(found) : found;
      if (!isDue(row, runtime.now())) return false;
      try {
        return (await renew(row, { auto: true, rotateKeys: row.rotateKeys ?? false })) !== undefined;
      } catch (error) {
        if (error instanceof CodedError && error.code === 'instance_order_running') return false;
        throw error;
      }
    },
  };
}
