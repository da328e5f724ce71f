import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { CodedError } from '../../../src/errors.ts';
import { firstDer, tampered } from '../../certificate/tamper.ts';
import { brokenChain, expired, mismatchedKey, testCertificate } from '../../support/certificates.ts';
import {
  askAndPass,
  content,
  described,
  held,
  markOf,
  replicated,
  type Setup,
  type SetupOptions,
  setup,
  startMs,
  told,
  writesIn,
} from '../../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;
const bad: Record<string, CertificateContent> = {};

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
  bad.expired = parseContent(await expired());
  bad.wrongKey = parseContent(await mismatchedKey());
  bad.brokenChain = parseContent(await brokenChain());
  bad.leafAlone = { ...second, chain: [] };
  const { privateKey: _key, ...keyless } = second;
  bad.keyless = keyless;
});

/** A primary whose certificate `c1` was replicated, and is now this. */
async function changedTo(held: CertificateContent | undefined, options: SetupOptions = {}): Promise<Setup> {
  const world = await replicated(first, options);
  if (held !== undefined) world.primary.store.put({ content: held, metadata: described('shop') }, 'c1');
  return world;
}

/**
 * Lets time run to each wake-up and makes a pass there, until there is none. Answers the moments of
 * all passes, from now.
 */
async function passesUntilRest(world: Setup, most = 20): Promise<readonly number[]> {
  const begun = world.time.now();
  const moments: number[] = [];
  await world.ask('c1');
  for (let { wakeAt } = await world.record('c1'); wakeAt !== undefined; { wakeAt } = await world.record('c1')) {
    if (moments.length >= most) throw new Error('it does not come to rest');
    await world.later(Math.max(0, wakeAt - world.time.now()));
    moments.push(world.time.now() - begun);
    await world.pass('c1');
  }
  return moments;
}

describe('a certificate that would not serve', () => {
  const cases: readonly (readonly [string, string, SetupOptions])[] = [
    ['expired', 'certificate_expired', {}],
    ['wrongKey', 'certificate_key_mismatch', {}],
    ['brokenChain', 'certificate_chain_broken', {}],
    ['leafAlone', 'certificate_chain_missing', { policy: { requireChain: true } }],
    ['leafAlone', 'certificate_chain_missing', {}],
  ];

  it.each(cases)(
    '(%s: %s, %o) leaves the copy as it is, is told once, looked at four more times within the hour, and rests',
    async (which, code, options) => {
      const world = await changedTo(bad[which], options);
      const before = await held(world.backup.store, 'backup-1');
      expect(await passesUntilRest(world)).toEqual([0, 15_000, 75_000, 375_000, 1_575_000]);
      expect(await held(world.backup.store, 'backup-1')).toEqual(before);
      expect(writesIn(world)).toEqual([]);
      const record = await world.record('c1');
      expect(record).toMatchObject({
        replicated: 2,
        backups: [{ id: 'backup-1', fingerprint: fingerprintOf(first), attempts: 0 }],
      });
      // What is found by judging the primary alone is kept for the certificate; what is found
      // against a copy, for that backup.
      const where = record.refusal === undefined ? record.backups[0] : record;
      expect(where).toMatchObject({
        refusal: { code, since: startMs, looks: 5 },
        lastError: { code, at: startMs + 1_575_000 },
      });
      expect(told(world)).toMatchObject([
        { level: 'warn', event: 'certificate_refused', fields: { code, name: 'shop' } },
      ]);
    },
  );

  it('in a region that the policy forbids is not copied to any backup', async () => {
    const world = await setup({ policy: { regions: ['elsewhere'] } });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect((await world.record('c1')).refusal).toMatchObject({
      code: 'certificate_region_forbidden',
      facts: `certificate_region_forbidden ${fingerprintOf(first)}`,
    });
  });

  it('is copied as soon as it is mended, and the finding is gone', async () => {
    const world = await changedTo(bad.wrongKey);
    await askAndPass(world, 'c1');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.later(15_000);
    await world.pass('c1');
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(second));
    for (const gone of ['refusal', 'lastError', 'wakeAt']) expect(await world.record('c1')).not.toHaveProperty(gone);
  });

  it('is told again when it is another finding', async () => {
    const world = await changedTo(bad.wrongKey);
    await askAndPass(world, 'c1');
    await askAndPass(world, 'c1');
    world.primary.store.put({ content: bad.expired ?? first, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).refusal).toMatchObject({ code: 'certificate_expired', looks: 1 });
    expect(told(world).map(({ fields }) => fields.code)).toEqual(['certificate_key_mismatch', 'certificate_expired']);
  });

  it('that the primary gives back damaged is a finding too, not a store that is not reached', async () => {
    const world = await changedTo(undefined);
    world.primary.store.corrupt('c1');
    expect(await passesUntilRest(world)).toHaveLength(5);
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({
      refusal: { code: 'store_content_unreadable', looks: 5 },
      primary: { fingerprint: fingerprintOf(first) },
    });
    expect(told(world)).toHaveLength(1);
  });

  it('whose dates are none leaves a record that can be read', async () => {
    const pem = await testCertificate({ intermediates: 0, notAfter: Date.UTC(2031, 10, 12, 13, 14, 15) });
    const leaf = tampered(pem.certificate, '311112131415Z', '311312131415Z');
    // As a kind of store might give it that reads certificates on its own: our reader refuses it.
    const broken = { ...parseContent(pem), leaf: new X509Certificate(leaf), chain: [] };
    expect(firstDer(leaf)).toHaveLength(broken.leaf.raw.length);
    const world = await changedTo(undefined);
    world.primary.hooks.read = async () => ({
      state: 'present',
      value: { metadata: { id: 'c1', ...described('shop'), domains: [] }, content: broken },
    });
    await askAndPass(world, 'c1');
    expect(await world.record('c1')).toMatchObject({ refusal: { code: 'certificate_malformed' } });
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
  });
});

describe('a leaf alone', () => {
  it('replaces a copy that is a leaf alone, and one of another issuer', async () => {
    const world = await changedTo(bad.leafAlone);
    world.backup.store.put(
      { content: { ...first, chain: [] }, metadata: described('shop'), mark: markOf('c1') },
      'backup-1',
    );
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport']);

    const other = parseContent(await testCertificate({ intermediates: 2 }));
    world.backup.store.put({ content: other, metadata: described('shop'), mark: markOf('c1') }, 'backup-1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup reimport', 'backup reimport']);
  });

  it('is copied where there is no copy yet', async () => {
    const world = await setup();
    world.primary.store.put({ content: bad.leafAlone ?? first, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup import']);
  });

  it('is kept from the one backup that has a chain, not from the other', async () => {
    const world = await changedTo(bad.leafAlone, { backups: [{}, {}] });
    await world.backups[1]?.store.delete('backup2-1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual(['backup2 import']);
    expect(await world.record('c1')).toMatchObject({
      backups: [
        {
          id: 'backup-1',
          fingerprint: fingerprintOf(first),
          refusal: { code: 'certificate_chain_missing', looks: 1 },
        },
        { id: 'backup2-2' },
      ],
    });
    expect(await world.record('c1')).not.toHaveProperty('refusal');
    expect((await world.record('c1')).backups[1]).not.toHaveProperty('refusal');
  });
});

describe('what is set aside', () => {
  it.each([
    ['keyless', {}],
    ['withheld', { primary: { withholds: () => true } }],
    ['excluded', { filter: { names: ['other'] } }],
  ] as const)('because it is %s is not copied, rests, and nobody is told', async (why, options) => {
    const world = await setup(options);
    world.primary.store.put(
      { content: why === 'keyless' ? (bad.keyless ?? first) : first, metadata: described('shop') },
      'c1',
    );
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({ aside: why, replicated: 1, primary: { name: 'shop' } });
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
    expect(told(world)).toEqual([]);
  });

  it.each([
    [false, 0],
    [true, 1],
  ])('because it is a copy itself is not copied onward unless the link says so (%s)', async (onward, imports) => {
    const world = await setup({ policy: { onward } });
    const mark = { store: 'far-away', certificate: 'x' };
    world.primary.store.put({ content: first, metadata: described('shop'), mark }, 'c1');
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toHaveLength(imports);
    expect((await world.record('c1')).aside).toBe(onward ? undefined : 'marked');
  });

  it('keeps its copy, and is copied again when the reason is gone', async () => {
    const world = await changedTo(bad.keyless);
    await askAndPass(world, 'c1');
    expect(world.backup.store.size()).toBe(1);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(await world.record('c1')).not.toHaveProperty('aside');
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(second));
  });
});

describe('a certificate that is absent', () => {
  it('is looked at again a minute later, before it counts as deleted; its copies stay, and say so', async () => {
    const world = await changedTo(undefined);
    await world.primary.store.delete('c1');
    expect(await passesUntilRest(world)).toEqual([0, 60_000]);
    expect(await world.record('c1')).toMatchObject({ absentSince: startMs, replicated: 2 });
    expect(world.backup.store.size()).toBe(1);
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
  });

  it('is looked at again later still where reads lag more, and by any clock', async () => {
    const world = await changedTo(undefined, { primary: { abilities: { readSettlesMs: 90_000 } } });
    await world.primary.store.delete('c1');
    expect(await passesUntilRest(world)).toEqual([0, 90_000 + world.timing.skewMs]);
    expect(writesIn(world)).toEqual(['backup updateMetadata']);
  });

  it('counts as present when it is there again', async () => {
    const world = await changedTo(undefined);
    await world.primary.store.delete('c1');
    await askAndPass(world, 'c1');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.later(60_000);
    await world.pass('c1');
    expect(await world.record('c1')).not.toHaveProperty('absentSince');
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
    expect(writesIn(world)).toEqual(['backup reimport']);
  });

  it('does not count from anew when it is asked for again, or cannot be asked for', async () => {
    const world = await changedTo(undefined);
    await world.primary.store.delete('c1');
    await askAndPass(world, 'c1');
    await world.later(30_000);
    await askAndPass(world, 'c1');
    expect(await world.record('c1')).toMatchObject({ absentSince: startMs, wakeAt: startMs + 60_000 });
    const error = new CodedError('store_unavailable', 'not reached');
    world.primary.hooks.read = async () => ({ state: 'unreadable', error });
    await askAndPass(world, 'c1');
    expect(await world.record('c1')).toMatchObject({ absentSince: startMs });
  });
});

describe('a primary that cannot be read', () => {
  const unreachable = (world: Setup, fields = {}) => {
    const error = new CodedError('store_unavailable', 'not reached', { fields });
    world.primary.hooks.read = async () => ({ state: 'unreadable', error });
  };

  it('is an error of the row: nothing is written, and it is tried again ever later', async () => {
    const world = await changedTo(second, { random: () => 0.5 });
    unreachable(world);
    await askAndPass(world, 'c1');
    expect(writesIn(world)).toEqual([]);
    expect(await world.record('c1')).toMatchObject({
      attempts: 1,
      notBefore: startMs + 500,
      wakeAt: startMs + 500,
      lastError: { code: 'store_unavailable', message: 'not reached' },
      primary: { fingerprint: fingerprintOf(first) },
      backups: [{ id: 'backup-1', attempts: 0 }],
    });
    await world.later(500);
    await world.pass('c1');
    expect(await world.record('c1')).toMatchObject({ attempts: 2, notBefore: startMs + 1_500 });
    expect(told(world).map(({ event }) => event)).toEqual(['primary_unreadable', 'primary_unreadable']);

    delete world.primary.hooks.read;
    await world.later(1_000);
    await world.pass('c1');
    expect(await world.record('c1')).toMatchObject({ attempts: 0, backups: [{ fingerprint: fingerprintOf(second) }] });
    for (const gone of ['notBefore', 'lastError', 'wakeAt']) expect(await world.record('c1')).not.toHaveProperty(gone);
  });

  it('is left alone as long as it says, whatever is asked', async () => {
    const world = await changedTo(second);
    unreachable(world, { retryAfterMs: 40_000 });
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).notBefore).toBe(startMs + 40_000);
    await world.later(39_999);
    expect((await askAndPass(world, 'c1')).passes).toEqual([]);
    await world.later(1);
    expect((await world.pass('c1')).passes).toHaveLength(1);
  });

  it('says nothing about a finding: that stays', async () => {
    const world = await changedTo(bad.wrongKey);
    await askAndPass(world, 'c1');
    unreachable(world);
    await askAndPass(world, 'c1');
    delete world.primary.hooks.read;
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).refusal).toMatchObject({ looks: 2, since: startMs });
    expect(told(world).filter(({ event }) => event === 'certificate_refused')).toHaveLength(1);
  });

  it('is unreadable after twenty seconds without an answer', async () => {
    const world = await changedTo(second);
    world.primary.hooks.read = () => new Promise(() => {});
    await world.ask('c1');
    const pass = world.pass('c1');
    await world.later(19_999);
    expect((await world.record('c1')).leaseUntil).toBeDefined();
    await world.later(1);
    await pass;
    expect((await world.record('c1')).lastError).toMatchObject({ message: 'primary did not answer a read in time' });
  });
});

describe('a primary whose reads lag', () => {
  it('is looked at once more when what was acknowledged must show, whatever was found', async () => {
    const world = await changedTo(undefined, { primary: { abilities: { readSettlesMs: 3_000 } } });
    await world.ask('c1', { eventAt: startMs });
    await world.later(7_999);
    await world.pass('c1');
    expect((await world.record('c1')).wakeAt).toBe(startMs + 8_000);
    await world.later(1);
    await world.pass('c1');
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
  });

  it('is looked at late enough for what a worker acknowledged whose clock is behind', async () => {
    const world = await changedTo(undefined, { primary: { abilities: { readSettlesMs: 3_000 } } });
    const before = await world.primary.store.read('c1');
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    // It was just now, and the other clock is as far behind as it may be; this read is as old as it
    // may be.
    await world.ask('c1', { eventAt: world.time.now() - world.timing.skewMs });
    world.primary.hooks.read = async () => before;
    await world.later(2_999);
    await world.pass('c1');
    delete world.primary.hooks.read;
    await world.later(1);
    await world.pass('c1');
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(second));
  });

  it('is not looked at twice where they do not lag', async () => {
    const world = await changedTo(second);
    await world.ask('c1', { eventAt: startMs });
    await world.pass('c1');
    expect(await world.record('c1')).not.toHaveProperty('wakeAt');
  });
});

describe('the next look', () => {
  it('is the earliest of all that is waited for', async () => {
    const world = await changedTo(bad.wrongKey, {
      backups: [{}, {}],
      primary: { abilities: { readSettlesMs: 90_000 } },
    });
    await world.ask('c1', { eventAt: startMs, doubt: startMs + 80_000 });
    await world.pass('c1');
    expect((await world.record('c1')).wakeAt).toBe(startMs + 15_000);
    await world.later(15_000);
    await world.pass('c1');
    await world.later(60_000);
    await world.pass('c1');
    expect((await world.record('c1')).wakeAt).toBe(startMs + 80_000);
    await world.later(5_000);
    await world.pass('c1');
    expect((await world.record('c1')).wakeAt).toBe(startMs + 90_000 + world.timing.skewMs);
  });

  it('is not forgotten for a backup that was not tried in this pass', async () => {
    const world = await changedTo(second);
    const limited = new CodedError('store_limited', 'wait', { fields: { retryAfterMs: 30_000 } });
    world.backup.hooks.reimport = () => Promise.reject(limited);
    await askAndPass(world, 'c1');
    await world.later(10_000);
    await askAndPass(world, 'c1');
    expect((await world.record('c1')).wakeAt).toBe(startMs + 30_000);
  });

  it('is no sooner than anything can change, for an answer that a dispatch may use', async () => {
    const world = await changedTo(bad.wrongKey);
    expect((await askAndPass(world, 'c1')).again).toBe(startMs + 15_000);
    expect((await askAndPass(world, 'c1')).again).toBe(startMs + 60_000);
  });
});
