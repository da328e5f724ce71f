import { defineConfig } from 'vitest/config';

/** What is packaged and deployed, looked at before it is: each of them packages the whole stack, some several times. */
const deployment = ['test/infra/roles.test.ts', 'test/infra/rights-used.test.ts', 'test/infra/deploy.test.ts'];

/** Threads of the program run from its sources too: see the file. */
const execArgv = ['--import', new URL('test/support/typescript-in-threads.mjs', import.meta.url).href];

/**
 * How long a test may take, and what it waits for: far longer than either takes on a slow machine that has other things to do. What
 * waits says what it waited for before the test itself is given up.
 */
const patience = (testTimeout: number) => ({
  testTimeout,
  hookTimeout: testTimeout,
  expect: { poll: { timeout: testTimeout / 2 } },
});

// Three projects: `main` needs nothing but Node; `peers` needs what its files name (OpenSSL, ...) and says so when it is missing;
// `gates` plants faults in copies of this tree, and in the rights that are deployed, and wants to see each check refuse them.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'main',
          include: ['test/**/*.test.ts'],
          exclude: ['test/peers/**', 'test/gates/**', ...deployment],
          ...patience(120_000),
          execArgv,
          // Vitest would leave one core idle, which on a machine with two doubles the time.
          maxWorkers: '100%',
        },
      },
      {
        test: {
          name: 'peers',
          include: ['test/peers/**/*.test.ts'],
          execArgv,
          ...patience(300_000),
        },
      },
      {
        test: { name: 'gates', include: ['test/gates/**/*.test.ts', ...deployment], ...patience(180_000) },
      },
    ],
  },
});
