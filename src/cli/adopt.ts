import { Argument, Command } from 'commander';
import type { Program } from '../compose/program.ts';
import { asCodedError, CodedError, errorRegistry } from '../errors.ts';
import { standingWords } from '../findings/standing-words.ts';
import type { AdoptionLine, AdoptionPlan } from '../replication/adopt-all.ts';
import type { Link } from '../replication/link.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import type { Store } from '../store/store.ts';
import { interrupted } from './interrupt.ts';
import { commandOutput, type Host, type Output } from './output/output.ts';
import { clean, count } from './output/text.ts';
import { type LinkOptions, namesFit, onlyLink, storeNames, withLinkOptions, withLinks } from './program.ts';

interface AdoptOptions extends LinkOptions {
  readonly backup?: string;
  readonly of?: string;
  readonly replace?: boolean;
  readonly all?: boolean;
  readonly plan?: boolean;
}

/** `certstandby adopt`. */
export function adoptCommand(host: Host): Command {
  return withLinkOptions(new Command('adopt'))
    .description('take copies that somebody else made in a backup under management')
    .addArgument(
      new Argument('[copies...]', 'the id of the copy in the backup; with --all names of copies, * for anything'),
    )
    .option('-b, --backup <store>', 'the backup that holds it, if the link has several')
    .option('--of <certificate>', 'the id of its original in the primary; found by its leaf if it is left out')
    .option('--replace', "write the primary's content over it if it differs")
    .option('--all', 'everything there that carries no mark and is proven equal to a certificate of the primary')
    .option('--plan', 'with --all: print what would be done, and change nothing')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby adopt 5f0c2e… --link shop\n  certstandby adopt 5f0c2e… --of 77ab01… --replace' +
        '\n  certstandby adopt --all --plan --link shop          what other tools have copied there, and whether it is equal' +
        "\n  certstandby adopt --all 'shop*' --link shop" +
        '\n\nWhat is not ours is never touched, except by this command. The copy gets our mark and is kept equal from then on; stop the tool that' +
        '\nmade it first. With --all a copy that differs is left alone (unless --replace), and so is what the primary does not have.' +
        '\nExits 0 if all that was adopted is equal then, 6 if something was refused, differs or is not equal yet.',
    )
    .action((copies: readonly string[], options: AdoptOptions) => adopt(copies, options, host));
}

async function adopt(copies: readonly string[], options: AdoptOptions, host: Host): Promise<void> {
  const { all = false, plan = false, of } = options;
  const [copy, ...others] = copies;
  if (plan && !all) throw new CodedError('usage', '--plan is for --all');
  if (all && of !== undefined) throw new CodedError('usage', '--of is for one copy, and not for --all');
  if (!all && (copy === undefined || others.length > 0))
    throw new CodedError('usage', 'give the id of one copy, or --all');
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  const { backup, replace } = options;
  const act = { command: 'adopt', options: { '<copies>': copies, backup, of, replace, all: all || undefined } };
  await withLinks(options, { output, host, act: plan ? undefined : act }, async (program, links) => {
    const link = onlyLink(links);
    const store = backupOf(program, link, options.backup);
    if (all) await adoptAll(program, { link, store, copies, options, signal }, output, host);
    else await adoptCopy(program, { link, store, copy: copy ?? '', options }, output, host);
  });
}

function backupOf(program: Program, { backups }: Link, wanted: string | undefined): Store {
  const nameOf = storeNames(program);
  const found = backups.filter(({ id }) => wanted === undefined || nameOf(id) === wanted || id === wanted);
  const [store, ...others] = found;
  if (store !== undefined && others.length === 0) return store;
  const known = backups.map(({ id }) => nameOf(id)).join(', ');
  throw new CodedError('usage', `say which backup holds it with --backup: ${known}`);
}

async function adoptCopy(
  program: Program,
  given: { readonly link: Link; readonly store: Store; readonly copy: string; readonly options: AdoptOptions },
  output: Output,
  host: Host,
): Promise<void> {
  const { link, store, copy, options } = given;
  const nameOf = storeNames(program);
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
}

async function adoptAll(
  program: Program,
  given: {
    readonly link: Link;
    readonly store: Store;
    readonly copies: readonly string[];
    readonly options: AdoptOptions;
    readonly signal: AbortSignal;
  },
  output: Output,
  host: Host,
): Promise<void> {
  const { link, store, copies, options, signal } = given;
  const { plan: onlyPlan = false, replace = false } = options;
  const where = storeNames(program)(store.id);
  const bar = output.progress('proving');
  try {
    const { lines, notRead, known } = await program.planAdoptions(link, {
      store,
      fits: namesFit(copies),
      signal,
      listed: (total) => bar.expect(total),
      proven: () => bar.advance(),
    });
    bar.end();
    const isWanted = ({ action }: AdoptionLine) => action === 'adopt' || (replace && action === 'differs');
    for (const line of lines) tellLine(line, { link, isWanted: isWanted(line), onlyPlan }, output);
    const wanted = lines.filter(isWanted);
    const failures = onlyPlan ? [] : await carryOut(program, { link, store, wanted, known, replace, signal }, output);
    const number = (action: AdoptionLine['action']) => lines.filter((line) => line.action === action).length;
    const left = [
      [replace ? 0 : number('differs'), 'left as they are: they differ, see --replace'],
      [number('refused'), 'refused'],
      [number('stranger'), 'of no certificate of this primary'],
    ] as const;
    const words = left.filter(([some]) => some > 0).map(([some, what]) => `${some} ${what}`);
    const verb = onlyPlan ? 'would be adopted' : 'adopted';
    const done = onlyPlan ? wanted.length : wanted.length - failures.length;
    output.line(
      [`${where}: ${count(lines.length, 'copy', 'copies')} without our mark; ${done} ${verb}`, ...words].join('; '),
    );
    if (notRead > 0)
      output.finding(
        `  ${count(notRead, 'certificate')} of the primary cannot be read: copies of these count as of none`,
      );
    if (onlyPlan) output.line('  nothing was changed');
    const isWhole = failures.length === 0 && number('refused') === 0 && (replace || number('differs') === 0);
    output.item({
      link: link.name,
      backup: where,
      adopted: onlyPlan ? 0 : done,
      lines: lines.length,
      notRead,
      plan: onlyPlan,
    });
    host.exitCode = onlyPlan || isWhole ? 0 : errorRegistry.adopt_refused.exit;
  } finally {
    bar.end();
  }
}

/** Adopts what is wanted, one after another; answers those that are not equal at the end. */
async function carryOut(
  program: Program,
  given: {
    readonly link: Link;
    readonly store: Store;
    readonly wanted: readonly AdoptionLine[];
    readonly known: AdoptionPlan['known'];
    readonly replace: boolean;
    readonly signal: AbortSignal;
  },
  output: Output,
): Promise<readonly AdoptionLine[]> {
  const { link, store, wanted, known, replace, signal } = given;
  const failures: AdoptionLine[] = [];
  const bar = output.progress('adopting', wanted.length);
  try {
    for (const line of wanted) {
      signal.throwIfAborted();
      try {
        await program.adopt(link, { store, copy: line.copy, of: line.certificate, replace, known });
      } catch (thrown) {
        // One that is refused by now keeps no other from its turn.
        failures.push(line);
        output.finding(`  ${clean(line.copy)}: ${clean(asCodedError(thrown).message)}`);
      }
      bar.advance();
    }
    await program.dispatch.idle();
  } finally {
    bar.end();
  }
  const nameOf = storeNames(program);
  for (const line of wanted) {
    if (failures.includes(line) || line.certificate === undefined) continue;
    const record = await program.record(link, line.certificate);
    const standing = record && program.standing(link, record);
    if (standing?.kind === 'equal') continue;
    failures.push(line);
    const words = standing === undefined ? [] : standingWords(standing, nameOf);
    output.finding(`  ${clean(line.copy)} is not equal yet`, ...words.map((word) => `    ${clean(word)}`));
  }
  return failures;
}

function tellLine(
  line: AdoptionLine,
  { link, isWanted, onlyPlan }: { readonly link: Link; readonly isWanted: boolean; readonly onlyPlan: boolean },
  output: Output,
): void {
  const { copy, certificate, action, how } = line;
  output.item({ link: link.name, ...line });
  const of = certificate === undefined ? '' : ` as the copy of ${clean(certificate)}`;
  const why = how === '' ? '' : `: ${clean(how)}`;
  if (isWanted) output.line(`  ${onlyPlan ? 'adopt' : 'adopting'}  ${clean(copy)}${of}${why}`);
  else if (action === 'stranger') output.line(`  leave  ${clean(copy)}: the primary has no certificate with this leaf`);
  else output.finding(`  leave  ${clean(copy)}${of}${why}`);
}
