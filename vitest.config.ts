import { defineConfig } from 'vitest/config';

/** What is packaged and deployed, looked at before it is: each of them packages the whole stack, some several times. */
const deployment = ['test/infra/roles.test.ts', 'test/infra/rights-used.test.ts', 'test/infra/deploy.test.ts'];

/** Threads of the program run from its sources too: see the file. */
const execArgv = ['--import', new URL('test/support/typescript-in-threads.mjs', import.meta.url).href];

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
          testTimeout: 20_000,
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
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: { name: 'gates', include: ['test/gates/**/*.test.ts', ...deployment], testTimeout: 60_000 },
      },
    ],
  },
});
