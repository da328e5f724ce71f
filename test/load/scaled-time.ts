import { type Runtime, systemRuntime } from '../../src/runtime.ts';

/**
 * The real clock, so many times as fast, so that a minute of limits need not be a minute of a test.
 */
export function scaledRuntime(speed: number): Runtime {
  const startedAt = systemRuntime.now();
  return {
    ...systemRuntime,
    now: () => Math.round(startedAt + (systemRuntime.now() - startedAt) * speed),
    wait: (milliseconds, signal) => systemRuntime.wait(milliseconds / speed, signal),
  };
}
