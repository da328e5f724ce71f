import { Command } from 'commander';
import { CodedError } from '../errors.ts';
import { settingsOf } from './instance-create.ts';
import { type FolderOptions, folderOption, openFolder, readSettings, writeSettings } from './instance-folder.ts';
import { interrupted } from './interrupt.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output.ts';
import { count } from './text.ts';

interface RestoreOptions extends OutputOptions, FolderOptions {
  readonly rootKey?: readonly string[];
  readonly dynamodb?: string;
  readonly check: boolean;
}

/** `certstandby instance restore`. */
export function instanceRestoreCommand(host: Host = process): Command {
  return withOutputOptions(new Command('restore'))
    .description('bring an instance back from a snapshot, into a folder or a table that does not have it')
    .argument('<file>', 'as certstandby instance snapshot has written it')
    .addOption(folderOption())
    .option('--root-key <key...>', 'new folders: the root keys that open it, one or two, as for instance create')
    .option('--dynamodb <table@region>', 'new folders: keep everything in this table instead of in files')
    .option('--check', 'only say whether it is whole and opens', false)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance restore shop.snapshot --folder restored --root-key file:/media/usb/root.key' +
        '\n  certstandby instance restore shop.snapshot --check' +
        '\n\nThe file is read to its last byte, and checked, before anything is written. A root key is never made here: where its file is' +
        '\nlost, make it again from its recovery text; of two root keys one is enough. A running server of the folder takes' +
        '\nthe instance up within seconds. Ids, API keys, channels and the key that signs notifications are as they were.',
    )
    .action((file: string, options: RestoreOptions) => restore(file, options, host));
}

async function restore(path: string, options: RestoreOptions, host: Host): Promise<void> {
  const signal = interrupted(host);
  const output = commandOutput(options, host);
  const { folder } = options;
  const there = readSettings(folder);
  if (there !== undefined && (options.rootKey !== undefined || options.dynamodb !== undefined)) {
    throw new CodedError('usage', `${folder} has its table and root keys already; give another --folder`);
  }
  const settings = there ?? settingsOf(options);
  const instances = await openFolder(folder, host, output.log, settings, { makeRootKeys: false });
  try {
    const checked = await instances.checkSnapshot(path);
    const { instance: crn, takenAt, certificates, sha256 } = checked;
    const taken = new Date(takenAt).toISOString();
    output.line(`${path} is whole: ${count(certificates, 'certificate')} of ${crn}, as of ${taken}`);
    if (!options.check) {
      // Before the first row: a restore that is killed finds the same table again.
      if (there === undefined) writeSettings(folder, settings);
      const progress = output.progress(crn, checked.rows);
      try {
        await instances.restore({ path, signal, progress: () => progress.advance() });
      } finally {
        progress.end();
      }
      output.line(`restored. Serve it with:  certstandby instance run --folder ${folder}`);
    }
    output.item({ crn, taken, certificates, sha256, restored: !options.check });
  } finally {
    await instances.close();
  }
}
