import { parseArgs } from 'node:util';
import { safeguards } from './safeguards.ts';
import { simulate } from './simulate.ts';
import { firstBroken, simulationWithout } from './without.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    'events-only': { type: 'boolean', default: false },
    records: { type: 'boolean', default: false },
    without: { type: 'boolean', default: false },
  },
});

const withReconcile = !values['events-only'];

if (values.without) {
  await eachSafeguard();
} else if (values.seed !== undefined) {
  const result = await simulate(Number(values.seed), { keepTrace: true, withReconcile });
  for (const line of result.trace) process.stdout.write(`${line}\n`);
  if (values.records) process.stdout.write(`${result.records}\n`);
  process.stdout.write(`${result.broken.join('\n') || 'no promise broken'}\n`);
  process.exitCode = result.broken.length > 0 ? 1 : 0;
} else {
  await many(Number(values.from), Number(values.seeds));
}

/** Takes away one protective step after the other, and says after how many seeds it was missed. */
async function eachSafeguard(): Promise<void> {
  for (const safeguard of safeguards) {
    const found = await firstBroken(await simulationWithout(safeguard), safeguard);
    const place = safeguard.eventsOnly ? 'events only' : 'with reconcile';
    const outcome = found ? `${String(found.seed).padStart(6)}  ${found.broken}` : ' never';
    process.stdout.write(`${safeguard.step.padEnd(84)}${place.padEnd(16)}${outcome}\n`);
    if (found === undefined) process.exitCode = 1;
  }
}

async function many(from: number, count: number): Promise<void> {
  const started = performance.now();
  const faults = new Map<string, number>();
  let violations = 0;
  let looks = 0;
  for (let seed = from; seed < from + count; seed += 1) {
    const result = await simulate(seed, { withReconcile });
    looks += result.looks;
    for (const [fault, times] of result.faults) faults.set(fault, (faults.get(fault) ?? 0) + times);
    if (result.broken.length > 0) {
      violations += 1;
      process.stdout.write(`seed ${seed}: ${result.broken.join('; ')}\n`);
      if (violations >= 10) break;
    }
  }
  const perSecond = (count / (performance.now() - started)) * 1000;
  process.stdout.write(`${count} seeds, ${perSecond.toFixed(0)} a second, ${looks} looks, ${violations} violations\n`);
  for (const [fault, times] of [...faults].sort()) process.stdout.write(`  ${fault}: ${times}\n`);
  process.exitCode = violations > 0 ? 1 : 0;
}
