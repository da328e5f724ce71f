import { expect, it } from 'vitest';
import { drillEvery } from '../../src/cli/drill-schedule.ts';
import { CodedError } from '../../src/errors.ts';
import type { LogFields } from '../../src/log.ts';

type Drilled = Parameters<typeof drillEvery>[0];

/** A program of which the first link cannot be drilled, and a copy of the second does not serve. */
function program(everyMs?: number) {
  const drilled: string[] = [];
  const links = [{ name: 'broken' }, { name: 'shop' }];
  async function drill({ name }: { readonly name: string }) {
    drilled.push(name);
    if (name === 'broken') throw new CodedError('drill_key_unusable', 'no key');
    return { report: { kept: 3, served: 2, failed: 1, notDrilled: [] }, signedFile: 'drills/report.json' };
  }
  const config = { drill: { folder: 'drills', ...(everyMs !== undefined && { everyMs }) } };
  return { drilled, program: { config, links, drill } as unknown as Drilled };
}

it('drills every link so often, says what failed, and one that cannot be drilled keeps no other from it', async () => {
  const { drilled, program: drilling } = program(5);
  const lines: [string, string, LogFields?][] = [];
  const stopping = new AbortController();
  const log = (...line: [string, string, LogFields?]) => void lines.push(line);
  const tasks = drillEvery(drilling, { log, stopping: stopping.signal });
  await expect.poll(() => drilled.length).toBeGreaterThanOrEqual(4);
  stopping.abort();
  await Promise.all(tasks.map((task) => task.stop()));
  expect(drilled.slice(0, 4)).toEqual(['broken', 'shop', 'broken', 'shop']);
  expect(lines.slice(0, 2)).toMatchObject([
    ['error', 'drill_failed', { link: 'broken', code: 'drill_key_unusable' }],
    ['error', 'drilled', { link: 'shop', kept: 3, served: 2, failed: 1, notDrilled: 0, report: 'drills/report.json' }],
  ]);
});

it('is off unless the configuration says how often', () => {
  expect(drillEvery(program().program, { log: () => {}, stopping: new AbortController().signal })).toEqual([]);
});
