import { request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import { composeConsole } from '../../src/compose/console.ts';
import { startConsoleServer } from '../../src/console/server.ts';
import { CodedError } from '../../src/errors.ts';
import type { Log, LogFields } from '../../src/log.ts';
import { statusOf } from '../../src/replication/status.ts';
import { reconcileAll } from '../support/estate.ts';
import { content, described, type Setup, setup } from '../support/replication.ts';

const dayMs = 86_400_000;

/** Names as an enemy would choose them. */
export const evilNames = {
  markup: '<script src=//evil.example></script><img src=x onerror=alert(1)>"\'`&',
  terminal: 'shop\u001b[2J\u009b31m\u202egnp.exe\u2066\u200b\u{e0041}\r\n',
  long: `${'long-name-'.repeat(49)}with-an-end`,
} as const;

/**
 * A link `main` with a primary and two backups in which each state of a certificate is found, in
 * virtual time.
 */
export async function eachState(): Promise<Setup> {
  const world = await setup({
    primary: { id: 'store-of-frankfurt' },
    backups: [{ id: 'store-of-london' }, { id: 'store-of-madrid' }],
    reconciled: false,
  });
  const { store } = world.primary;
  const now = world.time.now();
  const put = async (id: string, name: string, days = 80) =>
    store.put({ content: await content({ notAfter: now + days * dayMs }), metadata: described(name) }, id);
  await put('c-same', 'shop.example', 9);
  await put('c-other', 'blog.example', 60);
  await put('c-markup', evilNames.markup);
  await put('c-terminal', evilNames.terminal);
  await put('c-long', evilNames.long, 60);
  await put('c-unreadable', 'unreadable.example');
  await put('c-gone', 'gone.example');
  const { privateKey: _key, ...keyless } = await content({ notAfter: now + 40 * dayMs });
  store.put({ content: keyless, metadata: described('keyless.example') }, 'c-refused');
  await reconcileAll(world);
  await world.later(60_000);
  await world.tamper('c-unreadable', { replicated: 'much' });
  await store.delete('c-gone');
  for (const _ of [1, 2, 3]) {
    await world.ask('c-gone');
    await world.pass('c-gone');
    await world.later(10 * 60_000);
  }
  await put('c-behind', 'behind.example', 20);
  const [, second] = world.backups;
  if (second !== undefined)
    second.hooks.import = async () => {
      throw new CodedError('store_unavailable', `import at ${second.store.id}: it answered 503`, {
        fields: { status: 503 },
      });
    };
  await world.ask('c-behind');
  await world.pass('c-behind');
  await put('c-waiting', 'waiting.example', 30);
  await world.ask('c-waiting');
  await world.later(60_000);
  return world;
}

export interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Asking {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
}

/** The console of such a world, on a free port of this machine. */
export async function consoleOf(world: Setup, { beatMs = 20_000 }: { readonly beatMs?: number } = {}) {
  const lines: { readonly event: string; readonly fields: LogFields }[] = [];
  const log: Log = (_level, event, fields = {}) => void lines.push({ event, fields });
  const { link } = world;
  const named = [link.primary, ...link.backups].map((store, at) => [
    ['frankfurt', 'london', 'madrid'][at] ?? '',
    store,
  ]);
  const parts = await composeConsole({
    config: { worker: { concurrency: 1, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 } },
    links: [link],
    stores: new Map(named as [string, (typeof link)['primary']][]),
    status: (_, records) => statusOf({ ...world.worker, records }, link),
    records: world.records,
    linkRows: world.linkRecords,
    table: world.table.tap,
    runtime: { now: () => world.time.now() },
    log,
  });
  const server = await startConsoleServer({
    ...parts,
    host: '127.0.0.1',
    port: 0,
    beatMs,
    now: () => world.time.now(),
    log,
  });
  const { port } = server;
  const origin = `http://127.0.0.1:${port}`;

  /** A request as it is, without anything that a client would put right. */
  const ask = (path: string, { method = 'GET', headers = {}, body }: Asking = {}): Promise<Got> =>
    new Promise((resolve, reject) => {
      const sent = httpRequest(
        { host: '127.0.0.1', port, path, method, headers: { ...headers } as OutgoingHttpHeaders, agent: false },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const { statusCode: status = 0, headers: got } = response;
            resolve({ status, headers: got, body: Buffer.concat(chunks).toString() });
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });

  const form = (fields: Readonly<Record<string, string>>, headers: Asking['headers'] = {}): Asking => ({
    method: 'POST',
    headers: { origin, 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: new URLSearchParams(fields).toString(),
  });

  return {
    ...parts,
    server,
    origin,
    lines,
    ask,
    form,
    /** Signs in with a new link. Answers the cookie as it is sent back. */
    async signIn(): Promise<string> {
      const { token } = await parts.links.make();
      const { headers } = await ask('/enter', form({ token }));
      const [cookie = ''] = headers['set-cookie'] ?? [];
      return cookie.split(';')[0] ?? '';
    },
    /** A page for somebody who has signed in. */
    async page(path: string, cookie: string): Promise<Got> {
      return ask(path, { headers: { cookie } });
    },
  };
}

export type TestConsole = Awaited<ReturnType<typeof consoleOf>>;
