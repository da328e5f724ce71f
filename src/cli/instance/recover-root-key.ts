import { resolve } from 'node:path';
import { Command } from 'commander';
import { CodedError } from '../../errors.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { interrupted } from '../interrupt.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { readRecoveryText } from './check.ts';
import { type FolderOptions, folderOption, type InstanceSettings, readSettings, tableOf } from './folder.ts';

interface RecoverOptions extends OutputOptions, FolderOptions {
  readonly recovery: string;
  readonly to?: string;
}

/** `certstandby instance recover-root-key`. */
export function instanceRecoverRootKeyCommand(host: Host): Command {
  return withOutputOptions(new Command('recover-root-key'))
    .description('make a root key file again from its recovery text')
    .addOption(folderOption())
    .requiredOption('--recovery <file>', 'the file that holds the recovery text, - for standard input')
    .option('--to <file>', 'the root key file (default: the one that instances.json of the folder names)')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance recover-root-key --recovery -     type it in, then Ctrl-D' +
        '\n  certstandby instance recover-root-key --recovery - --to restored/keys/root.key     before instance restore' +
        '\n\nWhere the folder has instances, their data keys tell whether it is their root key. A file that is there and holds\nanother root key is not written over: move it away first.',
    )
    .action((options: RecoverOptions) => recover(options, host));
}

async function recover(options: RecoverOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const settings = readSettings(options.folder);
  const path = options.to ?? fileOf(options.folder, settings);
  const { recoverRootKey, rootKeyOfRecoveryText } = await import('../../compose/root-keys.ts');
  const { rootKeysThatOpen } = await import('../../compose/instances.ts');
  const text = await readRecoveryText(options.recovery, interrupted(host));
  try {
    const wanted = await rootKeyOfRecoveryText(text);
    const fitting = settings && (await rootKeysThatOpen(tableOf(options.folder, settings), runtime));
    if (fitting !== undefined && fitting.size > 0 && !fitting.has(wanted)) {
      throw new CodedError(
        'keys_recovery_text_wrong',
        `this is the recovery text of another root key (${wanted}); the data keys in ${options.folder} are wrapped by ${[...fitting].join(', ')}`,
      );
    }
    const rootKey = await recoverRootKey(path, text);
    output.item({ rootKey, path });
    output.line(`${path} holds ${rootKey} again`);
  } finally {
    text.wipe();
  }
}

/**
 * The only root key file that the settings name, from where one is. Throws `usage` if there is not
 * one.
 */
function fileOf(folder: string, settings: InstanceSettings | undefined): string {
  if (settings === undefined) {
    throw new CodedError(
      'usage',
      `there are no instances in ${folder} to compare the root key with: say with --to where its file is to be`,
    );
  }
  const [only, ...more] = settings.rootKeys.flatMap((text) => /^file:(.+)$/.exec(text)?.[1] ?? []);
  if (only !== undefined && more.length === 0) return resolve(folder, only);
  const found = only === undefined ? 'no root key file' : 'two root key files';
  throw new CodedError('usage', `instances.json in ${folder} names ${found}: say with --to which is to be made`);
}
