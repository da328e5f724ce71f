import { Command } from 'commander';
import { CodedError } from '../../errors.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { interrupted } from '../interrupt.ts';
import { oneByOne } from '../one-by-one.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { count } from '../output/text.ts';
import {
  type FolderOptions,
  folderOption,
  instanceOption,
  openFolder,
  pickInstances,
  snapshotFolderOf,
} from './folder.ts';

interface SnapshotCommandOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
  readonly to?: string;
}

/** `certstandby instance snapshot`. */
export function instanceSnapshotCommand(host: Host): Command {
  return withOutputOptions(new Command('snapshot'))
    .description('write all of an instance to a sealed file, beside running servers')
    .addOption(folderOption())
    .addOption(instanceOption('only this instance (default: all)'))
    .option('--to <file>', 'the file (default: one in the folder of snapshots, named after instance and moment)')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance snapshot' +
        '\n  certstandby instance snapshot --instance <crn> --to /mnt/other-region/shop.snapshot' +
        '\n\nA running server takes one each day by itself, and keeps it for seven days; "snapshots": { "path": "...", "keepDays": 7 }' +
        '\nin instances.json says otherwise. Everything in it is sealed, and opens under the root keys of the instance alone: keep these' +
        '\nelsewhere. Notifications on their way are not in it.',
    )
    .action((options: SnapshotCommandOptions) => snapshot(options, host));
}

async function snapshot(options: SnapshotCommandOptions, host: Host): Promise<void> {
  const signal = interrupted(host);
  const output = commandOutput(options, host);
  const { folder, to } = options;
  const { snapshotPath } = await import('../../instance/upkeep/snapshot-folder.ts');
  const instances = await openFolder(folder, host, output.log);
  try {
    const picked = await pickInstances(await instances.registry.list(), options.instance);
    const there = picked.filter(({ deletedAt }) => deletedAt === undefined || options.instance !== undefined);
    if (to !== undefined && there.length !== 1) {
      throw new CodedError('usage', '--to takes one instance; say which with --instance');
    }
    let broken = false;
    const exit = await oneByOne(
      there,
      ({ crn }) => crn,
      output,
      async ({ crn }) => {
        const progress = output.progress(crn);
        try {
          const path = to ?? snapshotPath(snapshotFolderOf(folder), crn, runtime.now());
          const report = await instances.snapshot(crn, { path, signal, progress: () => progress.advance() });
          const { takenAt, certificates, rows, sha256, broken: damaged } = report;
          output.item({
            crn,
            path,
            taken: new Date(takenAt).toISOString(),
            certificates,
            rows,
            sha256,
            broken: damaged,
          });
          output.line(`${crn}: ${count(certificates, 'certificate')} in ${path}`);
          for (const id of damaged)
            output.finding(`${crn}: ${id} does not read, and is in it as it is; see instance check`);
          broken ||= damaged.length > 0;
        } finally {
          progress.end();
        }
      },
    );
    if (exit > 0 || broken) host.exitCode = Math.max(exit, broken ? 6 : 0);
  } finally {
    await instances.close();
  }
}
