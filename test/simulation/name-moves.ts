import type { World } from './world.ts';

/**
 * How soon after a name was told of another certificate gets it: while somebody is finding out what
 * it means.
 */
const leastMs = 5_000;
const mostMs = 30_000;

/**
 * Names that come to mean more: somebody tells of a certificate by its name, and moments later
 * another one is made that has the name as well, and is told of by it.
 */
export function scheduleNameMoves(world: World, durationMs: number): void {
  const { time, dice, switches, tellsAlone, primary, pool, notifyOf, trace } = world;
  if (!switches.has('hints') || !tellsAlone) return;
  for (let count = 0; count < 4; count += 1) time.at(time.now() + dice() * durationMs, begin);

  function begin(): void {
    const all = [...primary.rows().values()];
    const held = all[Math.floor(dice() * all.length)];
    if (held === undefined) return;
    const { id, metadata } = held;
    notifyOf({ ids: [id], name: metadata.name, digest: time.newId() });
    time.at(time.now() + leastMs + dice() * (mostMs - leastMs), () => {
      const made = `of-the-same-name-${time.newId()}`;
      const [content] = pool.good[Math.floor(dice() * pool.good.length)] ?? [];
      if (content === undefined) return;
      trace(`${time.now()} primary: create ${made} as ${metadata.name}`);
      world.creations.push({ store: primary.id, certificate: made, at: time.now() });
      primary.tamper(made, () => ({ id: made, content, metadata, revision: 1, lastModified: time.now() }));
      time.at(time.now() + dice() * 1_000, () => notifyOf({ ids: [made], name: metadata.name, digest: time.newId() }));
    });
  }
}
