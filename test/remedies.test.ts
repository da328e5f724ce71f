import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { commandLine } from '../src/cli/command-line.ts';
import { errorRegistry } from '../src/errors.ts';
import { testHost } from './support/command.ts';
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
  const program = await commandLine(testHost());
  const options = ({ options }: Command) => options.flatMap(({ long, short }) => [long, short]);
  const everyOption = new Set<unknown>(['--help']);
  const collect = (command: Command): void => {
    for (const option of options(command)) everyOption.add(option);
    command.commands.forEach(collect);
  };
  collect(program);
  const wrong: string[] = [];
  for (const [remedy] of allRemedies()) {
    for (const [, said = ''] of remedy.matchAll(/certstandby ([^.;:,()]*)/g)) {
      if (prose.test(said)) continue;
      const words = said.split(' ');
      let command: Command = program;
      for (const word of words) {
        const next = command.commands.find((one) => one.name() === word);
        if (next === undefined) break;
        command = next;
      }
      const leads = command !== program && command.commands.length === 0;
      if (!leads) wrong.push(`no command: certstandby ${said}`);
      const known: readonly unknown[] = [...options(command), '--help'];
      for (const word of words)
        if (/^--?[a-z]/.test(word) && !known.includes(word)) wrong.push(`${word} is none of certstandby ${said}`);
    }
    for (const [option] of remedy.matchAll(/(?<![\w-])--[a-z][a-z-]+/g))
      if (!everyOption.has(option)) wrong.push(`${option} is no option: ${remedy}`);
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
