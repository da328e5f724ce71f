import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { standingOf } from '../../src/replication/standing.ts';
import {
  askAndPass,
  content,
  described,
  held,
  markOf,
  replicated,
  type Setup,
  setup,
  writesIn,
} from '../support/replication.ts';

let first: CertificateContent;
let renewed: CertificateContent;
let other: CertificateContent;
beforeAll(async () => {
  [first, renewed, other] = await Promise.all([content(), content(), content({ domains: ['other.example.test'] })]);
});

const marks = [{ findsMarks: true }, { findsMarks: false }] as const;

/** A copy in the backup whose mark cannot be read. */
function damaged(world: Setup, held: CertificateContent): void {
  world.backup.store.put({ content: held, metadata: described('shop'), mark: markOf('c1') }, 'damaged');
  world.backup.store.obscure('damaged');
}

describe.each(marks)('a copy whose mark cannot be read, in a store with %o', (abilities) => {
  it('is written anew and marked by the pass of the certificate whose record knows it', async () => {
    const world = await replicated(first, { backups: [{ abilities }] });
    const { id = '' } = (await world.record('c1')).backups[0] ?? {};
    world.backup.store.obscure(id);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup updateMetadata']);
    expect((await held(world.backup.store, id)).metadata).toMatchObject({ name: 'shop', mark: markOf('c1') });
  });

  it('keeps no other certificate out of the backup', async () => {
    const world = await setup({ reconciled: false, backups: [{ abilities }] });
    damaged(world, first);
    world.primary.store.put({ content: other, metadata: described('other') }, 'c2');
    const { passes } = await askAndPass(world, 'c2');
    expect(passes[0]?.backups[0]?.actions).toEqual(['imported']);
  });

  it('is taken over where it holds this very leaf, though no record knows it', async () => {
    const world = await setup({ reconciled: false, backups: [{ abilities }] });
    damaged(world, first);
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]?.actions).toEqual(['adopted', 'reimported', 'described']);
    expect(world.backup.store.size()).toBe(1);
    expect((await held(world.backup.store, 'damaged')).metadata.mark).toEqual(markOf('c1'));
  });

  it('has only a certificate for the same domains wait for a person, with another leaf in it', async () => {
    const world = await setup({ reconciled: false, backups: [{ abilities }] });
    damaged(world, first);
    world.primary.store.put({ content: renewed, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(standingOf(world.link, await world.record('c1'))).toMatchObject({
      kind: 'failing',
      error: { code: 'store_copy_unclear' },
    });
    // The person removes it.
    await world.backup.store.delete('damaged');
    await world.later(60_000);
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]?.actions).toEqual(['imported']);
  });
});
