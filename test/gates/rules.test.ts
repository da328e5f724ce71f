import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runScript } from './scripts.ts';
import { treePerTest } from './tree.ts';

const tree = treePerTest();

/** What dependency-cruiser reports as JSON, as far as it is used here. */
interface Report {
  readonly modules: readonly { readonly source: string }[];
  readonly summary: {
    readonly violations: readonly { readonly from: string; readonly rule: { readonly name: string } }[];
  };
}

/**
 * One fault a line: the planted file (or one that is there, at its end), what it says, and every
 * rule that must name it.
 */
const faults: readonly (readonly [string, string, ...string[]])[] = [
  ['src/certificate/planted.ts', `export type { Log } from '../log.ts';`, 'certificate-imports-only'],
  ['src/certificate/planted-file.ts', `import 'node:fs/promises';`, 'no-input-output'],
  ['src/table/planted.ts', `import type {} from '../certificate/certificate.ts';`, 'table-imports-only'],
  ['src/table/kind.ts', `import './memory.ts';`, 'table-kinds-apart'],
  ['src/store/planted.ts', `import '../records/link-records.ts';`, 'store-imports-only'],
  ['src/store/kind.ts', `export type {} from './memory.ts';`, 'store-kinds-apart'],
  ['src/sender/planted.ts', `import '../store/mark.ts';`, 'sender-imports-only'],
  ['src/http/planted.ts', `import '../store/store.ts';`, 'http-imports-only'],
  ['src/ibm-cloud/planted.ts', `import '../store/store.ts';`, 'ibm-cloud-imports-only'],
  ['src/dispatch/planted.ts', `import '../records/link-records.ts';`, 'dispatch-imports-only'],
  ['src/dispatch/kind.ts', `export * from './in-process.ts';`, 'dispatch-kinds-apart'],
  ['src/keys/planted.ts', `import '../store/store.ts';`, 'keys-imports-only'],
  ['src/keys/planted-part.ts', `import './planted.ts';`],
  ['src/keys/other.ts', `import './planted-part.ts';`, 'keys-kinds-apart'],
  ['src/keys/keyring.ts', `import './other.ts';`, 'helpers-know-no-kind'],
  ['src/keys/planted-service.ts', `import '../store/memory.ts';`, 'keys-imports-only', 'store-kinds-only-in-compose'],
  ['src/records/planted.ts', `import '../dispatch/dispatch.ts';`, 'records-imports-only'],
  [
    'src/records/planted-kind.ts',
    `import '../table/memory.ts';`,
    'records-imports-only',
    'table-kinds-only-in-compose',
  ],
  [
    'src/replication/planted.ts',
    `import type {} from '../store/memory.ts';`,
    'replication-imports-only',
    'store-kinds-only-in-compose',
  ],
  [
    'src/replication/planted-dispatch.ts',
    `import '../dispatch/in-process.ts';`,
    'dispatch-kinds-only-in-compose',
    'replication-imports-only',
  ],
  [
    'src/replication/planted-compose.ts',
    `import '../compose/program.ts';`,
    'compose-only-from-entry-points',
    'replication-imports-only',
  ],
  ['src/replication/planted-net.ts', `import 'https';`, 'no-input-output'],
  ['src/replication/compact-map.ts', `import './pass/judge.ts';`, 'replication-shared-knows-no-floor-above'],
  ['src/replication/pass/planted.ts', `import '../standing.ts';`, 'replication-pass-knows-no-floor-above'],
  ['src/replication/standing.ts', `import './reconcile/plan.ts';`, 'replication-findings-knows-no-floor-above'],
  [
    'src/replication/reconcile/planted.ts',
    `import '../restore/restore.ts';`,
    'replication-reconcile-knows-no-floor-above',
  ],
  ['src/replication/restore/planted.ts', `import '../status.ts';`, 'replication-restore-knows-no-floor-above'],
  ['src/replication/elsewhere/planted.ts', `import '../../errors.ts';`, 'replication-floor-is-listed'],
  ['src/findings/planted.ts', `import '../table/table.ts';`, 'findings-imports-only'],
  ['src/alerts/planted.ts', `import '../records/link-records.ts';`, 'alerts-imports-only'],
  ['src/alerts/planted-kind.ts', `import './channels/webhook.ts';`, 'channels-met-in-the-registry-alone'],
  ['src/alerts/channels/planted.ts', `import type {} from '../alert-rows.ts';`, 'channels-are-light'],
  ['src/planted-channel.ts', `import './alerts/registry.ts';`, 'channels-asked-by-configuration-alone'],
  ['src/receiver/planted.ts', `import '../replication/acknowledge.ts';`, 'receiver-imports-only'],
  ['src/drill/planted.ts', `import '../records/replication-records.ts';`, 'drill-imports-only'],
  ['src/prove/planted.ts', `import type {} from '../records/replication-record.ts';`, 'prove-imports-only'],
  ['src/archive/planted.ts', `import '../records/replication-records.ts';`, 'archive-imports-only'],
  ['src/console/planted.ts', `import '../records/replication-records.ts';`, 'console-imports-only'],
  ['src/audit/planted.ts', `import '../records/replication-records.ts';`, 'audit-imports-only'],
  ['src/signing/planted.ts', `import '../table/table.ts';`, 'signing-imports-only'],
  ['src/monitor/planted.ts', `import '../records/replication-records.ts';`, 'monitor-imports-only'],
  ['src/instance/api/planted.ts', `import '../../store/mark.ts';`, 'instance-imports-only'],
  ['src/instance/planted.ts', `import './rows/crn.ts';`, 'instance-floor-is-listed'],
  [
    'src/instance/rows/planted.ts',
    `import type {} from '../tenants/instance.ts';`,
    'instance-rows-knows-no-floor-above',
  ],
  [
    'src/instance/tenants/planted.ts',
    `import '../certificates/certificate-row.ts';`,
    'instance-tenants-knows-no-floor-above',
  ],
  [
    'src/instance/certificates/planted.ts',
    `import '../orders/authority/authority.ts';`,
    'instance-certificates-knows-no-floor-above',
  ],
  [
    'src/instance/notifications/planted.ts',
    `import '../orders/orders.ts';`,
    'instance-notifications-knows-no-floor-above',
  ],
  [
    'src/instance/orders/authority/planted.ts',
    `import '../order-policy.ts';`,
    'instance-orders-authority-knows-no-floor-above',
  ],
  ['src/instance/orders/planted.ts', `import '../upkeep/erasure.ts';`, 'instance-orders-knows-no-floor-above'],
  ['src/instance/upkeep/planted.ts', `import '../api/routes.ts';`, 'instance-upkeep-knows-no-floor-above'],
  [
    'src/instance/upkeep/planted-kind.ts',
    `import '../../keys/planted.ts';`,
    'instance-imports-only',
    'keys-kinds-only-in-compose',
  ],
  ['src/cli/planted.ts', `import '../aws/credentials.ts';`, 'cli-imports-only'],
  ['src/cli/planted-kind.ts', `import '../store/limited.ts';`, 'store-kinds-only-in-compose'],
  ['src/cli/planted-test.ts', `import '../../test/planted.ts';`, 'cli-imports-only', 'nothing-imports-test'],
  ['src/cli/output/planted.ts', `import '../options.ts';`, 'cli-output-knows-no-floor-above'],
  ['src/cli/options.ts', `import './exit-code-help.ts';`, 'cli-shared-knows-no-floor-above'],
  ['src/cli/instance/planted.ts', `import '../doctor/checks.ts';`, 'cli-instance-knows-no-floor-above'],
  ['src/cli/doctor/planted.ts', `import type {} from '../up/folder.ts';`, 'cli-doctor-knows-no-floor-above'],
  ['src/cli/up/planted.ts', `await import('../status.ts');`, 'cli-up-knows-no-floor-above'],
  ['src/cli/elsewhere/planted.ts', `import '../../errors.ts';`, 'cli-floor-is-listed'],
  ['src/elsewhere/planted.ts', `import '../errors.ts';`, 'room-is-listed'],
  ['src/planted.ts', `import './table/table.ts';`, 'ground-stands-alone'],
  ['src/table/planted-config.ts', `import '../config.ts';`, 'configuration-only-at-the-edge', 'table-imports-only'],
  ['functions/aws/planted.ts', `import '../../src/store/store.ts';`, 'functions-import-only'],
  ['functions/openwhisk/planted.ts', `import '../aws/platform.ts';`, 'functions-import-only'],
  ['src/services/directory/planted.ts', `import '../../monitor/lag.ts';`, 'services-imports-only'],
  [
    'src/services/directory/planted-other.ts',
    `import type {} from '../certificate-manager/settings.ts';`,
    'services-apart',
  ],
  ['src/services/directory/settings.ts', `import '../../log.ts';`, 'service-settings-know-zod-alone'],
  [
    'src/compose/planted-service.ts',
    `await import('../services/directory/store.ts');`,
    'services-met-in-the-registry-alone',
  ],
  ['src/planted-service.ts', `import './services/registry.ts';`, 'services-asked-by-configuration-alone'],
  ['src/aws/planted.ts', `import '../log.ts';`, 'aws-imports-only'],
  ['src/secrets/planted.ts', `import '../log.ts';`, 'secrets-imports-only'],
  ['src/secrets/kind.ts', `import './aws-secrets-manager.ts';`, 'secrets-kinds-apart'],
  [
    'src/cli/planted-secrets.ts',
    `import '../secrets/aws-secrets-manager.ts';`,
    'cli-imports-only',
    'secrets-kinds-only-in-compose',
  ],
  ['infra/planted.mjs', `import '../src/compose/program.ts';`, 'compose-only-from-entry-points'],
  ['src/planted-circle-a.ts', `import './planted-circle-b.ts';`, 'no-circle'],
  ['src/planted-circle-b.ts', `export type {} from './planted-circle-a.ts';`],
  ['src/planted-aws.ts', `import '@aws-sdk/client-dynamodb';`, 'package-aws-sdk-client-dynamodb'],
  ['src/planted-lambda.ts', `import '@aws-sdk/client-lambda';`, 'package-aws-sdk-client-lambda'],
  ['src/planted-ssm.ts', `import '@aws-sdk/client-ssm';`, 'package-aws-sdk-client-ssm'],
  [
    'src/planted-credentials.ts',
    `import '@aws-sdk/credential-provider-node';`,
    'package-aws-sdk-credential-provider-node',
  ],
  ['src/planted-secret.ts', `import '@aws-sdk/client-secrets-manager';`, 'package-aws-sdk-client-secrets-manager'],
  ['src/planted-aws4.ts', `import 'aws4';`, 'package-aws4'],
  ['src/planted-openwhisk.ts', `import 'openwhisk';`, 'package-openwhisk'],
  ['src/planted-kms.ts', `import '@aws-sdk/client-kms';`, 'package-aws-sdk-client-kms'],
  ['src/planted-x509.ts', `import '@peculiar/x509';`, 'package-peculiar-x509'],
  ['src/instance/orders/planted-acme.ts', `await import('acme-client');`, 'package-acme-client'],
  ['src/planted-age.ts', `import 'age-encryption';`, 'package-age-encryption'],
  ['src/planted-zip.ts', `import 'fflate';`, 'package-fflate'],
  ['src/planted-unzip.ts', `import 'yauzl';`, 'package-yauzl'],
  ['src/archive/planted-ber.ts', `import 'node-forge';`, 'package-node-forge'],
  ['src/planted-tar.ts', `import 'tar-stream';`, 'package-tar-stream'],
  ['src/planted-commander.ts', `import 'commander';`, 'package-commander'],
  ['src/planted-reflect.ts', `import 'reflect-metadata';`, 'package-reflect-metadata'],
  ['src/planted-lmdb.ts', `await import('lmdb');`, 'package-lmdb'],
  ['src/planted-mail.ts', `await import('nodemailer');`, 'package-nodemailer'],
  ['src/planted-prom.ts', `import 'prom-client';`, 'package-prom-client'],
  ['src/planted-yaml.ts', `import type {} from 'yaml';`, 'package-yaml'],
  ['functions/aws/planted-zod.ts', `import 'zod/mini';`, 'package-zod'],
  ['src/planted-zod.ts', `import 'zod';`, 'package-zod-is-mini'],
  ['src/planted-development.ts', `import 'fast-check';`, 'package-is-listed', 'package-is-shipped'],
  ['src/planted-unlisted.ts', `import 'picomatch';`, 'package-is-listed', 'package-is-shipped'],
  ['src/planted-nowhere.ts', `import './nowhere.ts';`, 'resolves'],
  ['test/planted.ts', `import '../src/compose/program.ts';`],
];

test('the tree as it is passes, and every source file is really read', () => {
  const { status, output } = runScript(tree(), 'rules');
  expect(status, output).toBe(0);
  const { stdout } = runScript(tree(), 'rules', '--output-type', 'json'); // of which the status is always 0
  const { modules } = JSON.parse(stdout) as Report;
  const read = new Set(modules.map(({ source }) => source));
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const files = ['src', 'test'].flatMap((folder) =>
    readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`),
  );
  expect(files.filter((file) => file.endsWith('.ts') && !read.has(file))).toEqual([]);
});

test('every fault is refused by its rules, and by no others', () => {
  // A rule for files that are named in it needs a fault in one of these.
  for (const [file, text] of faults) {
    if (existsSync(new URL(`../../${file}`, import.meta.url))) tree().append(file, `${text}\n`);
    else tree().plant(file, `${text}\n`);
  }
  const { stdout } = runScript(tree(), 'rules', '--output-type', 'json');
  const named: Record<string, string[]> = Object.fromEntries(faults.map(([file]) => [file, []]));
  for (const { from, rule } of (JSON.parse(stdout) as Report).summary.violations) named[from]?.push(rule.name);
  for (const rules of Object.values(named)) rules.sort();
  expect(named).toEqual(Object.fromEntries(faults.map(([file, , ...rules]) => [file, rules])));
});

test('one fault is enough to end with an error, and is named', () => {
  tree().plant('src/table/planted.ts', `import './memory.ts';\n`);
  const { status, output } = runScript(tree(), 'rules');
  expect(status).not.toBe(0);
  expect(output).toContain('error table-kinds-apart: src/table/planted.ts → src/table/memory.ts');
});

test('there is a fault for every rule', () => {
  const { forbidden } = createRequire(import.meta.url)('../../.dependency-cruiser.cjs') as {
    forbidden: readonly { readonly name: string }[];
  };
  const proven = new Set(faults.flatMap(([, , ...rules]) => rules));
  expect(forbidden.map(({ name }) => name).filter((name) => !proven.has(name))).toEqual([]);
});
