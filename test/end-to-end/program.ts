import { compose, type Observer, type Program } from '../../src/compose/program.ts';
import type { Config } from '../../src/config.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import type { Timing } from '../../src/replication/timing.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { CertificateManagerConfig } from '../../src/services/certificate-manager/settings.ts';
import type { Table } from '../../src/table/table.ts';

const account = 'a/00000000000000000000000000000001';
export const primaryCrn = `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
export const backupCrn = `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:66666666-7777-4888-9999-aaaaaaaaaaaa::`;

/**
 * Short periods, so that healing takes tenths of seconds. What they are relative to each other is
 * as in the real ones.
 */
const quick: Partial<Timing> = {
  leaseMs: 4_000,
  skewMs: 100,
  lookMs: 1_500,
  commitMs: 500,
  backoffBaseMs: 50,
  backoffCapMs: 400,
  refusalLooksMs: [50, 100],
  absenceMs: 100,
};

type Policy = Config['links'][number]['policy'];

/** Where the two sides are, and what differs from one test to the next. */
export interface ProgramOptions {
  readonly primaryUrl: string;
  readonly backupUrl: string;
  readonly apiKey: string;
  /** Folder of the records, where no table is given. */
  readonly path: string;
  readonly table?: Table;
  readonly policy?: Policy;
  readonly timing?: Partial<Timing>;
  /** Limit of the backup that the program keeps to. Default: none. */
  readonly writesPerCertificatePerMinute?: number;
  readonly runtime?: Runtime;
  readonly log?: Log;
  readonly observer?: Observer;
}

export interface RunningProgram {
  readonly program: Program;
  readonly callbackUrl: string;
  close(): Promise<void>;
}

/**
 * The program on one machine with its receiver, for one link `main`. It neither sweeps nor
 * reconciles by itself.
 */
export async function startProgram(options: ProgramOptions): Promise<RunningProgram> {
  const { runtime = systemRuntime, log = silentLog, timing = quick, observer = {}, table } = options;
  const program = await compose(configOf(options), { runtime, log, timing, observer, ...(table && { table }) });
  const server = await startReceiverServer({ receiver: program.receiver, host: '127.0.0.1', port: 0, log });
  return {
    program,
    callbackUrl: `${server.url}/callback/main`,
    async close() {
      await server.close();
      await program.close();
    },
  };
}

function configOf(options: ProgramOptions): Config {
  const { primaryUrl, backupUrl, writesPerCertificatePerMinute = 'unlimited' } = options;
  const store = (name: string, instance: string, region: string, url: string): CertificateManagerConfig => ({
    name,
    kind: 'certificate-manager',
    instance,
    region,
    apiKey: new Secret(options.apiKey),
    endpoint: url,
    iam: url,
    settlesMs: 300,
    listingLagMs: 0,
    writesPerCertificatePerMinute,
  });
  return {
    table: { kind: 'lmdb', path: options.path },
    receiver: { host: '127.0.0.1', port: 0 },
    worker: { concurrency: 16, sweepEveryMs: 200, reconcileEveryMs: 3_600_000 },
    stores: [store('primary', primaryCrn, 'eu-de', primaryUrl), store('backup', backupCrn, 'eu-gb', backupUrl)],
    links: [
      {
        name: 'main',
        primary: 'primary',
        backups: ['backup'],
        filter: { names: [], domains: [] },
        policy: options.policy ?? { requireChain: false, onward: false },
      },
    ],
  };
}
