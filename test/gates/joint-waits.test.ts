import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/root.ts';
import { jointWaits } from './joint-waits.ts';

/**
 * `Promise.all` over a list ends with the first element that fails, and the others are not heard
 * of. So each is here, with the line of test/loops that shows its elements isolated, or with the
 * reason why the failure of one is the failure of all. A `for` with an `await` in it, and a list of
 * promises that was made before, are not found by this: they are for whoever reads the change.
 */

/** Isolated: by name in the tables of test/loops. */
const isolated: Readonly<Record<string, string>> = {
  'src/replication/reconcile/plan.ts: batch': 'reconcile --plan: certificates',
  'src/replication/reconcile/compare.ts: batch': 'reconcile: records',
  'src/replication/reconcile/compare.ts: included': 'reconcile: records',
  'src/replication/sweep.ts: links': 'sweep: links',
  'src/replication/verify.ts: ids': 'verify: copies',
  'src/replication/verify.ts: link.backups': 'verify: copies',
  'src/replication/verify.ts: sides': 'verify: originals',
};

const oneTable = 'it asks the one table for itself, which answers for all or for none';
const oneCertificate = 'these are parts of one certificate, of which none is of use alone';
const caught = 'each catches what it throws, and answers with it';
const closing = 'these are what is closed at the end, and closing throws nothing';
const parts = 'a service loads its own code, and asks nobody anything yet';
const ownExample = 'these are examples that the demonstration has made itself';

/** The failure of one is the failure of all, or there is none. */
const excused: Readonly<Record<string, string>> = {
  'functions/aws/events.ts: event.Records': caught,
  'functions/aws/replicate.ts: event.Records': caught,
  'src/alerts/alerts.ts: channels': caught,
  'src/alerts/alerts.ts: links': caught,
  'src/cli/doctor/alerts.ts: channels': caught,
  'src/cli/up/demonstration.ts: samples': ownExample,
  'src/cli/doctor/doctor.ts: of': caught,
  'src/cli/doctor/doctor.ts: [...opened.values()]': closing,
  'src/cli/serve.ts: (await program.reconcilesAsked())': caught,
  'src/cli/serve.ts: program.links': caught,
  'src/cli/up/up.ts: link.backups': ownExample,
  'src/cli/up/up.ts: links': caught,
  'src/cli/up/up.ts: tasks': closing,
  'src/compose/instances.ts: instances': 'a root key that is left out would pass for one that nothing needs',
  'src/compose/callbacks.ts: senders': parts,
  'src/compose/callbacks.ts: stores': parts,
  'src/compose/function-workers.ts: config.stores': parts,
  'src/compose/function-workers.ts: named': oneTable,
  'src/compose/program.ts: [...stores.values()]': closing,
  'src/compose/program.ts: links': oneTable,
  'src/compose/console.ts: links': oneTable,
  'src/compose/rights.ts: asked': parts,
  'src/compose/prove.ts: listening.links': 'these are records of the one certificate that a proof has made itself',
  'src/compose/instances.ts: tenants': oneTable,
  'src/compose/function-workers.ts: done': oneTable,
  'src/compose/function-workers.ts: links': oneTable,
  'src/instance/certificates/certificate-listing.ts: page.entries':
    'a page that leaves out a damaged row says that it is gone',
  'src/instance/certificates/certificate-listing.ts: within':
    'a page that leaves out a damaged row says that it is gone',
  'src/instance/orders/challenge-lookup.ts: resolvers': caught,
  'src/instance/notifications/delivery.ts: those': oneTable,
  'src/instance/notifications/delivery.ts: written': oneTable,
  'src/instance/orders/order-steps.ts: challenges': oneCertificate,
  'src/instance/api/served-instances.ts: [...tenants.values()]': closing,
  'src/instance/api/served-instances.ts: kept': caught,
  'src/instance/api/served-instances.ts: unwanted()': closing,
  'src/instance/api/served-instances.ts: wanted.filter(({ crn }) => !tenants.has(crn))': caught,
  'src/instance/upkeep/snapshot-restore.ts: batch.splice(0)':
    'a snapshot is restored whole, or the command says that it is not',
  'src/instance/upkeep/snapshot.ts: contentsOf(certificate)': oneCertificate,
  'src/keys/data-keys.ts: roots.all': 'a data key that one of the root keys does not wrap is not used',
  'src/records/facts-records.ts: some': oneTable,
  'src/replication/id-map.ts: [primary, ...backups]': caught,
  'src/replication/reconcile/plan.ts: link.backups': 'the line of the certificate catches it: these are its copies',
  'src/replication/reconcile/reconcile.ts: batch': oneTable,
  'src/replication/reconcile/reconcile.ts: wanted': oneTable,
  'src/replication/pass/replicate.ts: link.backups': caught,
  'src/replication/resolve-hints.ts: batch': oneTable,
  'src/services/directory/read.ts: companions': oneCertificate,
  'src/services/directory/read.ts: names': oneCertificate,
  "src/services/kubernetes/access.ts: ['ca.crt', 'token']":
    'these are parts of one login, of which none is of use alone',
  'src/services/kubernetes/diagnosis.ts: rights': 'doctor says that the one API server could not be asked',
  'src/services/kubernetes/store.ts: namespaces.toSorted()':
    'these are parts of one identity, which is not proven where one of them is not',
  'src/services/vault/store.ts: members': oneCertificate,
  'src/services/vault/store.ts: some':
    'a path that the policy keeps from us is answered with; any other failure is of the whole server',
  'src/compose/stores.ts: [...ofLinks, ...ofSenders]': oneTable,
  'src/replication/shared-listing.ts: some': caught,
  'src/replication/sweep.ts: keys': caught,
  'src/store/quota.ts: counted': oneTable,
  'src/store/quota.ts: quotas': oneTable,
};

const found = ['src', 'functions'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .flatMap((file) => jointWaits(readFileSync(file, 'utf8')).map((list) => `${relative(root, file)}: ${list}`)),
);

test('every list that is waited for at once is isolated by a test, or excused with a reason; nothing else is', () => {
  expect([...new Set(found)].sort()).toEqual([...Object.keys(isolated), ...Object.keys(excused)].sort());
});

test('what is said to be isolated stands in a table of test/loops', () => {
  const loops = readdirSync(join(root, 'test/loops')).map((file) =>
    readFileSync(join(root, 'test/loops', file), 'utf8'),
  );
  for (const name of Object.values(isolated)) expect(loops.join('\n')).toContain(`'${name}'`);
});

test.each([
  ['await Promise.all(links.map((link) => reconcile(link)));', ['links']],
  [
    'const read = Promise.all(\n  all().copies.map(async ({ id }) => {\n    return store.read(id);\n  }),\n);',
    ['all().copies'],
  ],
  [
    "const ü = 'ö';\nawait Promise.all(\n  stores\n    .filter(isOpen)\n    .map(list),\n);",
    ['stores .filter(isOpen)'],
  ],
  ['async function f() { for (const batch of batches) await Promise.all(batch.flatMap(read)); }', ['batch']],
])('%j is found', (planted, lists) => {
  expect(jointWaits(`// Promise.all(comments.map(skip))\n${planted}\n`)).toEqual(lists);
});

test.each([
  'await Promise.allSettled(links.map(reconcile));',
  'await Promise.all([one(), another()]);',
  'const text = "Promise.all(links.map(reconcile))";',
])('%j is none', (planted) => {
  expect(jointWaits(planted)).toEqual([]);
});
