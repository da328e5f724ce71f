import { appendFileSync } from 'node:fs';
import { every } from '../../src/cli/schedule.ts';
import { compose, type Program } from '../../src/compose/program.ts';
import type { Config, TableConfig } from '../../src/config.ts';
import { jsonLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import type { ReconcileReport } from '../../src/replication/reconcile/reconcile.ts';
import type { Timing } from '../../src/replication/timing.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { CertificateManagerConfig } from '../../src/services/certificate-manager/settings.ts';
import type { Side } from './servers.ts';
import { cabinetConfig, laggardBounds, type Unlike } from './unlike.ts';

export const linkName = 'main';

/**
 * Short periods: a dead worker's lease ends after two seconds. What they are relative to each other
 * is as in the real ones.
 */
const timing = {
  leaseMs: 2_000,
  skewMs: 100,
  lookMs: 800,
  commitMs: 400,
  backoffBaseMs: 50,
  backoffCapMs: 400,
  refusalLooksMs: [100, 300],
  absenceMs: 200,
} satisfies Partial<Timing>;

export interface ProgramOptions {
  readonly primary: Side;
  /** Its address may be that of a network before it. */
  readonly backup: Side;
  /** More backups; absent: none. */
  readonly unlike?: Unlike<Side>;
  readonly table: TableConfig;
  /** How many times as long it has patience with its stores, and with a dead worker. Default: 1. */
  readonly patience?: number;
  readonly logFile: string;
  readonly port: number;
}

/** The process that is killed: the program as `up` runs it, with short periods. */
export function programHandlers() {
  let program: Program | undefined;
  const running = () => {
    if (program === undefined) throw new Error('not started');
    return program;
  };

  return {
    /** Resolves when notifications are taken and the first reconcile is done. */
    async start(options: ProgramOptions): Promise<void> {
      const write = (line: string) => appendFileSync(options.logFile, line, { mode: 0o600 });
      const log = jsonLog({ least: 'debug', now: runtime.now, write });
      const started = await compose(configOf(options), { runtime, log, timing: timingOf(options) });
      program = started;
      await startReceiverServer({ receiver: started.receiver, host: '127.0.0.1', port: options.port, log });
      const reconcileAll = () => Promise.all(started.links.map((link) => started.reconcile(link)));
      every({ name: 'sweep', periodMs: 300, runtime, log }, started.sweep);
      every({ name: 'reconcile', periodMs: 3_000, runtime, log }, reconcileAll);
      await started.sweep();
      await reconcileAll().catch((thrown: unknown) => log('error', 'reconcile_failed', { message: String(thrown) }));
    },

    /** Reconciles once more, and says what there was to ask for. */
    async reconcile(): Promise<ReconcileReport['asked']> {
      const [link] = running().links;
      return link === undefined ? {} : (await running().reconcile(link)).asked;
    },

    /** Certificates with something left to do, or under work. */
    async pending(): Promise<readonly string[]> {
      const [link] = running().links;
      const open: string[] = [];
      if (link === undefined) return open;
      for await (const { certificate, requested, replicated, wakeAt, leaseUntil } of running().records(link))
        if (requested > replicated || wakeAt !== undefined || leaseUntil !== undefined) open.push(certificate);
      return open;
    },
  };
}

function timingOf({ patience = 1 }: ProgramOptions): Partial<Timing> {
  const { leaseMs, lookMs, commitMs } = timing;
  return { ...timing, leaseMs: leaseMs * patience, lookMs: lookMs * patience, commitMs: commitMs * patience };
}

function configOf({ primary, backup, unlike, table, port }: ProgramOptions): Config {
  const store = (name: string, { url, crn, apiKey }: Side, bounds = {}): CertificateManagerConfig => ({
    name,
    kind: 'certificate-manager',
    instance: crn,
    region: crn.split(':')[5] ?? '',
    apiKey: new Secret(apiKey),
    endpoint: url,
    iam: url,
    settlesMs: 600,
    listingLagMs: 0,
    writesPerCertificatePerMinute: 'unlimited',
    ...bounds,
  });
  const backups =
    unlike === undefined
      ? [store('backup', backup)]
      : [store('backup', backup), store('laggard', unlike.laggard, laggardBounds), cabinetConfig(unlike.cabinet)];
  return {
    table,
    receiver: { host: '127.0.0.1', port },
    worker: { concurrency: 8, sweepEveryMs: 300, reconcileEveryMs: 3_000 },
    stores: [store('primary', primary), ...backups],
    links: [
      {
        name: linkName,
        primary: 'primary',
        backups: backups.map(({ name }) => name),
        filter: { names: [], domains: [] },
        policy: { requireChain: false, onward: false },
      },
    ],
  };
}
