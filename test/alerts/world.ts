import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { alertRows } from '../../src/alerts/alert-rows.ts';
import { type Alerts, openAlerts, type WatchedLink } from '../../src/alerts/alerts.ts';
import type { ChannelConfig, HeartbeatConfig } from '../../src/alerts/channel.ts';
import type { OpenChannel } from '../../src/alerts/deliver.ts';
import type { AlertTimes } from '../../src/alerts/evaluate.ts';
import * as registry from '../../src/alerts/registry.ts';
import type { Finding, Judged } from '../../src/findings/status-words.ts';
import { connections, httpClient } from '../../src/http/client.ts';
import type { LogFields } from '../../src/log.ts';
import { Secret } from '../../src/secret.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';

export const minuteMs = 60_000;
export const startMs = Date.UTC(2026, 0, 1);
export const webhookKey = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** A request that a receiver got, whatever it answered. */
export interface Got {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What takes messages: real HTTP on this machine. */
export async function receiver(
  answer: (got: Got, response: ServerResponse) => void = (_, response) => void response.writeHead(204).end(),
) {
  const got: Got[] = [];
  let answering = answer;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { url: path = '', headers } = request;
      const one = { path, headers, body: Buffer.concat(chunks).toString() };
      got.push(one);
      answering(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    got,
    answer(next: typeof answer) {
      answering = next;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export type Receiver = Awaited<ReturnType<typeof receiver>>;

export const answers =
  (status: number, headers: Readonly<Record<string, string>> = {}) =>
  (_: Got, response: ServerResponse): void =>
    void response.writeHead(status, headers).end();

/** A message of the kind `webhook`, its signature that of `standardwebhooks`: a line a finding. */
export function linesOf({ headers, body }: Got): readonly string[] {
  // The clock of the test is not that of the library: its signature is what is looked at.
  const signed = new Webhook(webhookKey).sign(
    String(headers['webhook-id']),
    new Date(Number(headers['webhook-timestamp']) * 1_000),
    body,
  );
  if (signed !== headers['webhook-signature']) throw new Error('the signature is not the one of standardwebhooks');
  const { data } = JSON.parse(body) as {
    data: { findings: { id: string; event: string; severity: string }[] };
  };
  return data.findings.map(({ id, event, severity }) => `${event} ${id} ${severity}`);
}

export const finding = (name: string, more: Partial<Finding> = {}): Finding => ({
  name,
  words: `${name} was found\n  Mend it.`,
  exit: 6,
  ...more,
});

export interface WorldOptions {
  readonly times?: AlertTimes;
  /** Where no answer comes: nobody waits for one for long. */
  readonly silentUrl?: string;
  readonly table?: Table;
  readonly heartbeat?: HeartbeatConfig;
  /** Resolves when a round waits no longer for what is being sent. Absent: it waits for all. */
  readonly patience?: () => Promise<void>;
}

/** A clock, a table, links that stand as a test says, and channels that are real requests. */
export function world(channels: readonly OpenChannel[], options: WorldOptions = {}) {
  const {
    table = memoryTable(),
    times = { afterMs: 15 * minuteMs, repeatMs: 24 * 60 * minuteMs },
    silentUrl,
  } = options;
  const clock = { now: startMs };
  let ids = 0;
  const lines: { readonly level: string; readonly event: string; readonly fields: LogFields }[] = [];
  const standing = new Map<string, Partial<Judged> | Error>([['shop', {}]]);
  const { send, close } = connections();
  const stopping = new AbortController();

  function worker(id = 'worker', died: readonly string[] = [], on: Table = table): Alerts {
    const runtime = {
      now: () => clock.now,
      random: () => 0,
      newId: () => {
        ids += 1;
        return `${ids}`;
      },
      wait: options.patience ?? (() => new Promise<void>(() => undefined)),
    };
    const client = httpClient({ runtime: { now: runtime.now }, requestTimeoutMs: 60_000, send });
    const links = (): readonly WatchedLink[] =>
      [...standing.keys()].map((name) => ({
        name,
        async judge() {
          const found = standing.get(name);
          if (found instanceof Error) throw found;
          return { wrong: [], near: [], ...found };
        },
      }));
    return openAlerts(
      {
        rows: alertRows(on),
        http: (request) =>
          client(
            silentUrl !== undefined && request.url.startsWith(silentUrl) ? { ...request, timeoutMs: 50 } : request,
          ),
        runtime,
        owner: { id, hasDied: (owner) => died.includes(owner) },
        log: (level, event, fields = {}) => void lines.push({ level, event, fields }),
        signal: stopping.signal,
      },
      { links: links(), channels, times, heartbeat: options.heartbeat },
    );
  }
  return {
    table,
    clock,
    lines,
    standing,
    stopping,
    worker,
    close,
    /** Rounds, a minute apart, from now on until so many minutes are over. */
    async minutes(number: number, alerts = worker()): Promise<void> {
      for (let minute = 0; minute < number; minute += 1) {
        await alerts.round();
        clock.now += minuteMs;
      }
    },
  };
}

/** A channel of the kind `webhook` that posts to this receiver. */
export function webhookTo({ url }: Pick<Receiver, 'url'>, more: Partial<ChannelConfig> = {}): OpenChannel {
  const secrets = { url: `${url}/hook/very-secret-path`, key: webhookKey };
  const context = {
    name: more.name ?? 'ops',
    secret: (setting: string) => new Secret(secrets[setting as keyof typeof secrets]),
  };
  return { config: { ...registry.webhook.toConfig({} as never, context), ...more }, kind: registry.webhook };
}
