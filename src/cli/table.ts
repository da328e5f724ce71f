import { Command } from 'commander';
import { loadConfig } from '../config.ts';
import { CodedError } from '../errors.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output/output.ts';

interface TableOptions extends OutputOptions {
  readonly config: string;
}

/** `certstandby table create`. */
export function tableCommand(host: Host): Command {
  const table = new Command('table').description('make the table of records in DynamoDB');
  withOutputOptions(table.command('create'))
    .description('make the DynamoDB table that the configuration names, with its index and its time to live')
    .addOption(configOption())
    .addHelpText(
      'after',
      '\nExample:\n  certstandby table create --config certstandby.yaml' +
        '\n\nOn demand, and paid for by use; point-in-time recovery and deletion protection are yours to switch on. A table that is' +
        '\nthere stays as it is. A deployment to AWS makes its own. It takes the rights dynamodb:CreateTable, DescribeTable and' +
        '\nUpdateTimeToLive, which nothing else here wants: do it once, with credentials that have them.',
    )
    .action((options: TableOptions) => create(options, host));
  return table;
}

async function create(options: TableOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const { table } = loadConfig(options.config, host.env);
  if (table.kind !== 'dynamodb')
    throw new CodedError(
      'usage',
      `the records of ${options.config} are in ${table.kind}, for which nothing has to be made`,
    );
  const { createTable } = await import('../compose/tables.ts');
  const isNew = await createTable(table);
  const { name, region } = table;
  output.item({ table: name, region, isNew });
  output.line(
    isNew ? `table ${name} in ${region} is made` : `table ${name} in ${region} is there already, and stays as it is`,
  );
}
