import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { identityRecords } from '../../src/records/identity-records.ts';
import { sameMark } from '../../src/store/mark.ts';
import type { Table } from '../../src/table/table.ts';
import { datedContent, scheduleBrakeTrouble } from './brake-trouble.ts';
import { scheduleFloods } from './floods.ts';
import { scheduleNameMoves } from './name-moves.ts';
import { scheduleOtherPlaces } from './other-places.ts';
import { originalOf } from './routes.ts';
import type { Held } from './simulated-store.ts';
import type { World } from './world.ts';

/**
 * Lets people and renewals change the primary and meddle with the backups, for `durationMs` of
 * virtual time: everything from the world's seed. At most `most` of them.
 */
export function scheduleChanges(world: World, durationMs: number, most = Number.POSITIVE_INFINITY): void {
  const { time, random, pool } = world;
  if (random() < 0.3) scheduleOutage(world, durationMs);
  scheduleHolds(world, durationMs);
  scheduleWaysBack(world, durationMs);
  scheduleBrakeTrouble(world, durationMs);
  scheduleFloods(world, durationMs);
  scheduleNameMoves(world, durationMs);
  scheduleAbsences(world, durationMs);
  scheduleLostKeys(world, durationMs);
  scheduleOtherPlaces(world, durationMs);
  const count = Math.min(most, 3 + Math.floor(random() * 12));
  for (let index = 0; index < count; index += 1) {
    time.at(time.now() + random() * durationMs, () =>
      random() < 0.75 || !world.withReconcile ? changePrimary(world, pool.good.length) : meddle(world),
    );
  }
}

/** One of the stores is down for some minutes of the time of faults. */
function scheduleOutage({ time, random, primary, backups, faults, trace }: World, durationMs: number): void {
  const { id } = pick(random, [primary, ...backups, ...backups]);
  const from = time.now() + random() * durationMs;
  const until = Math.min(from + random() * 10 * 60_000, time.now() + durationMs);
  time.at(from, () => {
    faults.down.add(id);
    trace(`${time.now()} ${id} is down`);
  });
  time.at(until, () => {
    faults.down.delete(id);
    trace(`${time.now()} ${id} is up again`);
  });
}

/**
 * The container of a whole store goes, and comes back some minutes later; until it answers again a
 * while passes.
 */
function scheduleAbsences(world: World, durationMs: number): void {
  const { time, dice, switches, primary, backups, tables, faults, trace } = world;
  if (!switches.has('vanishing-container')) return;
  for (let count = 0; count < 2; count += 1) {
    const store = pick(dice, [primary, ...backups]);
    const from = time.now() + dice() * durationMs;
    const until = Math.min(from + (1 + dice() * 7) * 60_000, time.now() + durationMs);
    time.at(from, async () => {
      // One that was never used has proven no identity: that it is empty is believed then, and
      // without reconcile nobody looks once more.
      const isBound = async (table: Table) => (await identityRecords(table).identityOf(store.id)) !== undefined;
      if (!world.withReconcile && store === primary && !(await Promise.all(tables.map(isBound))).every(Boolean)) return;
      trace(`${time.now()} the container of ${store.id} is away`);
      store.leave(true);
    });
    time.at(until, () => {
      faults.down.add(store.id);
      store.leave(false);
      trace(`${time.now()} the container of ${store.id} is back`);
    });
    time.at(until + 60_000, () => void faults.down.delete(store.id));
  }
}

/**
 * Copies lose their private keys, where a listing shows that something changed; and the primary
 * begins to withhold one, and gives it again.
 */
function scheduleLostKeys(world: World, durationMs: number): void {
  const { time, dice, switches, primary, backups, trace, notifyOf } = world;
  if (!switches.has('withholds-keys')) return;
  const often = (act: () => void) => {
    for (let count = 0; count < 3; count += 1) time.at(time.now() + dice() * durationMs, act);
  };
  const fresh = ({ revision }: Held) => ({ revision: revision + 1_000_000, lastModified: time.now() });
  const lost = backups.filter(({ givesRevisions }) => givesRevisions);
  if (world.withReconcile && lost.length > 0)
    often(() => {
      const store = pick(dice, lost);
      const copies = [...store.rows().values()].filter(({ mark }) => mark !== undefined);
      if (copies.length === 0) return;
      const { id, mark } = pick(dice, copies);
      trace(`${time.now()} ${store.id}: ${id} loses its key`);
      world.noteMeddling(store.id, originalOf(mark));
      store.tamper(id, (held) => {
        if (held === undefined) return undefined;
        const { privateKey: _key, ...keyless } = held.content;
        return { ...held, content: keyless, ...fresh(held) };
      });
    });
  often(() => {
    const originals = [...primary.rows().values()];
    if (originals.length === 0) return;
    const { id, withheld = false } = pick(dice, originals);
    trace(`${time.now()} primary: the key of ${id} is ${withheld ? 'given again' : 'withheld'}`);
    primary.tamper(id, (held) => held && { ...held, withheld: !withheld, ...fresh(held) });
    notifyOf({ ids: [id], name: primary.rows().get(id)?.metadata.name ?? '', digest: time.newId() });
  });
}

/**
 * People lock copies, services use them, and somebody doubles some of these: what cannot be removed
 * stays beside the kept one.
 */
function scheduleHolds(world: World, durationMs: number): void {
  const { time, dice, switches, backups, trace } = world;
  const hold = (change: (held: Held) => Held, what: string) => () => {
    const store = pick(dice, backups);
    const copies = [...store.rows().values()].filter(({ mark }) => mark !== undefined);
    if (copies.length === 0) return;
    const { id } = pick(dice, copies);
    trace(`${time.now()} ${store.id}: ${id} is ${what}`);
    store.tamper(id, (held) => held && change(held));
  };
  const often = (count: number, act: () => void) => {
    for (let index = 0; index < count; index += 1) time.at(time.now() + dice() * durationMs, act);
  };
  const double = () => meddle(world, 'double', dice);
  if (switches.has('locked')) {
    often(4, () => {
      const forEver = dice() < 0.2;
      const until = forEver ? Number.POSITIVE_INFINITY : time.now() + dice() * 10 * 60_000;
      hold((held) => ({ ...held, lockedUntil: until }), `locked until ${until}`)();
    });
    if (world.withReconcile) often(2, double);
  }
  if (switches.has('in-use')) {
    often(
      3,
      hold((held) => ({ ...held, inUse: true }), 'in use'),
    );
    if (world.withReconcile) often(3, double);
  }
}

/** So many changes because somebody froze: else each would bring about more of them. */
const mostChangesMeanwhile = 8;

/**
 * Certificates get content for other domains, so that some copies are replaced; and as soon as the
 * removal of an old copy is on its way, its original goes back to what that copy holds. Where
 * processes freeze while they write, the certificate changes meanwhile.
 */
function scheduleWaysBack(world: World, durationMs: number): void {
  const { time, dice, primary, backups, pool, trace, notifyOf } = world;
  const { removal, row, reimport } = world.faults.oftener;
  if ([removal, row, reimport].every((wrong) => wrong === undefined)) return;
  const give = (id: string, content: CertificateContent | undefined) => {
    const held = primary.rows().get(id);
    if (content === undefined || held === undefined) return;
    trace(`${time.now()} primary: ${id} is for other domains, or again for those before`);
    const fresh = { revision: Math.floor(dice() * 1e9), lastModified: time.now() };
    primary.tamper(id, (now) => now && { ...now, content, ...fresh });
    notifyOf({ ids: [id], name: held.metadata.name, digest: time.newId() });
  };
  const copyAt = (store: string, copy: string) => {
    const held = backups
      .find(({ id }) => id === store)
      ?.rows()
      .get(copy);
    const original = [...primary.rows().keys()].find((certificate) =>
      sameMark(held?.mark, { store: primary.id, certificate }),
    );
    return original === undefined ? undefined : { original, content: held?.content };
  };
  let changes = 0;
  const changeSoon = (id: string) => {
    changes += 1;
    if (changes > mostChangesMeanwhile) return;
    const versions = pool.good[Number(/^p(\d+)-/.exec(id)?.[1])] ?? [];
    const content = versions[Math.floor(dice() * versions.length)];
    time.at(time.now() + dice() * 45_000, () => give(id, content));
  };
  if (row !== undefined) row.sent = changeSoon;
  if (reimport !== undefined)
    reimport.sent = (copy, store) => {
      const found = copyAt(store, copy);
      if (found !== undefined) changeSoon(found.original);
    };
  if (removal === undefined) return;
  removal.sent = (copy, store) => {
    const old = copyAt(store, copy);
    if (old !== undefined) time.at(time.now() + dice() * 60_000, () => give(old.original, old.content));
  };
  for (let count = 0; count < 6; count += 1)
    time.at(time.now() + dice() * durationMs, () => {
      const originals = [...primary.rows().keys()];
      if (originals.length === 0) return;
      const id = pick(dice, originals);
      give(id, pool.good[Number(/^p(\d+)-/.exec(id)?.[1])]?.at(dice() < 0.5 ? 0 : -1));
    });
}

const pick = <T>(random: () => number, items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;

/** Changes some certificate of so many; `again`: the one of this number. */
function changePrimary(world: World, certificates: number, again = false): void {
  const { random, pool, time, trace, deleted } = world;
  // Where there are two primaries with certificates of equal ids, either.
  const primary = world.primaries.length > 1 ? pick(world.dice, world.primaries) : world.primary;
  const which = again ? certificates : Math.floor(random() * certificates);
  // Changes come in bursts: what is asked for while a pass runs is where the races are.
  if (random() < 0.35) time.at(time.now() + random() * 90_000, () => changePrimary(world, which, true));
  const versions = pool.good[which] ?? [];
  const existing = [...primary.rows().values()].find(({ id }) => id.startsWith(`p${which}-`));
  const action =
    existing === undefined
      ? 'create'
      : pick(random, [
          'renew',
          'renew',
          'renew',
          'break',
          'keyless',
          'cut',
          'delete',
          primary.givesRevisions && world.withReconcile ? 'rename' : 'renew',
        ]);
  // What was deleted may come back as it was: a folder is put in its place again.
  const elsewhere = world.primaries
    .flatMap((other) => [...other.rows().keys()])
    .find((id) => id.startsWith(`p${which}-`));
  const former = (random() < 0.5 ? deleted.get(which) : undefined) ?? elsewhere;
  const id = existing?.id ?? former ?? `p${which}-${time.newId()}`;
  if (action === 'delete') {
    deleted.set(which, id);
    world.deletions.push({ store: primary.id, certificate: id, at: time.now() });
  }
  if (action === 'create') world.creations.push({ store: primary.id, certificate: id, at: time.now() });
  const named = action !== 'rename' && existing !== undefined ? nameFor(world, which) : undefined;
  // The new content may be the one before: then an event that got lost was all that told of the
  // name where listings tell no revision, and only the full look of the week finds it.
  const renamed = primary.givesRevisions || !world.withReconcile ? named : undefined;
  if (renamed !== undefined || action === 'rename')
    world.renamings.push({ store: primary.id, certificate: id, at: time.now() });
  trace(`${time.now()} ${primary.id}: ${action} ${id}${renamed === undefined ? '' : ` as ${renamed}`}`);
  const content: Readonly<Record<string, CertificateContent>> = {
    create: pick(random, versions),
    renew: pick(random, versions),
    break: pool.wrongKey,
    keyless: pool.keyless,
    cut: pool.chainless,
  };
  const dated = action === 'create' || action === 'renew' ? datedContent(world, which) : undefined;
  const fresh = { revision: Math.floor(random() * 1e9), lastModified: time.now() };
  primary.tamper(id, (held): Held | undefined => {
    if (action === 'delete') return undefined;
    const metadata = held?.metadata ?? { name: `name ${which}`, description: '', tags: [] };
    if (action === 'rename')
      return held && { ...held, metadata: { ...metadata, name: `name ${which} ${time.newId()}` }, ...fresh };
    const described = renamed === undefined ? metadata : { ...metadata, name: renamed };
    return { id, metadata: described, content: dated ?? content[action] ?? pick(random, versions), ...fresh };
  });
  const { name = '' } = primary.rows().get(id)?.metadata ?? existing?.metadata ?? {};
  const link = primary === world.primary ? 'main' : 'other';
  sendNotifications(world, { certificate: id, name }, { silent: action === 'rename', link });
}

/**
 * Where events tell names, the new name that some certificates get with their new content; another
 * one may have it already.
 */
function nameFor({ switches, dice, time }: World, which: number): string | undefined {
  if (!switches.has('hints') || dice() > 0.3) return undefined;
  return dice() < 0.4 ? `name ${Math.floor(dice() * 3)}` : `name ${which} ${time.newId()}`;
}

/**
 * Notifications get lost, doubled and late; a rename sends none. Now and then two are the same
 * bytes.
 */
function sendNotifications(
  world: World,
  { certificate, name }: { readonly certificate: string; readonly name: string },
  { silent, link }: { readonly silent: boolean; readonly link: string },
): void {
  const { time, random } = world;
  if (silent || (world.withReconcile && random() < 0.15)) return;
  const digest = random() < 0.2 ? `same ${certificate}` : time.newId();
  const deliver = (delayMs: number) =>
    time.at(time.now() + delayMs, () => world.notifyOf({ ids: [certificate], name, digest }, { link }));
  deliver(random() * 2_000);
  if (random() < 0.2) deliver(random() * 120_000);
}

/**
 * What others do at a backup behind our back; where listings tell no revision, only what serial and
 * dates give away.
 */
function meddle(world: World, what?: 'double', random = world.random): void {
  const { backups, pool, time, trace } = world;
  const store = pick(random, backups);
  const copy = pick(random, [...store.rows().values()]);
  if (copy === undefined && what !== undefined) return;
  const action =
    copy === undefined
      ? 'foreign'
      : (what ??
        pick(
          random,
          store.givesRevisions
            ? ['delete', 'replace', 'foreign', 'double', 'rename', 'damage']
            : ['delete', 'replace', 'foreign', 'double'],
        ));
  trace(`${time.now()} ${store.id}: someone does ${action} ${copy?.id ?? ''}`);
  if (action === 'foreign') {
    const id = `foreign-${time.newId()}`;
    const metadata = { name: id, description: 'not ours', tags: [] };
    store.tamper(id, () => ({ id, content: pool.foreign, metadata, revision: 1, lastModified: time.now() }));
    return;
  }
  if (copy.mark === undefined) return;
  if (action === 'double') {
    // Before the copy in the order of ids, or after it.
    const id = random === world.dice && random() < 0.5 ? `!double-${time.newId()}` : `double-${time.newId()}`;
    world.doubled.add(`${store.id} ${originalOf(copy.mark)}`);
    const metadata = { ...copy.metadata, name: `${copy.metadata.name} ${id}` };
    store.tamper(id, () => ({ ...copy, id, metadata, lastModified: time.now() }));
    return;
  }
  if (action !== 'rename') world.noteMeddling(store.id, originalOf(copy.mark));
  store.tamper(copy.id, (held) => {
    if (held === undefined || action === 'delete') return undefined;
    const fresh = { revision: held.revision + 1_000_000, lastModified: time.now() };
    if (action === 'replace') return { ...held, ...fresh, content: pool.foreign };
    if (action === 'rename')
      return { ...held, ...fresh, metadata: { ...held.metadata, name: `renamed ${time.newId()}` } };
    return { ...held, ...fresh, unreadable: true };
  });
}
