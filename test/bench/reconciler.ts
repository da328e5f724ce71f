import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compose, type Program } from '../../src/compose/program.ts';
import type { Config } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import type { ReconcileReport } from '../../src/replication/reconcile/reconcile.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { CertificateManagerConfig } from '../../src/services/certificate-manager/settings.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import type { Side } from './rest.ts';
import type { Pair } from './servers.ts';
import { recordFields, type SyntheticEstate } from './synthetic.ts';

const link = 'bench';
/** How often memory is looked at while a reconcile runs. */
const lookEveryMs = 20;

export interface MeasuredReconcile {
  readonly listed: number;
  readonly asked: ReconcileReport['asked'];
  readonly ms: number;
  /** `RssAnon` in KiB: before, and the most that was seen meanwhile. */
  readonly beforeKiB: number;
  readonly mostKiB: number;
}

/** The process that runs our own reconcile, and nothing else: no receiver, no sweep. */
export function reconcilerHandlers() {
  let program: Program | undefined;

  return {
    async start({ pair, folder }: { readonly pair: Pair; readonly folder: string }): Promise<void> {
      program = await compose(configOf(pair, folder), { runtime, log: silentLog });
    },

    /** Reconciles, works off what was asked for, and tells what was listed and asked. */
    async reconcile(): Promise<MeasuredReconcile> {
      const [main] = program?.links ?? [];
      if (program === undefined || main === undefined) throw new Error('not started');
      globalThis.gc?.();
      const beforeKiB = anonymousKiB();
      let mostKiB = beforeKiB;
      const looking = setInterval(() => {
        mostKiB = Math.max(mostKiB, anonymousKiB());
      }, lookEveryMs);
      const started = performance.now();
      try {
        const { listed, asked } = await program.reconcile(main);
        do await program.dispatch.idle();
        while ((await program.wakeDue(main)) > 0);
        return { listed, asked, ms: performance.now() - started, beforeKiB, mostKiB };
      } finally {
        clearInterval(looking);
      }
    },

    /**
     * Restores the primary from the backup; answers how many certificates were moved, and the
     * milliseconds.
     */
    async restore(): Promise<{ readonly moved: number; readonly ms: number }> {
      const [main] = program?.links ?? [];
      const [backup] = main?.backups ?? [];
      if (program === undefined || main === undefined || backup === undefined) throw new Error('not started');
      const started = performance.now();
      const { moved, failed } = await program.restore(main, { kind: 'restore', from: backup, wanted: () => true });
      if (failed.length > 0) throw failed[0]?.error;
      return { moved: moved.length, ms: performance.now() - started };
    },

    stop: () => program?.close(),

    /** Writes the records of an estate that has been replicated, as passes would have left them. */
    async fillRecords({
      folder,
      estate,
    }: {
      readonly folder: string;
      readonly estate: SyntheticEstate;
    }): Promise<void> {
      const table = lmdbTable({ path: join(folder, 'records') });
      for (let from = 0; from < estate.size; from += 1_000) {
        const numbers = Array.from({ length: Math.min(1_000, estate.size - from) }, (_, index) => from + index);
        await Promise.all(
          numbers.map((number) => {
            const { sort, fields } = recordFields(estate, number, Date.now());
            return table.update({ partition: `replication.1/${link}`, sort }, { set: fields });
          }),
        );
      }
      await table.close();
    },
  };
}

function anonymousKiB(): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
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
