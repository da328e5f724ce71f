import { expect, test } from 'vitest';
import { commandEntries, commandLine } from '../../src/cli/command-line.ts';
import { exitCodes } from '../../src/cli/exit-code-help.ts';
import { interrupted } from '../../src/cli/interrupt.ts';
import { errorRegistry } from '../../src/errors.ts';
import { runCommand, testHost } from '../support/command.ts';

test('help lists every command, has examples, and an exit code for every class of failure', async () => {
  const { code, output } = await runCommand(['--help']);
  expect(code).toBe(0);
  for (const { name, description } of commandEntries) {
    expect(output).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect(output).toContain(description);
  }
  expect(output).toContain('Examples:\n');
  const told = new Set(exitCodes.map(([exit]) => exit));
  expect(Object.entries(errorRegistry).filter(([, { exit }]) => !told.has(exit))).toEqual([]);
  expect(output).toContain('    3  mistakes in the configuration, all named\n');
});

test('every command has help of its own with examples', async () => {
  const program = await commandLine(testHost());
  expect(program.commands.map((command) => [command.name(), command.description()])).toEqual(
    commandEntries.map(({ name, description }) => [name, description]),
  );
  const below = program.commands.flatMap((command) =>
    command.commands.length === 0
      ? [[command.name()]]
      : command.commands.map((child) => [command.name(), child.name()]),
  );
  for (const path of below) {
    const { code, output } = await runCommand([...path, '--help']);
    expect([path, code]).toEqual([path, 0]);
    expect(output, path.join(' ')).toMatch(/\nExamples?:\n/);
  }
});

test.each([
  [['reconcil'], "error: unknown command 'reconcil'\n(Did you mean reconcile?)"],
  [['serve', '--confg', 'x'], "error: unknown option '--confg'\n(Did you mean --config?)"],
  [['config', 'shw'], "error: unknown command 'shw'\n(Did you mean show?)"],
  [
    ['doctor', '--register', 'http://certstandby.example.com'],
    'http://certstandby.example.com must begin with https://',
  ],
  [
    ['completion', 'tcsh'],
    "command-argument value 'tcsh' is invalid for argument 'shell'. Allowed choices are bash, zsh, fish.",
  ],
])('%j is a mistake in the command line, and says which', async (args, words) => {
  const { code, errors, output } = await runCommand(args);
  expect(errors).toContain(words);
  expect({ code, output }).toEqual({ code: 2, output: '' });
});

test('what a command throws is told with what to do, as JSON where that was asked for', async () => {
  const missing = await runCommand(['config', 'check', '--config', '/nowhere/certstandby.yaml']);
  expect(missing).toEqual({
    code: 3,
    output: '',
    errors:
      'certstandby: the configuration file /nowhere/certstandby.yaml cannot be read (ENOENT)\n' +
      '  Give its path with --config. The README shows one to begin with; certstandby up needs none. [configuration_missing]\n',
  });
  const json = await runCommand(['config', 'check', '--json', '--config', '/nowhere/certstandby.yaml']);
  expect(JSON.parse(json.errors)).toEqual({
    error: {
      code: 'configuration_missing',
      message: 'the configuration file /nowhere/certstandby.yaml cannot be read (ENOENT)',
      cause: 'ENOENT',
      remedy: 'Give its path with --config. The README shows one to begin with; certstandby up needs none.',
      exit: 3,
    },
  });
});

test('the first signal asks to stop, with a coded error; the second ends at once', () => {
  const host = testHost({ columns: 80, env: { NO_COLOR: '1' } });
  const signal = interrupted(host);
  expect(signal.aborted).toBe(false);
  host.signal('SIGINT');
  expect(signal.reason).toMatchObject({ code: 'interrupted', message: 'stopped by SIGINT' });
  expect(host.errors()).toBe('\ncertstandby: stopping; once more ends it at once\n');
  expect(() => host.signal('SIGTERM')).toThrow('exit 130');
});
