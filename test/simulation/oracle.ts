import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { contentProblem } from '../../src/certificate/judgement.ts';
import type { Held } from './simulated-store.ts';
import type { World } from './world.ts';

/** Watches every write of the program for promises 3 and 4, which hold at every moment. Answers what was broken. */
export function watchWrites(world: World): { readonly broken: string[]; imports: number; writes: number } {
  const seen = { broken: [] as string[], imports: 0, writes: 0 };
  for (const store of world.backups) {
    const before = store.onWrite;
    store.onWrite = (operation, id, was, becomes) => {
      before?.(operation, id, was, becomes);
      seen.writes += 1;
      if (operation === 'import') seen.imports += 1;
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
        if (cut && was.content.leaf.issuer === becomes.content.leaf.issuer)
          seen.broken.push(`promise 4: ${id} lost its chain`);
      }
    };
  }
  return seen;
}

/** Checks the promises when all is quiet. Answers what was broken. */
export function brokenPromises(world: World): string[] {
  const { primary, backups, journal } = world;
  const broken: string[] = [];
  for (const { certificate, at } of journal.acknowledged) {
    if (!journal.looks.some((look) => look.certificate === certificate && look.at >= at)) {
      broken.push(`promise 1: ${certificate}, acknowledged at ${at}, was not looked at after that`);
    }
  }
  for (const original of primary.rows().values()) {
    // While the primary holds nothing sound, nothing is written and nothing removed.
    if (contentProblem(original.content, { nowMs: world.time.now(), requireChain: false }) !== undefined) continue;
    for (const store of backups) {
      const copies = [...store.rows().values()].filter(({ mark }) => mark?.certificate === original.id);
      if (copies.some((copy) => keepsItsChain(original, copy))) continue;
      if (copies.length > 1) broken.push(`promise 3: ${store.id} holds ${copies.length} copies of ${original.id}`);
      const [copy] = copies;
      if (copy === undefined) broken.push(`promise 2: ${store.id} holds no copy of ${original.id}`);
      else if (!equal(original, copy)) {
        broken.push(`promise 2: ${store.id} holds another version of ${original.id}`);
      }
    }
  }
  return broken;
}

function equal(original: Held, copy: Held): boolean {
  const nameFits =
    copy.metadata.name === original.metadata.name || copy.metadata.name.startsWith(`${original.metadata.name}-`);
  return copy.unreadable !== true && nameFits && fingerprintOf(copy.content) === fingerprintOf(original.content);
}

/** A leaf alone never replaces a copy of the same issuer that has a chain. */
function keepsItsChain(original: Held, copy: Held): boolean {
  const { chain, leaf } = original.content;
  return chain.length === 0 && copy.content.chain.length > 0 && copy.content.leaf.issuer === leaf.issuer;
}
