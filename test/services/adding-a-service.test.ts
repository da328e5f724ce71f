import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { configJsonSchema, parseConfig } from '../../src/config.ts';
import { CodedError } from '../../src/errors.ts';
import * as registry from '../../src/services/registry.ts';
import type { Service } from '../../src/services/service.ts';
import { runCommand, testHost } from '../support/command.ts';

// The one line outside of its folder. In src/services/registry.ts it is: export { shelf } from
// './shelf/service.ts';
vi.mock('../../src/services/registry.ts', async (original) => ({
  ...(await original<object>()),
  ...(await import('./shelf/service.ts')),
}));

/** What may stand as the kind of a store. */
const storeKinds = (Object.values(registry) as readonly Service[])
  .flatMap(({ kind, settings }) => (settings === undefined ? [] : [kind]))
  .join(' or ');

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-shelf-'));
  file = join(folder, 'certstandby.yaml');
  write('');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (more: string, pins = ['env:PIN', 'env:PIN']) =>
  writeFileSync(
    file,
    `version: 1
stores:
  upper: { kind: shelf, label: upper, pin: "${pins[0]}", depth: 3${more} }
  lower: { kind: shelf, label: lower, pin: "${pins[1]}" }
links: { down: { primary: upper, backups: [lower] } }
`,
  );
const run = (args: readonly string[], PIN = '1234') =>
  runCommand([...args, '--config', file], testHost({ env: { PIN } }));

test('a service is a folder: its bundle, its settings, its store', () => {
  const files = readdirSync(fileURLToPath(new URL('./shelf', import.meta.url))).sort();
  expect(files).toEqual(['service.ts', 'settings.ts', 'store.ts']);
});

test('config explain has its settings, their words and defaults', async () => {
  write('');
  const { output } = await run(['config', 'explain', 'stores.lower']);
  expect(output).toContain('or shelf (a shelf in memory)');
  expect(output).toContain(
    'stores.*.label (shelf): tells the shelf from all others\n    default: none, it must be given',
  );
  expect(output).toContain('stores.*.depth (shelf): certificates on a page of its listing\n    default: 10');
  expect(output).toContain('stores.lower.depth = 10  (default)');
  expect(output).not.toContain('1234');
});

test('the JSON schema for editors knows it', () => {
  const kinds = (configJsonSchema() as { properties: Record<string, { additionalProperties: { oneOf: object[] } }> })
    .properties.stores?.additionalProperties.oneOf;
  expect(kinds?.at(-1)).toMatchObject({
    description: 'a shelf in memory',
    properties: {
      kind: { const: 'shelf' },
      depth: { type: 'integer', minimum: 1, default: 10, description: 'certificates on a page of its listing' },
    },
    required: ['kind', 'label', 'pin'],
  });
});

test('mistakes in it are named with all others, and what is unknown is answered with what there is', () => {
  const text = `version: 1
stores:
  upper: { kind: shelf, label: Up, path: /srv, depth: 0 }
  lower: { kind: shelf, label: low, pin: s3cr3t }
  third: { kind: shelf, label: low, pin: env:PIN }
  cellar: { kind: cellar }
  folder: { kind: directory, path: /srv, id: a, pin: env:PIN }
links: { down: { primary: upper, backups: [lower] } }
`;
  let thrown: unknown;
  try {
    parseConfig(text, { path: '/etc/c.yaml', env: {}, readFile: () => '' });
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(CodedError);
  expect((thrown as CodedError).fields.mistakes).toEqual([
    'stores.upper.label (line 3): must be letters from a to z',
    'stores.upper.depth (line 3): must be at least 1',
    'stores.upper.pin (line 3): is missing',
    'stores.upper.path (line 3): is not a known key of shelf: that is a setting of directory; there are label, depth, pin',
    'stores.lower.pin (line 4): must be a reference (env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET), never the secret itself',
    `stores.cellar.kind (line 6): must be ${storeKinds}`,
    'stores.folder.pin (line 7): is not a known key of directory: that is a setting of shelf; there are path, id, region, quiet, keepVersions',
    'stores.third.pin: the environment variable PIN is not set',
    'stores.third: has the same label as stores.lower',
  ]);
});

test('doctor opens it with its secret, and says by its own words what mends a wrong one', async () => {
  write('');
  const good = await run(['doctor']);
  expect(good.output).toContain('lower: may be listed: 0 certificates');
  expect(good.output).toContain('lower: may import');
  const wrong = await run(['doctor'], '4321');
  expect(wrong.code).toBe(4);
  expect(wrong.output + wrong.errors).toContain('Put the number of the shelf behind stores.lower.pin.');
});

test('config export names its secrets, and refuses those that cannot be had where functions run', async () => {
  write('', ['ssm:/shelf/upper', 'secretsmanager:shelf#lower']);
  const { output, errors } = await run(['config', 'export', '--platform', 'aws']);
  expect(errors).toBe('');
  expect(JSON.parse(output).config).toMatchObject({
    stores: [{ name: 'upper', kind: 'shelf', depth: 3 }, { name: 'lower' }],
    secrets: [
      { setting: 'stores.upper.pin', from: 'ssm', name: '/shelf/upper' },
      { setting: 'stores.lower.pin', from: 'secretsmanager', name: 'shelf#lower' },
    ],
  });
  write('');
  const refused = await run(['config', 'export', '--platform', 'aws']);
  expect(refused.errors).toContain('stores.upper.pin: functions on aws cannot read env: here');
});
