import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/root.ts';
import { longComments } from './comments.ts';

const folders = ['src', 'functions', 'infra', 'test'];
/** Made by a program, and kept as it was. */
const made = join('test', 'version-before', 'heart.js');

test('no line of a comment is longer than 100 columns', () => {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  );
  const sources = files.filter(
    (file) => /\.(ts|mjs|cjs|js)$/.test(file) && !/node_modules/.test(file) && file !== made,
  );
  expect(sources.length).toBeGreaterThan(500);
  const long = sources.flatMap((file) =>
    longComments(readFileSync(join(root, file), 'utf8')).map((line) => `${file}:${line}`),
  );
  expect(long).toEqual([]);
});

const words = 'word '.repeat(25).trim();

test.each([
  ['a line comment', `  // ${words}`],
  ['a comment of one line', `/** ${words} */`],
  ['a line of a longer one', ` * ${words}`],
])('%s that is too long is found, with its line', (_, line) => {
  expect(longComments(`const a = 1;\n${line}\n`)).toEqual([`2: ${line.trim()}`]);
});

test.each([
  ['code', `const a = '${words}';`],
  ['a comment behind code', `const a = 1; // ${words}`],
  ['an address', `// https://example.com/${'path/'.repeat(25)}`],
  ['a directive', `// biome-ignore lint/suspicious/noExplicitAny: ${words}`],
  ['a type', ` * @param {{ a: string }} given ${words}`],
  ['an example', ` *     ${words}`],
  ['a comment that fits', `// ${words.slice(0, 90)}`],
])('%s is none of them', (_, line) => {
  expect(longComments(line)).toEqual([]);
});
