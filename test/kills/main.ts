import { parseArgs } from 'node:util';
import { answerCalls } from '../support/roles.ts';

/**
 * Each runs in a process of its own, and loads no more than it needs; the one who kills runs in
 * this one.
 */
const roles = {
  servers: async () => (await import('./servers.ts')).serverHandlers(),
  program: async () => (await import('./program.ts')).programHandlers(),
  instance: async () => (await import('./instance-server.ts')).instanceServerHandlers(),
  table: async () => (await import('./tables.ts')).tableHandlers(),
};

const [, program = '', role = ''] = process.argv;
if (Object.hasOwn(roles, role)) answerCalls(await roles[role as keyof typeof roles]());
else await killMany();

async function killMany(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '300' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      only: { type: 'string', default: '' },
      instance: { type: 'boolean', default: false },
      kubernetes: { type: 'boolean', default: false },
    },
  });
  if (values.kubernetes) {
    const { killInCluster } = await import('./kubernetes.ts');
    const [kills, seed] = [Number(values.kills), Number(values.seed)];
    const started = performance.now();
    const { deaths, changes, copies, broken } = await killInCluster({ kills, seed });
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const who = [...deaths].map(([victim, count]) => `${victim} ${count}`).join(', ');
    process.stdout.write(
      `kubernetes, seed ${seed}: ${kills} kills (${who}) under load, ${changes} changes, ${copies} secrets in the backup, ` +
        `in ${seconds} s\n${broken.map((promise) => `  BROKEN: ${promise}\n`).join('')}`,
    );
    process.exitCode = broken.length > 0 ? 1 : 0;
    return;
  }
  if (values.instance) {
    const { runInstanceSeries } = await import('./instance-series.ts');
    const [kills, seed] = [Number(values.kills), Number(values.seed)];
    const started = performance.now();
    const result = await runInstanceSeries({ program, kills, seed, readBackEvery: 20 });
    const { acknowledged, unanswered, broken } = result;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    process.stdout.write(
      `instance, seed ${seed}: ${kills} kills under load, ${acknowledged} changes acknowledged and read back, ` +
        `${unanswered} unanswered, in ${seconds} s\n${broken.map((promise) => `  BROKEN: ${promise}\n`).join('')}`,
    );
    process.exitCode = broken.length > 0 ? 1 : 0;
    return;
  }
  const { runSeries } = await import('./series.ts');
  const broken = await runSeries({
    program,
    kills: Number(values.kills),
    seed: Number(values.seed),
    only: values.only,
    write: (text) => process.stdout.write(text),
  });
  process.exitCode = broken ? 1 : 0;
}
