import { describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { CodedError } from '../../src/errors.ts';
import { ownContent } from '../simulation/simulated-store.ts';
import { askAndPass, content, described, type Setup, setup, writesIn } from '../support/replication.ts';

const settledMs = 10 * 60_000;

/** A store that writes nothing in place holds `kept` of an import that nobody heard the end of. */
async function afterLostImport(sent: CertificateContent, kept: CertificateContent): Promise<Setup> {
  const world = await setup({ backups: [{ abilities: { reimportsInPlace: false } }] });
  world.primary.store.put({ content: sent, metadata: described('shop') }, 'c1');
  world.backup.hooks.import = async (_proceed, entry) => {
    world.backup.store.put({ ...entry, content: ownContent({ ...entry.content, chain: kept.chain }) }, 'late');
    throw new CodedError('store_unanswered', 'no answer came');
  };
  await askAndPass(world, 'c1');
  delete world.backup.hooks.import;
  world.calls.length = 0;
  return world;
}

async function looks(world: Setup, count: number): Promise<void> {
  for (let look = 0; look < count; look += 1) {
    await world.later(settledMs);
    await askAndPass(world, 'c1');
  }
}

describe('a copy of an import that nobody heard the end of, where nothing is written in place', () => {
  it('is kept as the service made it, if it has the whole chain and more: the next one would be no other', async () => {
    const given = await content();
    const world = await afterLostImport(given, { ...given, chain: [...given.chain, given.leaf] });
    await looks(world, 3);
    expect(writesIn(world)).toEqual([]);
    const [state] = (await world.record('c1')).backups;
    expect(state).toMatchObject({ id: 'late', refusal: { code: 'store_rewrites_content' } });
  });

  it('gives way to another one, if it lacks some of the chain', async () => {
    const given = await content();
    const world = await afterLostImport(given, { ...given, chain: [] });
    await looks(world, 3);
    expect(writesIn(world)).toEqual(['backup import', 'backup delete']);
    expect((await world.record('c1')).backups[0]?.refusal).toBeUndefined();
  });
});
