import { describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { keysRead } from '../../src/replication/keys-read.ts';
import type { Reading, StoredCertificate } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { askAndPass, content, described, replicated, type Setup } from '../support/replication.ts';

async function present(): Promise<Reading<StoredCertificate> & { readonly state: 'present' }> {
  const content = parseContent(await testCertificate());
  const metadata = { id: 'a', name: 'a', description: '', tags: [], domains: [] };
  return { state: 'present', value: { metadata, content } };
}

describe('the keys that a pass has read', () => {
  it('are overwritten when it is over, and not before', async () => {
    const keys = keysRead();
    const first = await present();
    const second = await present();
    expect([keys.keep(first), keys.keep(second), keys.keep({ state: 'absent' })]).toEqual([
      first,
      second,
      { state: 'absent' },
    ]);
    expect(first.value.content.privateKey?.pem.wiped).toBe(false);
    keys.wipe();
    expect(first.value.content.privateKey?.pem.wiped).toBe(true);
    expect(second.value.content.privateKey?.pem.wiped).toBe(true);
  });

  it('are overwritten at once if they come after that', async () => {
    const keys = keysRead();
    keys.wipe();
    const late = await present();
    keys.keep(late);
    expect(late.value.content.privateKey?.pem.wiped).toBe(true);
  });
});

describe('a pass', () => {
  /** Notes what full reads of a store give. */
  function noteReads(side: Setup['primary']): CertificateContent[] {
    const contents: CertificateContent[] = [];
    side.hooks.read = async (proceed, ...args) => {
      const reading = await proceed(...args);
      if (reading.state === 'present') contents.push(reading.value.content);
      return reading;
    };
    return contents;
  }
  const wiped = (contents: readonly CertificateContent[]) => contents.map(({ privateKey }) => privateKey?.pem.wiped);

  it('overwrites the keys of the primary and of the copies that it has read', async () => {
    const world = await replicated(await content());
    const read = [noteReads(world.primary), noteReads(world.backup)];
    await askAndPass(world, 'c1');
    expect(read.map(wiped)).toEqual([[true], [true]]);
  });

  it('sends a key before it overwrites it', async () => {
    const world = await replicated(await content());
    const read = noteReads(world.primary);
    world.primary.store.put({ content: await content(), metadata: described('shop') }, 'c1');
    const { passes } = await askAndPass(world, 'c1');
    expect(passes[0]?.backups[0]?.actions).toEqual(['reimported']);
    expect(wiped(read)).toEqual([true]);
    const copy = await world.backup.store.read('backup-1');
    expect(copy.state === 'present' && copy.value.content.privateKey?.pem.wiped).toBe(false);
  });

  it('overwrites a key that comes when nobody waits for it any more', async () => {
    const world = await replicated(await content());
    const read = noteReads(world.primary);
    const { read: note } = world.primary.hooks;
    let late: Promise<unknown> = Promise.resolve();
    world.primary.hooks.read = async (proceed, ...args) => {
      const reading = await (note?.(proceed, ...args) ?? proceed(...args));
      late = world.time.wait(world.timing.lookMs + 1_000);
      await late;
      return reading;
    };
    await world.ask('c1');
    const { passes } = await world.finish(world.pass('c1'));
    expect(passes[0]?.verdict.kind).toBe('unreadable');
    await world.finish(late);
    expect(wiped(read)).toEqual([true]);
  });
});
