import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type Behaviour, type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';

export interface Side {
  readonly url: string;
  readonly crn: string;
  readonly apiKey: string;
}

/** The services, as those who use them see them. */
export interface Services {
  readonly primary: Side;
  readonly backup: Side;
  /** The backup as each worker reaches it: through a network of its own. */
  readonly backupUrls: readonly string[];
}

const account = 'a/00000000000000000000000000000001';
const primaryCrn = `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
const backupCrn = `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:66666666-7777-4888-9999-aaaaaaaaaaaa::`;

/** Who is killed, so many milliseconds after the next write through its network. */
interface Doom {
  readonly pid: number;
  readonly afterMs: number;
}

/** One worker's way to the backup. */
interface Network {
  readonly proxy: FaultyProxy;
  doom: Doom | undefined;
}

/** The process that is never killed: the primary, the backup, and the networks before it. */
export function serverHandlers() {
  const networks: Network[] = [];
  const unfit: string[] = [];
  let primary: TestInstance | undefined;
  let disturbed = false;

  return {
    async start(options: {
      readonly signingKeyPem: string;
      /** Where each worker's network is, or else at the next free port. */
      readonly networkPorts: readonly number[];
      readonly seed: number;
    }): Promise<Services> {
      primary = await startTestInstance({
        crn: primaryCrn,
        signingKey: createPrivateKey(options.signingKeyPem),
        delivery: { attempts: 8, firstWaitMs: 100, longestWaitMs: 1_000, requestMs: 5_000 },
      });
      const backup = await startTestInstance({ crn: backupCrn });
      const sideOf = ({ url, crn }: TestInstance): Side => ({ url, crn, apiKey: apiKeyOf('manager') });
      for (const [worker, port] of options.networkPorts.entries()) {
        const proxy = await startFaultyProxy(backup.url, port);
        const network: Network = { proxy, doom: undefined };
        const random = seededRandom(options.seed + 2_000 + worker);
        proxy.behave = ({ method, body }) => {
          const writes = method !== 'GET' && body.includes('"content"');
          if (writes && !wouldServe(body)) unfit.push(`a certificate that would not serve was written by ${method}`);
          if (writes) strike(network);
          return disturbed ? trouble(random, method !== 'GET') : 'pass';
        };
        void outages(network.proxy, random, () => disturbed);
        networks.push(network);
      }
      return {
        primary: sideOf(primary),
        backup: sideOf(backup),
        backupUrls: networks.map(({ proxy }) => proxy.url),
      };
    },

    /** Registers a notification channel of the primary. */
    async addChannel(endpoint: string): Promise<void> {
      if (primary === undefined) throw new Error('not started');
      const path = `/api/v1/instances/${encodeURIComponent(primaryCrn)}/notifications/channels`;
      const created = await fetch(primary.url + path, {
        method: 'PUT',
        headers: { authorization: `Bearer ${await primary.token()}`, 'content-type': 'application/json' },
        body: JSON.stringify({ type: 'url', endpoint, is_active: true }),
      });
      if (!created.ok) throw new Error(`no channel: HTTP ${created.status}`);
    },

    /** Whether the networks have bad days. */
    disturb(on: boolean): void {
      disturbed = on;
    },

    /**
     * Kills a worker at its next write, or soon after; `afterMs` decides what it lives to see of
     * it.
     */
    killAtWrite({ worker, ...doom }: Doom & { readonly worker: number }): void {
      const network = networks[worker];
      if (network !== undefined) network.doom = doom;
    },

    /** It is dead already. */
    spare(worker: number): void {
      const network = networks[worker];
      if (network !== undefined) network.doom = undefined;
    },

    /** What was written to the backup and should not have been. */
    unfitWrites: (): readonly string[] => unfit,
  };
}

function strike(network: Network): void {
  const { doom } = network;
  network.doom = undefined;
  if (doom === undefined) return;
  if (doom.afterMs === 0) process.kill(doom.pid, 'SIGKILL');
  else setTimeout(() => process.kill(doom.pid, 'SIGKILL'), doom.afterMs);
}

/**
 * What the network does to one request: mostly nothing. Late writes come before the `settles` of
 * the program's configuration.
 */
function trouble(random: () => number, writes: boolean): Behaviour {
  const dice = random();
  if (dice < 0.02) return 'drop';
  if (dice < 0.025) return { status: 503, body: 'busy' };
  if (dice < 0.04) return { delayMs: random() * 300 };
  if (!writes || dice > 0.11) return 'pass';
  return dice < 0.08 ? 'drop-after' : { lateMs: random() * 400 };
}

/** Takes the backup away for a while, now and then. */
async function outages(proxy: FaultyProxy, random: () => number, disturbed: () => boolean): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1_500 + random() * 4_000));
    if (disturbed()) await proxy.down(200 + random() * 700);
  }
}

/**
 * Whether what a request writes would serve. Told by the platform alone: it is the program's
 * judgement that is tested.
 */
function wouldServe(body: string): boolean {
  const { data, ...flat } = JSON.parse(body) as Record<string, unknown>;
  const { content, intermediate, priv_key: key } = (data ?? flat) as Record<string, string | undefined>;
  const leaf = new X509Certificate(content ?? '');
  const blocks = (intermediate ?? '').match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const path = [leaf, ...blocks.map((pem) => new X509Certificate(pem))];
  const signed = path.every((above, index) => index === 0 || path[index - 1]?.verify(above.publicKey));
  const valid = path.every(({ validTo }) => Date.parse(validTo) > Date.now());
  return signed && valid && leaf.checkPrivateKey(createPrivateKey(key ?? ''));
}
