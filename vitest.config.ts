import { defineConfig } from 'vitest/config';

/** What is packaged and deployed, looked at before it is: each of them packages the whole stack, some several times. */
const deployment = ['test/infra/roles.test.ts', 'test/infra/rights-used.test.ts', 'test/infra/deploy.test.ts'];

/** Threads of the program run from its sources too: see the file. */
const execArgv = ['--import', new URL('test/support/typescript-in-threads.mjs', import.meta.url).href];

/**
 * What takes long by its nature; `npm run test:long`, and CI. `npm test` has the rest, and plays some seeds of the simulation itself.
 */
const long = [
  // Real processes, one for each command or life of a worker; some are killed.
  'test/end-to-end/command-line.test.ts',
  'test/end-to-end/secrets.test.ts',
  'test/end-to-end/sealed.test.ts',
  'test/end-to-end/kills.test.ts',
  'test/end-to-end/alert-kills.test.ts',
  'test/end-to-end/bad-days.test.ts',
  'test/end-to-end/archives.test.ts',
  'test/end-to-end/prove.test.ts',
  'test/end-to-end/operations.test.ts',
  // A whole estate there and back, by six commands.
  'test/end-to-end/move.test.ts',
  'test/instance/kills.test.ts',
  'test/audit/kills.test.ts',
  'test/load/load.test.ts',
  'test/certificate/corpus.test.ts',
  // Builds: of functions for several configurations, of the version before, of clones that install themselves.
  'test/functions/services-in-bundles.test.ts',
  'test/functions/requests.test.ts',
  'test/version-before/made.test.ts',
  'test/infra/install.test.ts',
  // Derivations of keys from passphrases, which are made to take long.
  'test/archive/round-trip.test.ts',
  'test/archive/pkcs12.test.ts',
  'test/archive/bad-archives.test.ts',
  // Orders killed at each step.
  'test/instance/orders/order-continues.test.ts',
  'test/instance/orders/order-faults.test.ts',
];

/**
 * What is heavy by its nature without being long: `npm run test:long` and CI run it, with modules shared as in `main`. What is left in
 * `npm test` has one of each: a contract at its quickest kind, an estate that is lost and comes home, a server that is attacked.
 */
const heavy = [
  // The contracts, at kinds that have a server for each test. Memory, folders and LMDB stay.
  'test/services/certificate-manager/instance.test.ts',
  'test/services/secrets-manager/instance.test.ts',
  'test/services/vault/store.test.ts',
  'test/services/aws-acm/contract.test.ts',
  'test/services/cabinet.test.ts',
  'test/table/dynamodb.test.ts',
  'test/audit/dynamodb.test.ts',
  // Whole programs at work, each from its configuration to what is in the backup.
  'test/end-to-end/attacks.test.ts',
  'test/end-to-end/directory.test.ts',
  'test/end-to-end/event-notifications.test.ts',
  'test/end-to-end/folder-cases.test.ts',
  'test/end-to-end/foreign-names.test.ts',
  'test/end-to-end/instance-recovery.test.ts',
  'test/end-to-end/proofs.test.ts',
  'test/end-to-end/refusals.test.ts',
  'test/end-to-end/serve.test.ts',
  'test/cli/instance/instance.test.ts',
  'test/loops/one-bad-element.test.ts',
  'test/loops/one-bad-of-several.test.ts',
  'test/replication/ten-damages.test.ts',
  'test/replication/restore/restore.test.ts',
  'test/replication/reconcile/lock.test.ts',
  'test/services/event-notifications/set-up.test.ts',
  'test/services/eventbridge/rules.test.ts',
  'test/services/vault/adopt.test.ts',
  // Functions as they are deployed: bundled, and each in a process.
  'test/functions/aws-functions.test.ts',
  'test/functions/openwhisk-actions.test.ts',
  // An instance with its table, closed and opened again, or at work for a year.
  'test/instance/api/access.test.ts',
  'test/instance/api/listing.test.ts',
  'test/instance/api/server.test.ts',
  'test/instance/certificates/certificate-rows.test.ts',
  'test/instance/notifications/calendar.test.ts',
  'test/instance/notifications/outbox.test.ts',
  'test/instance/upkeep/deletion.test.ts',
  'test/instance/upkeep/snapshot.test.ts',
  // Keys of every kind and size are made, certificates are damaged byte by byte, requests by the thousand.
  'test/certificate/facts.test.ts',
  'test/certificate/judgement.test.ts',
  'test/instance/orders/authority/development-ca.test.ts',
  'test/receiver/fuzz.test.ts',
  'test/sender/jws.test.ts',
];

/** What puts another module in the place of one for all who share modules with it. */
const alone = ['test/services/adding-a-service.test.ts'];

/**
 * How long a test may take, and what it waits for: far longer than either takes on a slow machine that has other things to do. What
 * waits says what it waited for before the test itself is given up.
 */
const patience = (testTimeout: number) => ({
  testTimeout,
  hookTimeout: testTimeout,
  expect: { poll: { timeout: testTimeout / 2 } },
});

// `main` needs nothing but Node, as `alone`, `heavy` and `long` do; its files share modules, as those of `heavy`, which halves the time that it takes. `peers` needs what its files name (OpenSSL, ...) and says so when it is missing;
// `gates` plants faults in copies of this tree, and in the rights that are deployed, and wants to see each check refuse them.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'main',
          include: ['test/**/*.test.ts'],
          exclude: ['test/peers/**', 'test/gates/**', ...deployment, ...long, ...heavy, ...alone],
          isolate: false,
          ...patience(120_000),
          execArgv,
          // Vitest would leave one core idle, which on a machine with two doubles the time.
          maxWorkers: '100%',
        },
      },
      { test: { name: 'heavy', include: heavy, isolate: false, ...patience(120_000), execArgv, maxWorkers: '100%' } },
      { test: { name: 'alone', include: alone, ...patience(120_000), execArgv, maxWorkers: '100%' } },
      { test: { name: 'long', include: long, ...patience(300_000), execArgv, maxWorkers: '100%' } },
      {
        test: {
          name: 'peers',
          include: ['test/peers/**/*.test.ts'],
          execArgv,
          ...patience(300_000),
          maxWorkers: '100%',
        },
      },
      {
        test: { name: 'gates', include: ['test/gates/**/*.test.ts', ...deployment], ...patience(180_000) },
      },
    ],
  },
});
