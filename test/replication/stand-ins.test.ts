import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { isTemporary } from '../../src/certificate/stand-in.ts';
import { CodedError } from '../../src/errors.ts';
import { certifyLeaf, newSigner } from '../support/bundles.ts';
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

let issued: CertificateContent;
let selfSigned: CertificateContent;
let renewed: CertificateContent;
let temporary: CertificateContent;

beforeAll(async () => {
  const temporaryCa = await newSigner('CN=cert-manager.local');
  [issued, selfSigned, renewed, temporary] = await Promise.all([
    content(),
    certifyLeaf(undefined).then(parseContent),
    certifyLeaf(undefined).then(parseContent),
    certifyLeaf(temporaryCa).then(parseContent),
  ]);
});

const damaged = () => new CodedError('store_content_unreadable', 'held, but not to be read');
const inPrimary = (world: Setup, given: CertificateContent) =>
  world.primary.store.put({ content: given, metadata: described('shop') }, 'c1');
const copyIn = async (world: Setup, id = 'backup-1') => fingerprintOf((await held(world.backup.store, id)).content);

describe('a self-signed certificate', () => {
  it('does not replace the copy of one that an authority issued, and says so', async () => {
    const world = await replicated(issued);
    inPrimary(world, selfSigned);
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]).toMatchObject({ refused: true, error: { code: 'certificate_self_signed' } });
    expect(await copyIn(world)).toBe(fingerprintOf(issued));
    expect(writesIn(world)).toEqual([]);
    inPrimary(world, issued);
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('refusal');
  });

  it('does where the link says so', async () => {
    const world = await replicated(issued, { policy: { standIns: true } });
    inPrimary(world, selfSigned);
    await askAndPass(world, 'c1');
    expect(await copyIn(world)).toBe(fingerprintOf(selfSigned));
  });

  it('is copied where there is no copy, replaces another self-signed one, and gives way to an issued one', async () => {
    const world = await replicated(selfSigned);
    inPrimary(world, renewed);
    await askAndPass(world, 'c1');
    expect(await copyIn(world)).toBe(fingerprintOf(renewed));
    inPrimary(world, issued);
    await askAndPass(world, 'c1');
    expect(await copyIn(world)).toBe(fingerprintOf(issued));
  });

  it('does not replace a copy that cannot be read, unless the record knows it for a self-signed one', async () => {
    const world = await replicated(issued);
    inPrimary(world, selfSigned);
    world.backup.hooks.read = async () => ({ state: 'unreadable', error: damaged() });
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).backups[0]?.refusal?.code).toBe('certificate_self_signed');
    expect(writesIn(world)).toEqual([]);

    const own = await replicated(selfSigned);
    inPrimary(own, renewed);
    own.backup.hooks.read = async () => ({ state: 'unreadable', error: damaged() });
    await askAndPass(own, 'c1');
    expect(writesIn(own)).toEqual(['backup reimport']);
  });

  it('is not believed of an unreadable copy to which a worker of an older version may have written', async () => {
    const world = await replicated(selfSigned);
    // Such a worker claims, writes what it likes, and commits without a word of this.
    await world.tamper('c1', { leaseToken: 2 });
    inPrimary(world, renewed);
    world.backup.hooks.read = async () => ({ state: 'unreadable', error: damaged() });
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).backups[0]).not.toHaveProperty('held');
  });

  it('replaces nothing where reads of the copy have not settled', async () => {
    const world = await replicated(issued, { backups: [{ abilities: { readSettlesMs: 30_000 } }] });
    world.backup.hooks.readMetadata = async () => ({ state: 'absent' });
    inPrimary(world, selfSigned);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(await copyIn(world)).toBe(fingerprintOf(issued));
  });

  it('removes no copy of an issued one beside the one that it is equal to', async () => {
    const world = await replicated(selfSigned);
    world.backup.store.put({ content: issued, metadata: described('shop'), mark: markOf('c1') }, 'backup-9');
    await world.ask('c1', { doubt: world.time.now() - 1 });
    await world.pass('c1');
    expect(await copyIn(world, 'backup-9')).toBe(fingerprintOf(issued));
    expect((await world.record('c1')).backups[0]?.refusal?.code).toBe('certificate_self_signed');
  });
});

describe('the temporary certificate of cert-manager', () => {
  it('is known by its issuer, or by the serial number of its subject', async () => {
    expect(isTemporary(temporary.leaf)).toBe(true);
    expect(isTemporary(issued.leaf)).toBe(false);
    const authority = await newSigner('CN=Some CA');
    const numbered = async (subject: string) =>
      isTemporary(parseContent(await certifyLeaf(authority, { of: await newSigner(subject) })).leaf);
    expect(await numbered('CN=shop.example.test,2.5.4.5=1234567890')).toBe(true);
    expect(await numbered('CN=shop.example.test,2.5.4.5=1234567891')).toBe(false);
  });

  it('is not copied at all, and is a finding until the real one is there', async () => {
    const world = await setup();
    inPrimary(world, temporary);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).refusal).toMatchObject({ code: 'certificate_temporary', byPolicy: true });
    inPrimary(world, issued);
    await askAndPass(world, 'c1');
    expect(await copyIn(world)).toBe(fingerprintOf(issued));
  });

  it('is copied where the link says so', async () => {
    const world = await setup({ policy: { standIns: true } });
    inPrimary(world, temporary);
    await askAndPass(world, 'c1');
    expect(await copyIn(world)).toBe(fingerprintOf(temporary));
  });
});
