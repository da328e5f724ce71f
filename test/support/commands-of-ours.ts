import type { Command } from 'commander';
import { commandLine } from '../../src/cli/command-line.ts';
import { testHost } from './command.ts';

/**
 * Says what is wrong with a command line of ours as people are told to type it, what stands behind
 * `certstandby`: that it is no command, or an option that the command does not take. Words that are
 * neither are arguments.
 */
export async function commandChecker(): Promise<(said: string) => readonly string[]> {
  const program = await commandLine(testHost());
  return (said) => {
    const words = said.split(/\s+/).filter(Boolean);
    const command = words.reduce<Command>(
      (found, word) => found.commands.find((one) => one.name() === word) ?? found,
      program,
    );
    const isWhole = command.commands.length === 0 || words.some((word) => word === '--help' || word === '--version');
    if (!isWhole) return [`no command: certstandby ${said}`];
    const known = new Set([...optionsOf(command), '--help', '--version']);
    return words
      .map((word) => word.replace(/[=,].*$/, ''))
      .filter((word) => /^--?[a-z]/.test(word) && !known.has(word))
      .map((word) => `${word} is none of certstandby ${said}`);
  };
}

/** Every option of every command. */
export async function everyOption(): Promise<ReadonlySet<string>> {
  const all = new Set(['--help']);
  const collect = (command: Command): void => {
    for (const option of optionsOf(command)) all.add(option);
    command.commands.forEach(collect);
  };
  collect(await commandLine(testHost()));
  return all;
}

const optionsOf = ({ options }: Command): readonly string[] =>
  options.flatMap(({ long, short }) => [long, short].filter((name) => typeof name === 'string'));
