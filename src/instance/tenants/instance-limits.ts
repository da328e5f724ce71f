import { CodedError } from '../../errors.ts';
import type { Table } from '../../table/table.ts';
import { partitionOf } from '../rows/partitions.ts';
import { type RateLimit, rateLimit } from '../rows/rate.ts';

/**
 * What one instance takes. The defaults are Certificate Manager's own (its documentation, "Known
 * limits").
 */
export interface InstanceLimits {
  /** Certificates in the instance. */
  readonly certificates: number;
  /** Reimports of one certificate in a minute. */
  readonly reimportsPerMinute: number;
  /** Changes of name or description of one certificate in a minute. */
  readonly updatesPerMinute: number;
  /** Orders in a minute, and in an hour; renewals that somebody asks for are counted apart. */
  readonly ordersPerMinute: number;
  readonly ordersPerHour: number;
  /** Orders for one set of domains in a week; renewals that somebody asks for are counted apart. */
  readonly ordersPerDomainsPerWeek: number;
  /** Changes of the order policy of one certificate in a minute. */
  readonly policyUpdatesPerMinute: number;
  /** Channels made in a minute. */
  readonly channelCreatesPerMinute: number;
  /** Changes of one channel in a minute. */
  readonly channelUpdatesPerMinute: number;
  /** Tests of one channel in a second. */
  readonly channelTestsPerSecond: number;
}

const certificateManagerLimits: InstanceLimits = {
  certificates: 1000,
  reimportsPerMinute: 5,
  updatesPerMinute: 5,
  ordersPerMinute: 5,
  ordersPerHour: 100,
  ordersPerDomainsPerWeek: 5,
  policyUpdatesPerMinute: 5,
  channelCreatesPerMinute: 5,
  channelUpdatesPerMinute: 5,
  channelTestsPerSecond: 1,
};

export type LimitOptions = Partial<InstanceLimits> | 'none';

/**
 * The limits in force: Certificate Manager's with these changes, or none at all. Throws
 * `configuration_invalid`.
 */
export function resolveLimits(options: LimitOptions = {}): InstanceLimits {
  const names = Object.keys(certificateManagerLimits) as (keyof InstanceLimits)[];
  if (options === 'none') {
    return Object.fromEntries(names.map((name) => [name, Number.POSITIVE_INFINITY])) as unknown as InstanceLimits;
  }
  const resolved = { ...certificateManagerLimits, ...options };
  for (const name of names) {
    const value = resolved[name];
    if (value !== Number.POSITIVE_INFINITY && !(Number.isInteger(value) && value >= 1)) {
      throw new CodedError('configuration_invalid', `the limit ${name} is not a whole number of at least 1`);
    }
  }
  return resolved;
}

/**
 * The rate limits of one instance, each counted by its own key. `take` throws `instance_limited`
 * with the time to wait.
 */
export interface InstanceRates {
  readonly reimport: Taker;
  readonly update: Taker;
  /** The key is `order` or `renewal`. */
  readonly order: Taker;
  readonly orderPolicy: Taker;
  readonly channelCreate: Taker;
  readonly channelUpdate: Taker;
  readonly channelTest: Taker;
}
type Taker = (key: string) => Promise<void>;

/** The rates of one instance, counted on its table: for all processes together. */
export function instanceRates(context: {
  readonly limits: InstanceLimits;
  readonly table: Table;
  readonly instanceCrn: string;
  readonly now: () => number;
}): InstanceRates {
  const { limits, table, instanceCrn, now } = context;
  const minute = 60_000;
  const partition = partitionOf(instanceCrn, 'rate');
  const taker = (name: string, what: string, count: number, windowMs: number) =>
    takeOrRefuse(rateLimit({ table, partition, name, count, windowMs, now }), what, count, windowMs);
  const orders = 'orders, and as many renewals,';
  const orderInMinute = taker('order-minute', orders, limits.ordersPerMinute, minute);
  const orderInHour = taker('order-hour', orders, limits.ordersPerHour, 60 * minute);
  return {
    reimport: taker('reimport', 'reimports of one certificate', limits.reimportsPerMinute, minute),
    update: taker('update', 'updates of one certificate', limits.updatesPerMinute, minute),
    async order(key) {
      await orderInHour(key);
      await orderInMinute(key);
    },
    orderPolicy: taker('order-policy', 'changes of one order policy', limits.policyUpdatesPerMinute, minute),
    channelCreate: taker('channel-create', 'new channels', limits.channelCreatesPerMinute, minute),
    channelUpdate: taker('channel-update', 'updates of one channel', limits.channelUpdatesPerMinute, minute),
    channelTest: taker('channel-test', 'tests of one channel', limits.channelTestsPerSecond, 1000),
  };
}

function takeOrRefuse(rate: RateLimit, what: string, count: number, windowMs: number): Taker {
  return async (key) => {
    const retryAfterMs = await rate.take(key === '' ? 'all' : key);
    if (retryAfterMs === 0) return;
    const message = `at most ${count} ${what} in ${windowMs / 1000} s are taken`;
    throw new CodedError('instance_limited', message, { fields: { retryAfterMs } });
  };
}
