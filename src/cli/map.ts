import { Command } from 'commander';
import { errorRegistry } from '../errors.ts';
import { publicIdOf } from '../ibm-cloud/crn.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { idMapLines, writeIdMap } from './id-map-file.ts';
import { interrupted } from './interrupt.ts';
import { commandOutput, type Host } from './output/output.ts';
import { count } from './output/text.ts';
import { type LinkOptions, withLinkOptions, withLinks } from './program.ts';

interface MapOptions extends LinkOptions {
  readonly to?: string;
}

/** `certstandby map`. */
export function mapCommand(host: Host): Command {
  return withLinkOptions(new Command('map'))
    .description('print the old and new ids of the certificates that a restore or failback moved, as CSV')
    .option('--to <file>', 'write them to this file; rows of a map that stands there are kept')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby map --link shop > ids.csv\n  certstandby map --link shop --to ids.csv\n  certstandby map --link shop --json' +
        '\n\nIt knows what the table does, whoever moved them and when, and what the marks in the stores tell: moves that are not finished, and' +
        '\ncertificates of which a backup still says what they were called. A move that is finished is written down in the table alone: keep it,' +
        '\nor the file. Changes nothing. Exits 0, or 4 if a store could not be listed: then what only its marks tell is missing.',
    )
    .action((options: MapOptions) => printMap(options, host));
}

async function printMap(options: MapOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  await withLinks(options, { output, host, moving: true }, async (program, [link]) => {
    if (link === undefined) return;
    // The same lines as in a file: stores by their ids.
    output.reword((text) => text);
    const { rows, notListed } = await program.idMap(link, { marks: true, signal });
    const idOf = ({ store, certificate }: (typeof rows)[number]['now']) => ({
      store,
      id: publicIdOf(store, certificate),
    });
    for (const { name, before, now } of rows) output.item({ name, before: idOf(before), now: idOf(now) });
    if (options.to !== undefined) {
      await writeIdMap(options.to, rows);
      output.line(`${link.name}: ${count(rows.length, 'certificate')} in ${options.to}`);
    } else output.line(...idMapLines(rows).map((line) => line.trimEnd()));
    for (const { store, error } of notListed) output.problem(error, store);
    host.exitCode = notListed.length === 0 ? 0 : errorRegistry.store_unavailable.exit;
  });
}
