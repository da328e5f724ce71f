import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/root.ts';
import { waysPast } from './ways-out.ts';

const files = ['src', 'functions'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name))),
);

test('nothing goes past the ways out for foreign text, and all is really read', () => {
  const found = files.flatMap((file) =>
    waysPast(file, readFileSync(join(root, file), 'utf8')).map((what) => `${file} ${what}`),
  );
  expect(found).toEqual([]);
  expect(files.length).toBeGreaterThan(250);
});

/** What is planted: a place in a template stands as «name» in the tables below. */
const code = (planted: string) => planted.replaceAll('«', ['$', '{'].join('')).replaceAll('»', '}');

test.each([
  ['src/cli/planted.ts', 'process.stdout.write(name);', 'process.stdout'],
  ['src/cli/planted.ts', "process['stderr'].write(name);", 'process.stderr'],
  ['src/cli/planted.ts', 'console.log(name);', 'console'],
  ['src/store/planted.ts', 'console.error(`«name»`);', 'console'],
  ['src/cli/planted.ts', 'const { stdout } = process;', 'hands the process itself on'],
  ['src/cli/planted.ts', 'function planted(host: Host = process) {}', 'hands the process itself on'],
  ['src/cli/planted.ts', 'run(process);', 'hands the process itself on'],
  ['src/cli/planted.ts', "import { stdout } from 'node:process';", 'imports node:process'],
  ['src/cli/planted.ts', "import { styleText } from 'node:util';\nprint(styleText('red', name));", 'paints by itself'],
  ['src/cli/planted.ts', 'writeSync(1, name);', 'by its number'],
  ['src/cli/planted.ts', "fs.writeFileSync('/dev/tty', name);", 'opens a terminal'],
  ['src/instance/planted.ts', "spawn(hook, { stdio: 'inherit' });", 'gives a child the terminal'],
  ['src/cli/planted.ts', 'host.stdout.write(`\\u001b[31m«name»`);', 'escape sequences'],
  ['src/cli/planted.ts', "const red = '\\x1b[31m';", 'escape sequences'],
  ['src/cli/planted.ts', 'host.stdout.write(`«JSON.stringify(item)»\\n`);', 'prints JSON by itself'],
  ['src/drill/planted.ts', 'const page = `<td>«name»</td>`;', 'markup without the tag'],
  ['src/drill/planted.ts', "const page = '<p>' + name + '</p>';", 'markup without the tag'],
  ['src/monitor/planted.ts', 'const page = other`<td>«name»</td>`;', 'markup without the tag'],
  ['src/archive/planted.ts', "const name = text.replace(/\\p{Cc}/gu, ' ');", 'a sanitiser of its own'],
  ['src/archive/planted.ts', "const name = text.replace(/[\\u202a-\\u202e]/g, '');", 'a sanitiser of its own'],
  ['src/replication/planted.ts', `const cell = text.replaceAll('"', '""');`, 'writes CSV by itself'],
])('in %s, %s is refused', (file, planted, what) => {
  const text = `// A comment: process.stdout, <td>, console.log.\nexport const before = 'öß';\n${code(planted)}\n`;
  expect(waysPast(file, text)).toEqual([expect.stringContaining(what)]);
});

test.each([
  ['src/cli/planted.ts', '// process.stdout.write(`<td>`) would be one.\nexport const usage = "--config <file>";'],
  ['src/drill/planted.ts', 'export const row = html`<td>«name»</td>`;'],
  ['src/instance/planted.ts', 'export const wrong = /\\p{C}/u.test(name);'],
  ['src/cli/main.ts', 'await runCommandLine(process.argv.slice(2), process);'],
  ['src/cli/planted.ts', 'if (JSON.stringify(a) !== JSON.stringify(b)) output.line("changed");'],
])('in %s, %s is no way past', (file, planted) => {
  expect(waysPast(file, code(planted))).toEqual([]);
});
