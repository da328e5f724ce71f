import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';
import { expect, test } from 'vitest';
import { root } from '../support/root.ts';

interface Import {
  readonly type: string;
  readonly typeOnly?: boolean;
  readonly source: { readonly value: string };
  readonly specifiers: readonly {
    readonly type: string;
    readonly isTypeOnly?: boolean;
    readonly local: { readonly value: string };
    readonly imported?: { readonly value: string } | null;
  }[];
}

/** `package name` for each name that the program imports from a package, apart from types. */
function namesFromPackages(): readonly string[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
  const found = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => {
      const { body } = parseSync(readFileSync(join(root, 'src', file), 'utf8'), { syntax: 'typescript' });
      return (body as unknown as readonly Import[])
        .filter(({ type, typeOnly }) => type === 'ImportDeclaration' && typeOnly !== true)
        .filter(({ source }) => !/^(?:\.|node:)/.test(source.value))
        .flatMap(({ source, specifiers }) =>
          specifiers
            .filter(({ type, isTypeOnly }) => type === 'ImportSpecifier' && isTypeOnly !== true)
            .map(({ local, imported }) => `${source.value} ${(imported ?? local).value}`),
        );
    });
  return [...new Set(found)].sort();
}

// Bundlers find names in CommonJS packages that Node does not: the program would start in functions
// and in no installation.
test('Node itself finds each name that the program imports from a package', () => {
  const names = namesFromPackages();
  expect(names.length).toBeGreaterThan(30);
  const lines = names.map((one, at) => {
    const [from, name] = one.split(' ');
    return `await import('${from}').then((m) => '${name}' in m || console.log(${at}), console.error);`;
  });
  const { stdout, status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', lines.join('\n')], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  expect(stdout.split('\n').flatMap((line) => (line === '' ? [] : [names[Number(line)]]))).toEqual([]);
});
