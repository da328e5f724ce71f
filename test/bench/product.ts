import { openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { compose, type Program } from '../../src/compose/program.ts';
import type { Config } from '../../src/config.ts';
import { jsonLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import type { PassReport } from '../../src/replication/pass/replicate.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { CertificateManagerConfig } from '../../src/services/certificate-manager/settings.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import type { Table } from '../../src/table/table.ts';
import type { Side } from './rest.ts';
import type { Pair } from './servers.ts';
import { clockMs, processorTime } from './statistics.ts';

/** A pass as the one who measures sees it. */
export interface SeenPass {
  /** When it was through, its commit on disk. */
  readonly at: number;
  readonly equal: boolean;
  /** `imported`, `reimported`, ... */
  readonly actions: readonly string[];
}

const link = 'bench';

/**
 * The process that runs our own program as `up` does: receiver, workers, LMDB, a log file. Sweeps
 * come when they are asked for.
 */
export function productHandlers() {
  const awaited = new Map<string, (pass: SeenPass) => void>();
  const written = { certificates: new Set<string>(), wanted: 0, reached: (_at: number) => {} };
  let operations = 0;
  let passes = 0;
  let program: Program | undefined;

  function passed({ certificate, backups }: PassReport): void {
    const at = clockMs();
    const equal = backups.every((backup) => backup.equal);
    const actions = backups.flatMap((backup) => backup.actions);
    passes += 1;
    if (equal && actions.length > 0) written.certificates.add(certificate);
    if (written.wanted > 0 && written.certificates.size === written.wanted) written.reached(at);
    awaited.get(certificate)?.({ at, equal, actions });
    awaited.delete(certificate);
  }

  return {
    /** Answers the callback URL. */
    async start({ pair, folder }: { readonly pair: Pair; readonly folder: string }): Promise<string> {
      const file = openSync(join(folder, 'certstandby.log'), 'a', 0o600);
      const log = jsonLog({ least: 'info', now: runtime.now, write: (line) => void writeSync(file, line) });
      const table = counted(lmdbTable({ path: join(folder, 'records') }), () => {
        operations += 1;
      });
      const config = configOf(pair, folder);
      program = await compose(config, { runtime, log, table, observer: { passed } });
      const server = await startReceiverServer({ receiver: program.receiver, host: '127.0.0.1', port: 0, log });
      await program.sweep();
      for (const each of program.links) await program.reconcile(each);
      return `${server.url}/callback/${link}`;
    },

    /** The next pass over this certificate. */
    pass: (certificate: string) => new Promise<SeenPass>((resolve) => awaited.set(certificate, resolve)),

    /** When copies of so many certificates have been written, counted from this call. */
    written(wanted: number): Promise<number> {
      written.certificates.clear();
      return new Promise((reached) => Object.assign(written, { wanted, reached }));
    },

    /** Resolves when no pass runs or waits. */
    idle: () => program?.dispatch.idle(),

    /** One sweep, and the passes that it wakes. */
    async sweep(): Promise<void> {
      await program?.sweep();
      await program?.dispatch.idle();
    },

    /** Calls of the table and passes since the last call. */
    takeCounts() {
      const taken = { operations, passes };
      operations = 0;
      passes = 0;
      return taken;
    },

    takeProcessorMs: processorTime(),

    /**
     * `RssAnon` in KiB after a garbage collection: LMDB maps its file, and resident size would
     * count its pages.
     */
    memoryKiB(): number {
      globalThis.gc?.();
      return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    },
  };
}

function configOf({ primary, backup }: Pair, folder: string): Config {
  const store = (name: string, { url, crn, apiKey }: Side): CertificateManagerConfig => ({
    name,
    kind: 'certificate-manager',
    instance: crn,
    region: crn.split(':')[5] ?? '',
    apiKey: new Secret(apiKey),
    endpoint: url,
    iam: url,
    settlesMs: 5_000,
    writesPerCertificatePerMinute: 'unlimited',
  });
  return {
    table: { kind: 'lmdb', path: join(folder, 'records') },
    receiver: { host: '127.0.0.1', port: 0 },
    worker: { concurrency: 16, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 },
    stores: [store('primary', primary), store('backup', backup)],
    links: [
      {
        name: link,
        primary: 'primary',
        backups: ['backup'],
        filter: { names: [], domains: [] },
        policy: { requireChain: false, onward: false },
      },
    ],
  };
}

/** The same table; each call is told. */
function counted(table: Table, tell: () => void): Table {
  const telling =
    <A extends unknown[], R>(method: (...given: A) => R) =>
    (...given: A): R => {
      tell();
      return method(...given);
    };
  return {
    get: telling(table.get),
    update: telling(table.update),
    putIfAbsent: telling(table.putIfAbsent),
    delete: telling(table.delete),
    query: telling(table.query),
    queryIndex: telling(table.queryIndex),
    close: table.close,
  };
}
