import { afterAll, beforeAll, expect, test } from 'vitest';
import { runInstanceSeries } from '../kills/instance-series.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';

let script: BundledScript;
beforeAll(async () => {
  script = await bundleScript('test/kills/main.ts');
});
afterAll(() => script.dispose());

test('killed under load, an instance has everything that it acknowledged, and nothing by halves', {
  timeout: 60_000,
}, async () => {
  const result = await runInstanceSeries({ program: script.file, kills: 4, seed: 7, readBackEvery: 2 });
  expect(result.broken).toEqual([]);
  expect(result.acknowledged).toBeGreaterThan(0);
});
