import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { systemRuntime } from '../src/runtime.ts';

describe('a wait of the system runtime', () => {
  it('ends after its time and leaves nothing on the signal', async () => {
    const { signal } = new AbortController();
    const before = performance.now();
    await systemRuntime.wait(20, signal);
    expect(performance.now() - before).toBeGreaterThanOrEqual(18);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('rejects with the reason of the signal, also when that came before', async () => {
    const controller = new AbortController();
    const waiting = systemRuntime.wait(60_000, controller.signal);
    controller.abort('reason');
    await expect(waiting).rejects.toBe('reason');
    await expect(systemRuntime.wait(60_000, controller.signal)).rejects.toBe('reason');
  });
});
