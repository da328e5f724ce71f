import { Command } from 'commander';
import { CodedError } from '../../errors.ts';
import { interrupted } from '../interrupt.ts';
import { oneByOne } from '../one-by-one.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { count } from '../output/text.ts';
import { type FolderOptions, folderOption, instanceOption, openFolder, pickInstances } from './folder.ts';

interface RotateOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
  readonly resealOnly: boolean;
}

/** `certstandby instance rotate-data-key`. */
export function instanceRotateDataKeyCommand(host: Host): Command {
  return withOutputOptions(new Command('rotate-data-key'))
    .description('make a new data key, and seal everything anew with it, beside running servers')
    .addOption(folderOption())
    .addOption(instanceOption('only this instance (default: all)'))
    .option('--reseal-only', 'make no new data key; only seal anew what is not yet under the current one', false)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance rotate-data-key' +
        '\n  certstandby instance rotate-data-key --reseal-only     ten minutes later: what servers sealed meanwhile' +
        '\n\nA server that runs goes on sealing with the data key before for up to five minutes. Old data keys stay, wrapped,' +
        '\nso that copies of the table can be opened. It can be interrupted, and run again.',
    )
    .action((options: RotateOptions) => rotate(options, host));
}

async function rotate(options: RotateOptions, host: Host): Promise<void> {
  const signal = interrupted(host);
  const output = commandOutput(options, host);
  const instances = await openFolder(options.folder, host, output.log);
  let unreadableInAll = 0;
  try {
    const picked = await pickInstances(await instances.registry.list(), options.instance);
    const exit = await oneByOne(
      picked,
      ({ crn }) => crn,
      output,
      async ({ crn }) => {
        const keyring = instances.keyringOf(crn);
        const dataKey = options.resealOnly ? await keyring.currentDataKey() : await keyring.rotate();
        const progress = output.progress(crn);
        try {
          const report = await instances.upkeepOf(crn).reseal({ signal, progress: () => progress.advance() });
          const { resealed, unreadable } = report;
          output.item({ crn, dataKey, resealed, unreadable });
          output.line(`${crn}: data key ${dataKey}, ${count(resealed, 'value')} sealed anew`);
          for (const id of unreadable) output.finding(`${crn}: certificate ${id} does not open, and stays as it is`);
          unreadableInAll += unreadable.length;
        } finally {
          progress.end();
        }
      },
    );
    if (exit > 0) host.exitCode = exit;
  } finally {
    await instances.close();
  }
  if (unreadableInAll > 0) {
    throw new CodedError('instance_content_unreadable', `${count(unreadableInAll, 'sealed value')} did not open`);
  }
}
