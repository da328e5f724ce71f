import { join } from 'node:path';
import { Command } from 'commander';
import { readText } from './instance-check.ts';
import { type FolderOptions, folderOption } from './instance-folder.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output.ts';

interface RecoverOptions extends OutputOptions, FolderOptions {
  readonly recovery: string;
  readonly to?: string;
}

/** `certstandby instance recover-root-key`. */
export function instanceRecoverRootKeyCommand(host: Host = process): Command {
  return withOutputOptions(new Command('recover-root-key'))
    .description('make a root key file again from its recovery text')
    .addOption(folderOption())
    .requiredOption('--recovery <file>', 'the file that holds the recovery text, - for standard input')
    .option('--to <file>', 'the root key file (default: keys/root.key in the folder)')
    .addHelpText(
      'after',
      '\nExample:\n  certstandby instance recover-root-key --recovery -     type it in, then Ctrl-D' +
        '\n\nA file that is there and holds another root key is not written over.',
    )
    .action((options: RecoverOptions) => recover(options, host));
}

async function recover(options: RecoverOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const path = options.to ?? join(options.folder, 'keys', 'root.key');
  const { recoverRootKey } = await import('../compose.ts');
  const text = readText(options.recovery);
  try {
    const rootKey = await recoverRootKey(path, text);
    output.item({ rootKey, path });
    output.line(`${path} holds ${rootKey} again`);
  } finally {
    text.wipe();
  }
}
