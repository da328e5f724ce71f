import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { quantile } from '../bench/statistics.ts';
import { makeSigner } from '../support/notifications.ts';
import { answerCalls, startRole } from '../support/roles.ts';
import { type LoadFigures, type LoadOptions, runLoad } from './load.ts';
import { productHandlers } from './product.ts';
import { serverHandlers } from './servers.ts';

/** Each runs in a process of its own; the client is this one. */
const roles = { servers: serverHandlers, product: productHandlers };

const [, program = '', role = ''] = process.argv;
if (Object.hasOwn(roles, role)) answerCalls(roles[role as keyof typeof roles]());
else await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      notifications: { type: 'string', default: '10000' },
      certificates: { type: 'string', default: '200' },
      renewals: { type: 'string', default: '8' },
      connections: { type: 'string', default: '32' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-load-'));
  const servers = startRole<ReturnType<typeof serverHandlers>>({ program, role: 'servers' });
  const product = startRole<ReturnType<typeof productHandlers>>({
    program,
    role: 'product',
    nodeOptions: ['--expose-gc'],
  });
  try {
    const options: LoadOptions = {
      servers,
      product,
      signer: makeSigner(),
      folder,
      notifications: Number(values.notifications),
      certificates: Number(values.certificates),
      renewals: Number(values.renewals),
      connections: Number(values.connections),
      speed: 1,
      patienceMs: 300_000,
    };
    const figures = await runLoad(options);
    process.stdout.write(`${report(options, figures).join('\n')}\n`);
    const allAnswered = Object.keys(figures.answers).every((status) => status.startsWith('2'));
    process.exitCode = allAnswered && figures.equalAfterMs !== undefined ? 0 : 1;
  } finally {
    await Promise.all([product.stop(), servers.stop()]);
    rmSync(folder, { recursive: true, force: true });
  }
}

function report(options: LoadOptions, figures: LoadFigures): readonly string[] {
  const { notifications, certificates, renewals, connections } = options;
  const { answers, floodMs, answerMs, memoryKiB, requests, passes, equalAfterMs, equal, copies } = figures;
  const counts = (of: Readonly<Record<string | number, number>>) =>
    Object.entries(of)
      .map(([name, count]) => `${count} x ${name}`)
      .join(', ');
  const total = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((sum, count) => sum + count, 0);
  const ms = (share: number) => `${quantile(answerMs, share).toFixed(1)} ms`;
  const mib = memoryKiB.map((kib) => (kib === undefined ? 'not known here' : `${(kib / 1024).toFixed(1)} MiB`));
  return [
    `${notifications} notifications for ${certificates} certificates, each renewed ${renewals} times meanwhile, over ${connections} connections;`,
    `a backup that takes 5 writes a minute for each certificate. Node ${process.versions.node}, ${availableParallelism()} cores.`,
    `answered               ${counts(answers)}, in ${(floodMs / 1000).toFixed(1)} s, ${((notifications / floodMs) * 1000).toFixed(0)} a second`,
    `time to the answer     median ${ms(0.5)}, p99 ${ms(0.99)}, longest ${ms(1)}`,
    `RssAnon of the program ${mib[0]} before, ${mib.slice(1, -1).join(', ')} after each quarter, ${mib.at(-1)} in the end`,
    `passes                 ${passes}`,
    `asked of the backup    ${total(requests.backup)}: ${counts(requests.backup)}`,
    `asked of the primary   ${total(requests.primary)}: ${counts(requests.primary)}`,
    `newest content         ${equal} of ${certificates} copies equal, ${copies} copies in all, ${
      equalAfterMs === undefined
        ? 'NOT all in time'
        : `nothing left to do ${(equalAfterMs / 1000).toFixed(1)} s after the last answer`
    }`,
  ];
}
