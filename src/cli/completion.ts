import { Argument, Command, type Option } from 'commander';
import type { Host } from './output/output.ts';

const shells = { bash, zsh, fish } as const;

/** `certstandby completion`. What it prints is made from the commands themselves. */
export function completionCommand(host: Host): Command {
  const command = new Command('completion')
    .description('print a script with which a shell completes commands and options')
    .addArgument(new Argument('<shell>').choices(Object.keys(shells)))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(certstandby completion bash)' +
        '\n  certstandby completion zsh > ~/.zfunc/_certstandby     (a folder of $fpath)' +
        '\n  certstandby completion fish > ~/.config/fish/completions/certstandby.fish',
    );
  return command.action((shell: keyof typeof shells) => {
    let root: Command = command;
    while (root.parent !== null) root = root.parent;
    host.stdout.write(shells[shell](root));
  });
}

/** A command and where it is: `config check`; the program itself is at the empty path. */
interface Place {
  readonly path: string;
  readonly command: Command;
}

function places(command: Command, path = ''): readonly Place[] {
  const below = command.commands.flatMap((child) =>
    places(child, path === '' ? child.name() : `${path} ${child.name()}`),
  );
  return [{ path, command }, ...below];
}

/** The options of a command, its help among them. */
function optionsOf(command: Command): readonly Option[] {
  return command.createHelp().visibleOptions(command);
}

const flagsOf = ({ short, long }: Option): string[] => [long, short].filter((flag) => flag !== undefined);
const takesFile = ({ flags }: Option) => /<(file|path)>/.test(flags);
const takesValue = ({ required, optional }: Option) => required || optional;
const choicesOf = ({ registeredArguments }: Command): readonly string[] =>
  registeredArguments.flatMap(({ argChoices = [] }) => argChoices);

/** Words that can follow: commands below, choices of arguments, options. */
function wordsOf(command: Command): readonly string[] {
  const names = command.commands.map((child) => child.name());
  return [...names, ...choicesOf(command), ...optionsOf(command).flatMap(flagsOf)];
}

function bash(root: Command): string {
  const name = root.name();
  const all = places(root);
  const words = all.map(({ path, command }) => `    '${path}') words='${wordsOf(command).join(' ')}' ;;`);
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => `'${path}'`);
  const valued = unique(all.flatMap(({ command }) => optionsOf(command).filter(takesValue)));
  const choices = valued.flatMap((option) =>
    option.argChoices === undefined
      ? []
      : [
          `    ${flagsOf(option).join('|')}) COMPREPLY=($(compgen -W '${option.argChoices.join(' ')}' -- "$current")); return ;;`,
        ],
  );
  const files = unique(valued.filter(takesFile).flatMap(flagsOf));
  const others = unique(
    valued.filter((option) => !takesFile(option) && option.argChoices === undefined).flatMap(flagsOf),
  );
  return `# bash completion for ${name}
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path='' word words=''
  COMPREPLY=()
  case "$previous" in
    ${files.join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${others.join('|')}) return ;;
${choices.join('\n')}
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${paths.join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o filenames -F _${name} ${name}
`;
}

function zsh(root: Command): string {
  const name = root.name();
  const functionOf = (path: string) =>
    ['', name, ...path.split(' ')].filter((word, index) => index === 0 || word !== '').join('_');
  const quoted = (text: string) => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&');
  const body = ({ path, command }: Place) => {
    const options = optionsOf(command).flatMap((option) =>
      flagsOf(option).map((flag) => {
        const values =
          option.argChoices === undefined ? (takesFile(option) ? '_files' : ' ') : `(${option.argChoices.join(' ')})`;
        return `    '${flag}[${quoted(option.description)}]${takesValue(option) ? `:value:${values}` : ''}'`;
      }),
    );
    const argumentLines = command.registeredArguments.map(
      ({ argChoices = [] }, index) => `    '${index + 1}:argument:(${argChoices.join(' ')})'`,
    );
    const hasCommands = command.commands.length > 0;
    const below = hasCommands ? [`    '1:command:->command'`, `    '*::argument:->argument'`] : argumentLines;
    const names = command.commands.map((child) => `      '${child.name()}:${quoted(child.description())}'`);
    const calls = command.commands.map((child) => {
      const place = path === '' ? child.name() : `${path} ${child.name()}`;
      return `        ${child.name()}) ${functionOf(place)} ;;`;
    });
    const dispatch = hasCommands
      ? `
  case "$state" in
    command)
      local -a commands=(
${names.join('\n')}
      )
      _describe command commands ;;
    argument)
      case "$line[1]" in
${calls.join('\n')}
      esac ;;
  esac`
      : '';
    return `${functionOf(path)}() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C \\
${[...options, ...below].join(' \\\n')}${dispatch}
}`;
  };
  return `#compdef ${name}
# zsh completion for ${name}
${places(root).map(body).join('\n')}
if [ "$funcstack[1]" = "_${name}" ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fish(root: Command): string {
  const name = root.name();
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = places(root).flatMap(({ path, command }) => {
    const steps = path === '' ? [] : path.split(' ');
    const below = command.commands.map((child) => child.name());
    const seen = steps.map((step) => `__fish_seen_subcommand_from ${step}`);
    const noneBelow = below.length === 0 ? [] : [`not __fish_seen_subcommand_from ${below.join(' ')}`];
    const condition = quoted([...seen, ...noneBelow].join('; and ') || 'true');
    const commands = command.commands.map(
      (child) => `complete -c ${name} -n ${condition} -a ${child.name()} -d ${quoted(child.description())}`,
    );
    const choices = choicesOf(command).map((choice) => `complete -c ${name} -n ${condition} -a ${choice}`);
    const options = optionsOf(command).map((option) => {
      const flags = [option.long && `-l ${option.long.slice(2)}`, option.short && `-s ${option.short.slice(1)}`];
      const values = option.argChoices === undefined ? '' : ` -a ${quoted(option.argChoices.join(' '))}`;
      const value = takesValue(option) ? (takesFile(option) ? ' -r -F' : ` -x${values}`) : '';
      return `complete -c ${name} -n ${condition} ${flags.filter(Boolean).join(' ')}${value} -d ${quoted(option.description)}`;
    });
    return [...commands, ...choices, ...options];
  });
  return `# fish completion for ${name}\ncomplete -c ${name} -f\n${lines.join('\n')}\n`;
}

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)];
