import { Command } from 'commander';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { type FolderOptions, folderOption, instanceOption, openFolder, pickInstance } from './folder.ts';

interface DeleteOptions extends OutputOptions, FolderOptions {
  readonly instance: string;
}

/** `certstandby instance delete`. */
export function instanceDeleteCommand(host: Host): Command {
  return withOutputOptions(new Command('delete'))
    .description('delete an instance: it answers as gone at once, and is erased after seven days')
    .addOption(folderOption())
    .addOption(instanceOption('this instance').makeOptionMandatory())
    .addHelpText(
      'after',
      '\nExample:\n  certstandby instance delete --instance <crn>' +
        '\n\nFor seven days nothing of it is lost, and certstandby instance reclaim brings it back. Then a running server, or the next' +
        '\ncommand on this folder, removes its snapshots, destroys its data keys, and with them all that they sealed, and removes its rows.' +
        '\nA copy of a snapshot that somebody carried elsewhere opens as long as a root key does: remove it too.',
    )
    .action((options: DeleteOptions) =>
      withInstances(options, host, async (instances, output) => {
        const { crn } = await pickInstance(instances, options.instance);
        const { deletedAt = 0 } = await instances.registry.delete(crn);
        const erasedOn = new Date(deletedAt + instances.reclaimMs).toISOString();
        output.item({ crn, deleted: new Date(deletedAt).toISOString(), erased: erasedOn });
        output.line(`deleted ${crn}`);
        output.line(`Until ${erasedOn}:  certstandby instance reclaim --folder ${options.folder} --instance ${crn}`);
      }),
    );
}

/** `certstandby instance reclaim`. */
export function instanceReclaimCommand(host: Host): Command {
  return withOutputOptions(new Command('reclaim'))
    .description('bring a deleted instance back, as it was, within seven days')
    .addOption(folderOption())
    .addOption(instanceOption('this instance').makeOptionMandatory())
    .addHelpText('after', '\nExample:\n  certstandby instance reclaim --instance <crn>')
    .action((options: DeleteOptions) =>
      withInstances(options, host, async (instances, output) => {
        const { crn } = await pickInstance(instances, options.instance);
        await instances.registry.reclaim(crn);
        output.item({ crn, reclaimed: true });
        output.line(`${crn} is back`);
      }),
    );
}

async function withInstances(
  options: DeleteOptions,
  host: Host,
  work: (instances: Awaited<ReturnType<typeof openFolder>>, output: Output) => Promise<void>,
): Promise<void> {
  const output = commandOutput(options, host);
  const instances = await openFolder(options.folder, host, output.log);
  try {
    await work(instances, output);
  } finally {
    await instances.close();
  }
}
