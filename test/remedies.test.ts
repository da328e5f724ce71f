import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorRegistry } from '../src/errors.ts';
import { commandChecker, everyOption } from './support/commands-of-ours.ts';
import { allRemedies, shellCommands } from './support/remedies.ts';
import { root } from './support/root.ts';

test('each code of the registry is what something fails with', () => {
  const sources = ['src', 'functions']
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
    )
    .filter((file) => file.endsWith('.ts') && file !== join('src', 'errors.ts'))
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n');
  expect(Object.keys(errorRegistry).filter((code) => !new RegExp(`['.\\[]${code}\\b`).test(sources))).toEqual([]);
});

/** Words after `certstandby` that are no command: it is the subject of the sentence. */
const prose = /^(wrote|runs|sends|has|is)\b/;

test('each command of ours in a remedy is one, and takes the options that stand there', async () => {
  const mistakesIn = await commandChecker();
  const options = await everyOption();
  const wrong: string[] = [];
  for (const [remedy] of allRemedies()) {
    for (const [, said = ''] of remedy.matchAll(/certstandby ([^.;:,()]*)/g))
      if (!prose.test(said)) wrong.push(...mistakesIn(said));
    for (const [option] of remedy.matchAll(/(?<![\w-])--[a-z][a-z-]+/g))
      if (!options.has(option)) wrong.push(`${option} is no option: ${remedy}`);
  }
  expect([...new Set(wrong)]).toEqual([]);
});

test('each other command in a remedy is in the table of those that are run', () => {
  const begins =
    /\b(?:openssl [a-z]|(?:chmod|chown|df|ss|ls|mkdir|curl|ulimit) (?:-|\d|go-|\$)|aws [a-z]+ [a-z]+-|ip address)/;
  const remedies = [...allRemedies().keys()];
  const unknown = remedies.filter((remedy) => {
    const rest = Object.keys(shellCommands)
      .toSorted((a, b) => b.length - a.length)
      .reduce((text, command) => text.replaceAll(command, ''), remedy);
    return begins.test(rest);
  });
  expect(unknown).toEqual([]);
  const all = remedies.join('\n');
  expect(Object.keys(shellCommands).filter((command) => !all.includes(command))).toEqual([]);
});
