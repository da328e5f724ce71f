import { datedContent } from './brake-trouble.ts';
import type { Held, OtherContainer, SimulatedStore } from './simulated-store.ts';
import { identityEveryMs, type World } from './world.ts';

/**
 * Places that are not what stood there when a store was first used: an empty mount point, another
 * folder or cluster behind the same setting. What a program believes of them, and whether it writes
 * there.
 */

/** After the time of faults: then nothing that was on its way may land there. */
const quietMs = 10 * 60_000;
const elsewhereMs = 12 * 60_000;
/** How long after the time of faults every place is back. */
export const placesBackMs = quietMs + elsewhereMs;
const changesAfterMs = [3, 6].map((minutes) => minutes * 60_000);
/** Shortly before and after, so that there are looks while a proof of identity is still good. */
const looksAfterMs = [-20_000, 20_000];
/** A pass that began while a proof of identity was good may write until its lease ends. */
const excusedMs = identityEveryMs + 65_000;

/**
 * For some minutes another place stands behind the setting of one store, and everything in the
 * primary changes.
 */
export function scheduleOtherPlaces(world: World, durationMs: number): void {
  const { time, dice, switches, primary, backups, trace } = world;
  // The version before asked no store for an identity.
  if (!switches.has('another-place') || switches.has('version-before')) return;
  const stores = [primary, ...backups, ...backups];
  const store = stores[Math.floor(dice() * stores.length)] ?? primary;
  const isEmpty = dice() < 0.5;
  const from = time.now() + durationMs + quietMs;
  time.at(from, () => {
    // One that nothing was written to has no identity yet: whatever stands there then is what it is
    // first used with.
    if (store !== primary && ![...store.rows().values()].some(({ mark }) => mark !== undefined)) return;
    trace(`${time.now()} ${isEmpty ? 'an empty' : 'another'} place stands behind ${store.id}`);
    world.elsewhere.set(store.id, time.now());
    store.replaceContainer(isEmpty ? { rows: new Map() } : otherOf(world, store));
  });
  for (const after of looksAfterMs)
    time.at(from + after, () => {
      for (const held of primary.rows().values()) tell(world, held);
    });
  for (const after of changesAfterMs)
    time.at(from + after, () => {
      for (const held of primary.rows().values()) change(world, held);
    });
  time.at(from + elsewhereMs, () => {
    trace(`${time.now()} the place of ${store.id} is back`);
    store.replaceContainer(undefined);
  });
}

/** A place of the same shape, whose certificates are somebody else's. */
function otherOf({ pool, time }: World, store: SimulatedStore): OtherContainer {
  const rows = [...store.rows()].map(([id, held]) => [id, { ...held, content: pool.foreign }] as const);
  return { rows: new Map(rows), identity: `another-${time.newId()}` };
}

function tell({ time, notifyOf }: World, { id, metadata }: Held): void {
  notifyOf({ ids: [id], name: metadata.name, digest: `${id} ${time.newId()}` });
}

function change(world: World, held: Held): void {
  const { pool, primary, time, dice, trace } = world;
  const { id, content } = held;
  const which = Number(/^p(\d+)-/.exec(id)?.[1]);
  const versions = pool.good[which] ?? [];
  const isIssued = versions.includes(content) || pool.dated[which]?.includes(content) === true;
  const other = datedContent(world, which) ?? versions.find(({ leaf }) => leaf !== content.leaf);
  if (isIssued && other !== undefined) {
    trace(`${time.now()} primary: renew ${id}`);
    const fresh = { revision: Math.floor(dice() * 1e9), lastModified: time.now() };
    primary.tamper(id, (now) => now && { ...now, content: other, ...fresh });
  }
  tell(world, held);
}

/**
 * Watches that nothing is written to another place, and that nothing that stands in one reaches a
 * backup.
 */
export function watchOtherPlaces(world: World, broken: string[]): void {
  const { time, pool, primary, backups } = world;
  // What was begun then lands when its operation ends.
  const isExcused = (place: string, backup: SimulatedStore) => {
    const { import: longestMs = 0 } = backup.abilities.longWrites ?? {};
    return time.now() <= (world.elsewhere.get(place) ?? Number.POSITIVE_INFINITY) + excusedMs + longestMs;
  };
  for (const store of backups) {
    const before = store.onWrite;
    store.onStray = (operation, id) => {
      if (!isExcused(store.id, store))
        broken.push(`promise 3: ${operation} of ${id} in another place than ${store.id}`);
    };
    store.onWrite = (operation, id, was, becomes) => {
      before?.(operation, id, was, becomes);
      const isForeign = becomes?.content.leaf === pool.foreign.leaf && operation !== 'describe';
      // In a circle what strangers keep in a backup comes to the primary, and goes on from there.
      if (isForeign && !isExcused(primary.id, store) && !world.switches.has('circle'))
        broken.push(`bound: ${id} of ${store.id} was given what stands in another place than the primary`);
    };
  }
}
