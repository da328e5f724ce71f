import { Command, CommanderError } from 'commander';
import { asCodedError, type CodedError } from '../errors.ts';
import { usageExit } from './options.ts';
import { reconcileCommand } from './reconcile.ts';
import { upCommand } from './up.ts';

/** What there is, in the order of the help. One file per command, which says what it is called, takes and does. */
const commands = [upCommand, reconcileCommand];

function commandLine(): Command {
  const program = new Command('certstandby')
    .description('Keeps a second copy of every TLS certificate, private key included, alive in another region.')
    .version('0.1.0', '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .exitOverride()
    .showHelpAfterError('(certstandby --help shows what there is)');
  for (const command of commands) program.addCommand(command().copyInheritedSettings(program));
  return program;
}

/** What a person reads when a command fails: what was tried and found, and what to do. */
function describe(error: CodedError): string {
  return `certstandby: ${error.message}\n  ${error.entry.remedy} [${error.code}]\n`;
}

try {
  await commandLine().parseAsync();
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
