import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/root.ts';

/**
 * Where a path of the map counts from: the repository, the sources, or the table of the protocol.
 */
const bases = ['', 'src', 'src/certificate', 'src/replication', 'src/replication/restore'];

/** The paths in backticks: a folder ends with a slash, a file with what files of ours end with. */
const pathsIn = (text: string): readonly string[] =>
  [...text.matchAll(/`([\w./-]+(?:\/|\.(?:ts|mjs|cjs|md|json)))`/g)].flatMap(([, path]) => path ?? []);

const missing = (text: string): readonly string[] =>
  pathsIn(text).filter((path) => !bases.some((base) => existsSync(join(root, base, path))));

const decisions = readdirSync(join(root, 'docs/decisions')).map((file) => `docs/decisions/${file}`);

test.each([['the map', ['ARCHITECTURE.md']] as const, ['decisions', decisions] as const])(
  'every path in %s is there',
  (_, files) => {
    const text = files.map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
    expect(pathsIn(text).length).toBeGreaterThan(10);
    expect(missing(text)).toEqual([]);
  },
);

test('a path that is not there is found, a file and a folder alike', () => {
  expect(missing('`config.ts`, `pass/gone.ts` and `gone/`, but not `<what>/<store>`')).toEqual([
    'pass/gone.ts',
    'gone/',
  ]);
});

test('the map is one page: what is said at length lies elsewhere', () => {
  expect(readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8').split('\n').length).toBeLessThan(130);
});
