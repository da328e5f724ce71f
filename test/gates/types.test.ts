import { expect, test } from 'vitest';
import { runScript } from './scripts.ts';
import { treePerTest } from './tree.ts';

const tree = treePerTest();

/** The planted file, what it says, and the error that it must be refused with. */
const faults = [
  ['src/store/planted-type.ts', `export const planted: number = 'text';`, 'TS2322'],
  ['test/store/planted-type.test.ts', `export const planted: number = 'text';`, 'TS2322'],
  ['infra/planted-type.mjs', `export const planted = Math.max('text');`, 'TS2345'],
  ['src/planted-undefined.ts', `export const planted = ['a'].find(Boolean).length;`, 'TS2532'],
  ['src/planted-index.ts', 'export const planted = (texts: string[]): string => texts[0];', 'TS2322'],
  ['src/planted-optional.ts', 'export const planted: { a?: number } = { a: undefined };', 'TS2375'],
  ['src/planted-import.ts', `export { Table } from './table/table.ts';`, 'TS1205'],
  ['src/planted-enum.ts', 'export enum Planted {\n  A,\n}', 'TS1294'],
  ['src/planted-extension.ts', `export { Secret } from './secret';`, 'TS2835'],
  [
    'src/planted-return.ts',
    `export function planted(a: boolean): string | undefined {\n  if (a) return '';\n}`,
    'TS7030',
  ],
] as const;

test('the tree as it is passes', () => {
  const { status, output } = runScript(tree(), 'typecheck');
  expect(status, output).toBe(0);
});

test('every fault is refused', () => {
  for (const [file, text] of faults) tree().plant(file, `${text}\n`);
  const { status, output } = runScript(tree(), 'typecheck');
  expect(status).not.toBe(0);
  const refused = [...output.matchAll(/^(\S*planted-\S*?)\(.*?error (\w+):/gm)].map(
    ([, file, code]) => `${file} ${code}`,
  );
  expect(refused.sort()).toEqual(faults.map(([file, , code]) => `${file} ${code}`).sort());
});
