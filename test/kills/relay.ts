import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { listen } from '../../src/receiver/listen.ts';

/** What stands before the workers and hands notifications to one that lives; it remembers what was acknowledged. */
export interface Relay {
  /** The callback URL of the channel. */
  readonly url: string;
  /** Posts a notification to a worker; its status, or 502 if nobody answers. */
  post(body: string): Promise<number>;
  /** How often each certificate was in a notification of a change that a worker answered with 2xx. */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** How often each status was answered. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Bodies that came from the primary. */
  readonly seen: readonly string[];
  /** Milliseconds since the last notification was answered. */
  silentMs(): number;
  close(): Promise<void>;
}

/** `random` decides which worker is asked first, and which answers are lost on their way back to the sender. */
export async function startRelay(targets: readonly string[], random: () => number): Promise<Relay> {
  const acknowledged = new Map<string, number>();
  const statuses = new Map<number, number>();
  const seen: string[] = [];
  let lastAt = performance.now();

  async function post(body: string): Promise<number> {
    const order = random() < 0.5 ? targets : targets.toReversed();
    let status = 502;
    for (const target of order) {
      status = (await ask(target, body)) ?? 502;
      if (status !== 502) break;
    }
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
    silentMs: () => performance.now() - lastAt,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The status; `undefined` if there was no whole answer. */
export async function ask(target: string | undefined, body: string): Promise<number | undefined> {
  if (target === undefined) return undefined;
  try {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(target, { method: 'POST', headers, body });
    await answer.text();
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
