import { Argument, Command } from 'commander';
import { CodedError, errorRegistry } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { commandOutput, type Host } from './output/output.ts';
import { standingWords } from './output/standing-words.ts';
import { clean } from './output/text.ts';
import { type LinkOptions, onlyLink, storeNames, withLinkOptions, withLinks } from './program.ts';

interface AdoptOptions extends LinkOptions {
  readonly backup?: string;
  readonly of?: string;
  readonly replace?: boolean;
}

/** `certstandby adopt`. */
export function adoptCommand(host: Host): Command {
  return withLinkOptions(new Command('adopt'))
    .description('take a copy that somebody made by hand in a backup under management')
    .addArgument(new Argument('<copy>', 'the id of the copy in the backup'))
    .option('-b, --backup <store>', 'the backup that holds it, if the link has several')
    .option('--of <certificate>', 'the id of its original in the primary; found by its leaf if it is left out')
    .option('--replace', "write the primary's content over it if it differs")
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby adopt 5f0c2e… --link shop\n  certstandby adopt 5f0c2e… --of 77ab01… --replace' +
        '\n\nWhat is not ours is never touched, except by this command. The copy gets our mark and is kept equal from then on.' +
        '\nExits 0 if it is equal then, 6 if it was refused or is not equal yet.',
    )
    .action((copy: string, options: AdoptOptions) => adoptCopy(copy, options, host));
}

async function adoptCopy(copy: string, options: AdoptOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  await withLinks(options, { output, host }, async (program, links) => {
    const link = onlyLink(links);
    const nameOf = storeNames(program);
    const wanted = options.backup;
    const backups = link.backups.filter(({ id }) => wanted === undefined || nameOf(id) === wanted || id === wanted);
    const [store, ...others] = backups;
    if (store === undefined || others.length > 0) {
      const known = link.backups.map(({ id }) => nameOf(id)).join(', ');
      throw new CodedError('usage', `say which backup holds it with --backup: ${known}`);
    }
    const { of, replace = false } = options;
    const { certificate, name, differs } = await program.adopt(link, { store, copy, of, replace });
    await program.dispatch.idle();
    const record = await program.record(link, certificate);
    const standing = record && program.standing(link, record);
    const equal = standing?.kind === 'equal';
    output.item({ link: link.name, copy, certificate, name, differed: differs, equal, standing });
    output.line(`${copy} in ${nameOf(store.id)} is the copy of ${clean(name)} (${certificate}) from now on`);
    if (differs !== '') output.line(`  before that: ${clean(differs)}`);
    if (equal) output.line('  it is equal, and carries our mark');
    else for (const line of standing ? standingWords(standing, nameOf) : []) output.finding(`  ${clean(line)}`);
    host.exitCode = equal ? 0 : errorRegistry.adopt_refused.exit;
  });
}
