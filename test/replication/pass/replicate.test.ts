import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { CodedError } from '../../../src/errors.ts';
import { replicate } from '../../../src/replication/pass/replicate.ts';
import { testCa, testCertificate } from '../../support/certificates.ts';
import {
  askAndPass,
  content,
  described,
  held,
  markOf,
  replicated,
  type Setup,
  setup,
  startMs,
  told,
} from '../../support/replication.ts';

let first: CertificateContent;
let second: CertificateContent;

beforeAll(async () => {
  [first, second] = await Promise.all([content(), content()]);
});

/**
 * Makes one pass in which every call takes ten milliseconds, and answers its calls with their
 * moments.
 */
async function timedPass(world: Setup): Promise<readonly string[]> {
  await world.ask('c1');
  world.calls.length = 0;
  const offset = world.time.now() - startMs;
  world.journal.latencyMs = 10;
  await world.finish(world.pass('c1'));
  world.journal.latencyMs = 0;
  return world.calls.map((call) => call.replace(/^\d+/, (moment) => String(Number(moment) - offset)));
}

describe('what a pass costs', () => {
  it('is, for a changed certificate: claim, look at both sides at once, write, commit', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    expect(await timedPass(world)).toEqual([
      '0 table update',
      '0 table get',
      '10 primary read',
      '10 backup readMetadata',
      '20 backup reimport',
      '30 table update',
    ]);
  });

  it('is, for a new certificate: claim, look at the primary, write, commit', async () => {
    const world = await setup();
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    expect(await timedPass(world)).toEqual([
      '0 table update',
      '0 table get',
      '10 primary read',
      '20 backup import',
      '30 table update',
    ]);
  });

  it('is, for an equal one, a full read of the copy in place of the write', async () => {
    const world = await replicated(first);
    expect(await timedPass(world)).toEqual([
      '0 table update',
      '0 table get',
      '10 primary read',
      '10 backup readMetadata',
      '20 backup read',
      '30 table update',
    ]);
  });

  it('is, for another name, that and one write', async () => {
    const world = await replicated(first);
    await world.primary.store.updateMetadata('c1', described('shop 2'), undefined);
    expect((await timedPass(world)).slice(4)).toEqual([
      '20 backup read',
      '30 backup updateMetadata',
      '40 table update',
    ]);
  });

  it('is, for other content and another name, two writes', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop 2') }, 'c1');
    expect((await timedPass(world)).slice(4)).toEqual([
      '20 backup reimport',
      '30 backup updateMetadata',
      '40 table update',
    ]);
  });

  it('is the same for two backups, side by side', async () => {
    const world = await replicated(first, { backups: [{}, {}] });
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    expect((await timedPass(world)).slice(2)).toEqual([
      '10 primary read',
      '10 backup readMetadata',
      '10 backup2 readMetadata',
      '20 backup reimport',
      '20 backup2 reimport',
      '30 table update',
    ]);
  });

  it('asks a service that finds marks for them at the same time', async () => {
    const world = await replicated(first, { backups: [{ abilities: { findsMarks: true } }] });
    expect((await timedPass(world)).slice(2, 5)).toEqual([
      '10 primary read',
      '10 backup readMetadata',
      '10 backup findByMark',
    ]);
  });

  it('is a refused claim when nothing is pending', async () => {
    const world = await replicated(first);
    expect(await world.pass('c1')).toEqual({ passes: [] });
    expect(world.calls).toEqual(['0 table update', '0 table get']);
  });
});

describe('what a pass leaves', () => {
  it('is a copy that is equal, key and mark included, and a record that rests', async () => {
    const { backup, record } = await replicated(first);
    const copy = await held(backup.store, 'backup-1');
    expect(fingerprintOf(copy.content)).toBe(fingerprintOf(first));
    expect(copy.metadata).toMatchObject({ name: 'shop', mark: markOf('c1') });
    expect(await record('c1')).toEqual({
      link: 'main',
      certificate: 'c1',
      requested: 1,
      replicated: 1,
      leaseToken: 1,
      doubtToken: 1,
      attempts: 0,
      primary: {
        name: 'shop',
        fingerprint: fingerprintOf(first),
        metadataDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
        revision: '1',
        listedFacts: expect.stringMatching(/^[0-9a-f]+\|946684800000\|4070908800000$/),
        notBefore: 946_684_800_000,
        notAfter: 4_070_908_800_000,
        changedAt: startMs,
        changedAtFrom: 'last-modified',
        lookedAt: startMs,
      },
      backups: [
        {
          store: 'backup',
          id: 'backup-1',
          fingerprint: fingerprintOf(first),
          metadataDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
          revision: '1',
          attempts: 0,
          replicatedAt: startMs,
          written: {
            id: 'backup-1',
            at: startMs,
            fingerprint: fingerprintOf(first),
            metadataDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
            revision: '1',
            validFrom: 946_684_800_000,
            selfSigned: false,
          },
          held: { id: 'backup-1', fingerprint: fingerprintOf(first), validFrom: 946_684_800_000, selfSigned: false },
        },
      ],
    });
  });

  it('says who knows when the certificate changed: its service, else the event, else who acknowledged it', async () => {
    const world = await setup({ primary: { givesRevisions: false } });
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await world.ask('c1', { eventAt: startMs - 20, occurredAt: startMs - 50 });
    await world.pass('c1');
    expect((await world.record('c1')).primary).toMatchObject({ changedAt: startMs - 50, changedAtFrom: 'event' });
    await world.ask('c1', { eventAt: startMs - 20 });
    await world.pass('c1');
    expect((await world.record('c1')).primary).toMatchObject({
      changedAt: startMs - 20,
      changedAtFrom: 'acknowledged',
    });
  });

  it('logs what was written, and nothing when nothing was', async () => {
    const world = await setup();
    world.primary.store.put({ content: first, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    expect(told(world)).toMatchObject([
      { level: 'info', event: 'copy_written', fields: { copy: 'backup-1', name: 'shop', actions: ['imported'] } },
    ]);
    await askAndPass(world, 'c1');
    expect(told(world)).toHaveLength(1);
  });

  it('logs once, when it is written, what is to be remarked on a chain that serves', async () => {
    const world = await setup();
    const [pem, stranger] = await Promise.all([testCertificate(), testCa({ name: 'Stranger' })]);
    const more = parseContent({ ...pem, intermediate: `${pem.intermediate}${stranger.rootPem}` });
    world.primary.store.put({ content: more, metadata: described('shop') }, 'c1');
    await askAndPass(world, 'c1');
    await askAndPass(world, 'c1');
    const [remark, ...others] = told(world).filter(({ event }) => event === 'chain_remark');
    expect(remark?.fields).toMatchObject({ name: 'shop', kind: 'unrelated', subject: 'CN=Stranger Root' });
    expect(others).toEqual([]);
  });

  it('drops what the record says about stores that are no longer backups', async () => {
    const world = await replicated(first, { backups: [{}, {}] });
    const [, second] = world.link.backups;
    if (second === undefined) throw new Error('there is no second backup');
    await world.ask('c1');
    await replicate(world.worker, { ...world.link, backups: [second] }, 'c1');
    expect((await world.record('c1')).backups.map(({ store }) => store)).toEqual(['backup2']);
  });
});

describe('when more is asked for meanwhile', () => {
  it('begins again, and answers all its passes', async () => {
    const world = await replicated(first);
    await world.ask('c1');
    let asked = 0;
    world.primary.hooks.read = async (proceed, ...args) => {
      if (asked < 1) await world.ask('c1');
      asked += 1;
      return proceed(...args);
    };
    const { passes, again } = await world.pass('c1');
    expect(passes).toHaveLength(2);
    expect(again).toBeUndefined();
    expect(await world.record('c1')).toMatchObject({ requested: 3, replicated: 3 });
    expect((await world.record('c1')).wakeAt).toBeUndefined();
  });

  it('makes three passes at the most, and leaves the rest due', async () => {
    const world = await replicated(first);
    await world.ask('c1');
    world.primary.hooks.read = async (proceed, ...args) => {
      await world.ask('c1');
      return proceed(...args);
    };
    const { passes, again } = await world.pass('c1');
    expect(passes).toHaveLength(3);
    expect(again).toBe(startMs);
    expect(await world.record('c1')).toMatchObject({ requested: 5, replicated: 4, wakeAt: startMs });
  });

  it('looks at what is there then', async () => {
    const world = await replicated(first);
    await world.ask('c1');
    world.backup.hooks.read = async (proceed, ...args) => {
      delete world.backup.hooks.read;
      world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
      await world.ask('c1');
      return proceed(...args);
    };
    await world.pass('c1');
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(second));
  });
});

describe('two workers', () => {
  it('do not work on one certificate at one time', async () => {
    const world = await replicated(first);
    await world.ask('c1');
    const answers = await Promise.all([world.pass('c1'), world.pass('c1')]);
    expect(answers.map(({ passes }) => passes.length)).toEqual([1, 0]);
  });

  it('are not hindered by one that died', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    world.primary.hooks.read = () => new Promise(() => {});
    void world.pass('c1').catch(() => {});
    await world.time.runUntil(startMs, 10);
    delete world.primary.hooks.read;
    // The lease of 60 s and the skew of 5 s, in which the dead one says nothing.
    world.table.hooks.update = () => new Promise(() => {});
    await world.later(65_000);
    delete world.table.hooks.update;
    expect((await world.pass('c1')).passes).toEqual([]);
    await world.later(1);
    expect((await world.pass('c1')).passes).toHaveLength(1);
    expect(fingerprintOf((await held(world.backup.store, 'backup-1')).content)).toBe(fingerprintOf(second));
    // 5 s is all that settles at a store that states no bounds.
    expect(await world.record('c1')).toMatchObject({ doubt: startMs + 70_001, wakeAt: startMs + 70_001 });
  });
});

describe('a table that fails', () => {
  it('ends the pass before any store is written to', async () => {
    const world = await replicated(first);
    world.primary.store.put({ content: second, metadata: described('shop') }, 'c1');
    await world.ask('c1');
    world.table.hooks.update = () => Promise.reject(new CodedError('table_unavailable', 'not reached'));
    world.calls.length = 0;
    await expect(world.pass('c1')).rejects.toMatchObject({ code: 'table_unavailable' });
    expect(world.calls).toEqual(['0 table update', '0 table get']);
  });
});
