import { Command } from 'commander';
import { oneByOne } from '../one-by-one.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { type FolderOptions, folderOption, openFolder } from './folder.ts';

/** `certstandby instance list`. */
export function instanceListCommand(host: Host): Command {
  return withOutputOptions(new Command('list'))
    .description('the instances of a folder')
    .addOption(folderOption())
    .addHelpText('after', '\nExample:\n  certstandby instance list --json | jq -r .crn')
    .action(async (options: OutputOptions & FolderOptions) => {
      const output = commandOutput(options, host);
      const instances = await openFolder(options.folder, host, output.log);
      try {
        const rows: string[][] = [];
        const all = await instances.registry.list();
        const nameOf = ({ crn }: (typeof all)[number]) => crn;
        const exit = await oneByOne(all, nameOf, output, async ({ crn, createdAt, limits, deletedAt }) => {
          const apiKeys = (await instances.registry.keys(crn)).length;
          const created = new Date(createdAt).toISOString();
          const deleted = deletedAt === undefined ? undefined : new Date(deletedAt).toISOString();
          output.item({ crn, created, limits, apiKeys, deleted });
          const state = deleted === undefined ? 'there' : `deleted on ${deleted.slice(0, 10)}`;
          const theirs = limits === 'none' ? 'none' : "Certificate Manager's";
          rows.push([crn, created.slice(0, 10), String(apiKeys), theirs, state]);
        });
        if (exit > 0) host.exitCode = exit;
        output.table(
          [
            { title: 'INSTANCE' },
            { title: 'MADE' },
            { title: 'API KEYS', right: true },
            { title: 'LIMITS' },
            { title: 'STATE' },
          ],
          rows,
        );
      } finally {
        await instances.close();
      }
    });
}
