import { Command } from 'commander';
import { CodedError } from '../../errors.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { interrupted } from '../interrupt.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import type { Progress } from '../output/progress.ts';
import { count } from '../output/text.ts';
import { settingsOf } from './create.ts';
import {
  type FolderOptions,
  folderOption,
  type InstanceSettings,
  openFolder,
  readSettings,
  rootKeysOf,
  writeSettings,
} from './folder.ts';

interface RestoreOptions extends OutputOptions, FolderOptions {
  readonly rootKey?: readonly string[];
  readonly dynamodb?: string;
  readonly check: boolean;
}

/** `certstandby instance restore`. */
export function instanceRestoreCommand(host: Host): Command {
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
        '\nthe instance up within seconds. Ids, API keys, channels and the key that signs notifications are as they were.' +
        '\n\nWhat was revoked, removed or deleted after the snapshot is back, API keys too: revoke them again, with certstandby instance' +
        '\nkeys, before a server runs on the folder. And end the original first: a copy that runs beside it acts as the original, with the' +
        '\nsame signing key, API keys, channels and ACME account; it notifies, reminds, takes orders up and renews a second time.',
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
  const { checkSnapshotFile } = await import('../../compose/instances.ts');
  const needsRootKey = there === undefined && options.rootKey === undefined;
  // Without the table: a file that is refused, or only checked, leaves nothing in a new folder.
  const checked = await checkSnapshotFile(path, rootKeysOf(folder, settings, host), { runtime, log: output.log }).catch(
    (thrown: unknown) => {
      throw needsRootKey ? sayingRootKey(thrown, folder) : thrown;
    },
  );
  const { instance: crn, takenAt, certificates, rows, sha256 } = checked;
  const taken = new Date(takenAt).toISOString();
  output.line(`${path} is whole: ${count(certificates, 'certificate')} of ${crn}, as of ${taken}`);
  if (!options.check) {
    const progress = output.progress(crn, rows);
    try {
      await bringBack(path, { folder, settings, isNew: there === undefined }, { host, output, signal, progress });
    } finally {
      progress.end();
    }
    output.line(
      `API keys that were revoked after ${taken} are good again. Look, and revoke them, before it is served:`,
    );
    output.line(`  certstandby instance keys list --folder ${folder} --instance ${crn}`);
    output.line(`restored. Serve it with:  certstandby instance run --folder ${folder}`);
  }
  output.item({ crn, taken, certificates, sha256, restored: !options.check });
}

async function bringBack(
  path: string,
  {
    folder,
    settings,
    isNew,
  }: { readonly folder: string; readonly settings: InstanceSettings; readonly isNew: boolean },
  run: { readonly host: Host; readonly output: Output; readonly signal: AbortSignal; readonly progress: Progress },
): Promise<void> {
  const instances = await openFolder(folder, run.host, run.output.log, settings, { makeRootKeys: false });
  try {
    // Before the first row: a restore that is killed finds the same table again.
    if (isNew) writeSettings(folder, settings);
    await instances.restore({ path, signal: run.signal, progress: () => run.progress.advance() });
  } finally {
    await instances.close();
  }
}

/** A new folder has no root key of its own: what misses one says how to name it. */
function sayingRootKey(thrown: unknown, folder: string): unknown {
  if (!(thrown instanceof CodedError) || thrown.code !== 'keys_file_missing') return thrown;
  const message = `${folder} is new, and has no root key: name the one that opens the snapshot with --root-key file:<path>`;
  return new CodedError('keys_file_missing', message, { cause: thrown });
}
