import { expect, test } from 'vitest';
import { runScript } from './scripts.ts';
import { treePerTest } from './tree.ts';

const tree = treePerTest();

/** The planted file, what it says, and what it must be refused for. */
const faults = [
  ['src/planted-any.ts', 'export const planted = (value: any): unknown => value;\n', 'lint/suspicious/noExplicitAny'],
  [
    'src/planted-promise.ts',
    'async function later(): Promise<void> {}\nexport function planted(): void {\n  later();\n}\n',
    'lint/nursery/noFloatingPromises',
  ],
  [
    'src/planted-null.ts',
    'export const planted = (value?: string): string => value!;\n',
    'lint/style/noNonNullAssertion',
  ],
  [
    'src/planted-type.ts',
    `import { Table } from './table/table.ts';\n\nexport type Planted = Pick<Table, 'get'>;\n`,
    'lint/style/useImportType',
  ],
  [
    'src/planted-protocol.ts',
    `import { join } from 'path';\n\nexport const planted = join('a', 'b');\n`,
    'lint/style/useNodejsImportProtocol',
  ],
  [
    'src/planted-import.ts',
    `import { join } from 'node:path';\n\nexport const planted = 1;\n`,
    'lint/correctness/noUnusedImports',
  ],
  ['src/planted-variable.ts', 'const unused = 1;\n\nexport const planted = 1;\n', 'lint/correctness/noUnusedVariables'],
  [
    'src/planted-reading.ts',
    `import { readFileSync } from 'node:fs';\n\nexport const planted = readFileSync('/dev/zero');\n`,
    'lint/style/noRestrictedImports',
  ],
  [
    'src/store/planted-reading.ts',
    `import files from 'node:fs';\n\nexport const planted = files.readFileSync('/dev/zero');\n`,
    'lint/style/noRestrictedImports',
  ],
  [
    'src/keys/planted-reading.ts',
    `import * as files from 'node:fs';\n\nexport const planted = files.readFileSync('/dev/zero');\n`,
    'lint/style/noRestrictedImports',
  ],
  [
    'src/archive/planted-reading.ts',
    `import * as files from 'node:fs/promises';\n\nexport const planted = files.readFile('/dev/zero');\n`,
    'lint/style/noRestrictedImports',
  ],
  [
    'src/planted-order.ts',
    `import { b } from 'node:path';\nimport { a } from 'node:fs';\n\nexport { a, b };\n`,
    'assist/source/organizeImports',
  ],
  ['test/planted-format.test.ts', 'export const planted   = "1"\n', 'format'],
  ['planted-format.json', '{"a":   1}\n', 'format'],
] as const;

test('the tree as it is passes, and is really read', () => {
  const { status, output } = runScript(tree(), 'lint');
  expect(status, output).toBe(0);
  expect(Number(/Checked (\d+) files/.exec(output)?.[1])).toBeGreaterThan(50);
});

test('every fault is refused', () => {
  for (const [file, text] of faults) tree().plant(file, text);
  const { status, stdout } = runScript(tree(), 'lint', '--reporter=json', '--max-diagnostics=none');
  expect(status).not.toBe(0);
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { severity: string; category: string; location: { path: string } }[];
  };
  const refused = diagnostics
    .filter(({ location, severity }) => /planted-/.test(location.path) && severity === 'error')
    .map(({ location, category }) => `${location.path} ${category}`);
  expect(refused.sort()).toEqual(faults.map(([file, , category]) => `${file} ${category}`).sort());
});

test('a rule that only warns is refused too', () => {
  tree().plant('src/planted.ts', 'export function planted(): number {\n  let a = 1;\n  return a;\n}\n');
  const { status, output } = runScript(tree(), 'lint');
  expect(status).not.toBe(0);
  expect(output).toMatch(/^src\/planted\.ts.* lint\/style\/useConst /m);
  expect(output).toContain('Found 1 warning.');
});
