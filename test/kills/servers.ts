import { createPrivateKey, X509Certificate } from 'node:crypto';
import { startCabinet } from '../services/cabinet/server.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { type Behaviour, type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';
import { startLaggingProxy } from '../support/lagging-proxy.ts';
import { cabinetPin, laggardBounds, type Unlike } from './unlike.ts';

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
  /** Absent: there are no others. */
  readonly unlike?: UnlikeServices;
}

export interface UnlikeServices
  extends Unlike<
    Side & {
      /** Where reads show each write at once. */
      readonly currentUrl: string;
    }
  > {
  /** As each worker reaches them. */
  readonly urls: readonly { readonly laggard: string; readonly cabinet: string }[];
}

const account = 'a/00000000000000000000000000000001';
const primaryCrn = `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
const backupCrn = `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:66666666-7777-4888-9999-aaaaaaaaaaaa::`;
const laggardCrn = `crn:v1:bluemix:public:cloudcerts:us-south:${account}:bbbbbbbb-cccc-4ddd-8eee-ffffffffffff::`;

/**
 * What a worker is killed at: a write of content, or the first request of an import that takes two.
 */
type Target = 'content' | 'creation';

/** Who is killed, so many milliseconds after the next such write through one of its networks. */
interface Doom {
  readonly pid: number;
  readonly at: Target;
  readonly afterMs: number;
}

/** The process that is never killed: the primary, the backups, and the networks before them. */
export function serverHandlers() {
  const dooms = new Map<number, Doom>();
  const unfit: string[] = [];
  let primary: TestInstance | undefined;
  let disturbed = false;

  /** Ways to one backup, one for each worker. Answers their addresses. */
  async function networksTo(
    target: string,
    ports: readonly number[],
    { seed, late }: { readonly seed: number; readonly late: number },
  ): Promise<readonly string[]> {
    const starting = ports.map(async (port, worker) => {
      const proxy = await startFaultyProxy(target, port);
      const random = seededRandom(seed + worker);
      proxy.behave = ({ method, path, body }) => {
        const at = method === 'GET' ? undefined : targetOf(path, body);
        if (at === 'content' && !wouldServe(body))
          unfit.push(`a certificate that would not serve was written by ${method}`);
        if (at !== undefined) strike(worker, at);
        return disturbed ? trouble(random, { writes: method !== 'GET', late }) : 'pass';
      };
      void outages(proxy, random, () => disturbed);
      return proxy.url;
    });
    return Promise.all(starting);
  }

  function strike(worker: number, at: Target): void {
    const doom = dooms.get(worker);
    if (doom?.at !== at) return;
    dooms.delete(worker);
    if (doom.afterMs === 0) process.kill(doom.pid, 'SIGKILL');
    else setTimeout(() => process.kill(doom.pid, 'SIGKILL'), doom.afterMs);
  }

  async function startUnlike(ports: readonly (readonly number[])[], seed: number): Promise<UnlikeServices> {
    const instance = await startTestInstance({ crn: laggardCrn });
    const lagging = await startLaggingProxy(instance.url);
    const random = seededRandom(seed + 5_000);
    const { readSettlesMs, listingLagMs } = laggardBounds;
    lagging.lagMs = (path) => random() * (path.includes('/certificate/') ? readSettlesMs : listingLagMs);
    const uniqueNames = seed % 2 === 1;
    const cabinet = await startCabinet({ pin: cabinetPin, uniqueNames });
    const laggardUrls = await networksTo(lagging.url, ports[0] ?? [], { seed: seed + 3_000, late: 0.1 });
    const cabinetUrls = await networksTo(cabinet.url, ports[1] ?? [], { seed: seed + 4_000, late: 0.03 });
    return {
      laggard: { url: lagging.url, currentUrl: instance.url, crn: laggardCrn, apiKey: apiKeyOf('manager') },
      cabinet: { url: cabinet.url, uniqueNames },
      urls: laggardUrls.map((laggard, worker) => ({ laggard, cabinet: cabinetUrls[worker] ?? '' })),
    };
  }

  return {
    async start(options: {
      readonly signingKeyPem: string;
      /**
       * Where the networks are, or else at the next free port: one for each worker, for each
       * backup.
       */
      readonly networkPorts: readonly (readonly number[])[];
      readonly seed: number;
      /** With backups that are not like the primary. Default: without. */
      readonly unlike?: boolean;
    }): Promise<Services> {
      const { networkPorts, seed, unlike = false } = options;
      primary = await startTestInstance({
        crn: primaryCrn,
        signingKey: createPrivateKey(options.signingKeyPem),
        delivery: { attempts: 8, firstWaitMs: 100, longestWaitMs: 1_000, requestMs: 5_000 },
      });
      const backup = await startTestInstance({ crn: backupCrn });
      const sideOf = ({ url, crn }: TestInstance): Side => ({ url, crn, apiKey: apiKeyOf('manager') });
      const [first = [], ...others] = networkPorts;
      return {
        primary: sideOf(primary),
        backup: sideOf(backup),
        backupUrls: await networksTo(backup.url, first, { seed: seed + 2_000, late: 0.03 }),
        ...(unlike && { unlike: await startUnlike(others, seed) }),
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
     * Kills a worker at its next such write, or soon after; `afterMs` decides what it lives to see
     * of it.
     */
    killAtWrite({ worker, ...doom }: Doom & { readonly worker: number }): void {
      dooms.set(worker, doom);
    },

    /** It is dead, or has lived long enough. Answers whether it was killed at a write. */
    spare(worker: number): boolean {
      return !dooms.delete(worker);
    },

    /** What was written to the backup and should not have been. */
    unfitWrites: (): readonly string[] => unfit,
  };
}

/** What a worker could be killed at when it sends this. */
function targetOf(path: string, body: string): Target | undefined {
  if (path === '/places') return 'creation';
  return body.includes('"content"') ? 'content' : undefined;
}

/**
 * What the network does to one request: mostly nothing. Late writes come before the `settles` of
 * the program's configuration.
 */
function trouble(
  random: () => number,
  { writes, late }: { readonly writes: boolean; readonly late: number },
): Behaviour {
  const dice = random();
  if (dice < 0.02) return 'drop';
  if (dice < 0.025) return { status: 503, body: 'busy' };
  if (dice < 0.04) return { delayMs: random() * 300 };
  if (!writes || dice > 0.08 + late) return 'pass';
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
