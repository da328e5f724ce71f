import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import { type VerifyFinding, verify } from '../../src/replication/verify.ts';
import { mismatchedKey, testCa, testCertificate } from '../support/certificates.ts';
import { copyOf, fill, reconcileAll, verified } from '../support/estate.ts';
import { content, described, markOf, type Setup, type SetupOptions, setup, writesIn } from '../support/replication.ts';

let contents: CertificateContent[];
let other: CertificateContent;
let wrongKey: CertificateContent;
let keyless: CertificateContent;
beforeAll(async () => {
  const domains = (number: number) => ({ domains: [`host-${number}.example.test`] });
  contents = await Promise.all([1, 2, 3].map((number) => content(domains(number))));
  other = await content({ domains: ['elsewhere.example.test'] });
  wrongKey = parseContent(await mismatchedKey());
  const { privateKey: _key, ...rest } = other;
  keyless = rest;
});

async function estate(options: SetupOptions = {}): Promise<Setup> {
  const world = await setup({ reconciled: false, ...options });
  fill(world, contents);
  await reconcileAll(world);
  world.calls.length = 0;
  return world;
}

const unavailable = new CodedError('store_unavailable', 'backup cannot be reached');

describe('verify', () => {
  it('reads both sides of each certificate in full once, writes nothing, and keeps what it found', async () => {
    const world = await estate();
    expect(await verified(world)).toMatchObject({ certificates: 3, counts: { same: 3 }, problems: 0, withoutKeys: 0 });
    const calls = world.calls.map((call) => call.replace(/^\d+ /, '')).filter((call) => !call.startsWith('table'));
    expect(calls.toSorted()).toEqual([
      ...Array.from({ length: 1 }, () => 'backup list'),
      ...Array.from({ length: 3 }, () => 'backup read'),
      'primary list',
      ...Array.from({ length: 3 }, () => 'primary read'),
    ]);
    expect(await world.linkRecords.lastVerify('main')).toMatchObject({
      certificates: 3,
      counts: { same: 3 },
      problems: 0,
    });
  });

  it('says of what the primary itself could not serve that, once, and of each copy whether it would', async () => {
    const world = await estate({ backups: [{}, {}] });
    world.primary.store.put({ content: wrongKey, metadata: described('name 1') }, 'c1');
    world.primary.store.put({ content: keyless, metadata: described('no key') }, 'c4');
    const { findings, problems } = await verified(world);
    expect(
      findings.map(({ certificate, store, state, how, problem }) => [certificate, store, state, how, problem]),
    ).toEqual([
      [
        'c1',
        'primary',
        'would-not-serve',
        'in the primary: what the private key signs does not hold for the certificate',
        true,
      ],
      ['c1', 'backup', 'older', 'the last good copy; it would serve', false],
      ['c1', 'backup2', 'older', 'the last good copy; it would serve', false],
      ['c4', 'primary', 'would-not-serve', 'in the primary: it has no private key', true],
    ]);
    expect(problems).toBe(2);
  });

  it('remarks once on a chain that holds more than clients need, and calls it no problem', async () => {
    const [pem, stranger] = await Promise.all([testCertificate(), testCa({ name: 'Stranger' })]);
    const more = parseContent({ ...pem, intermediate: stranger.rootPem + pem.intermediate });
    const world = await setup({ reconciled: false, backups: [{}, {}] });
    fill(world, [more]);
    await reconcileAll(world);
    const findings: VerifyFinding[] = [];
    const finding = (found: VerifyFinding) => void findings.push(found);
    const { problems } = await verify(world.worker, world.link, { finding });
    const remarks = ['CN=Stranger Root signed none of the others: clients have no use for it'];
    expect(findings.map(({ state, remarks: told }) => [state, told])).toEqual([
      ['same', remarks],
      ['same', undefined],
    ]);
    expect(problems).toBe(0);
  });

  it('never calls what it could not read the same: an original, a copy, a backup', async () => {
    const world = await estate();
    world.primary.hooks.read = async (proceed, id, ...rest) =>
      id === 'c1' ? { state: 'unreadable', error: unavailable } : proceed(id, ...rest);
    const copy = await copyOf(world, 'c2');
    world.backup.hooks.read = async (proceed, id, ...rest) =>
      id === copy ? { state: 'unreadable', error: unavailable } : proceed(id, ...rest);
    expect((await verified(world)).findings).toMatchObject([
      { certificate: 'c1', store: 'primary', state: 'unreadable', problem: true },
      { certificate: 'c2', store: 'backup', state: 'unreadable', how: 'backup cannot be reached', problem: true },
    ]);
    world.backup.hooks.list = () => Promise.reject(unavailable);
    const report = await verified(world);
    expect(report).toMatchObject({
      counts: { unreadable: 3 },
      problems: 3,
      notListed: [{ store: 'backup', error: unavailable }],
    });
    world.primary.hooks.list = () => Promise.reject(unavailable);
    await expect(verified(world)).rejects.toBe(unavailable);
  });

  it('compares without keys where the service gives none, and says how many', async () => {
    const world = await estate({ backups: [{ abilities: { givesKeys: false } }] });
    expect(await verified(world)).toMatchObject({ counts: { same: 3 }, problems: 0, withoutKeys: 3 });
    world.backup.store.put(
      { content: other, metadata: described('name 1'), mark: markOf('c1') },
      await copyOf(world, 'c1'),
    );
    expect((await verified(world)).findings).toMatchObject([
      {
        certificate: 'c1',
        state: 'different',
        how: expect.stringMatching(/^a certificate for elsewhere.example.test, serial /),
      },
    ]);
  });

  it('says of each certificate, not of each store, whether its key is proven; a key that is lost is none that is withheld', async () => {
    let withheld = '';
    const world = await estate({ backups: [{ withholds: (id) => id === withheld }] });
    withheld = await copyOf(world, 'c1');
    const { privateKey: _key, ...lost } = contents[1] as CertificateContent;
    world.backup.store.put(
      { content: lost, metadata: described('name 2'), mark: markOf('c2') },
      await copyOf(world, 'c2'),
    );
    const findings: VerifyFinding[] = [];
    const report = await verify(world.worker, world.link, { finding: (finding) => findings.push(finding) });
    expect(report).toMatchObject({ counts: { same: 2, 'would-not-serve': 1 }, problems: 1, withoutKeys: 1 });
    expect(findings.map(({ certificate, state, keyNotProven }) => [certificate, state, keyNotProven])).toEqual([
      ['c1', 'same', true],
      ['c2', 'would-not-serve', undefined],
      ['c3', 'same', undefined],
    ]);
    world.primary.store.put({ content: wrongKey, metadata: described('name 1') }, 'c1');
    expect((await verified(world)).findings).toContainEqual(
      expect.objectContaining({ certificate: 'c1', store: 'backup', how: 'the last good copy; it would serve' }),
    );
  });

  it('finds a key that is lost where the service gives none back, as far as the service says so', async () => {
    const world = await estate({ backups: [{ abilities: { givesKeys: false } }] });
    const { privateKey: _key, ...lost } = contents[0] as CertificateContent;
    world.backup.store.put(
      { content: lost, metadata: described('name 1'), mark: markOf('c1') },
      await copyOf(world, 'c1'),
    );
    expect(await verified(world)).toMatchObject({
      counts: { same: 2, 'would-not-serve': 1 },
      withoutKeys: 2,
      findings: [{ certificate: 'c1', how: 'its private key is missing' }],
    });
  });

  it('does not take what changes while it reads for a difference', async () => {
    const world = await estate();
    let changes = 1;
    world.primary.hooks.read = async (proceed, id, ...rest) => {
      const reading = await proceed(id, ...rest);
      if (id === 'c1' && changes > 0) {
        changes -= 1;
        await world.primary.store.reimport('c1', other);
        await world.backup.store.reimport(await copyOf(world, 'c1'), other);
      }
      return reading;
    };
    expect(await verified(world)).toMatchObject({ counts: { same: 3 }, problems: 0 });
  });

  it('finds what a moving listing did not show, by a direct read', async () => {
    const world = await estate();
    world.primary.hooks.list = async (proceed, request) => {
      const { certificates } = await proceed(request);
      return { certificates: certificates.filter(({ id }) => id !== 'c2') };
    };
    expect(await verified(world)).toMatchObject({ certificates: 3, counts: { same: 3 }, problems: 0 });
    world.backup.hooks.list = async () => ({ certificates: [] });
    expect(await verified(world)).toMatchObject({ certificates: 2, counts: { same: 2 }, problems: 0 });
  });

  it('tells of copies that are kept though they are not included any more', async () => {
    const world = await estate();
    const link = { ...world.link, filter: { names: ['name 1'], domains: [] } };
    const findings: unknown[] = [];
    const report = await verify(world.worker, link, { finding: (finding) => findings.push(finding) });
    expect(report).toMatchObject({ certificates: 1, counts: { same: 1, extra: 2 }, problems: 0 });
  });

  it('waits for limits as long as they say', async () => {
    const world = await estate();
    let refusals = 2;
    world.backup.hooks.read = async (proceed, ...given) => {
      refusals -= 1;
      if (refusals < 0) return proceed(...given);
      return { state: 'unreadable', error: new CodedError('store_limited', 'wait', { fields: { retryAfterMs: 100 } }) };
    };
    const began = world.time.now();
    expect(await world.finish(verified(world))).toMatchObject({ counts: { same: 3 }, problems: 0 });
    expect(world.time.now() - began).toBeGreaterThanOrEqual(100);
  });

  it('calls a chain that the service completes the same, in words, and never a key that it lost', async () => {
    const original = await content({ intermediates: 2 });
    const world = await setup({ reconciled: false, backups: [{ reshapes: ({ chain }) => chain.toReversed() }] });
    fill(world, [original]);
    await reconcileAll(world);
    const all: VerifyFinding[] = [];
    const report = await verify(world.worker, world.link, { finding: (finding) => void all.push(finding) });
    expect(report).toMatchObject({ counts: { same: 1 }, problems: 0, reshaped: 1 });
    expect(all).toMatchObject([
      {
        state: 'same',
        reshaped: true,
        problem: false,
        how: 'as the service keeps it: its chain is in another order, or of other variants',
      },
    ]);
    expect(await world.linkRecords.lastVerify('main')).toMatchObject({ reshaped: 1 });
    const copy = await copyOf(world, 'c1');
    const { privateKey: _lost, ...keyless } = original;
    world.backup.store.put({ content: keyless, metadata: described('name 1'), mark: markOf('c1') }, copy);
    expect((await verified(world)).findings).toMatchObject([
      { state: 'would-not-serve', how: 'its private key is missing' },
    ]);
    await reconcileAll(world);
    expect(await verified(world)).toMatchObject({ problems: 0, reshaped: 1 });
    expect(writesIn(world).length).toBeLessThan(5);
  });

  it('says of a copy that is as it is because the backup refuses the primary’s since when, and until when it serves', async () => {
    const notAfter = Date.parse('2030-01-01T00:00:00Z');
    const [older, newer, huge] = await Promise.all([
      content({ notAfter, notBefore: Date.parse('2020-01-01T00:00:00Z') }),
      content({ domains: ['host-1.example.test'], notBefore: Date.parse('2021-01-01T00:00:00Z') }),
      content(),
    ]);
    const refuses = ({ leaf }: CertificateContent) =>
      [newer, huge].some((held) => held.leaf.raw.equals(leaf.raw)) ? { why: 'not this' } : undefined;
    const world = await setup({ reconciled: false, backups: [{ refuses }] });
    fill(world, [older, huge]);
    await reconcileAll(world);
    await world.primary.store.reimport('c1', newer);
    await reconcileAll(world);
    const { findings } = await verified(world);
    const refused = { code: 'store_content_refused', message: 'store backup does not take this: not this' };
    expect(findings).toMatchObject([
      { certificate: 'c1', state: 'older', stops: notAfter, refused, problem: true },
      { certificate: 'c2', state: 'missing', refused, problem: true },
    ]);
    expect(findings[0]?.refused?.since).toBeGreaterThan(0);
  });

  it('names a second copy that the service does not let go, and calls it no problem while it is equal', async () => {
    const world = await estate();
    const { store } = world.backup;
    const entry = { content: contents[0] as CertificateContent, metadata: described('name 1'), mark: markOf('c1') };
    store.put(entry, 'zz-second');
    store.hold('zz-second', 'store_in_use');
    await reconcileAll(world, { full: true }).catch(() => {});
    const { findings, problems } = await verified(world);
    expect(problems).toBe(0);
    expect(findings).toMatchObject([
      {
        copy: 'zz-second',
        state: 'extra',
        how: 'a second copy, which the service does not let go: certificate zz-second of store backup is in use [store_in_use]',
        unremovable: { code: 'store_in_use' },
        problem: false,
      },
    ]);
    store.put({ ...entry, content: other }, 'zz-second');
    expect(await verified(world)).toMatchObject({ problems: 1, findings: [{ state: 'extra', problem: true }] });
  });

  it('that is stopped keeps nothing as proven', async () => {
    const world = await estate();
    const stopping = new AbortController();
    const reason = new CodedError('interrupted', 'Ctrl-C');
    const finding = () => stopping.abort(reason);
    await expect(verify(world.worker, world.link, { finding, signal: stopping.signal })).rejects.toBe(reason);
    expect(await world.linkRecords.lastVerify('main')).toBeUndefined();
    expect(writesIn(world)).toEqual([]);
  });

  it('overwrites the private keys that it has read', async () => {
    const world = await estate();
    const read: CertificateContent[] = [];
    for (const side of [world.primary, world.backup]) {
      side.hooks.read = async (proceed, ...given) => {
        const reading = await proceed(...given);
        if (reading.state === 'present') read.push(reading.value.content);
        return reading;
      };
    }
    await verified(world);
    expect(read).toHaveLength(6);
    expect(read.every(({ privateKey }) => privateKey?.pem.wiped)).toBe(true);
  });
});
