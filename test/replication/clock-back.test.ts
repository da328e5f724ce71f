import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import type { Setup } from '../support/replication.ts';
import { content, described, setup, writesIn } from '../support/replication.ts';

const dayMs = 86_400_000;
const skewMs = 5_000;
let given: CertificateContent;
beforeAll(async () => {
  given = await content();
});

/** A backup that takes nothing before a day, by the clock that it shares with the worker. */
async function refusingUntilTomorrow() {
  const days = { until: 0 };
  const world = await setup({ backups: [{ refuses: () => ({ why: 'not before that day', until: days.until }) }] });
  days.until = world.time.now() + dayMs;
  world.primary.store.put({ content: given, metadata: described('shop') }, 'c1');
  await look(world);
  return { world, until: days.until };
}

const look = async (world: Setup) => {
  await world.ask('c1');
  return world.pass('c1');
};

describe('a clock that is set back past the day on which a refusal ends', () => {
  it('has the refusal wait for that day by the clock as it is now, and nothing is written before', async () => {
    const { world, until } = await refusingUntilTomorrow();
    const { runtime } = world.worker;
    const { now } = runtime;
    let backMs = 0;
    Object.assign(runtime, { now: () => now() - backMs });
    await world.later(dayMs - 60_000);
    backMs = 12 * 3_600_000;
    await look(world);
    expect(writesIn(world)).toEqual([]);
    const record = await world.record('c1');
    expect(record.backups[0]).toMatchObject({ refusal: { code: 'store_content_refused', until } });
    expect(record.wakeAt).toBe(until + skewMs);
    // `later` counts from the clock that was set back, so that it loses as much.
    await world.later(2 * backMs + 2 * 60_000);
    await look(world);
    expect(writesIn(world)).toEqual(['backup import']);
  });

  it('takes nothing from a copy that was made after that day', async () => {
    const { world } = await refusingUntilTomorrow();
    await world.later(dayMs + 60_000);
    await look(world);
    expect(writesIn(world)).toEqual(['backup import']);
    const { runtime } = world.worker;
    const { now } = runtime;
    Object.assign(runtime, { now: () => now() - 2 * dayMs });
    await look(world);
    const [state] = (await world.record('c1')).backups;
    expect(writesIn(world)).toEqual(['backup import']);
    expect(state).not.toHaveProperty('refusal');
    expect(state).not.toHaveProperty('lastError');
  });
});
