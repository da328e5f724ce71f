import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { onTestFinished } from 'vitest';
import type { ArchiveEntry, ArchiveItem, ArchiveUnlock } from '../../src/archive/archive.ts';
import { openArchive } from '../../src/archive/read-archive.ts';
import type { WantedArchive } from '../../src/archive/write-archive.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type MemoryStore, memoryStore } from '../../src/store/memory.ts';
import { testCertificate } from '../support/certificates.ts';

export const keyKinds = ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const;
export const passphrase = new Secret('correct horse battery staple');

export function memory(id = 'frankfurt'): MemoryStore {
  return memoryStore({ id, region: 'eu-de', runtime: systemRuntime });
}

/**
 * A store with a certificate of each kind of key, by names that no file system takes as they are.
 */
export async function estate(kinds: readonly (typeof keyKinds)[number][] = keyKinds): Promise<MemoryStore> {
  const store = memory();
  for (const keyKind of kinds) {
    const content = parseContent(await testCertificate({ keyKind, domains: [`${keyKind}.example.test`] }));
    const name = keyKind === 'p-256' ? '*.example.test/../ä 😀' : keyKind;
    store.put({ content, metadata: { name, description: `of kind ${keyKind}`, tags: ['shop', keyKind] } });
  }
  return store;
}

/** A folder that goes with the test. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-archive-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const identity = await generateX25519Identity();
const recipient = await identityToRecipient(identity);

/** Opens whatever `wanted` closes. */
export const unlocked = { passphrase: new Secret(passphrase.reveal()), identities: [new Secret(identity)] };

/** An age archive for a recipient: to make a key of a passphrase takes a second, each time. */
export function wanted(kind: WantedArchive['kind'], path: string): WantedArchive {
  if (kind === 'age') return { kind, path, recipients: [recipient] };
  return kind === 'pkcs12'
    ? { kind, path, passphrase: new Secret(passphrase.reveal()) }
    : { kind, path, unencryptedKeys: true };
}

/** All that is in an archive. */
export async function itemsOf(path: string, unlock: ArchiveUnlock = unlocked): Promise<readonly ArchiveItem[]> {
  const items: ArchiveItem[] = [];
  for await (const item of (await openArchive(path, unlock)).entries()) items.push(item);
  return items;
}

/** All certificates of an archive in which nothing is refused: what is, is thrown. */
export async function entriesOf(path: string, unlock?: ArchiveUnlock): Promise<readonly ArchiveEntry[]> {
  const items = await itemsOf(path, unlock);
  for (const item of items) if ('error' in item) throw item.error;
  return items.filter((item) => 'content' in item);
}

/**
 * What a store holds, in words that can be compared: name, description, tags and fingerprint of
 * each, in order.
 */
export async function holdingsOf(store: MemoryStore) {
  const { certificates } = await store.list({});
  const holdings = await Promise.all(
    certificates.map(async ({ id }) => {
      const reading = await store.read(id);
      if (reading.state !== 'present') throw new Error(`${id} is ${reading.state}`);
      const { name, description, tags } = reading.value.metadata;
      return { name, description, tags, fingerprint: fingerprintOf(reading.value.content) };
    }),
  );
  return holdings.sort((a, b) => (a.name + a.fingerprint < b.name + b.fingerprint ? -1 : 1));
}
