import type { CertificateContent } from '../../src/certificate/certificate.ts';
import type { Dispatch } from '../../src/dispatch/dispatch.ts';
import { inProcessDispatch } from '../../src/dispatch/in-process.ts';
import { asCodedError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { identityRecords } from '../../src/records/identity-records.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { quotaRecords } from '../../src/records/quota-records.ts';
import type { Link } from '../../src/replication/link.ts';
import { isAskedReconcileDue } from '../../src/replication/reconcile/asked.ts';
import { resolveHints } from '../../src/replication/resolve-hints.ts';
import { statusOf } from '../../src/replication/status.ts';
import { defaultTiming } from '../../src/replication/timing.ts';
import type { Runtime } from '../../src/runtime.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { identifiedStore } from '../../src/store/identified.ts';
import { limitedStore } from '../../src/store/limited.ts';
import { wholeMark } from '../../src/store/mark.ts';
import { quotaStore } from '../../src/store/quota.ts';
import type { Store, StoreAbilities } from '../../src/store/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { allowedAtOnce, differing, scarce } from './brake-bounds.ts';
import { type FaultSource, startProcess, storeFrom, tableFrom } from './faults.ts';
import type { Pool } from './pool.ts';
import { noting } from './record-states.ts';
import { type Route, wayBack } from './routes.ts';
import { eventOf, type Floods, meantBy, type Told, tellOtherwise, timingOf, withoutTold } from './senders.ts';
import { type SimulatedStore, simulatedStore } from './simulated-store.ts';
import { type Switch, switchesOf } from './switches.ts';
import { allBefore, now, rollout } from './versions.ts';
import { seededRandom, virtualTime } from './virtual-time.ts';

/** A certificate as the journal has it: another primary may have one of the same id. */
export const inJournal = (link: string, certificate: string) =>
  link === linkName ? certificate : `${link} ${certificate}`;

const startMs = Date.UTC(2026, 0, 1);
const linkName = 'main';
export const reconcileEveryMs = 3_600_000;
const sweepEveryMs = 60_000;
/**
 * How long a page of a slow listing takes: one request, and nobody waits for one longer than half a
 * minute.
 */
const pageMs = (share: number) => Math.min(28_000, 15_000 + share * 20_000);
/** How long a proven identity is good for, where there is one. */
export const identityEveryMs = 60_000;
/**
 * From the reads of a pass to the effect of its last write: a lease, the longest stall, and what a
 * store may take to settle.
 */
export const onItsWayMs = 10 * 60_000;

/** What was acknowledged, and what was looked at: promise 1 compares them. */
export interface Journal {
  readonly acknowledged: { readonly certificate: string; readonly at: number }[];
  readonly looks: { readonly certificate: string; readonly at: number }[];
  /** When complete reconciles began, by link. */
  readonly reconciles: { readonly link: string; readonly at: number }[];
  readonly trace: string[];
}

export interface WorldOptions {
  readonly seed: number;
  readonly pool: Pool;
  readonly withReconcile: boolean;
  readonly keepTrace: boolean;
  /** For how long there are changes and faults, in milliseconds. */
  readonly troubleMs: number;
  /** What the stores and their people are like; absent: as the seed says. */
  readonly switches?: ReadonlySet<Switch> | undefined;
  /** All processes are of the version before, whatever the switches. */
  readonly allBefore?: boolean;
}

export type World = ReturnType<typeof makeWorld>;

/** One link, its stores, a table, and processes that come and go: everything from one seed. */
export function makeWorld({ seed, pool, withReconcile, keepTrace, troubleMs, ...options }: WorldOptions) {
  const switches = options.switches ?? switchesOf(seed);
  const dice = seededRandom(seed ^ 0x2545f491);
  const sometimes = (name: Switch, share: number) => switches.has(name) && dice() < share;
  /**
   * Whether a switch is on of which the version before knows nothing: never in a world where its
   * workers are.
   */
  const isNew = (name: Switch) => switches.has(name) && !switches.has('version-before');
  const random = seededRandom(seed);
  const time = virtualTime(startMs, random);
  const journal: Journal = { acknowledged: [], looks: [], reconciles: [], trace: [] };
  const trace = keepTrace ? (line: string) => void journal.trace.push(line) : () => {};
  /** Which version of the program its processes are of; absent: all of the one that is tested. */
  const asSwitched = switches.has('version-before') ? rollout(dice, time, troubleMs) : undefined;
  const versions = options.allBefore === true ? allBefore : asSwitched;
  /** The tables of the deployments that copy this pair of stores. */
  const tables = switches.has('second-deployment') ? [memoryTable(), memoryTable()] : [memoryTable()];
  const [table = memoryTable()] = tables;
  const states = new Set<string>();
  const chance = (share: number) => random() < share;
  /**
   * Clocks that are further apart than the configuration allows, as far as a lease. The promises
   * hold, and then reconcile is needed for them.
   */
  const wildClocks = withReconcile && chance(0.2);
  const clocksApartMs = wildClocks ? defaultTiming.leaseMs : defaultTiming.skewMs;
  /** Copies of what is gone are removed, by policy. */
  const removes = withReconcile && chance(0.3);
  /**
   * Whether what senders tell is all that is otherwise: in mixtures the changes of others are
   * enough to bear.
   */
  const tellsAlone = switches.size === 1 && tellOtherwise(switches);
  const listsSlowly = tellsAlone && dice() < 0.5;
  /** Switches for which few changes are many. */
  const brakes = switches.has('restored-primary') || switches.has('restless-listing');
  const faults: FaultSource = {
    on: true,
    counts: new Map(),
    unheard: new Map(),
    overdue: new Map(),
    waits: new Map(),
    recordsAtRisk: 0,
    early: 0,
    down: new Set(),
    clocksApartMs,
    oftener: {
      ...(switches.has('late-removals') && { removal: { fault: 'lands-late', share: 0.5, sent: () => {} } }),
      ...(switches.has('frozen-processes') && freezes()),
    },
    trace,
  };

  /** At the rows of certificates, where many an import is not heard of either; or at copies. */
  function freezes(): FaultSource['oftener'] {
    const sent = () => {};
    if (dice() < 0.5) return { reimport: { fault: 'stall', share: 0.5, stallMs: 400_000, sent } };
    return {
      row: { fault: 'stall', share: 0.05, stallMs: 110_000, sent },
      import: { fault: 'lands-late', share: 0.3, sent },
    };
  }

  function makeStore(id: string, abilities: Partial<StoreAbilities>): SimulatedStore {
    const bounds = {
      settlesMs: 120_000,
      listingLagMs: chance(0.5) ? 0 : 4_000,
      readSettlesMs: id === 'primary' ? (chance(0.5) ? 3_000 : 0) : sometimes('laggard', 0.8) ? 30_000 : 0,
    };
    const isBackup = id.startsWith('backup');
    const completesChains = isBackup && sometimes('completes-chains', 0.8);
    const choosy = isBackup && sometimes('choosy', 0.8) ? choosiness() : undefined;
    const unlike = unlikeOurs(id);
    const silent = isNew('silent-listing') && dice() < 0.8;
    const store = simulatedStore({
      id,
      region: id,
      time,
      abilities: {
        givesKeys: true,
        reimportsInPlace: true,
        importIsIdempotent: false,
        uniqueNames: false,
        idsAreReferredTo: false,
        findsMarks: false,
        ...bounds,
        ...abilities,
        ...unlike.abilities,
        ...(silent && { silentListings: true as const }),
        ...(isBackup && switches.has('scarce-writes') && { quotas: [scarce.quota], rates: [scarce.rate] }),
      },
      givesRevisions: chance(0.7) || switches.has('restless-listing'),
      refusesOtherDomains: id !== 'primary' && chance(0.6),
      ...(isBackup && isNew('slow-listing') && dice() < 0.8 && { listingPageMs: pageMs(dice()) }),
      ...(id === 'primary' && tellsAlone && slowlyListed()),
      ...(isBackup && isNew('little-room') && dice() < 0.8 && { markCharacters: 20 }),
      ...(completesChains && { completed: pool.whole }),
      saysWhatIsSame: completesChains && dice() < 0.5,
      ...unlike.options,
      ...(choosy && { choosy, tellsBeforehand: dice() < 0.5 }),
      ...(switches.has('restless-listing') && { restless: true }),
      ...(silent && { silent }),
      // Ids of services say nothing of which is older.
      ...(isBackup && switches.size > 0 && { newId: () => `${Math.floor(dice() * 1e9).toString(36)}-${time.newId()}` }),
      staleness: (kind) => random() * (kind === 'read' ? bounds.readSettlesMs : bounds.listingLagMs),
    });
    store.onWrite = (operation, copy, was, becomes) =>
      trace(`${time.now()} ${id} ${operation} ${copy} of ${wholeMark((becomes ?? was)?.mark)?.certificate}`);
    return store;
  }

  /** One of these, by the dice of switches; the first, without a throw, if it does not matter. */
  function pickFrom<T>(items: readonly T[], matters = true): T {
    return items[matters ? Math.floor(dice() * items.length) : 0] as T;
  }

  /** What switches make of a store beside what it lags in and refuses. */
  function unlikeOurs(id: string) {
    const isBackup = id.startsWith('backup');
    const minute = 60_000;
    const withholds = isBackup && sometimes('withholds-keys', 0.8);
    const always = withholds && dice() < 0.4;
    const inTwoSteps = isBackup && sometimes('two-step', 0.8);
    const deletesSoftly = isBackup && sometimes('soft-deletion', 0.8);
    const lists = deletesSoftly && dice() < 0.5;
    const named = deletesSoftly && dice() < 0.6;
    const versions = isBackup && sometimes('versions-stay', 0.8) ? 2 + Math.floor(dice() * 3) : undefined;
    const longestMs = isBackup && sometimes('long-operations', 0.8) ? pickFrom([5, 20, 60]) * minute : undefined;
    const tells = pickFrom(['nothing', 'by-handle', 'all'] as const, longestMs !== undefined);
    const longWrites = longestMs !== undefined && { import: longestMs, reimport: longestMs, delete: longestMs };
    return {
      abilities: {
        ...(longWrites && { longWrites }),
        ...(always && { givesKeys: false }),
        ...(named && { uniqueNames: true }),
      },
      options: {
        ...(withholds && { withholds: (copy: string) => copy.length % 2 === 0 }),
        ...(inTwoSteps && { inTwoSteps }),
        ...(deletesSoftly && { deletesSoftly: { lists, keepMs: () => (1 + dice() * 200) * minute } }),
        ...(versions !== undefined && { mostVersions: versions }),
        ...(longestMs !== undefined && { goesOn: { tells, forMs: () => dice() * longestMs } }),
        ...(switches.has('vanishing-container') && { provesIdentity: true }),
        // What is only read is given no identity: it has one, as a cluster has. Without one nobody
        // can say of a place that is away, and in which a hint meets nothing, that it is not empty;
        // nor that what is there again without an event was ever gone, where nothing is compared.
        ...(isNew('another-place') && { provesIdentity: isBackup || `identity-of-${id}` }),
        ...(isNew('vanishing-container') &&
          (switches.has('hints') || !withReconcile) && { provesIdentity: isBackup || `identity-of-${id}` }),
      },
    };
  }

  /** Refuses a third of all content for ever, and a third until some minutes from now. */
  function choosiness() {
    const salt = Math.floor(dice() * 3);
    const until = startMs + dice() * 40 * 60_000;
    return (content: CertificateContent): { readonly until: number } | undefined => {
      const kind = (pool.good.flat().findIndex(({ leaf }) => leaf === content.leaf) + salt) % 3;
      if (kind === 0) return { until: Number.POSITIVE_INFINITY };
      return kind === 1 ? { until } : undefined;
    };
  }

  /** A listing takes so long that what is told meanwhile may be younger than what it shows. */
  function slowlyListed(): { readonly listingPageMs?: number; readonly listingAnswerMs?: number } {
    if (!listsSlowly) return {};
    if (switches.has('hints')) return { listingPageMs: 10_000 + dice() * 10_000, listingAnswerMs: 5_000 };
    return { listingPageMs: 2_000 + dice() * 4_000 };
  }

  const primary = makeStore('primary', {});
  const backups = Array.from({ length: chance(0.4) ? 2 : 1 }, (_, index) =>
    makeStore(`backup-${index + 1}`, {
      importIsIdempotent: chance(0.2),
      uniqueNames: chance(0.2) || (isNew('names-collide') && dice() < 0.8),
      findsMarks: chance(0.25),
      givesKeys: chance(0.85),
      ...reimporting(chance(0.85)),
    }),
  );

  /** Where ids are referred to there is no replacement, so such a service reimports in place. */
  function reimporting(inPlace: boolean): Pick<StoreAbilities, 'reimportsInPlace' | 'idsAreReferredTo'> {
    const idsAreReferredTo = sometimes('referred-to', 0.8);
    return { reimportsInPlace: inPlace || idsAreReferredTo, idsAreReferredTo };
  }

  /** A person says in the end that what the brake keeps is meant. */
  const accepts = withReconcile && brakes && dice() < 0.5;
  let accepted = false;
  let needless = 0;
  const usedUp = new Set<string>();
  /**
   * How few may change so that a person should have a look first: few, as there are few
   * certificates.
   */
  const brakeLeast = {
    ...(switches.has('restored-primary') && { 'going-back': allowedAtOnce }),
    ...(switches.has('restless-listing') && { listed: allowedAtOnce }),
    ...(switches.has('restless-listing') && switches.size === 1 && { unannounced: allowedAtOnce }),
  };

  /** A store whose quotas and rates are counted, as the program counts them. */
  function counted(runtime: Runtime, store: Store, own: Table): Store {
    if (store.abilities.quotas === undefined) return store;
    const book = quotaRecords(own);
    const noted = {
      ...book,
      async useQuota(...given: Parameters<typeof book.useQuota>) {
        const use = await book.useQuota(...given);
        if (!use.used) usedUp.add(store.id);
        return use;
      },
    };
    return limitedStore(quotaStore(store, { runtime, book: noted }), { runtime });
  }

  /** Another primary, whose certificates have the ids and names of the first. */
  const twin = isNew('names-collide') ? makeStore('twin', {}) : undefined;
  const between = isNew('circle') && dice() < 0.5 ? makeStore('between', {}) : undefined;
  const isCircle = isNew('circle');
  const routes: readonly Route[] = [
    { link: linkName, primary, backups, onward: isCircle },
    ...(twin === undefined ? [] : [{ link: 'other', primary: twin, backups, onward: false }]),
    ...(isCircle ? wayBack(primary, backups, between) : []),
  ];

  /**
   * Clocks tell whole milliseconds, and a token that begins with one is refused otherwise. Only
   * that world has such tokens, and the others stay what they always were.
   */
  const clock = switches.has('unsigned-sender') ? () => Math.floor(time.now()) : time.now;

  let wanted = 2 + Math.floor(random() * 2);

  /**
   * A process that receives, works, sweeps and reconciles. When it dies another one starts a while
   * later.
   */
  function start(deployment = 0): void {
    const processes = hosts[deployment] ?? [];
    const kept = tables[deployment] ?? table;
    let stop = () => {};
    const version = versions?.next() ?? now;
    const { heart } = version;
    if (versions !== undefined) trace(`${time.now()} a process of the version ${version.name} starts`);
    const died = () => {
      stop();
      trace(`${time.now()} a process died`);
      time.at(time.now() + random() * 60_000, () => start(deployment));
    };
    const process = startProcess(time, Math.floor((random() - 0.5) * clocksApartMs), died, clock);
    const { runtime } = process;
    const noted = noting(kept, states, time.now);
    const own = version.table(withoutTold(tableFrom(time, process, faults, noted), noted, switches));
    const book = identityRecords(own);
    const configured = new Set(routes.flatMap((route) => [route.primary, ...route.backups]).map(({ id }) => id));
    const identified = (store: SimulatedStore) =>
      identifiedStore(storeFrom(time, process, faults, store), { runtime, book, configured, everyMs: identityEveryMs });
    // The version before asked no store for an identity.
    const met = (store: SimulatedStore) =>
      version === now ? identified(store) : version.store(storeFrom(time, process, faults, store));
    const links = routes.map((route): Link => {
      const removal = removes && !isCircle && { removal: { afterMs: 5 * 60_000, maxShare: 1 } };
      return {
        name: route.link,
        primary: watched(met(route.primary), route),
        backups: route.backups.map((store) => counted(runtime, met(store), own)),
        filter: { names: [], domains: [] },
        policy: {
          requireChain: false,
          onward: route.onward,
          ...removal,
          ...(brakes && route.link === linkName && { brakeShare: 0, brakeLeast }),
        },
      };
    });
    const [mainLink] = links as [Link];
    const linkOf = (name: string) => links.find((link) => link.name === name) as Link;
    const linkRows = heart.linkRecords(own);
    const parts = {
      records: heart.replicationRecords(own),
      linkRecords: linkRows,
      // What the version before calls them.
      links: linkRows,
      runtime,
      timing: timingOf(switches),
      log: silentLog,
    };
    const worker = { ...parts, listings: heart.sharedListings(runtime) };
    const dispatch = inProcessDispatch({
      runtime,
      concurrency: 4,
      most: 100,
      work: ({ link, certificate, about }) =>
        about === 'hints'
          ? resolveHints({ ...worker, dispatch: unsure }, linkOf(link))
          : heart.replicate(worker, linkOf(link), certificate),
      failed: () => {},
    });
    const unsure: Dispatch = {
      async dispatch(wakes, options) {
        if (faults.on && chance(0.1)) return;
        if (faults.on && chance(0.1)) await dispatch.dispatch(wakes, { delayMs: random() * 5_000 });
        await dispatch.dispatch(wakes, options);
      },
    };
    const running = { ...parts, dispatch: unsure };
    const reconcile = async (link: Link, options?: { readonly allowChanges: number }) => {
      const at = time.now();
      await heart.reconcile(running, link, options);
      journal.reconciles.push({ link: link.name, at });
    };
    processes.push({
      isDead: () => process.dead,
      acknowledge: (link, event) =>
        heart.acknowledge({ ...running, notifications: heart.idempotencyRecords(own) }, [link], [event]),
      sweep: () => heart.sweep(running, links),
      reconcile: () =>
        Promise.all(
          links.map((link) =>
            link === mainLink ? reconcileOrLetGo((options) => reconcile(link, options)) : reconcile(link),
          ),
        ),
      reconcileIfAsked: () =>
        Promise.all(
          links.map(async (link) => {
            if (version !== now || !(await isAskedReconcileDue(running, link))) return;
            await (link === mainLink ? reconcileOrLetGo((options) => reconcile(link, options)) : reconcile(link));
          }),
        ),
      async accept() {
        const { held } = await statusOf(running, mainLink);
        if (held !== undefined) await heart.reconcile(running, mainLink, { acceptChanges: held.id });
      },
      replace: () => {
        faults.recordsAtRisk += 1;
        process.crash();
      },
    });
    stop = () => void dispatch.stop();
  }

  /**
   * A reconcile that a person lets go on where the brake stops it. The brake was needless if no
   * more differ than may.
   */
  async function reconcileOrLetGo(
    run: (options?: { readonly allowChanges: number }) => Promise<unknown>,
  ): Promise<unknown> {
    const before = differing({ primary, backups });
    try {
      return await run();
    } catch (thrown) {
      if (!brakes || asCodedError(thrown).code !== 'reconcile_brake') throw thrown;
      if (Math.max(before, differing({ primary, backups })) <= allowedAtOnce) needless += 1;
      return run({ allowChanges: 99 });
    }
  }

  /**
   * Has looks at a primary that people change noted. Links that only copy copies onward look for
   * reasons of their own.
   */
  function watched(store: Link['primary'], { link }: Route): Link['primary'] {
    if (link !== linkName && link !== 'other') return store;
    return {
      ...store,
      read: (id: string) => {
        journal.looks.push({ certificate: inJournal(link, id), at: time.now() });
        return store.read(id);
      },
    };
  }

  interface Host {
    readonly isDead: () => boolean;
    readonly acknowledge: (link: string, event: LifecycleEvent) => Promise<unknown>;
    readonly sweep: () => Promise<unknown>;
    readonly reconcile: () => Promise<unknown>;
    readonly reconcileIfAsked: () => Promise<unknown>;
    /** Ends the process, so that one of another version may follow. */
    readonly replace: () => void;
    readonly accept: () => Promise<unknown>;
  }
  /** The processes of each deployment. */
  const hosts: Host[][] = tables.map(() => []);

  /** Some process of a deployment that lives; while all are dead, nothing happens. */
  function someProcess(deployment: number): Host | undefined {
    const processes = hosts[deployment] ?? [];
    const living = processes.filter((host) => !host.isDead());
    return living[Math.floor(random() * living.length)];
  }

  /** A schedule outside of the processes: now and then a run is lost, or there are two. */
  function periodically(periodMs: number, task: (host: Host) => Promise<unknown>): void {
    for (const deployment of tables.keys()) periodicallyIn(deployment, periodMs, task);
  }

  function periodicallyIn(deployment: number, periodMs: number, task: (host: Host) => Promise<unknown>): void {
    const run = () => {
      const runs = faults.on && chance(0.2) ? Math.floor(random() * 3) : 1;
      for (let count = 0; count < runs; count += 1) {
        const host = someProcess(deployment);
        if (host !== undefined) task(host).catch(() => {});
      }
      time.at(time.now() + periodMs, run);
    };
    time.at(time.now() + random() * 1_000, run);
  }

  /** Delivers a notification to some process, as often as the sender cares to try. */
  function notifyOf(told: Told, { link = linkName, tries = withReconcile ? 4 : 100 } = {}): void {
    const event = eventOf(told, { switches, dice });
    for (const deployment of tables.keys()) void notifyOne(deployment, { link, event, tries });
  }

  async function notifyOne(
    deployment: number,
    told: { readonly link: string; readonly event: LifecycleEvent; readonly tries: number },
  ): Promise<void> {
    const { link, event, tries } = told;
    const answer = someProcess(deployment)?.acknowledge(link, event);
    const at = time.now();
    const meant = tellOtherwise(switches)
      ? meantBy(event, link === linkName ? primary : (twin ?? primary))
      : event.certificates.map(({ id }) => id);
    const acknowledged = await Promise.race([
      answer?.then(
        () => true,
        () => false,
      ) ?? false,
      time.wait(10_000).then(() => false),
    ]);
    if (acknowledged)
      journal.acknowledged.push(...meant.map((certificate) => ({ certificate: inJournal(link, certificate), at })));
    else if (tries > 1) time.at(time.now() + 5_000, () => void notifyOne(deployment, { ...told, tries: tries - 1 }));
  }

  /** Each minute somebody looks whether a reconcile was asked for. */
  function askedReconciles(deployment: number): void {
    someProcess(deployment)
      ?.reconcileIfAsked()
      .catch(() => {});
    time.at(time.now() + sweepEveryMs, () => askedReconciles(deployment));
  }

  while (wanted > 0) {
    wanted -= 1;
    for (const deployment of tables.keys()) start(deployment);
  }
  for (const moment of versions?.replacedAt ?? []) {
    time.at(moment, () => {
      for (const host of hosts.flat()) if (!host.isDead()) time.at(time.now() + dice() * 30_000, host.replace);
    });
  }
  periodically(sweepEveryMs, (host) => host.sweep());
  if (tellOtherwise(switches)) for (const deployment of tables.keys()) askedReconciles(deployment);
  if (withReconcile) periodically(reconcileEveryMs, (host) => host.reconcile());
  // Without it the link has had its first one: else every look would search by mark, and hide what
  // is to be found.
  else {
    const ids = backups.map(({ id }) => id);
    for (const kept of tables) for (const { link } of routes) void linkRecords(kept).noteReconciled(link, ids, startMs);
  }
  const floods: Floods = [];
  const renamings: { readonly store: string; readonly certificate: string; readonly at: number }[] = [];
  const deleted = new Map<number, string>();
  const doubled = new Set<string>();
  const deletions: { readonly store: string; readonly certificate: string; readonly at: number }[] = [];
  const creations: { readonly store: string; readonly certificate: string; readonly at: number }[] = [];
  const meddled: { readonly store: string; readonly certificate: string; readonly at: number }[] = [];
  return {
    /** Copies that others removed from a backup, or made worthless. */
    removedByOthers: (store: string) => meddled.filter((one) => one.store === store).length,
    /**
     * Whether others did so to a copy of this certificate while a request that arrives now may have
     * been on its way.
     */
    meddledWith: (store: string, certificate: string) =>
      meddled.some((one) => one.store === store && one.certificate === certificate && time.now() - one.at < onItsWayMs),
    noteMeddling: (store: string, certificate: string) => void meddled.push({ store, certificate, at: time.now() }),
    /**
     * The id that a certificate of the primary had when it was deleted last, by its number in the
     * pool.
     */
    deleted,
    /** When each certificate was deleted in the primary, as often as it was. */
    deletions,
    /** When each certificate of the primary got another name. */
    renamings,
    floods,
    tellsAlone,
    listsSlowly,
    tables,
    /** When each certificate was made in the primary: before that it was absent too. */
    creations,
    /** Copies that somebody doubled by hand: store, and certificate in the mark. */
    doubled,
    switches,
    /** The version that each certificate has come to, where time matters. */
    ages: new Map<number, number>(),
    /** When certificates changed without a word. */
    silently: new Map<string, number>(),
    /** Since when another place stands behind the setting of a store, or stood there last. */
    elsewhere: new Map<string, number>(),
    /** Backups of which a quota was used up at some time. */
    usedUp,
    accepts,
    async accept(deployment: number) {
      accepted = true;
      await someProcess(deployment)?.accept();
    },
    get accepted() {
      return accepted;
    },
    get needless() {
      return needless;
    },
    /** Dice for what switches bring about, apart from those of everything else. */
    dice,
    deployments: tables.length,
    routes,
    /** Those that people change. */
    primaries: twin === undefined ? [primary] : [primary, twin],
    withReconcile,
    wildClocks,
    states,
    time,
    random,
    chance,
    primary,
    backups,
    faults,
    journal,
    table,
    notifyOf,
    pool,
    trace,
  };
}
