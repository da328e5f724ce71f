import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type AlertRows, alertRows } from '../../src/alerts/alert-rows.ts';
import { openTable } from '../../src/compose/tables.ts';
import { reconcileRecords } from '../../src/records/reconcile-records.ts';
import type { Table } from '../../src/table/table.ts';
import { type Got, linesOf, type Receiver, receiver, webhookKey } from '../alerts/world.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';

const links = ['one', 'two', 'three', 'four', 'five'] as const;
/** When a life ends by `kill -9`. */
const moments = ['unanswered', 'answered', 'soon', 'later', 'found'] as const;
type Moment = (typeof moments)[number];

/** A request, and in which life of the program it came. */
interface Heard {
  readonly life: number;
  readonly id: string;
  readonly body: string;
  readonly lines: readonly string[];
}

test('serve that is killed again and again while findings come and go loses no message, and repeats one only where it did not hear the answer', async () => {
  const seed = Date.now() % 1_000_000;
  const random = seededRandom(seed);
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-alert-kills-'));
  const script = await bundleScript('src/cli/main.ts');
  const heard: Heard[] = [];
  let life = 0;
  const take = (response: ServerResponse) => void response.writeHead(204).end();
  const answering = { now: take };
  const ops = await receiver((got, response) => {
    heard.push(heardIn(life, got));
    answering.now(response);
  });
  const table = await openTable({ kind: 'lmdb', path: join(folder, 'records') });
  const rows = alertRows(table);
  const config = join(folder, 'certstandby.yaml');
  writeFileSync(config, configuration);
  const serve = () => served(script, config, ops);
  const standing = new Set<string>();
  const deaths = new Map<Moment, number>();
  try {
    for (let step = 0; step < 2 * moments.length; step += 1) {
      const from = heard.length;
      // Five changed at the most, of which at least one: sometimes few enough to go one by one.
      const changed = links.filter((_, index) => index === step % links.length || random() < 0.5);
      for (const link of changed) await change(table, link, standing);

      const moment = moments[step % moments.length] as Moment;
      life += 1;
      await killedAt(moment, { serve, rows, random, answering });
      deaths.set(moment, (deaths.get(moment) ?? 0) + 1);
      answering.now = take;

      life += 1;
      const last = serve();
      await expect.poll(() => isAllTold(rows, standing), { message: `seed ${seed}, step ${step}` }).toBe(true);
      await last.kill();

      const told = new Map(heard.slice(from).map(({ id, lines }) => [id, lines]));
      const expected = changed.map((link) => `${standing.has(link) ? 'began' : 'over'} ${link}/drill critical`);
      expect([...told.values()].flat().toSorted(), `seed ${seed}, step ${step}`).toEqual(expected.toSorted());
      // What was not answered is sent again as it was.
      if (moment === 'unanswered') expect(heard.length - from, `seed ${seed}, step ${step}`).toBeGreaterThan(told.size);
    }
    expectRepeatsUnheard(heard, `seed ${seed}`);
    expect([...deaths.values()]).toEqual(moments.map(() => 2));
  } finally {
    await ops.close();
    await table.close();
    await script.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}, 600_000);

/** Nobody listens where the stores should be: what is told is what the table says of drills. */
const store = (region: string, digit: string) =>
  `{ kind: certificate-manager, apiKey: env:KEY, endpoint: "http://127.0.0.1:9", iam: "http://127.0.0.1:9",` +
  ` instance: "crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${digit.repeat(8)}-2222-4333-8444-555555555555::" }`;
const configuration = `version: 1
table: { kind: lmdb, path: records }
receiver: { host: 127.0.0.1, port: 0 }
serve: { metrics: { port: 0 } }
alerts: { every: 1s, after: 7d, channels: { ops: { kind: webhook, url: env:OPS_URL, key: env:OPS_KEY } } }
stores:
  primary: ${store('eu-de', '1')}
${links.map((link, index) => `  ${link}: ${store('eu-gb', `${index + 2}`)}`).join('\n')}
links:
${links.map((link) => `  ${link}: { primary: primary, backups: [${link}] }`).join('\n')}
`;

function heardIn(life: number, got: Got): Heard {
  return { life, id: String(got.headers['webhook-id']), body: got.body, lines: linesOf(got) };
}

/** A finding comes, or goes, and the time after which it is over has passed. */
async function change(table: Table, link: string, standing: Set<string>): Promise<void> {
  const failed = standing.has(link) ? 0 : 1;
  await reconcileRecords(table).saveDrill(link, {
    completedAt: Date.now(),
    kept: 1,
    served: 1 - failed,
    failed,
    notDrilled: 0,
    examples: [],
  });
  if (failed === 1) standing.add(link);
  else {
    standing.delete(link);
    const key = { partition: 'alert-findings.1', sort: `${link}/drill` };
    await table.update(key, { set: { seenAt: Date.now() - 6 * 60_000 } }, { exists: 'version' });
  }
}

/** Whether the rows say of each finding that it has been told as it stands, or that it is gone. */
async function isAllTold(rows: AlertRows, standing: ReadonlySet<string>): Promise<boolean> {
  const found = await rows.findings(({ sort }) => expect.unreachable(`${sort} cannot be read`));
  const drills = found.filter(({ id }) => id.endsWith('/drill'));
  const { message } = await rows.channel('ops');
  return (
    message === undefined &&
    drills.length === standing.size &&
    drills.every(({ link = '', state, version, heard }) => {
      return standing.has(link) && state === 'open' && heard.get('ops')?.version === version;
    })
  );
}

interface Life {
  readonly process: ChildProcess;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** Resolves when a line of its log has this event. */
  logged(event: string): Promise<void>;
}

function served({ file }: BundledScript, config: string, ops: Receiver): Life {
  const env = { PATH: process.env.PATH, KEY: 'none', OPS_URL: ops.url, OPS_KEY: webhookKey };
  const child = spawn(process.execPath, [file, 'serve', '--config', config], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close');
  const lines: string[] = [];
  let onLine = () => {};
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
    lines.push(line);
    onLine();
  });
  return {
    process: child,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
    logged: (event) =>
      new Promise((resolve, reject) => {
        onLine = () => {
          if (lines.some((line) => line.includes(`"event":"${event}"`))) resolve();
        };
        onLine();
        void ended.then(() => reject(new Error(`serve ended by itself: ${lines.join('\n')}`)));
      }),
  };
}

/** One life that ends by `kill -9` at this moment. */
async function killedAt(
  moment: Moment,
  given: {
    readonly serve: () => Life;
    readonly rows: AlertRows;
    readonly random: () => number;
    readonly answering: { now: (response: ServerResponse) => void };
  },
): Promise<void> {
  const came = new Promise<void>((resolve) => {
    given.answering.now = (response) => {
      if (moment === 'unanswered') resolve();
      else response.writeHead(204).end(() => resolve());
    };
  });
  const before = await versionsIn(given.rows);
  const life = given.serve();
  await life.logged('serving');
  if (moment === 'soon') await wait(given.random() * 300);
  else if (moment === 'later') await wait(900 + given.random() * 600);
  else if (moment === 'found') await expect.poll(() => versionsIn(given.rows), { interval: 2 }).not.toEqual(before);
  else await came;
  await life.kill();
}

/** What is to be told, by finding: it changes when a worker has found something. */
async function versionsIn(rows: AlertRows): Promise<readonly string[]> {
  const found = await rows.findings(({ sort }) => expect.unreachable(`${sort} cannot be read`));
  return found.map(({ id, version, state }) => `${id} ${version} ${state}`);
}

/**
 * A repeat is the message that it repeats, byte by byte, and that one was the last of its life: had
 * its answer been heard, another would have followed, or none.
 */
function expectRepeatsUnheard(heard: readonly Heard[], about: string): void {
  for (const [index, { id, body, life }] of heard.entries()) {
    const before = heard.findLastIndex((one, place) => place < index && one.id === id);
    if (before === -1) continue;
    const first = heard[before] as Heard;
    expect(body, about).toBe(first.body);
    expect(life, about).toBeGreaterThan(first.life);
    expect(heard[before + 1]?.life, about).toBeGreaterThan(first.life);
  }
}
