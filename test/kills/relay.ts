import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { listen } from '../../src/http/listen.ts';

/**
 * Kills a worker so many milliseconds after its next notification was handed to it, or at the first
 * byte of its answer.
 */
interface Doom {
  readonly when: 'asked' | 'answered';
  readonly afterMs: number;
  readonly kill: () => void;
}

/**
 * What stands before the workers and hands notifications to one that lives; it remembers what was
 * acknowledged.
 */
export interface Relay {
  /** The callback URL of the channel. */
  readonly url: string;
  /** Posts a notification to a worker; its status, or 502 if nobody answers. */
  post(body: string): Promise<number>;
  /**
   * How often each certificate was in a notification of a change that a worker answered with 2xx.
   */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** How often each status was answered. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Bodies that came from the primary. */
  readonly seen: readonly string[];
  killAtNotification(worker: number, doom: Doom): void;
  /** It is dead already. */
  spare(worker: number): void;
  /** Milliseconds since the last notification was answered. */
  silentMs(): number;
  close(): Promise<void>;
}

/**
 * `random` decides which worker is asked first, and which answers are lost on their way back to the
 * sender.
 */
export async function startRelay(callbacks: readonly string[], random: () => number): Promise<Relay> {
  const targets = callbacks.map((url, worker) => ({ url, worker }));
  const acknowledged = new Map<string, number>();
  const statuses = new Map<number, number>();
  const dooms = new Map<number, Doom>();
  const seen: string[] = [];
  let lastAt = performance.now();

  async function handTo({ url, worker }: (typeof targets)[number], body: string): Promise<number | undefined> {
    const doom = dooms.get(worker);
    dooms.delete(worker);
    if (doom?.when === 'asked') setTimeout(doom.kill, doom.afterMs);
    const status = await ask(url, body);
    if (doom?.when === 'answered') doom.kill();
    return status;
  }

  async function post(body: string): Promise<number> {
    const order = random() < 0.5 ? targets : targets.toReversed();
    let status: number | undefined;
    for (const target of order) status ??= await handTo(target, body);
    status ??= 502;
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (status >= 200 && status < 300)
      for (const id of certificatesIn(body)) acknowledged.set(id, (acknowledged.get(id) ?? 0) + 1);
    lastAt = performance.now();
    return status;
  }

  const server = createServer(async (request, response) => {
    const body = await text(request).catch(() => undefined);
    if (body === undefined) return;
    seen.push(body);
    const status = await post(body);
    response.writeHead(random() < 0.03 ? 500 : status).end();
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  return {
    url,
    post,
    acknowledged,
    statuses,
    seen,
    killAtNotification: (worker, doom) => void dooms.set(worker, doom),
    spare: (worker) => void dooms.delete(worker),
    silentMs: () => performance.now() - lastAt,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The status, as soon as it is there, as a sender sees it; `undefined` if there is none. */
export async function ask(url: string, body: string): Promise<number | undefined> {
  try {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(url, { method: 'POST', headers, body });
    void answer.text().catch(() => undefined);
    return answer.status;
  } catch {
    return undefined;
  }
}

/** The certificates that a notification asks to look at. */
function certificatesIn(body: string): readonly string[] {
  const { data } = JSON.parse(body) as { readonly data: string };
  const payload = JSON.parse(Buffer.from(data.split('.')[1] ?? '', 'base64url').toString()) as {
    readonly event_type: string;
    readonly certificates: readonly { readonly cert_crn: string }[];
  };
  if (!['cert_imported', 'cert_reimported'].includes(payload.event_type)) return [];
  return payload.certificates.map(({ cert_crn }) => cert_crn.split(':').at(-1) ?? '');
}
