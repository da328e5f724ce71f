import { beforeAll, expect, test } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import { expired } from '../support/certificates.ts';
import { damageTenCopies, fill, planned, reconcileAll, verified, watchBackup, writesOf } from '../support/estate.ts';
import { content, setup, writesIn } from '../support/replication.ts';

const kinds: readonly KeyKind[] = ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'];
const size = 60;
const oldDay = Date.UTC(2001, 0, 1);

let estate: CertificateContent[];
let renewed: CertificateContent[];
let damage: Parameters<typeof damageTenCopies>[1];

beforeAll(async () => {
  const domains = (index: number) => ({ domains: [`host-${index + 1}.example.test`] });
  estate = [];
  for (let index = 0; index < size; index += 1) {
    // RSA keys take long to make: one of each kind of them, the other kinds in turn.
    const keyKind = index < kinds.length ? kinds[index] : kinds[2 + (index % 4)];
    estate.push(
      await content({
        ...domains(index),
        ...(keyKind && { keyKind }),
        intermediates: 2,
        notBefore: Date.UTC(2002, 0, 1),
      }),
    );
  }
  renewed = await Promise.all(Array.from({ length: 8 }, (_, index) => content(domains(index + 20))));
  const [older, otherKey, stranger] = await Promise.all([
    content({ ...domains(1), notBefore: oldDay }),
    content({ keyKind: 'p-256' }),
    content({ domains: ['stranger.example.test'] }),
  ]);
  damage = { older, otherKey, expired: parseContent(await expired(domains(7))), stranger };
});

test('every event of a day is lost: reconcile mends it, and verify proves it', async () => {
  const world = await setup({ reconciled: false });
  fill(world, estate);
  expect((await reconcileAll(world)).asked).toEqual({ unknown: size });
  expect(await verified(world)).toMatchObject({
    certificates: size,
    counts: { same: size },
    problems: 0,
    findings: [],
  });

  // Renewals, a rename, a new one and a deletion, and nobody tells.
  for (const [index, held] of renewed.entries()) {
    const id = `c${index + 21}`;
    await world.primary.store.reimport(id, held);
  }
  await world.primary.store.updateMetadata('c40', { name: 'renamed', description: '', tags: [] }, undefined);
  world.primary.store.put(
    { content: renewed[0] as CertificateContent, metadata: { name: 'new', description: '', tags: [] } },
    'c61',
  );
  await world.primary.store.delete('c60');
  const before = await verified(world);
  expect(before.counts).toMatchObject({ same: 50, missing: 1, extra: 1 });
  expect(before.problems).toBe(10);

  const { asked } = await reconcileAll(world);
  expect(asked).toEqual({ different: 8, 'revision-moved': 1, unknown: 1, 'gone-from-primary': 1 });
  const after = await verified(world);
  expect(after).toMatchObject({ counts: { same: 60, extra: 1 }, problems: 0 });
  expect(after.findings).toMatchObject([{ state: 'extra', certificate: 'c60', problem: false }]);
});

test('ten copies are damaged in ten ways: verify names each, the plan says what will be done, and that is done', async () => {
  const world = await setup({ reconciled: false });
  fill(world, estate);
  await reconcileAll(world);
  await damageTenCopies(world, damage);

  const { findings, problems } = await verified(world);
  const said = Object.fromEntries(
    findings.map(({ certificate, state, how }) => [certificate ?? 'foreign', `${state}: ${how}`]),
  );
  expect(said).toEqual({
    c1: 'missing: the backup holds no copy',
    c2: "older: an older version, valid until 2099-01-01 (the primary's until 2099-01-01)",
    c3: 'would-not-serve: its private key is another one',
    c4: 'different: its chain is missing (the primary has 2 above the leaf)',
    c5: 'different: it is named renamed by hand instead of name 5',
    c6: 'different: it does not carry our mark',
    c7: 'extra: a second copy of the same certificate',
    c8: 'would-not-serve: the certificate expired at 2000-02-01T00:00:00.000Z',
    c9: expect.stringMatching(/^unreadable: /),
    foreign: 'extra: not ours: it carries no mark',
  });
  expect(problems).toBe(9);

  // A copy that its service holds but cannot give back is told by no listing: only a full look
  // finds it.
  expect([...(await planned(world)).lines.keys()]).not.toContain('c9');
  const { digest, lines } = await planned(world, { full: true });
  const steps = Object.fromEntries(
    [...lines.values()]
      .filter(({ outcome }) => outcome !== 'nothing')
      .map(({ certificate, backups }) => [certificate, backups[0]?.writes.map(({ write }) => write)]),
  );
  expect(steps).toEqual({
    c1: ['import'],
    c2: ['reimport'],
    c3: ['reimport'],
    c4: ['reimport'],
    c5: ['describe'],
    c6: ['describe'],
    c7: ['remove'],
    c8: ['reimport'],
    c9: ['reimport'],
  });
  expect((await planned(world, { full: true })).digest).toBe(digest);
  expect(writesIn(world).filter((call) => call.endsWith('delete'))).toEqual([]);

  const sent = watchBackup(world);
  await reconcileAll(world, { full: true });
  expect(sent.toSorted()).toEqual(writesOf(lines.values()).toSorted());
  const after = await verified(world);
  expect(after).toMatchObject({ counts: { same: size, extra: 1 }, problems: 0 });
  // A stranger is for a person: adopt takes it, nothing else does.
  expect(after.findings).toMatchObject([{ state: 'extra', copy: 'foreign', problem: false }]);
  expect((await planned(world)).lines.size).toBe(0);
});
