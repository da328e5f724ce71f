import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { contentProblem } from '../../src/certificate/judgement.ts';
import { defaultTiming } from '../../src/replication/timing.ts';
import { type Mark, markDigest, sameMark } from '../../src/store/mark.ts';
import { mayDiffer, watchBrake } from './brake-trouble.ts';
import { madeUpLooks } from './floods.ts';
import { watchOtherPlaces } from './other-places.ts';
import { originalOf } from './routes.ts';
import { tellOtherwise } from './senders.ts';
import type { Held } from './simulated-store.ts';
import { inJournal, onItsWayMs, type World } from './world.ts';

/**
 * Watches every write of the program for promises 3 and 4, which hold at every moment. Answers what
 * was broken.
 */
export function watchWrites(world: World): { readonly broken: string[]; imports: number; writes: number } {
  const seen = { broken: [] as string[], imports: 0, writes: 0 };
  const imports = new Map<string, number>();
  const removals = new Map<string, number>();
  const doubles = new Map<string, number>();
  const contents = new Map<string, number>();
  /** When a copy that somebody had damaged was written anew. */
  const mendedAt = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string) => {
    counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts.get(key) ?? 0;
  };
  for (const store of world.backups) {
    const before = store.onWrite;
    store.onWrite = (operation, id, was, becomes) => {
      before?.(operation, id, was, becomes);
      seen.writes += 1;
      if (operation === 'delete') {
        const original = originalOf(was?.mark);
        count(removals, `${store.id} ${original}`);
        const left = [...store.rows().values()].some(({ mark }) => originalOf(mark) === original);
        // Where somebody takes away the copy that was proven, the removal of the other one may be
        // on its way already.
        if (!left && isHeld(world, original) && !world.meddledWith(store.id, original))
          seen.broken.push(`promise 3: ${store.id} lost its last copy of ${original}, which is still in the primary`);
      }
      // Once it is replaced by another content, in place or by another copy, it may come back.
      if (becomes !== undefined && (operation === 'import' || operation === 'reimport')) {
        const certificate = `${store.id} ${originalOf(becomes.mark)}`;
        const content = `${certificate} ${fingerprintOf(becomes.content)}`;
        for (const other of imports.keys())
          if (other.startsWith(`${certificate} `) && other !== content) imports.delete(other);
      }
      if (becomes !== undefined && (operation === 'import' || operation === 'reimport')) {
        const copy = `${store.id} ${id} `;
        const content = `${copy}${fingerprintOf(becomes.content)}`;
        for (const other of contents.keys()) if (other.startsWith(copy) && other !== content) contents.delete(other);
        const repeats = count(contents, content);
        if (repeats > allowedWrites(world, store)) {
          seen.broken.push(`bound: ${id} of ${store.id} was given the same content ${repeats} times`);
        }
      }
      if (operation === 'import' && becomes !== undefined) {
        seen.imports += 1;
        if (isReplacement(world, store, becomes))
          seen.broken.push(`promise 3: ${store.id}, where others refer to ids, got a second copy`);
        // One import for each content, and one more for each copy that went away or each write that
        // nobody heard the end of.
        const certificate = `${store.id} ${originalOf(becomes.mark)}`;
        const done = count(imports, `${certificate} ${fingerprintOf(becomes.content)}`);
        const gone = (removals.get(certificate) ?? 0) + world.removedByOthers(store.id);
        const excused = world.deployments + gone + (world.faults.unheard.get(store.id) ?? 0);
        if (done > excused)
          seen.broken.push(`bound: import ${done} of one content of ${certificate}, ${excused} explained`);
        // What was there when the import was sent would have been found, but for a request that
        // came too late for any bound, and for what somebody doubled: without doubt nobody looks
        // for that.
        const excusedDoubles = world.wildClocks || world.deployments > 1 || world.doubled.has(certificate);
        const allowed = excusedDoubles ? Number.POSITIVE_INFINITY : (world.faults.overdue.get(store.id) ?? 0);
        if (hasEqualCopy(store, becomes) && count(doubles, store.id) > allowed)
          seen.broken.push(`bound: a second copy of ${certificate} beside an equal one`);
      }
      if (saysGone(becomes) && !isCopiedWord(world, becomes) && !wasGoneLongEnough(world, becomes))
        seen.broken.push(`bound: the copy ${id} says that its original is gone, after one look`);
      if (was !== undefined && was.mark === undefined)
        seen.broken.push(`promise 3: ${operation} of ${id}, which is not ours`);
      if (becomes !== undefined && operation !== 'describe') {
        const problem = contentProblem(becomes.content, { nowMs: world.time.now(), requireChain: false });
        if (problem) seen.broken.push(`promise 4: ${operation} of ${id} with ${problem.code}`);
        const cut =
          was !== undefined &&
          was.unreadable !== true &&
          was.content.chain.length > 0 &&
          becomes.content.chain.length === 0;
        // What somebody damaged is worth less than a leaf alone, which may be on its way when it
        // has been mended already, however long that took.
        const mended = mendedAt.get(`${store.id} ${id}`) ?? Number.NEGATIVE_INFINITY;
        if (was?.unreadable === true) mendedAt.set(`${store.id} ${id}`, world.time.now());
        const damaged = world.meddledWith(store.id, originalOf(was?.mark)) || world.time.now() - mended < onItsWayMs;
        if (cut && was.content.leaf.issuer === becomes.content.leaf.issuer && !damaged)
          seen.broken.push(`promise 4: ${id} lost its chain`);
      }
    };
  }
  // In a circle copies come to the primary, and are removed from it by the program where there is
  // more than one.
  for (const primary of world.primaries) {
    const before = primary.onWrite;
    primary.onWrite = (operation, id, was, becomes) => {
      before?.(operation, id, was, becomes);
      if (operation === 'delete') world.deletions.push({ store: primary.id, certificate: id, at: world.time.now() });
    };
  }
  watchBrake(world, seen.broken);
  watchOtherPlaces(world, seen.broken);
  return seen;
}

/** Whether a copy says that its original is gone. */
const saysGone = (copy: Held | undefined): copy is Held =>
  copy?.metadata.description.startsWith('Retained since') === true;

/** Whether the original of a copy is a copy itself that says so: its description travels. */
const isCopiedWord = ({ routes }: World, { mark }: Held): boolean =>
  routes.some(({ primary: { id: store, rows } }) =>
    [...rows().values()].some((row) => saysGone(row) && sameMark(mark, { store, certificate: row.id })),
  );

/**
 * Whether a second look, a while after the first, may have found that the original of a copy is
 * gone. Clocks and reads lie a little. A look before it was made finds it absent too, and where the
 * record of the looks between is lost, that is the first one.
 */
function wasGoneLongEnough(
  { deletions, creations, faults, primaries, time, wildClocks }: World,
  { mark }: Held,
): boolean {
  const { absenceMs, skewMs } = defaultTiming;
  const readSettlesMs = Math.max(...primaries.map(({ abilities }) => abilities.readSettlesMs));
  const by = time.now() - (absenceMs - skewMs - readSettlesMs);
  const absences = faults.recordsAtRisk > 0 ? [...deletions, ...creations] : deletions;
  return wildClocks || absences.some(({ at, ...original }) => sameMark(mark, original) && at <= by);
}

/**
 * How often one content may be written to one copy, while nothing else is: once, and twice where it
 * is read back in another shape.
 */
function allowedWrites(world: World, store: World['backups'][number]): number {
  const { switches, faults, deployments } = world;
  const counted = ['laggard', 'completes-chains', 'withholds-keys'] as const;
  if (!counted.some((name) => switches.has(name))) return Number.POSITIVE_INFINITY;
  const usual = switches.has('completes-chains') ? 2 : 1;
  // A write that nobody heard the end of, or whose record was lost, is one more.
  const lost = (faults.unheard.get(store.id) ?? 0) + faults.recordsAtRisk;
  return usual * deployments + lost + world.removedByOthers(store.id);
}

/** Whether one of the primaries holds this certificate. */
function isHeld({ primaries }: World, original: string): boolean {
  return primaries.some((primary) =>
    [...primary.rows().keys()].some((certificate) => names(primary, certificate, original)),
  );
}

/**
 * Whether `original`, as `originalOf` tells it (whole, or by digest), is this certificate of this
 * primary.
 */
function names(primary: World['primary'], certificate: string, original: string): boolean {
  const mark = { store: primary.id, certificate };
  return original === originalOf(mark) || original === markDigest(mark);
}

/**
 * Whether a copy was imported beside another one in a store where others refer to ids, and nothing
 * that happened explains it.
 */
function isReplacement(world: World, store: World['backups'][number], copy: Held): boolean {
  if (!store.abilities.idsAreReferredTo || world.deployments > 1 || world.wildClocks) return false;
  const explained = (world.faults.unheard.get(store.id) ?? 0) + world.removedByOthers(store.id);
  if (explained > 0 || world.doubled.has(`${store.id} ${originalOf(copy.mark)}`)) return false;
  return [...store.rows().values()].some(({ id, mark }) => {
    return id !== copy.id && mark !== undefined && originalOf(mark) === originalOf(copy.mark);
  });
}

function hasEqualCopy(store: World['backups'][number], copy: Held): boolean {
  const others = [...store.rows().values()].filter(({ id, mark }) => {
    return id !== copy.id && mark !== undefined && originalOf(mark) === originalOf(copy.mark);
  });
  const wanted = fingerprintOf(copy.content);
  return others.some(({ content, unreadable }) => unreadable !== true && fingerprintOf(content) === wanted);
}

/** Nothing is looked at any more when everything is equal: what goes on for ever is a livelock. */
export function restlessness(world: World, quietSince: number): string[] {
  const late = world.journal.looks.filter(({ at }) => at >= quietSince);
  // What is held by somebody is tried again, the more seldom the longer it is: a copy, a name that
  // something deleted still has, or a quota.
  const holds = ['locked', 'in-use', 'soft-deletion', 'scarce-writes'] as const;
  const held = holds.some((name) => world.switches.has(name)) ? 2 : 1;
  // A search that outlasts a look is asked after until it ends.
  const asked = world.switches.has('slow-listing') ? 2 : 1;
  // A copy that somebody holds is tried again too when its original is gone, and it is to say so.
  const stay = held > 1 ? world.backups.reduce((sum, backup) => sum + backup.rows().size, 0) : 0;
  const certificates = stay + world.primaries.reduce((sum, primary) => sum + primary.rows().size, 0);
  const allowed = 2 * certificates * world.deployments * held * asked;
  return late.length > allowed ? [`bound: ${late.length} looks after everything was quiet, ${allowed} allowed`] : [];
}

/** Looks and writes to the backups for each notification and each fault, at the most. */
const work = { looks: 2, writes: 1 } as const;

/** The work is bounded by what happened. */
export function excess(world: World, writes: number): string[] {
  const { journal, faults } = world;
  const happened =
    journal.acknowledged.length + [...faults.counts.values()].reduce((sum, times) => sum + times, 0) + 10;
  const done = { looks: journal.looks.length - madeUpLooks(world), writes };
  // Others beside us, and services that refuse, lag or rewrite, are each a reason to look and to
  // write once more.
  const more = world.deployments * world.routes.length * (world.switches.size > 0 ? 2 : 1);
  return (['looks', 'writes'] as const)
    .filter((kind) => done[kind] > work[kind] * happened * more)
    .map((kind) => `bound: ${done[kind]} ${kind} for ${happened} notifications and faults`);
}

/** A store that asked to wait is not asked again before that. */
export function haste({ deployments, faults: { early } }: World): string[] {
  // What one deployment was told another one does not know.
  return early > 0 && deployments === 1 ? [`bound: ${early} writes were sent before a store allowed it`] : [];
}

/** Checks the promises when all is quiet. Answers what was broken. */
export function brokenPromises(world: World): string[] {
  const { backups, journal, withReconcile } = world;
  const broken: string[] = [];
  for (const { certificate, at } of journal.acknowledged) {
    if (!isStillMeant(world, certificate, at) || wasCompared(world, certificate, at)) continue;
    if (!journal.looks.some((look) => look.certificate === certificate && look.at >= at)) {
      broken.push(`promise 1: ${certificate}, acknowledged at ${at}, was not looked at after that`);
    }
  }
  for (const original of world.primaries.flatMap((primary) =>
    [...primary.rows().values()].map((row) => ({ ...row, primary })),
  )) {
    // What came here by a circle is a copy of something else.
    if (original.mark !== undefined) continue;
    const { primary } = original;
    // While the primary holds nothing sound, nothing is written and nothing removed.
    if (contentProblem(original.content, { nowMs: world.time.now(), requireChain: false }) !== undefined) continue;
    if (original.withheld === true) continue;
    const mark: Mark = { store: primary.id, certificate: original.id };
    for (const store of backups) {
      const copies = [...store.rows().values()].filter((copy) => sameMark(copy.mark, mark));
      if (copies.some((copy) => keepsItsChain(original, copy))) continue;
      if (mayDiffer(world, store, original, copies)) continue;
      // What the store does not take is not in it, or in an older version: that is told, and
      // nothing can be done here. Nor is a copy replaced where others refer to its id.
      if (store.refusesNow(original.content) !== undefined) continue;
      // No room for another version: that is told, too, and the copy is not replaced by another
      // one.
      if (copies.some((copy) => !store.hasRoom(copy))) continue;
      const isLocked = ({ lockedUntil = 0 }: Held) => lockedUntil > world.time.now();
      if (copies.length === 0 && store.places().some((place) => keepsUsOut(world, place, mark))) continue;
      const halves = store.vacant().filter((place) => place.vacant !== 'deleted' && sameMark(place.mark, mark));
      if (halves.length > 0 && withReconcile)
        broken.push(`bound: ${store.id} holds ${halves.length} places of ${original.id} without content`);
      if (store.abilities.idsAreReferredTo && copies.some((copy) => !store.takes(copy, original.content))) continue;
      // Removal is tried hours apart: what was locked once may still be there.
      const wasLocked = ({ lockedUntil }: Held) => lockedUntil !== undefined;
      // Nobody looks for copies of others without a reason, and events are none.
      if (copies.length > 1 && world.deployments > 1 && !world.withReconcile) continue;
      const stay = copies.filter((copy) => copy.inUse === true || wasLocked(copy)).length;
      if (isKeptOut(store, original, copies, isLocked)) continue;
      if (copies.length > Math.max(1, stay + (copies.length > stay ? 1 : 0)) || (copies.length > 1 && stay === 0))
        broken.push(`promise 3: ${store.id} holds ${copies.length} copies of ${original.id}`);
      if (copies.length === 0) broken.push(`promise 2: ${store.id} holds no copy of ${original.id}`);
      const inPlace = (copy: Held) => store.abilities.reimportsInPlace && store.takes(copy, original.content);
      const writable = copies.filter((copy) => {
        if (isLocked(copy) || (wasLocked(copy) && copies.length > 1)) return false;
        return copy.inUse !== true || inPlace(copy);
      });
      for (const copy of writable)
        if (!equal(store, original, copy, copies.length > 1))
          broken.push(`promise 2: ${store.id} holds another version of ${original.id}`);
    }
  }
  return broken;
}

/**
 * Whether a copy was deleted while somebody had it locked: its place is not written into, and none
 * is made beside it, as beside one that lives. That is told, and tried again the more seldom the
 * longer it has been so: some time after the place is gone, too.
 */
function keepsUsOut({ time }: World, place: Held, mark: Mark): boolean {
  const { lockedUntil = 0, deletedAt, purgedAt = Number.POSITIVE_INFINITY } = place;
  if (deletedAt === undefined || !sameMark(place.mark, mark)) return false;
  const freeAt = Math.min(lockedUntil, purgedAt);
  return freeAt > deletedAt && time.now() < freeAt + (freeAt - deletedAt);
}

/**
 * Whether the copy that everyone keeps is locked, and no other takes the content: then none is made
 * beside them, as nobody can say whether the locked one would take it. That is told.
 */
function isKeptOut(
  store: World['backups'][number],
  original: Held,
  copies: readonly Held[],
  isLocked: (copy: Held) => boolean,
): boolean {
  const [first, ...others] = copies.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  if (first === undefined || !isLocked(first) || !store.abilities.reimportsInPlace) return false;
  return others.length > 0 && !others.some((copy) => !isLocked(copy) && store.takes(copy, original.content));
}

/** The link of a certificate in the journal. */
const linkOf = (certificate: string) => (certificate.startsWith('other ') ? 'other' : 'main');

/**
 * Whether a certificate is what was told of, by its name or by an id that nobody signed: not once
 * it got another name, or is gone.
 */
function isStillMeant({ switches, renamings, deletions }: World, certificate: string, at: number): boolean {
  if (!tellOtherwise(switches)) return true;
  return ![...renamings, ...deletions].some(
    (one) => inJournal(one.store === 'primary' ? 'main' : 'other', one.certificate) === certificate && one.at >= at,
  );
}

/**
 * Beyond the budget for names that nobody signed one reconcile takes the place of a look at each:
 * it asks for what differs.
 */
function wasCompared({ switches, journal }: World, certificate: string, at: number): boolean {
  if (!switches.has('hints') || !switches.has('unsigned-sender')) return false;
  return journal.reconciles.some((reconcile) => reconcile.link === linkOf(certificate) && reconcile.at >= at);
}

function equal(store: World['backups'][number], original: Held, copy: Held, othersStay: boolean): boolean {
  const isOf = ({ metadata: { name } }: Pick<Held, 'metadata'>) =>
    name === original.metadata.name || name.startsWith(`${original.metadata.name}-`);
  // Where names are unique and something of it that is deleted still has this one, the copy keeps
  // its own until that is gone: this is told.
  const isTaken = ({ vacant, ...place }: Held) =>
    vacant === 'deleted' && sameMark(place.mark, copy.mark) && isOf(place);
  const nameFits = isOf(copy) || (store.abilities.uniqueNames && store.vacant().some(isTaken));
  const wanted = fingerprintOf(store.asStored(original.content));
  // What stays beside the kept copy gets its content and keeps its name, which nothing else can
  // then have where names are unique.
  return (
    copy.unreadable !== true &&
    (nameFits || othersStay || copy.inUse === true) &&
    fingerprintOf(copy.content) === wanted
  );
}

/** A leaf alone never replaces a copy of the same issuer that has a chain. */
function keepsItsChain(original: Held, copy: Held): boolean {
  const { chain, leaf } = original.content;
  return chain.length === 0 && copy.content.chain.length > 0 && copy.content.leaf.issuer === leaf.issuer;
}
