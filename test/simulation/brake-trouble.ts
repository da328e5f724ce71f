import type { X509Certificate } from 'node:crypto';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { type FoundMark, sameMark, wholeMark } from '../../src/store/mark.ts';
import { allowedAtOnce, differs, scarce } from './brake-bounds.ts';
import { originalOf } from './routes.ts';
import type { Held, SimulatedStore } from './simulated-store.ts';
import type { World } from './world.ts';

const dayMs = 24 * 3_600_000;
/** A write that was on its way for so long may land on what has changed meanwhile. */
const onItsWayMs = 10 * 60_000;

/**
 * The next version of a certificate where time matters: each is valid from a month later than the
 * one before.
 */
export function datedContent(world: World, which: number): CertificateContent | undefined {
  if (!world.switches.has('restored-primary')) return undefined;
  const versions = world.pool.dated[which] ?? [];
  const next = Math.min((world.ages.get(which) ?? -1) + 1, versions.length - 1);
  world.ages.set(which, next);
  return versions[next];
}

/**
 * What the switches of the brake bring about in the primary, for `durationMs` of virtual time; some
 * of it when all else is quiet.
 */
export function scheduleBrakeTrouble(world: World, durationMs: number): void {
  const { time, dice, switches, primary, pool, trace } = world;
  const which = ({ id }: Held) => Number(/^p(\d+)-/.exec(id)?.[1]);
  const put = (held: Held, content: CertificateContent, revision?: number) => {
    const fresh = { revision: revision ?? Math.floor(dice() * 1e9), lastModified: time.now() };
    primary.tamper(held.id, (now) => now && { ...now, content, ...fresh });
  };
  const tell = (held: Held) =>
    time.at(time.now() + dice() * 2_000, () =>
      world.notifyOf({ ids: [held.id], name: held.metadata.name, digest: `${held.id} ${time.newId()}` }),
    );
  const often = (count: number, act: () => void) => {
    for (let index = 0; index < count; index += 1) time.at(time.now() + dice() * durationMs, act);
  };

  if (switches.has('stand-ins'))
    often(6, () => {
      const all = [...primary.rows().values()];
      const held = all[Math.floor(dice() * all.length)];
      if (held === undefined) return;
      const own = pool.selfSigned[which(held)] ?? [];
      const content = dice() < 0.3 ? pool.temporary : (own[Math.floor(dice() * own.length)] ?? pool.temporary);
      trace(`${time.now()} primary: ${held.id} is ${content === pool.temporary ? 'temporary' : 'self-signed'}`);
      put(held, content);
      tell(held);
    });

  // When nothing looks by itself any more at what was refused over a copy, somebody deletes that
  // copy: what could not take its place is better than none.
  if (switches.has('stand-ins') && switches.size === 1 && world.withReconcile)
    time.at(time.now() + durationMs + 30 * 60_000, () => {
      for (const store of world.backups)
        for (const { id, mark } of store.rows().values()) {
          const isOfStandIn = ({ id: certificate, content }: Held) =>
            isStandIn(world, content.leaf) && sameMark(mark, { store: primary.id, certificate });
          if (![...primary.rows().values()].some(isOfStandIn)) continue;
          trace(`${time.now()} ${store.id}: someone does delete ${id}`);
          world.noteMeddling(store.id, originalOf(mark));
          store.tamper(id, () => undefined);
        }
    });

  if (switches.has('restored-primary')) {
    const restore = () => {
      trace(`${time.now()} primary: restored from an old state`);
      for (const held of primary.rows().values()) {
        const [oldest] = pool.dated[which(held)] ?? [];
        if (oldest === undefined || !isDated(world, held.content)) continue;
        world.ages.set(which(held), 0);
        put(held, oldest);
        if (dice() < 0.7 || !world.withReconcile) tell(held);
      }
    };
    often(2, restore);
    // And when all is quiet: then no write that was on its way explains what goes back.
    time.at(time.now() + durationMs + 25 * 60_000, restore);
  }

  // Listings show nothing of it, no event tells, and nothing else happens: only the look of a
  // reconcile finds it.
  if (switches.has('restless-listing') && world.withReconcile)
    time.at(time.now() + durationMs + 25 * 60_000, () => {
      trace(`${time.now()} primary: everything changes without a word`);
      for (const held of primary.rows().values()) {
        const versions = pool.good[which(held)] ?? [];
        // What differs already, or would not serve, is looked at again as soon as anything moves:
        // the reconcile counts that.
        if (!versions.includes(held.content) || differs(world, held)) continue;
        const other = versions.find((version) => version.leaf !== held.content.leaf) ?? held.content;
        world.silently.set(held.id, time.now());
        put(held, other);
      }
    });

  if (switches.has('repeated-revisions') && world.withReconcile)
    often(3, () => {
      const all = [...primary.rows().values()];
      const held = all[Math.floor(dice() * all.length)];
      const versions = held === undefined ? [] : (pool.good[which(held)] ?? []);
      const other = versions.find((version) => version.leaf !== held?.content.leaf);
      if (held === undefined || other === undefined) return;
      trace(`${time.now()} primary: ${held.id} has other content under the same revision`);
      primary.tamper(held.id, (now) => now && { ...now, content: other });
    });

  if (world.accepts) acceptWhenQuiet(world, time.now() + durationMs + 65 * 60_000);
}

/**
 * A person says that what the brake holds is meant: in each of eight minutes, because any attempt
 * may fail.
 */
function acceptWhenQuiet(world: World, from: number): void {
  for (let minute = 0; minute < 8; minute += 1)
    world.time.at(from + minute * 60_000, () => {
      for (let deployment = 0; deployment < world.deployments; deployment += 1)
        world.accept(deployment).catch(() => undefined);
    });
}

/** Whether a primary holds the certificate of this mark. */
const isThere = ({ primaries }: World, mark: FoundMark | undefined): boolean =>
  primaries.some((primary) =>
    [...primary.rows().keys()].some((certificate) => sameMark(mark, { store: primary.id, certificate })),
  );

const isDated = ({ pool }: World, { leaf }: CertificateContent) =>
  pool.dated.some((versions) => versions.some((version) => version.leaf === leaf));
const validFrom = ({ content }: Pick<Held, 'content'>) => factsOf(content).notBefore;

/** Watches every write for what the brake and the rule of stand-ins promise. */
export function watchBrake(world: World, broken: string[]): void {
  for (const store of world.backups) {
    const before = store.onWrite;
    const back: { readonly original: string; readonly at: number }[] = [];
    const silent = new Set<string>();
    const writes: number[] = [];
    store.onWrite = (operation, id, was, becomes) => {
      before?.(operation, id, was, becomes);
      const now = world.time.now();
      const { mark } = was ?? becomes ?? {};
      // Another primary may have a certificate of the same id: a copy is of one of them.
      const original = originalOf(mark);
      if (world.switches.has('scarce-writes') && (operation === 'import' || operation === 'reimport')) {
        writes.push(now);
        const { quota } = scarce;
        // What was counted may land minutes later, or when its operation ends. What another
        // deployment sends is not counted.
        const { import: longestMs = 0 } = store.abilities.longWrites ?? {};
        const lately = writes.filter((at) => at > now - (quota.perMs - onItsWayMs - longestMs)).length;
        if (lately > quota.count * world.deployments)
          broken.push(
            `bound: ${lately} writes to ${store.id} within its hour, ${quota.count * world.deployments} allowed`,
          );
      }
      if (operation === 'import' && becomes !== undefined) {
        const locked = [...store.rows().values()].find(
          (copy) => copy.id !== id && originalOf(copy.mark) === original && (copy.lockedUntil ?? 0) > now,
        );
        const isExplained = world.deployments > 1 || world.doubled.has(`${store.id} ${original}`);
        if (
          locked !== undefined &&
          !isExplained &&
          !mayBeOld(world, store, locked) &&
          // Where nothing is written in place each version is a copy of its own, whoever holds the
          // one before.
          store.abilities.reimportsInPlace &&
          store.takes(locked, becomes.content)
        )
          broken.push(`promise 3: ${id} was imported in the place of ${locked.id}, which somebody has locked`);
      }
      if (
        becomes?.content.leaf === world.pool.temporary.leaf &&
        operation !== 'describe' &&
        !world.switches.has('version-before')
      )
        broken.push(`promise 4: ${operation} of ${id} with a temporary certificate`);
      if (operation === 'describe' || mayBeOld(world, store, was) || world.meddledWith(store.id, original)) return;
      // Copies of what is gone are removed one after the other: none takes the place of another.
      if (operation === 'delete' && !isThere(world, mark)) return;
      const others = [...store.rows().values()].filter((copy) => copy.id !== id && originalOf(copy.mark) === original);
      const left = becomes === undefined ? others : [becomes];
      if (was === undefined || left.length === 0) return;
      if (!isStandIn(world, was.content.leaf) && left.every((copy) => isStandIn(world, copy.content.leaf)))
        broken.push(`promise 4: a self-signed certificate took the place of ${id}, which an authority issued`);
      if (left.every((copy) => validFrom(copy) < validFrom(was) - dayMs)) {
        back.push({ original, at: now });
        const lately = new Set(back.filter(({ at }) => at > now - 50 * 60_000).map((one) => one.original));
        if (
          world.switches.has('restored-primary') &&
          lately.size > allowedAtOnce * world.deployments &&
          !world.accepted
        )
          broken.push(`bound: ${lately.size} certificates went back in time within an hour, ${allowedAtOnce} allowed`);
      }
      const certificate = wholeMark(mark)?.certificate ?? '';
      const changedAt = world.silently.get(certificate);
      const isNew = becomes !== undefined && fingerprintOf(becomes.content) !== fingerprintOf(was.content);
      if (
        changedAt !== undefined &&
        now > changedAt + onItsWayMs &&
        isNew &&
        world.switches.size === 1 &&
        !world.accepted
      ) {
        silent.add(certificate);
        if (silent.size > allowedAtOnce)
          broken.push(`bound: ${silent.size} copies replaced by what changed without a word, ${allowedAtOnce} allowed`);
      }
    };
  }
}

/**
 * Whether a copy changed so lately that the write which it gets now may have been meant for what
 * was there before.
 */
function mayBeOld(world: World, store: SimulatedStore, was: Held | undefined): boolean {
  // Workers of the version before know nothing of all this.
  if (world.wildClocks || was?.unreadable === true || world.switches.has('version-before')) return true;
  const isLate = (world.faults.unheard.get(store.id) ?? 0) + world.faults.recordsAtRisk > 0;
  return was !== undefined && isLate && world.time.now() - was.lastModified <= onItsWayMs;
}

const isStandIn = ({ pool }: World, leaf: X509Certificate): boolean =>
  leaf === pool.temporary.leaf || pool.selfSigned.some((versions) => versions.some((version) => version.leaf === leaf));

/**
 * Why a copy may be another one than its original when all is quiet: a finding of the brake, or of
 * stand-ins.
 */
export function mayDiffer(world: World, store: SimulatedStore, original: Held, copies: readonly Held[]): boolean {
  const { switches, pool, accepted } = world;
  if (switches.has('stand-ins')) {
    if (original.content.leaf === pool.temporary.leaf) return true;
    if (isStandIn(world, original.content.leaf))
      if (copies.some((copy) => copy.unreadable === true || !isStandIn(world, copy.content.leaf))) return true;
  }
  if (switches.has('restored-primary') && !accepted)
    if (copies.some((copy) => validFrom(copy) > validFrom(original) + dayMs)) return true;
  // What an event would have told, had it not been lost, counts as well.
  if (switches.has('restless-listing') && switches.size === 1 && !accepted && world.silently.size > 0) return true;
  return switches.has('scarce-writes') && store.abilities.quotas !== undefined && world.usedUp.has(store.id);
}

/** That the brake held a reconcile though nothing had changed. */
export function needlessBrake({ needless, switches, deployments }: World): string[] {
  // What another deployment has written is a change of the copy, where a listing does not show that
  // it holds the same.
  const isChange = deployments > 1 && switches.has('silent-listing');
  return needless > 0 && !isChange && !switches.has('version-before')
    ? [`bound: the brake held ${needless} reconciles, and too little differed`]
    : [];
}
