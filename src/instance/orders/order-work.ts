import { setMaxListeners } from 'node:events';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { CertificateRow } from '../certificates/certificate-row.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import type { Deliveries } from '../notifications/delivery.ts';
import { certificateCrn } from '../rows/crn.ts';
import { lanes } from '../rows/lane.ts';
import type { Authority } from './authority/authority.ts';
import type { OrderPolicy } from './order-policy.ts';
import type { Order, OrderProgress, OrderRows } from './order-rows.ts';
import { type OrderSteps, orderSteps, type StepsContext } from './order-steps.ts';
import { begun, type Orders } from './orders.ts';

const dayMs = 86_400_000;

export interface OrderWorkContext extends Omit<StepsContext, 'authority'> {
  /** The authority that issues here. Made when the first order is worked on. */
  readonly authority: () => Promise<Authority>;
  readonly release: Orders['release'];
  readonly rows: CertificateRows;
  readonly orderRows: OrderRows;
  readonly deliveries: Pick<Deliveries, 'announce' | 'publishValidation'>;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly policy: OrderPolicy;
}

/** Somebody else has taken the order over, or it is over. */
class NoLongerOurs extends Error {}

export interface OrderWork {
  /** Begins to work on an order, beside whatever else goes on. */
  readonly start: (order: Order) => void;
  /** Takes up what nobody works on: of commands, and of processes that have ended. */
  sweep(): Promise<void>;
  /**
   * Ends waits and requests. What is not done is due at once, for another process or the next
   * start.
   */
  close(): Promise<void>;
}

/**
 * Carries orders out. What has been done stands on the table, and how the order stands is asked of
 * the authority before each step: so a process that is killed is continued by the next one,
 * wherever it was. Of several processes one works on an order. What it comes to is one change of
 * the certificate, under the condition that the certificate still waits for this order; until then
 * nothing of it is touched.
 */
export function orderWork(context: OrderWorkContext): OrderWork {
  const { rows, orderRows, deliveries, release, runtime, log, policy, instanceCrn } = context;
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const underWay = new Map<string, Promise<void>>();
  const lane = lanes(limits.ordersAtOnce);
  let made: Promise<OrderSteps> | undefined;

  async function steps(): Promise<OrderSteps> {
    made ??= context.authority().then((authority) => orderSteps({ ...context, authority, signal: stop.signal }));
    try {
      return await made;
    } catch (error) {
      made = undefined;
      throw error;
    }
  }

  const factsOf = ({ id, kind, auto, domains }: Order) => ({
    instance: instanceCrn,
    certificate: id,
    kind,
    auto,
    domains,
  });

  /** Keeps what was done, and the order ours. */
  async function save(order: Order, progress: OrderProgress): Promise<Order> {
    const kept = await orderRows.save(order, progress, runtime.now() + policy.leaseMs);
    if (kept === undefined) throw new NoLongerOurs();
    return kept;
  }

  /** Works on an order until it is over or somebody else's. */
  async function work(first: Order): Promise<void> {
    let order: Order | undefined = first;
    while (order !== undefined && !stop.signal.aborted) {
      const known: Order = order;
      const outcome = await lane.run('orders', () => workOn(known));
      if (outcome === undefined) return;
      const held = await orderRows.hold(outcome.order, runtime.now() + outcome.waitMs + policy.leaseMs);
      if (held === undefined) return;
      order = held;
      await runtime.wait(outcome.waitMs, stop.signal).catch(() => {});
    }
    // Somebody else need not wait.
    if (order !== undefined) await orderRows.hold(order, runtime.now());
  }

  /** As far as one gets without waiting. Undefined if it is over, or no longer ours. */
  async function workOn(known: Order): Promise<{ readonly order: Order; readonly waitMs: number } | undefined> {
    const order = await orderRows.take(known, runtime.now() + policy.leaseMs);
    if (order === undefined) return undefined;
    const certificate = await rows.get(order.id);
    const waits = certificate !== undefined && (await stillWaits(order, certificate));
    let now = { order, progress: await progressOf(order) };
    try {
      if (!waits) return await finish(await withdrawn(now.order, now.progress));
      for (;;) {
        if (stop.signal.aborted) return { order: now.order, waitMs: 0 };
        const { advance, waitMs, issued } = await (await steps()).step(now.order, now.progress);
        if (issued !== undefined) {
          now.order = await withdrawn(now.order, now.progress);
          await bringIntoForce(now.order, issued);
          return await finish(now.order);
        }
        if (advance !== undefined) now = { order: await save(now.order, advance), progress: advance };
        if (waitMs === undefined) continue;
        // Only what would have to wait is overdue: what the authority has finished while nobody was
        // here is taken.
        if (runtime.now() - order.startedAt > policy.orderMs) {
          throw new CodedError('acme_overdue', `the order was not done after ${policy.orderMs / 60_000} minutes`);
        }
        return { order: now.order, waitMs };
      }
    } catch (thrown) {
      if (thrown instanceof NoLongerOurs) return undefined;
      if (stop.signal.aborted) return { order: now.order, waitMs: 0 };
      return await afterFailure(now.order, now.progress, asCodedError(thrown)).catch(unlessTakenOver);
    } finally {
      now.progress.privateKey?.wipe();
    }
  }

  /** What is kept of it; nothing, where that does not open: then the order is begun anew. */
  async function progressOf(order: Order): Promise<OrderProgress> {
    try {
      return await orderRows.progress(order);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.code !== 'sealed_unreadable' && error.code !== 'instance_content_unreadable') throw error;
      log('warn', 'instance_order_unreadable', { ...factsOf(order), ...errorFields(error) });
      return { challenges: [], failures: 0 };
    }
  }

  /**
   * Whether a certificate waits for this order. One whose maker was interrupted before it could say
   * so is made to.
   */
  async function stillWaits(order: Order, certificate: CertificateRow): Promise<boolean> {
    const { issuance } = certificate;
    if (issuance?.order === order.order) return issuance.status === 'pending';
    if ((await rows.alter(order.id, (row) => begun(order, row, runtime.now()))) !== undefined) return true;
    // Its maker may have been a moment faster.
    const now = await rows.get(order.id);
    return now?.issuance?.order === order.order && now.issuance.status === 'pending';
  }

  /** A failure that may pass is waited for; any other one is what the order has come to. */
  async function afterFailure(order: Order, progress: OrderProgress, error: CodedError) {
    const ownMs = Math.min(policy.longestWaitMs, policy.firstWaitMs * 2 ** progress.failures);
    const waitMs = Math.max(error.retryAfterMs ?? 0, Math.ceil(ownMs * (0.5 + runtime.random() / 2)));
    const inTime = runtime.now() + waitMs - order.startedAt <= policy.orderMs;
    log(error.entry.retry && inTime ? 'info' : 'warn', 'instance_order_step_failed', {
      ...factsOf(order),
      ...errorFields(error),
    });
    if (error.entry.retry && inTime) {
      return { order: await save(order, { ...progress, failures: progress.failures + 1 }), waitMs };
    }
    const last = await withdrawn(order, progress);
    await fail(last, error);
    return finish(last);
  }

  /** The order has come to a certificate: in force from here on, and told. */
  async function bringIntoForce(
    order: Order,
    { facts, pem, authority }: NonNullable<Awaited<ReturnType<OrderSteps['step']>>['issued']>,
  ): Promise<void> {
    const at = runtime.now();
    const judge = (row: CertificateRow) => requireWaiting(row, order);
    const further = (row: CertificateRow) => ({
      ...(row.issuance && { issuance: { ...row.issuance, status: 'valid', code: '', info: '' } as const }),
      authority,
      downloaded: false,
      issuedAt: at,
      // One that is due again at once (the authority's clock, or ours, is wrong) is not renewed all
      // the time.
      renewal: { failures: 0, retryAt: at + policy.retryRenewalMs },
      ...(order.kind === 'renewal' && { previousExpiresOn: row.expiresOn }),
    });
    const [type, extras] =
      order.kind === 'order'
        ? (['cert_issued', {}] as const)
        : (['cert_renewed', { auto_renewed: order.auto }] as const);
    const done = await deliveries
      .announce(type, (writeBefore) => rows.replaceContent(order.id, facts, pem, judge, writeBefore, further), extras)
      .catch(passOver);
    if (done === undefined) return;
    log('info', type === 'cert_issued' ? 'instance_certificate_issued' : 'instance_certificate_renewed', {
      ...factsOf(order),
      expires: new Date(facts.expiresOn).toISOString(),
    });
    audit(order, { outcome: 'success' });
  }

  /**
   * The order has come to nothing: the certificate says why, stays as it is otherwise, and that is
   * told.
   */
  async function fail(order: Order, error: CodedError): Promise<void> {
    const info = error.message.slice(0, limits.orderFailureCharacters);
    const at = runtime.now();
    const decide = (row: CertificateRow) => {
      if (row.issuance?.order !== order.order || row.issuance.status !== 'pending') return undefined;
      const failures = (row.renewal?.failures ?? 0) + 1;
      const { retryRenewalMs } = policy;
      // Of the time that is left a quarter at the most, or an hour.
      const soonEnoughMs = Math.max(retryRenewalMs, Math.floor((row.expiresOn - at) / 4));
      const ownMs = Math.min(retryRenewalMs * 4 ** (failures - 1), soonEnoughMs);
      const waitMs = Math.min(dayMs, Math.max(ownMs, error.retryAfterMs ?? 0));
      return {
        issuance: { ...row.issuance, status: 'failed', code: error.code, info } as const,
        ...(order.auto && { renewal: { failures, retryAt: at + waitMs } }),
      };
    };
    const [type, extras] =
      order.kind === 'order'
        ? (['cert_order_failed', { additional_info: info }] as const)
        : (['cert_renew_failed', { additional_info: info, auto_renewed: order.auto }] as const);
    await deliveries.announce(type, (writeBefore) => rows.alter(order.id, decide, writeBefore), extras);
    log('error', 'instance_order_failed', { ...factsOf(order), ...errorFields(error) });
    audit(order, { outcome: 'failure', code: error.code });
  }

  function audit(order: Order, outcome: { readonly outcome: string; readonly code?: string }): void {
    log('info', 'audit', {
      action: order.kind === 'order' ? 'cloudcerts.certificate.issued' : 'cloudcerts.certificate.renewed',
      initiator: 'instance',
      instance: instanceCrn,
      certificate: certificateCrn(instanceCrn, order.id),
      ...outcome,
    });
  }

  /**
   * Takes back what was published for it, while it is still under way: after its end the next one
   * may begin.
   */
  async function withdrawn(first: Order, progress: OrderProgress): Promise<Order> {
    let order = first;
    for (const [index, challenge] of progress.challenges.entries()) {
      await (await steps()).withdraw(order, challenge);
      order = await save(order, { ...progress, challenges: progress.challenges.slice(index + 1) });
    }
    return order;
  }

  /** Forgets it. */
  async function finish(order: Order): Promise<undefined> {
    if (order.kind === 'order') await release(order.domains, order.id);
    await orderRows.remove(order);
  }

  function start(order: Order): void {
    if (underWay.has(order.id) || stop.signal.aborted) return;
    const watched = work(order)
      .catch((thrown) =>
        log('error', 'instance_order_broken', { ...factsOf(order), ...errorFields(asCodedError(thrown)) }),
      )
      .finally(() => underWay.delete(order.id));
    underWay.set(order.id, watched);
  }

  return {
    start,

    async sweep(): Promise<void> {
      const { orders, unreadable } = await orderRows.due(runtime.now());
      for (const order of orders) start(order);
      for (const error of unreadable) {
        log('error', 'instance_row_unreadable', { instance: instanceCrn, ...errorFields(error) });
      }
    },

    async close(): Promise<void> {
      stop.abort();
      await Promise.all(underWay.values());
    },
  };
}

function requireWaiting(row: CertificateRow, { order }: Order): void {
  if (row.issuance?.order === order && row.issuance.status === 'pending') return;
  throw new CodedError('instance_order_over', `certificate ${row.id} no longer waits for this order`);
}

/** Nothing failed where another process goes on with the order. */
function unlessTakenOver(thrown: unknown): undefined {
  if (thrown instanceof NoLongerOurs) return undefined;
  throw thrown;
}

/** An order that is over already needs no other end. */
function passOver(thrown: unknown): undefined {
  if (thrown instanceof CodedError && thrown.code === 'instance_order_over') return undefined;
  throw thrown;
}
