import { floodTiming, tellOtherwise } from './senders.ts';
import type { World } from './world.ts';

/** Floods of events that nobody signed, what they may cost, and what they may leave behind. */

const floodMs = 8_000;
const floodRequests = 24;
/** How often a sender tries to bring one event of a flood. */
const floodTries = 2;

/**
 * Floods when all else is quiet: denser ones, up to the moments at which somebody looks whether a
 * reconcile was asked for.
 */
const quietFromMs = 12 * 60_000;
const minuteMs = 60_000;
const quietRequests = 60;
const quietCreations = 5;

/** How the ids begin that a flood makes up. */
const madeUp = 'made-up-';

const stallsOf = ({ faults }: World): number => faults.counts.get('stall') ?? 0;
const faultsOf = ({ faults }: World): number => [...faults.counts.values()].reduce((sum, times) => sum + times, 0);

/** Floods of ids that nobody knows, some of them again and again, with real ones among them. */
export function scheduleFloods(world: World, durationMs: number): void {
  const { time, dice, switches, primary, pool, floods, trace } = world;
  if (!switches.has('unsigned-sender')) return;
  const count = 1 + Math.floor(dice() * 2);
  for (let index = 0; index < count; index += 1) time.at(time.now() + dice() * durationMs, () => begin(floodRequests));
  if (world.tellsAlone) {
    const tick = time.now() + durationMs + quietFromMs;
    time.at(tick - floodMs - 100, beginQuiet);
    // While the reconcile that the first one asked for is listing.
    if (world.listsSlowly) time.at(tick + minuteMs, beginQuiet);
  }

  function begin(requests: number): void {
    trace(`${time.now()} a flood begins`);
    const before = { faultsBefore: faultsOf(world), stallsBefore: stallsOf(world) };
    floods.push({ from: time.now(), until: time.now() + floodMs, ...before });
    for (let request = 0; request < requests; request += 1) time.at(time.now() + dice() * floodMs, tell);
  }

  /**
   * One with certificates among it that are new, and with one that is known: told of all the time,
   * and once more when it has changed in the end.
   */
  function beginQuiet(): void {
    begin(quietRequests);
    for (let creation = 0; creation < quietCreations; creation += 1) time.at(time.now() + dice() * floodMs, create);
    const real = [...primary.rows().keys()];
    const known = real[Math.floor(dice() * real.length)];
    if (known === undefined) return;
    for (let request = 0; request < quietRequests; request += 1)
      time.at(time.now() + dice() * floodMs, () => tellOf(known));
    time.at(time.now() + floodMs, () => {
      const [content, other] = pool.good[Math.floor(dice() * pool.good.length)] ?? [];
      const held = primary.rows().get(known);
      if (content === undefined || other === undefined || held === undefined) return;
      trace(`${time.now()} primary: renew ${known}`);
      const fresh = { revision: held.revision + 1, lastModified: time.now() };
      primary.tamper(known, (now) => now && { ...now, content: now.content === content ? other : content, ...fresh });
      tellOf(known);
    });
  }

  function create(): void {
    const [content] = pool.good[Math.floor(dice() * pool.good.length)] ?? [];
    if (content === undefined) return;
    const id = `new-${time.newId()}`;
    trace(`${time.now()} primary: create ${id}`);
    const metadata = { name: id, description: '', tags: [] };
    world.creations.push({ store: primary.id, certificate: id, at: time.now() });
    primary.tamper(id, () => ({ id, content, metadata, revision: 1, lastModified: time.now() }));
    tellOf(id);
  }

  const tellOf = (id: string) =>
    world.notifyOf({ ids: [id], name: nameOf(id), digest: time.newId() }, { tries: floodTries });

  function tell(): void {
    const ids = Array.from({ length: 1 + Math.floor(dice() * 2) }, one);
    world.notifyOf({ ids, name: nameOf(ids[0] ?? ''), digest: time.newId() }, { tries: floodTries });
  }

  function one(): string {
    const real = [...primary.rows().keys()];
    const kind = dice();
    if (kind < 0.5 || real.length === 0) return `${madeUp}${time.newId()}`;
    return kind < 0.6 ? `${madeUp}often` : (real[Math.floor(dice() * real.length)] as string);
  }

  const nameOf = (id: string): string => primary.rows().get(id)?.metadata.name ?? id;
}

/**
 * How many looks at one certificate a flood may cause where nothing fails: one in ten seconds, each
 * again when reads have settled.
 */
const looksInFlood = 12;
const lookedAfterMs = 20_000;

/** What a flood costs is bounded: looks at what it makes up, and looks at what there is. */
export function floodExcess(world: World): string[] {
  const { floods, journal, deployments, wildClocks } = world;
  if (floods.length === 0) return [];
  const broken: string[] = [];
  const faultsNow = faultsOf(world);
  // The budget is that of a minute of the clock. A flood is shorter than a minute, and clocks that
  // differ spread it over three at the most. A process that stalls may count for a minute that has
  // passed, and so begin that one and the present one anew. No other fault adds anything: an id
  // beyond the budget gets no record, and so no look.
  const stalls = stallsOf(world) - Math.min(...floods.map(({ stallsBefore }) => stallsBefore));
  const minutes = 3 * floods.length * deployments + 2 * stalls;
  const allowed = (floodTiming.unknownPerMinute ?? 0) * minutes;
  const invented = new Set(journal.looks.map(({ certificate }) => certificate).filter((id) => id.startsWith(madeUp)))
    .size;
  if (invented > allowed) broken.push(`bound: ${invented} made up ids were looked at, ${allowed} are allowed`);
  for (const { from, until, faultsBefore } of floods) {
    const during = journal.looks.filter(({ at }) => at >= from && at <= until + lookedAfterMs);
    // Clocks that are further apart than is allowed each have a time of their own.
    const most = wildClocks ? Number.POSITIVE_INFINITY : deployments * looksInFlood + 2 * (faultsNow - faultsBefore);
    for (const id of new Set(during.map(({ certificate }) => certificate))) {
      const looks = during.filter(({ certificate }) => certificate === id).length;
      if (looks > most) broken.push(`bound: ${looks} looks at ${id} during a flood, ${most} allowed`);
    }
  }
  return broken;
}

/** Looks that nobody asked for but a flood. */
export const madeUpLooks = ({ journal }: World): number =>
  journal.looks.filter(({ certificate }) => certificate.startsWith(madeUp)).length;

/**
 * When all is quiet nothing is left of what was told: no hint, no asked reconcile, no record of
 * what never was.
 */
export async function leftBehind({ tables, switches }: World): Promise<string[]> {
  if (!tellOtherwise(switches)) return [];
  const broken: string[] = [];
  for (const table of tables) {
    const { rows: hints } = await table.query({ partition: 'hint.1/main', limit: 1_000 });
    if (hints.length > 0) broken.push(`bound: ${hints.length} hints are left when all is quiet`);
    const asked = await table.get({ partition: 'intake.1/main', sort: 'reconcile' });
    if (asked !== undefined) broken.push('promise 1: a reconcile that was asked for has not been');
    const { rows } = await table.query({ partition: 'replication.1/main', beginsWith: madeUp, limit: 1_000 });
    // A worker that died left doubt, and nobody can say then that nothing was ever written.
    const undoubted = rows.filter(({ doubt }) => doubt === undefined);
    if (undoubted.length > 0) broken.push(`bound: ${undoubted.length} records of what never was are left`);
  }
  return broken;
}
