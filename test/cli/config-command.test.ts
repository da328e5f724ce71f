import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { configJsonSchema, configSettings, parseConfig } from '../../src/config.ts';
import { runCommand, testHost } from '../support/command.ts';

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-config-'));
  file = join(folder, 'certstandby.yaml');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const crn = (region: string, guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${guid}-2222-4333-8444-555555555555::`;
const text = `version: 1
worker:
  concurrency: 4
stores:
  frankfurt: { kind: certificate-manager, instance: "${crn('eu-de', '11111111')}", apiKey: env:FRANKFURT }
  london:
    kind: certificate-manager
    instance: "${crn('eu-gb', '66666666')}"
    apiKey: env:LONDON
    settles: 5s
links: { shop: { primary: frankfurt, backups: [london] } }
`;
beforeEach(() => writeFileSync(file, text));

const env = { FRANKFURT: 'the-key-of-frankfurt', LONDON: 'the-key-of-london' };
const run = (...args: string[]) => runCommand(['config', ...args, '--config', file], testHost({ env }));

test('check says what is there, or every mistake', async () => {
  expect(await run('check')).toEqual({
    code: 0,
    errors: '',
    output: `${file} is good: 2 stores, 1 link, records in lmdb\n`,
  });
  writeFileSync(file, text.replace('concurrency: 4', 'concurrency: many\ncolour: red'));
  const { code, errors, output } = await run('check');
  expect({ code, output }).toEqual({ code: 3, output: '' });
  expect(errors).toContain('worker.concurrency (line 3): must be a number');
  expect(errors).toContain('colour (line 4): is not a known key');
});

test('a configuration of another version is told as that, and not as its other differences', async () => {
  writeFileSync(file, text.replace('version: 1', 'version: 2\ncolour: red'));
  const { code, errors } = await run('check');
  expect(code).toBe(3);
  expect(errors).toContain('version (line 1): 2 is of a newer certstandby; this one reads version 1');
  expect(errors).toContain('has one mistake');
});

test('show prints what is in force, secrets as references; read again it is the same configuration', async () => {
  const { code, output } = await run('show');
  expect(code).toBe(0);
  expect(output).toContain('concurrency: 4\n  sweepEvery: 1m\n');
  expect(output).toContain('apiKey: env:LONDON');
  expect(output).not.toContain('the-key-of-');
  const parse = (yaml: string) => {
    const { serve: _, ...config } = parseConfig(yaml, { path: file, env, readFile: () => '' });
    return JSON.parse(JSON.stringify(config));
  };
  const [shown, written] = [parse(output), parse(text)];
  expect(shown.links[0].policy.brakeShare).toBe(0.2);
  expect(shown.worker).toEqual(written.worker);
  expect(shown.table).toEqual(written.table);
  expect(shown.stores[1].settlesMs).toBe(5_000);
  const json = await run('show', '--json');
  expect(JSON.parse(json.output)).toMatchObject({ stores: { london: { settles: '5s', listingLag: '10s' } } });
});

test('explain says what a setting means, what holds, and where that comes from', async () => {
  const { output } = await run('explain', 'worker');
  expect(output).toBe(
    `worker.concurrency: certificates looked at in one moment
    default: 16
    worker.concurrency = 4  (${file}, line 3)
worker.sweepEvery: how often what is due is woken
    default: "1m"
    worker.sweepEvery = "1m"  (default)
worker.reconcileEvery: how often everything is compared with everything
    default: "1h"
    worker.reconcileEvery = "1h"  (default)
`,
  );
  expect((await run('explain', 'stores.london.settles')).output).toContain(
    `stores.london.settles = "5s"  (${file}, line 10)`,
  );
  expect((await run('explain')).output).not.toContain('the-key-of-');
  expect(await run('explain', 'wrker')).toMatchObject({
    code: 2,
    errors: expect.stringContaining('there is no setting wrker'),
  });
});

test('every setting of the schema is explained, and nothing else', () => {
  // Settings of one name that several kinds have are explained for each.
  const explained = new Set(configSettings.map(({ path }) => path));
  expect([...explained].sort()).toEqual([...new Set(leaves(configJsonSchema()))].sort());
  for (const { path, what } of configSettings) expect(what, path).toMatch(/\w/);
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
}

function leaves(schema: Schema, path = ''): string[] {
  const below = (name: string, child: Schema) => leaves(child, path === '' ? name : `${path}.${name}`);
  const { properties, additionalProperties, oneOf = [], anyOf = [] } = schema;
  const alternatives = [...oneOf, ...anyOf].filter((one) => one.properties !== undefined);
  if (alternatives.length > 0) return alternatives.flatMap((one) => leaves(one, path));
  if (properties !== undefined) return Object.entries(properties).flatMap(([name, child]) => below(name, child));
  return typeof additionalProperties === 'object' ? below('*', additionalProperties) : [path];
}

test('export prints what is deployed with functions, or every mistake', async () => {
  writeFileSync(file, text.replace('env:FRANKFURT', 'ssm:frankfurt').replace('env:LONDON', 'secretsmanager:london'));
  const { code, output } = await run('export', '--platform', 'aws');
  expect(code).toBe(0);
  expect(JSON.parse(output)).toMatchObject({
    format: 1,
    platform: 'aws',
    config: {
      stores: [
        { name: 'frankfurt', apiKey: { from: 'ssm', name: 'frankfurt' } },
        { name: 'london', apiKey: { from: 'secretsmanager', name: 'london' }, settlesMs: 5_000 },
      ],
    },
  });
  const wrong = await run('export', '--platform', 'openwhisk');
  expect(wrong).toMatchObject({ code: 3, output: '' });
  expect(wrong.errors).toContain('stores.london.apiKey: functions on openwhisk cannot read secretsmanager: here');
});
