import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import type { Program } from '../../src/compose/program.ts';
import { systemRuntime } from '../../src/runtime.ts';
import type { Store } from '../../src/store/store.ts';
import type { FaultyProxy } from '../support/faulty-proxy.ts';
import { type ProgramOptions, startProgram } from './program.ts';
import { type Sides, type SidesOptions, startSides } from './sides.ts';

export interface Pair extends Pick<Sides, 'restartBackup' | 'addChannel'> {
  readonly primary: Store;
  /** The backup as someone sees it who does not go through the proxy. */
  readonly backup: Store;
  /** Before the backup. */
  readonly proxy: FaultyProxy;
  readonly primaryProxy: FaultyProxy;
  readonly program: Program;
  readonly callbackUrl: string;
  import(name: string, pem: CertificatePem): Promise<string>;
  /**
   * Waits until the backup holds exactly one copy with this name and content. Throws with what it
   * holds if that takes too long.
   */
  copied(name: string, pem: CertificatePem): Promise<void>;
  close(): Promise<void>;
}

export interface PairOptions
  extends Pick<SidesOptions, 'signingKey'>,
    Pick<ProgramOptions, 'policy' | 'table' | 'log' | 'runtime'> {
  /** Whether it sweeps by itself, five times a second. Default true. */
  readonly sweeps?: boolean;
}

/**
 * Two instances in two regions over real HTTP, a proxy before each, the program between them on
 * LMDB, sweeping often.
 */
export async function startPair(options: PairOptions = {}): Promise<Pair> {
  const { sweeps = true, signingKey, ...given } = options;
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-pair-'));
  const sides = await startSides(signingKey && { signingKey });
  const { program, callbackUrl, ...running } = await startProgram({
    ...given,
    primaryUrl: sides.primary.proxy.url,
    backupUrl: sides.backup.proxy.url,
    apiKey: sides.apiKey,
    path: join(folder, 'records'),
  });
  await sides.addChannel(callbackUrl);
  await program.sweep();
  for (const link of program.links) await program.reconcile(link);
  const sweeping = sweeps ? setInterval(() => void program.sweep(), 200) : undefined;
  const primary = sides.primary.store;
  const backup = sides.backup.store;

  return {
    primary,
    backup,
    proxy: sides.backup.proxy,
    primaryProxy: sides.primary.proxy,
    program,
    callbackUrl,
    restartBackup: sides.restartBackup,
    addChannel: sides.addChannel,
    async import(name, pem) {
      const metadata = { name, description: '', tags: [] };
      return (await primary.import({ content: parseContent(pem), metadata })).id;
    },
    copied: (name, pem) => copied(backup, name, pem),
    async close() {
      clearInterval(sweeping);
      await running.close();
      await sides.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function copied(backup: Store, name: string, pem: CertificatePem): Promise<void> {
  const wanted = fingerprintOf(parseContent(pem));
  let held = '';
  for (let attempt = 0; attempt < 150; attempt += 1) {
    const { certificates } = await backup.list({});
    const copies = certificates.filter((certificate) => certificate.name === name);
    const [copy] = copies;
    const reading = copy && (await backup.read(copy.id));
    held = `${copies.length} of that name, the first ${reading?.state === 'present' ? fingerprintOf(reading.value.content) : reading?.state}`;
    if (held === `1 of that name, the first ${wanted}`) return;
    await systemRuntime.wait(100);
  }
  throw new Error(`the backup does not hold ${name} as ${wanted}, but ${held}`);
}
