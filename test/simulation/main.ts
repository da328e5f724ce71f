import { parseArgs } from 'node:util';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { runOnAllCores, runSeeds, type SeedRange, type Tally } from './many.ts';
import { safeguards } from './safeguards.ts';
import { shortestRun } from './shortest.ts';
import { type SimulationOptions, simulate } from './simulate.ts';
import { switchesOf, switchNames } from './switches.ts';
import { firstBroken, simulationWithout } from './without.ts';

// A reader that has seen enough, `| head`, is no failure.
process.stdout.on('error', () => process.exit());

// Failures are injected by the thousand, and nobody reads where.
Error.stackTraceLimit = 0;

if (isMainThread) await commandLine();
else parentPort?.postMessage(await runSeeds(workerData as SeedRange));

async function commandLine(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      changes: { type: 'string' },
      minutes: { type: 'string' },
      'events-only': { type: 'boolean', default: false },
      records: { type: 'boolean', default: false },
      without: { type: 'boolean', default: false },
      step: { type: 'string', default: '' },
      switch: { type: 'string', multiple: true },
      'each-switch': { type: 'boolean', default: false },
      'all-before': { type: 'boolean', default: false },
    },
  });
  const withReconcile = !values['events-only'];
  if (values.without) return eachSafeguard(values.step);
  const switches = values.switch && switchNames.filter((name) => values.switch?.includes(name));
  const from = Number(values.from);
  const allBefore = values['all-before'];
  const range = { from, until: from + Number(values.seeds), withReconcile, switches, allBefore };
  if (values['each-switch']) return eachSwitch(range);
  if (values.seed === undefined) return many(range);
  await replay(Number(values.seed), values.records, {
    ...{ withReconcile, switches, allBefore },
    ...(values.changes !== undefined && { changes: Number(values.changes) }),
    ...(values.minutes !== undefined && { troubleMs: Number(values.minutes) * 60_000 }),
  });
}

/** Plays one seed and prints all that happened. */
async function replay(seed: number, withRecords: boolean, options: SimulationOptions): Promise<void> {
  const result = await simulate(seed, { ...options, keepTrace: true });
  for (const line of result.trace) print(line);
  if (withRecords) print(result.records);
  print(result.broken.join('\n') || 'no promise broken');
  process.exitCode = result.broken.length > 0 ? 1 : 0;
}

/** Plays the seeds with each switch alone, one switch after the other. */
async function eachSwitch(range: Omit<SeedRange, 'step'>): Promise<void> {
  for (const name of switchNames) {
    print(`${name}:`);
    await many({ ...range, switches: [name] });
  }
}

async function many(range: Omit<SeedRange, 'step'>): Promise<void> {
  const started = performance.now();
  const tally = await runOnAllCores(range, new URL(import.meta.url));
  const perSecond = (tally.seeds / (performance.now() - started)) * 1_000;
  const { violations } = tally;
  for (const { seed, broken } of violations)
    print(`seed ${seed} (${[...(range.switches ?? switchesOf(seed))].join(', ')}): ${broken.join('; ')}`);
  print(`${tally.seeds} seeds, ${perSecond.toFixed(0)} a second: ${violations.length} violations`);
  print(
    `${tally.acknowledged} notifications acknowledged, ${tally.looks} looks, ${tally.writes} writes to backups, ` +
      `${tally.states.size} states of a record`,
  );
  printFaults(tally);
  const [first] = violations;
  if (first === undefined) return;
  process.exitCode = 1;
  await explain(first.seed, first.broken[0] ?? '', range);
}

function printFaults({ faults }: Tally): void {
  const total = [...faults.values()].reduce((sum, times) => sum + times, 0);
  print(`${total} faults injected:`);
  for (const [fault, times] of [...faults].sort()) print(`  ${fault.padEnd(26)}${String(times).padStart(10)}`);
}

/** Prints how to play a violation again, and the shortest trace that was found of its kind. */
async function explain(
  seed: number,
  broken: string,
  options: Pick<SeedRange, 'withReconcile' | 'switches' | 'allBefore'>,
): Promise<void> {
  const { withReconcile, switches, allBefore = false } = options;
  const events = `${withReconcile ? '' : ' --events-only'}${allBefore ? ' --all-before' : ''}`;
  const mode = `${events}${(switches ?? []).map((name) => ` --switch ${name}`).join('')}`;
  print(`\nThe whole trace:  npm run simulate -- --seed ${seed}${mode}`);
  const shortest = await shortestRun(seed, broken, { withReconcile, switches, allBefore });
  if (shortest === undefined) return print('No shorter run breaks it.');
  const { result, changes, minutes } = shortest;
  print(`The shortest found (--seed ${result.seed} --changes ${changes} --minutes ${minutes}${mode}):`);
  for (const line of [...result.trace, ...result.broken]) print(`  ${line}`);
}

/**
 * Takes away one protective step after the other, of those with this text in their names, and says
 * after how many seeds it was missed.
 */
async function eachSafeguard(text: string): Promise<void> {
  for (const safeguard of safeguards.filter(({ step }) => step.includes(text))) {
    const found = await firstBroken(await simulationWithout(safeguard), { ...safeguard, whole: simulate });
    const place = safeguard.eventsOnly ? 'events only' : 'with reconcile';
    const outcome = found ? `${String(found.seed).padStart(6)}  ${found.broken}` : ' never';
    print(`${safeguard.step.padEnd(84)}${place.padEnd(16)}${outcome}`);
    if (found === undefined) process.exitCode = 1;
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
