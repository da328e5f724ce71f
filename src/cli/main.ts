import { Command, CommanderError, Option } from 'commander';
import { asCodedError, type CodedError } from '../errors.ts';
import { reconcileCommand } from './reconcile.ts';
import { upCommand } from './up.ts';

/** The exit code of a mistake in the command line itself. */
const usageExit = 2;

/** The command line: what each command is called, takes and does. Help is rendered from the same definitions. */
function commandLine(): Command {
  const config = () => new Option('-c, --config <file>', 'the configuration file').default('certstandby.yaml');
  const program = new Command('certstandby')
    .description('Keeps a second copy of every TLS certificate, private key included, alive in another region.')
    .version('0.1.0', '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .exitOverride()
    .showHelpAfterError('(certstandby --help shows what there is)');

  program
    .command('up')
    .description('bring up receiver and worker; without --config also a primary and a backup to try it on')
    .option('-c, --config <file>', 'run the links of this configuration instead of the embedded pair')
    .option('--once', 'make the sample certificates, show that all are in the backup, and stop', false)
    .option('--folder <path>', 'where the embedded pair keeps records, credentials and logs (default: .certstandby)')
    .option('--port <number>', 'first port to try; the next free ones are taken (default: 8471)', portNumber)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby up                              a primary and a backup on this machine, and a live table' +
        '\n  certstandby up --once                       the same as a self-test: exits 0 if every copy is equal' +
        '\n  certstandby up --config certstandby.yaml    your own stores',
    )
    .action(upCommand);

  program
    .command('reconcile')
    .description('compare both sides of each link, and bring the backups up to date')
    .addOption(config())
    .option('-l, --link <name>', 'only this link')
    .option('--wait <seconds>', 'how long to wait for copies that have to be tried again', seconds, 30)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby reconcile --config certstandby.yaml\n  certstandby reconcile --link shop --wait 120' +
        '\n\nExits 0 if every included certificate is equal in every backup, 6 if not, and says which and why.',
    )
    .action(reconcileCommand);
  return program;
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new CommanderError(usageExit, 'usage', `error: ${text} is not a port`);
  return port;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 86_400))
    throw new CommanderError(usageExit, 'usage', `error: ${text} is not a number of seconds`);
  return value;
}

/** What a person reads when a command fails: what was tried and found, and what to do. */
function describe(error: CodedError): string {
  return `certstandby: ${error.message}\n  ${error.entry.remedy} [${error.code}]\n`;
}

try {
  const program = commandLine();
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) {
    if (thrown.code === 'usage') process.stderr.write(`${thrown.message}\n`);
    process.exitCode = thrown.exitCode === 0 ? 0 : usageExit;
  } else {
    const error = asCodedError(thrown);
    process.stderr.write(describe(error));
    if (error.code === 'internal' && thrown instanceof Error) process.stderr.write(`${thrown.stack}\n`);
    process.exitCode = error.entry.exit;
  }
}
