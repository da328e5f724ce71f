import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { compose, type Program, startReceiverServer } from '../../src/compose.ts';
import type { Config } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import type { Timing } from '../../src/replication/timing.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/store/certificate-manager.ts';
import type { Store } from '../../src/store/store.ts';
import { startTestInstance, type TestInstance } from '../support/instance.ts';
import { type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts';

const account = 'a/00000000000000000000000000000001';
const primaryCrn = `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
const backupCrn = `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:66666666-7777-4888-9999-aaaaaaaaaaaa::`;

/** Short periods, so that healing takes tenths of seconds. What they are relative to each other is as in the real ones. */
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

export interface Pair {
  readonly primary: Store;
  /** The backup as someone sees it who does not go through the proxy. */
  readonly backup: Store;
  readonly proxy: FaultyProxy;
  readonly program: Program;
  readonly callbackUrl: string;
  /** Loses everything that the backup holds, as an instance in memory does when it is restarted. */
  restartBackup(): Promise<void>;
  /** Another channel of the primary. */
  addChannel(endpoint: string): Promise<void>;
  import(name: string, pem: CertificatePem): Promise<string>;
  /** Waits until the backup holds exactly one copy with this name and content. Throws with what it holds if that takes too long. */
  copied(name: string, pem: CertificatePem): Promise<void>;
  close(): Promise<void>;
}

/** Two instances in two regions over real HTTP, a proxy before the backup, the program between them on LMDB, sweeping often. */
export async function startPair(options: { readonly policy?: Config['links'][number]['policy'] } = {}): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), 'certstandby-pair-'));
  const primaryInstance = await startTestInstance({ crn: primaryCrn });
  let backupInstance = await startTestInstance({ crn: backupCrn });
  const backupPort = Number(new URL(backupInstance.url).port);
  const proxy = await startFaultyProxy(backupInstance.url);
  const program = await compose(config(primaryInstance, proxy.url, join(folder, 'records'), options.policy), {
    runtime,
    log: silentLog,
    timing: quick,
  });
  const server = await startReceiverServer({ receiver: program.receiver, host: '127.0.0.1', port: 0, log: silentLog });
  const callbackUrl = `${server.url}/callback/main`;
  await createChannel(primaryInstance, callbackUrl);
  await program.sweep();
  for (const link of program.links) await program.reconcile(link);
  const sweeping = setInterval(() => void program.sweep(), 200);
  const primary = store(primaryInstance.url, primaryCrn);
  const backup = store(backupInstance.url, backupCrn);

  return {
    primary,
    backup,
    proxy,
    program,
    callbackUrl,
    async restartBackup() {
      await backupInstance.close();
      backupInstance = await startTestInstance({ crn: backupCrn, port: backupPort });
    },
    addChannel: (endpoint) => createChannel(primaryInstance, endpoint),
    async import(name, pem) {
      const metadata = { name, description: '', tags: [] };
      return (await primary.import({ content: parseContent(pem), metadata })).id;
    },
    copied: (name, pem) => copied(backup, name, pem),
    async close() {
      clearInterval(sweeping);
      await server.close();
      await program.close();
      await Promise.all([primaryInstance.close(), backupInstance.close(), proxy.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function config(
  primary: TestInstance,
  backupUrl: string,
  path: string,
  policy: Config['links'][number]['policy'] | undefined,
): Config {
  const common = {
    kind: 'certificate-manager',
    apiKey: new Secret(primary.apiKey),
    settlesMs: 300,
    listingLagMs: 0,
    writesPerCertificatePerMinute: 'unlimited',
  } as const;
  return {
    table: { kind: 'lmdb', path },
    receiver: { host: '127.0.0.1', port: 0 },
    worker: { concurrency: 8, sweepEveryMs: 200, reconcileEveryMs: 3_600_000 },
    stores: [
      { ...common, name: 'primary', instance: primaryCrn, region: 'eu-de', endpoint: primary.url, iam: primary.url },
      { ...common, name: 'backup', instance: backupCrn, region: 'eu-gb', endpoint: backupUrl, iam: backupUrl },
    ],
    links: [
      {
        name: 'main',
        primary: 'primary',
        backups: ['backup'],
        filter: { names: [], domains: [] },
        policy: policy ?? { requireChain: false, onward: false },
      },
    ],
  };
}

function store(url: string, instance: string): Store {
  const apiKey = new Secret('test-api-key-of-the-manager');
  return certificateManagerStore({ instance, apiKey, endpoint: url, iamUrl: url, runtime });
}

async function createChannel(instance: TestInstance, endpoint: string): Promise<void> {
  const path = `/api/v1/instances/${encodeURIComponent(instance.crn)}/notifications/channels`;
  const created = await fetch(instance.url + path, {
    method: 'PUT',
    headers: { authorization: `Bearer ${await instance.token()}`, 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'url', endpoint, is_active: true }),
  });
  if (!created.ok) throw new Error(`no channel: HTTP ${created.status}`);
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
    await runtime.wait(100);
  }
  throw new Error(`the backup does not hold ${name} as ${wanted}, but ${held}`);
}
