import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { runCommand } from '../support/command.ts';

const script = async (shell: string) => (await runCommand(['completion', shell])).output;

test('bash completes commands, commands below, options, choices and files', async () => {
  const bash = await script('bash');
  const attempt = (...words: string[]) =>
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _certstandby; echo "\${COMPREPLY[*]}"`;
  const attempts = [
    ['certstandby', 're'],
    ['certstandby', 'config', ''],
    ['certstandby', 'config', 'show', '--q'],
    ['certstandby', 'serve', '--log', 'w'],
    ['certstandby', 'doctor', '--config', 'package.j'],
    ['certstandby', 'completion', 'f'],
  ];
  const { stdout, stderr, error } = spawnSync(
    'bash',
    ['-c', [bash, ...attempts.map((words) => attempt(...words))].join('\n')],
    {
      encoding: 'utf8',
    },
  );
  if (error) return expect((error as NodeJS.ErrnoException).code).toBe('ENOENT'); // a machine without bash
  expect(stderr).toBe('');
  expect(stdout.split('\n')).toEqual([
    expect.stringContaining('reconcile'),
    'check explain show export --help -h',
    '--quiet',
    'warn',
    'package.json',
    'fish',
    '',
  ]);
});

test('the scripts for zsh and fish name what there is, with its description', async () => {
  const zsh = await script('zsh');
  expect(zsh).toMatch(/^#compdef certstandby\n/);
  expect(zsh).toContain(`'--log[the least that is logged]:value:(debug info warn error)'`);
  expect(zsh).toContain('        show) _certstandby_config_show ;;');
  expect(zsh).toContain(`'--config[the configuration file]:value:_files'`);
  const fish = await script('fish');
  expect(fish).toContain(
    `complete -c certstandby -n '__fish_seen_subcommand_from config; and not __fish_seen_subcommand_from check explain show export' -a show -d 'print the configuration in force, defaults filled in; secrets stay references'`,
  );
  expect(fish).toContain(
    `complete -c certstandby -n '__fish_seen_subcommand_from serve' -l log -x -a 'debug info warn error' -d 'the least that is logged'`,
  );
});
