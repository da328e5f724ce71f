import { defineConfig } from 'vitest/config';

// Two projects: `main` needs nothing but Node; `peers` needs what its files name (OpenSSL, ...) and says so when it is missing.
export default defineConfig({
  test: {
    projects: [
      {
        test: { name: 'main', include: ['test/**/*.test.ts'], exclude: ['test/peers/**'], testTimeout: 20_000 },
      },
      {
        test: { name: 'peers', include: ['test/peers/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 120_000 },
      },
    ],
  },
});
