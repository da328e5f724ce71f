import { Command, CommanderError } from 'commander';
import { asCodedError, CodedError } from '../errors.ts';
import { exitTable } from './exit-code-help.ts';
import { untilInterrupted } from './interrupt.ts';
import { usageExit } from './options.ts';
import { type Host, type OutputOptions, onScreens, problemLines } from './output/output.ts';
import { paintFor } from './output/screen.ts';
import { version } from './version.ts';

interface CommandEntry {
  readonly name: string;
  /** The same as the command says itself: a test compares them. */
  readonly description: string;
  readonly load: () => Promise<(host: Host) => Command>;
}

/**
 * What there is, in the order of the help. One file per command, which says what it is called,
 * takes and does; it is loaded only when it is the one that was typed, so that help and small
 * commands start fast.
 */
export const commandEntries: readonly CommandEntry[] = [
  {
    name: 'up',
    description: 'bring up receiver and worker; without --config also a primary and a backup to try it on',
    load: async () => (await import('./up/up.ts')).upCommand,
  },
  {
    name: 'serve',
    description: 'run receiver and worker for one machine, with metrics and health; logs JSON lines to stderr',
    load: async () => (await import('./serve.ts')).serveCommand,
  },
  {
    name: 'reconcile',
    description: 'compare both sides of each link, and bring the backups up to date',
    load: async () => (await import('./reconcile.ts')).reconcileCommand,
  },
  {
    name: 'verify',
    description: 'read both sides back in full, and prove that every copy equals its original and would serve',
    load: async () => (await import('./verify.ts')).verifyCommand,
  },
  {
    name: 'drill',
    description: 'serve every copy to a client, from the backups alone, and sign what came of it',
    load: async () => (await import('./drill.ts')).drillCommand,
  },
  {
    name: 'restore',
    description: "bring a link's certificates out of a backup into a new primary, and point the link there",
    load: async () => (await import('./restore.ts')).restoreCommand,
  },
  {
    name: 'failback',
    description: 'bring home what changed while another primary stood in, and point the link home',
    load: async () => (await import('./restore.ts')).failbackCommand,
  },
  {
    name: 'map',
    description: 'print the old and new ids of the certificates that a restore or failback moved, as CSV',
    load: async () => (await import('./map.ts')).mapCommand,
  },
  {
    name: 'download',
    description: 'write certificates of a store, private keys included, to an archive',
    load: async () => (await import('./download.ts')).downloadCommand,
  },
  {
    name: 'import',
    description: 'import the certificates of an archive into a store',
    load: async () => (await import('./import.ts')).importCommand,
  },
  {
    name: 'status',
    description: 'say how every link stands: what is equal, what is behind, what is stuck and why',
    load: async () => (await import('./status.ts')).statusCommand,
  },
  {
    name: 'alerts',
    description: 'who is told of what is wrong: try the channels, list findings, mute',
    load: async () => (await import('./alerts.ts')).alertsCommand,
  },
  {
    name: 'console',
    description: 'print a link that signs one person in to the console that serve serves, once',
    load: async () => (await import('./console.ts')).consoleCommand,
  },
  {
    name: 'audit',
    description: 'the audit trail: what was done, by whom, and that nothing of it was altered',
    load: async () => (await import('./audit.ts')).auditCommand,
  },
  {
    name: 'adopt',
    description: 'take copies that somebody else made in a backup under management',
    load: async () => (await import('./adopt.ts')).adoptCommand,
  },
  {
    name: 'store',
    description: 'say what only a person can say of a store: another place is meant, a key is trusted no more',
    load: async () => (await import('./store.ts')).storeCommand,
  },
  {
    name: 'notify',
    description: 'tell a receiver that certificates have changed: for hooks of tools that renew them',
    load: async () => (await import('./notify.ts')).notifyCommand,
  },
  {
    name: 'events',
    description: 'list what notifications were acknowledged, and what became of them',
    load: async () => (await import('./events.ts')).eventsCommand,
  },
  {
    name: 'doctor',
    description: 'check configuration, credentials, rights, channels, keys and clocks; say what mends each problem',
    load: async () => (await import('./doctor/doctor.ts')).doctorCommand,
  },
  {
    name: 'instance',
    description: 'instances of our own, with the APIs of Certificate Manager and Secrets Manager: make, run, keep',
    load: async () => (await import('./instance/instance.ts')).instanceCommand,
  },
  {
    name: 'config',
    description: 'check, explain, print, or export the configuration',
    load: async () => (await import('./config.ts')).configCommand,
  },
  {
    name: 'table',
    description: 'make the table of records in DynamoDB',
    load: async () => (await import('./table.ts')).tableCommand,
  },
  {
    name: 'completion',
    description: 'print a script with which a shell completes commands and options',
    load: async () => (await import('./completion.ts')).completionCommand,
  },
];

const examples = `Examples:
  certstandby up                                        try it: a primary and a backup on this machine
  certstandby config check --config certstandby.yaml    every mistake in the configuration at once
  certstandby doctor --config certstandby.yaml          would it work: credentials, rights, channels, keys
  certstandby serve --config certstandby.yaml           run it

certstandby <command> --help says more, with examples.`;

/**
 * The command line as a whole, with the commands that are wanted; of the others it knows name and
 * description. Errors are thrown, not printed: `runCommandLine` does that.
 */
export async function commandLine(host: Host, wanted: (name: string) => boolean = () => true): Promise<Command> {
  const program = new Command('certstandby')
    .description('Keeps a second copy of every TLS certificate, private key included, alive in another region.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText('after', () => `\n${examples}\n\n${exitTable()}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      writeErr: (text) => void host.stderr.write(text),
      getOutHelpWidth: () => host.stdout.columns || 120,
      getErrHelpWidth: () => host.stderr.columns || 120,
    });
  hintAtHelp(program);
  for (const { name, description, load } of commandEntries) {
    const command = wanted(name) ? (await load())(host) : new Command(name).description(description);
    program.addCommand(command);
    inherit(program, command);
  }
  return program;
}

/** A command of a command has the settings of the whole too. */
function inherit(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent);
  if (command.commands.length > 0) command.helpCommand('help [command]', 'show the help of a command');
  hintAtHelp(command);
  for (const child of command.commands) inherit(command, child);
}

/** After a mistake: which help would have told. */
function hintAtHelp(command: Command): void {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name());
  command.showHelpAfterError(`(${names.join(' ')} --help shows what there is)`);
}

/**
 * Runs the command line with these arguments, prints what it throws, and sets the exit code. Never
 * rejects. A signal ends it, whatever it waits for.
 */
export async function runCommandLine(args: readonly string[], given: Host): Promise<void> {
  const host = onScreens(given);
  const [typed, asked] = args.filter((word) => !word.startsWith('-'));
  const named = typed === 'help' ? asked : typed;
  // Completion is about all of them.
  const program = await commandLine(host, (name) => name === named || named === 'completion');
  let options: OutputOptions = {};
  program.hook('preAction', (_, action) => {
    options = action.opts();
  });
  try {
    await untilInterrupted(host, () => program.parseAsync(args, { from: 'user' }));
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      if (thrown.code === 'usage') host.stderr.write(`${thrown.message}\n`);
      host.exitCode = thrown.exitCode === 0 ? 0 : usageExit;
      return;
    }
    const error = commandError(thrown);
    const json = options.json ?? false;
    for (const line of problemLines(error, { json, paint: paintFor(host.stderr) })) host.stderr.write(`${line}\n`);
    if (error.code === 'internal' && thrown instanceof Error) host.stderr.write(`${thrown.stack}\n`);
    host.exitCode = error.entry.exit;
  }
}

/**
 * A wait that was ended by a signal rejects with an error of Node's, whose cause is the reason that
 * `interrupted` gave.
 */
function commandError(thrown: unknown): CodedError {
  const { name, cause } = thrown instanceof Error ? thrown : {};
  return name === 'AbortError' && cause instanceof CodedError ? cause : asCodedError(thrown);
}
