import { asCodedError, CodedError } from '../../errors.ts';
import type { Keyring, KeyringStatus } from '../../keys/keyring.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { Table } from '../../table/table.ts';
import { certificateRows, wasChanged } from '../certificates/certificate-rows.ts';
import { secretGroups } from '../certificates/secret-groups.ts';
import { secretNames } from '../certificates/secret-names.ts';
import { type Calendar, calendar } from '../notifications/calendar.ts';
import { channels } from '../notifications/channels.ts';
import { deadLetters } from '../notifications/dead-letters.ts';
import { delivery } from '../notifications/delivery.ts';
import { type DeliveryPolicy, defaultDeliveryPolicy } from '../notifications/delivery-attempts.ts';
import { notificationRows } from '../notifications/notification-rows.ts';
import { createPoster } from '../notifications/post.ts';
import { type Ordering, type OrderingOptions, ordering } from '../orders/ordering.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import { type InstanceOptions, knownApiKeys, openInstance } from '../tenants/instance.ts';
import type { LimitOptions } from '../tenants/instance-limits.ts';
import type { InstanceRegistry, KeptApiKey } from '../tenants/registry.ts';
import { type CertificateUpkeep, certificateUpkeep } from '../upkeep/certificate-upkeep.ts';
import { eraseWhatIsDue } from '../upkeep/erasure.ts';
import { type DailySnapshots, dailySnapshots, type SnapshotOptions } from '../upkeep/snapshot-folder.ts';
import { certificates } from './certificates.ts';
import { callersOf, type FindCaller, type TokenKeyOf } from './iam.ts';
import { repository } from './repository.ts';
import type { Tenant } from './routes.ts';
import { secrets } from './secrets-manager/secrets.ts';

/** A keyring as an instance uses it, as its health is told by, and as its erasure destroys it. */
export type InstanceKeyring = Sealer & Pick<Keyring, 'status' | 'destroy'>;

export interface ServedOptions {
  /** Instances that are there whatever the registry says. */
  readonly instances: readonly InstanceOptions[];
  /** Where further instances are kept, and come and go while the server runs. */
  readonly registry?: InstanceRegistry;
  readonly table: Table;
  /** The keyring of an instance. Asked once for each. */
  readonly keyringOf: (instanceCrn: string) => InstanceKeyring;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly limits?: LimitOptions | undefined;
  readonly delivery?: Partial<DeliveryPolicy> | undefined;
  readonly ordering?: OrderingOptions | undefined;
  /** Where instances of the registry get a snapshot each day. */
  readonly snapshots?: SnapshotOptions | undefined;
}

/** How often the registry is looked at, and an instance that could not be opened is tried again. */
const refreshMs = 1_000;
/** How often rows that interrupted imports have left behind are removed. */
const tidyMs = 24 * 3_600_000;
/** How often it is asked whether a new day has begun, or it is time to look for renewals. */
const noticesMs = 60_000;
/** How long a daily snapshot that failed is not tried again. */
const snapshotPauseMs = 900_000;
/**
 * How often orders are taken up that nobody works on: those of commands, and of processes that have
 * ended.
 */
const ordersMs = 5_000;
/** How often certificates are looked for that are to be renewed by themselves. */
const renewalsMs = 900_000;

interface ServedTenant extends Tenant {
  readonly upkeep: CertificateUpkeep;
  readonly calendar: Calendar;
  readonly ordering: Ordering;
  /** Absent where none are kept. */
  readonly snapshots?: DailySnapshots | undefined;
}

export interface ServedInstances {
  /** Undefined if there is none. Throws why one that is there cannot be served yet. */
  tenant(instanceCrn: string): Tenant | undefined;
  /** CRN of the instance with this GUID, if it is served. */
  byGuid(guid: string): string | undefined;
  readonly find: FindCaller;
  readonly tokenKeyOf: TokenKeyOf;
  /** How many are served, and how many are there and cannot be served yet. */
  counts(): { readonly served: number; readonly waiting: number };
  /** How each keyring is that is in use. */
  keyrings(): readonly KeyringStatus[];
  close(): Promise<void>;
}

/**
 * The instances of a server, each with everything that works for it. Those of the registry are
 * taken up within about a second after they, or their API keys, changed. One whose table or root
 * key does not answer is asked again; the others are served meanwhile. Throws
 * `configuration_invalid`.
 */
export async function servedInstances(options: ServedOptions): Promise<ServedInstances> {
  const { instances: fixed, runtime, log, registry } = options;
  const stop = new AbortController();
  const tenants = new Map<string, ServedTenant>();
  const failures = new Map<string, CodedError>();
  const keyrings = new Map<string, InstanceKeyring>();
  const fixedKeys = fixed.map((instance) => ({ crn: instance.crn, apiKeys: knownApiKeys(instance) }));
  let wanted: readonly InstanceOptions[] = fixed;
  let callers = callersOf(fixedKeys);
  let revision: number | undefined;
  let outOfTouch = false;

  for (const [index, { crn }] of fixed.entries()) {
    if (fixed.findIndex((other) => other.crn === crn) < index)
      throw new CodedError('configuration_invalid', `two instances have the CRN ${crn}`);
  }

  async function open(instance: InstanceOptions): Promise<void> {
    const { crn } = instance;
    try {
      const keyring = keyrings.get(crn) ?? options.keyringOf(crn);
      keyrings.set(crn, keyring);
      const isKept = !fixed.includes(instance);
      tenants.set(crn, await openTenant(instance, keyring, isKept ? options : { ...options, snapshots: undefined }));
      if (failures.delete(crn)) log('info', 'instance_open', { instance: crn });
    } catch (thrown) {
      const failure = asCodedError(thrown);
      if (failure.code === 'configuration_invalid') throw failure;
      if (failures.get(crn)?.code !== failure.code) {
        log('error', 'instance_not_open', { instance: crn, ...errorFields(failure) });
      }
      failures.set(crn, failure);
    }
  }

  /** What the registry says now, if it says something new. */
  async function readRegistry(from: InstanceRegistry): Promise<void> {
    const current = await from.revision();
    if (current === revision) return;
    const kept = (await from.list()).filter(
      ({ crn, deletedAt }) => deletedAt === undefined && !fixed.some((instance) => instance.crn === crn),
    );
    const keptKeys = await Promise.all(kept.map(async ({ crn }) => ({ crn, apiKeys: await readableKeys(from, crn) })));
    wanted = [...fixed, ...kept.map((instance) => ({ ...instance, apiKeys: [] }))];
    callers = callersOf([...fixedKeys, ...keptKeys]);
    revision = current;
  }

  /**
   * Where one of its keys is damaged, nobody has access to that instance until it is mended; to all
   * others they have.
   */
  async function readableKeys(from: InstanceRegistry, crn: string): Promise<readonly KeptApiKey[]> {
    try {
      return await from.keys(crn);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.code !== 'table_row_unreadable') throw thrown;
      log('error', 'instance_api_keys_unread', { instance: crn, ...errorFields(error) });
      return [];
    }
  }

  async function refresh(): Promise<void> {
    try {
      if (registry !== undefined) await readRegistry(registry);
      outOfTouch = false;
    } catch (thrown) {
      if (!outOfTouch) log('error', 'instance_registry_unread', errorFields(asCodedError(thrown)));
      outOfTouch = true;
    }
    await Promise.all(unwanted().map(closeRoom));
    await Promise.all(wanted.filter(({ crn }) => !tenants.has(crn)).map(open));
  }

  /** What was deleted since. */
  function unwanted(): readonly string[] {
    return [...tenants.keys(), ...failures.keys()].filter((crn) => !wanted.some((instance) => instance.crn === crn));
  }

  /**
   * It answers as gone at once; what it had under way is ended, and what was on its way stays on
   * the table.
   */
  async function closeRoom(crn: string): Promise<void> {
    const tenant = tenants.get(crn);
    tenants.delete(crn);
    failures.delete(crn);
    keyrings.delete(crn);
    await tenant?.ordering.work.close();
    await tenant?.deliveries.close();
    if (tenant !== undefined) log('info', 'instance_closed', { instance: crn });
  }

  /** One instance that fails holds up no other. */
  const inEveryTenant = async (work: (tenant: ServedTenant) => Promise<unknown>) => {
    const outcomes = await Promise.allSettled([...tenants.values()].map(work));
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') {
        log('error', 'instance_task_failed', errorFields(asCodedError(outcome.reason)));
      }
    }
  };
  const tidy = () =>
    inEveryTenant(async ({ upkeep, instance }) => {
      const removed = await upkeep.tidy(stop.signal);
      if (removed > 0) log('info', 'instance_tidied', { instance: instance.crn, removed });
    });
  const lookAtCalendar = () => inEveryTenant((tenant) => tenant.calendar.run(stop.signal));
  const takeUpOrders = () => inEveryTenant((tenant) => tenant.ordering.work.sweep());
  let renewalsLookedAt = Number.NEGATIVE_INFINITY;
  const renewByThemselves = async () => {
    if (runtime.now() - renewalsLookedAt < renewalsMs) return;
    renewalsLookedAt = runtime.now();
    await inEveryTenant((tenant) => tenant.ordering.renewal.run());
  };

  let snapshotsNotBefore = Number.NEGATIVE_INFINITY;
  const takeSnapshots = async () => {
    if (runtime.now() < snapshotsNotBefore) return;
    const takeOne = async (tenant: ServedTenant) => {
      try {
        await tenant.snapshots?.run(stop.signal);
      } catch (thrown) {
        snapshotsNotBefore = runtime.now() + snapshotPauseMs;
        throw thrown;
      }
    };
    await inEveryTenant(takeOne);
  };
  const erase = async () => {
    if (registry === undefined) return;
    const isServed = (crn: string) => tenants.has(crn);
    await eraseWhatIsDue({ ...options, registry, snapshotFolder: options.snapshots?.folder, isServed });
  };

  await refresh();
  const tasks = [
    repeat(noticesMs, takeSnapshots, { runtime, log, signal: stop.signal }),
    repeat(noticesMs, erase, { runtime, log, signal: stop.signal }),
    takeUpOrders().then(() => repeat(ordersMs, takeUpOrders, { runtime, log, signal: stop.signal })),
    repeat(noticesMs, renewByThemselves, { runtime, log, signal: stop.signal }),
    repeat(refreshMs, refresh, { runtime, log, signal: stop.signal }),
    repeat(noticesMs, lookAtCalendar, { runtime, log, signal: stop.signal }),
    repeat(tidyMs, tidy, { runtime, log, signal: stop.signal }),
  ];
  return {
    tenant(crn) {
      const failure = failures.get(crn);
      if (failure !== undefined) throw failure;
      return tenants.get(crn);
    },
    byGuid: (guid) => [...tenants.keys()].find((crn) => crn.split(':')[7] === guid),
    find: (hash) => callers.get(hash),
    tokenKeyOf: (crn) => tenants.get(crn)?.instance.tokenKey,
    counts: () => ({ served: tenants.size, waiting: failures.size + Number(outOfTouch) }),
    keyrings: () => [...keyrings.values()].map((keyring) => keyring.status()),
    async close() {
      stop.abort();
      await Promise.all(tasks);
      await Promise.all([...tenants.values()].map((tenant) => tenant.ordering.work.close()));
      await Promise.all([...tenants.values()].map(({ deliveries }) => deliveries.close()));
    },
  };
}

/**
 * Does it again and again, with this pause before, until the signal. A failure is logged, and does
 * not end it.
 */
async function repeat(
  pauseMs: number,
  work: () => Promise<void>,
  { runtime, log, signal }: { readonly runtime: Runtime; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  for (;;) {
    await runtime.wait(pauseMs, signal).catch(() => {});
    if (signal.aborted) return;
    await work().catch((thrown) => log('error', 'instance_task_failed', errorFields(asCodedError(thrown))));
  }
}

async function openTenant(options: InstanceOptions, sealer: Sealer, context: ServedOptions): Promise<ServedTenant> {
  const { table, runtime, log } = context;
  const policy = { ...defaultDeliveryPolicy, ...context.delivery };
  const instance = await openInstance(options, { now: runtime.now, limits: context.limits, table, sealer });
  const itsChannels = channels({ instance, table, runtime });
  const shared = { table, sealer, runtime, log, instanceCrn: instance.crn };
  const rows = certificateRows(shared);
  const notifications = notificationRows(shared);
  const deliveries = delivery({
    instance,
    channels: itsChannels,
    rows: notifications,
    poster: createPoster({
      allowed: { loopback: instance.allowLoopbackChannels, private: instance.allowPrivateChannels },
      now: runtime.now,
    }),
    changed: (type, change) => wasChanged(rows, type, change),
    runtime,
    log,
    policy,
  });
  const { announce } = deliveries;
  const tenantOrdering = ordering({ ...shared, instance, rows, deliveries, options: context.ordering ?? {} });
  return {
    instance,
    orders: tenantOrdering.orders,
    ordering: tenantOrdering,
    certificates: certificates({
      ...{ instance, rows, now: runtime.now, announce },
      renewsForReal: context.ordering?.acme !== undefined,
    }),
    secrets: secrets({
      ...{ instance, rows, runtime, announce },
      names: secretNames({ table, instanceCrn: instance.crn, now: runtime.now, get: rows.get }),
      groups: secretGroups({ table, instanceCrn: instance.crn, runtime }),
      renewsForReal: context.ordering?.acme !== undefined,
    }),
    channels: itsChannels,
    deliveries,
    deadLetters: deadLetters({ rows: notifications, channels: itsChannels, deliveries, now: runtime.now }),
    repository: repository({ rows, now: runtime.now }),
    upkeep: certificateUpkeep({ ...shared, rows }),
    calendar: calendar({ ...shared, rows, deliveries }),
    snapshots: context.snapshots && dailySnapshots({ ...shared, options: context.snapshots }),
  };
}
