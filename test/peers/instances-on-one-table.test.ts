import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import { call, dataOf, segment } from '../instance/client.ts';
import { testCertificate } from '../support/certificates.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { runCommand } from '../support/command.ts';
import { exchangeToken } from '../support/instance.ts';
import { requireDynamodbLocal, startDynamodbLocal } from './dynamodb-local.ts';

const engine = requireDynamodbLocal();
const region = 'eu-central-1';
const credentials = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };

/**
 * Certificates, and reimports of them: a thousand writes, as many as a channel is to be told of.
 */
const imports = 200;
const reimports = 800;
/** Certificates of which both servers reimport each again and again at the same time. */
const contested = 8;
const atOnce = 24;

describe.skipIf(engine === undefined)('two server processes on one table of DynamoDB Local', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-one-table-'));
  const places = ['one', 'two'].map((name) => join(folder, name));
  const tableName = `t-${randomUUID()}`;
  let local: Awaited<ReturnType<typeof startDynamodbLocal>>;
  let program: BundledScript;
  const servers: { readonly url: string; readonly process: ChildProcess }[] = [];
  const before = { ...process.env };

  beforeAll(async () => {
    Object.assign(process.env, credentials);
    local = await startDynamodbLocal();
    program = await bundleScript('src/cli/main.ts');
  });
  afterAll(async () => {
    for (const { process: server } of servers) {
      const end = once(server, 'exit');
      server.kill('SIGTERM');
      await end;
    }
    await program.dispose();
    await local.close();
    rmSync(folder, { recursive: true, force: true });
    for (const name of Object.keys(credentials)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });

  /** `certstandby instance run` in a process and a folder of its own, as on another machine. */
  async function serve(place: string): Promise<string> {
    const args = [program.file, 'instance', 'run', '--folder', place, '--port', '0', '--log', 'error'];
    const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(createInterface({ input: server.stdout }), 'line');
    servers.push({ url: String(line), process: server });
    return String(line);
  }

  it('take a thousand imports and reimports as one: no update is lost, and each event is sent once', async () => {
    await createDynamodbTable({
      tableName,
      region,
      endpoint: local.endpoint,
      credentials: { accessKeyId: 'local', secretAccessKey: new Secret('local') },
      // Nobody has asked this engine anything before.
      connectTimeoutMs: 30_000,
      answerTimeoutMs: 30_000,
    });
    const [one = '', two = ''] = places;
    mkdirSync(one, { recursive: true });
    const settings = {
      version: 1,
      table: { kind: 'dynamodb', name: tableName, region, endpoint: local.endpoint },
      rootKeys: ['file:root.key'],
    };
    writeFileSync(join(one, 'instances.json'), JSON.stringify(settings));
    const created = await runCommand(['instance', 'create', '--folder', one, '--allow-loopback-channels', '--json']);
    const { crn, apiKey } = JSON.parse(created.output.trim().split('\n').at(-1) ?? '');
    cpSync(one, two, { recursive: true });
    const urls = [await serve(one), await serve(two)];

    const arrived = new Map<string, { readonly type: string; count: number; readonly certificate: string }>();
    const receiver = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      const claims = JSON.parse(Buffer.from(JSON.parse(body).data.split('.')[1], 'base64url').toString());
      const { event_id: id, event_type: type, certificates } = claims;
      const seen = arrived.get(id) ?? { type, count: 0, certificate: certificates[0].cert_crn };
      arrived.set(id, { ...seen, count: seen.count + 1 });
      response.writeHead(200).end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    try {
      // A token of the one is good at the other, as behind one address.
      const token = await exchangeToken(urls[0] ?? '', apiKey);
      const api = (server: number, method: string, path: string, body?: unknown) =>
        call(`${urls[server % 2]}/api${path}`, method, token, body);
      const endpoint = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
      const channels = `/v1/instances/${segment(crn)}/notifications/channels`;
      expect((await api(1, 'PUT', channels, { type: 'url', endpoint })).status).toBe(200);

      const contents = await Promise.all(Array.from({ length: 24 }, async () => dataOf(await testCertificate())));
      const contentOf = (number: number) => contents[number % contents.length];
      const ids: string[] = [];
      await inParallel(imports, async (number) => {
        const body = { name: `shop ${number}`, data: contentOf(number) };
        const answer = await insisting(() => api(number, 'POST', `/v3/${segment(crn)}/certificates/import`, body));
        ids[number] = answer.body._id;
      });
      const answered = new Map<string, number>();
      let busy = 0;
      await inParallel(reimports, async (number) => {
        const id = ids[number % contested] ?? '';
        const request = () =>
          api(Math.floor(number / contested), 'PUT', `/v1/certificate/${segment(id)}`, contentOf(number));
        await insisting(request, () => {
          busy += 1;
        });
        answered.set(id, (answered.get(id) ?? 0) + 1);
      });

      const table = dynamodbTable({
        tableName,
        region,
        endpoint: local.endpoint,
        credentials: { accessKeyId: 'local', secretAccessKey: new Secret('local') },
      });
      for (const id of ids) {
        const key = { partition: `instance.1/${crn}/certificate`, sort: id.split(':').at(-1) ?? '' };
        // One version for the import, and one for each reimport that was answered with 200: none
        // was written over.
        expect((await table.get(key))?.version).toBe(1 + (answered.get(id) ?? 0));
      }
      await expect.poll(() => arrived.size, { interval: 200 }).toBe(imports + reimports);
      // Nothing waits any more, so nothing arrives later.
      const waiting = { partition: `instance.1/${crn}/notification`, limit: 1000 };
      await expect.poll(async () => (await table.query(waiting)).rows.length, { interval: 200 }).toBe(0);
      await table.close();
      const events = [...arrived.values()];
      expect(events.filter(({ count }) => count !== 1)).toEqual([]);
      expect(events.filter(({ type }) => type === 'cert_imported')).toHaveLength(imports);
      for (const [id, count] of answered) {
        const told = events.filter(({ type, certificate }) => type === 'cert_reimported' && certificate === id);
        expect(told).toHaveLength(count);
      }
      for (const server of [0, 1]) {
        const counts = await api(server, 'GET', `/v2/${segment(crn)}/certificates/metadata`);
        expect(counts.body.total).toBe(imports);
      }
      const checked = await runCommand(['instance', 'check', '--folder', two, '--json']);
      expect(checked).toMatchObject({ code: 0, errors: '' });
      expect(JSON.parse(checked.output.trim().split('\n').at(-1) ?? '')).toMatchObject({ good: imports, orphans: 0 });
      console.info(
        `two processes: ${imports} imports, ${reimports} reimports of ${contested} certificates, ${busy} told to come again, ` +
          `${arrived.size} events, each once`,
      );
    } finally {
      receiver.closeAllConnections();
      await new Promise((resolve) => receiver.close(resolve));
    }
  });
});

/** Does so many pieces of work, some at once. */
async function inParallel(count: number, work: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** As a client does that is told to come again (503, `instance_busy`): nothing was changed then. */
async function insisting(request: () => ReturnType<typeof call>, toldToWait = () => {}): ReturnType<typeof call> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const answer = await request();
    if (answer.status === 200) return answer;
    expect(answer).toMatchObject({ status: 503, body: { code: 'instance_busy' } });
    toldToWait();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the server was busy 50 times');
}
