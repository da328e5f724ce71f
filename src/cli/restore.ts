import { Command } from 'commander';
import { asCodedError, CodedError, errorRegistry } from '../errors.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { RestoreResult } from '../replication/restore/restore.ts';
import type { RestoreLine, RestorePlan } from '../replication/restore/survey.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import type { Store } from '../store/store.ts';
import { writeIdMap } from './id-map-file.ts';
import { interrupted } from './interrupt.ts';
import { seconds } from './options.ts';
import { goingOnWords } from './output/operation-words.ts';
import { commandOutput, type Host } from './output/output.ts';
import { clean, count, duration, thousands } from './output/text.ts';
import { type LinkOptions, namesFit, storeNames, withLinkOptions, withLinks } from './program.ts';
import { type Run, reconcileLink, type Watch } from './reconcile.ts';

interface RestoreCommandOptions extends LinkOptions {
  readonly from?: string;
  readonly plan?: boolean;
  readonly replace?: boolean;
  readonly replaceOthers?: boolean;
  readonly retained?: boolean;
  readonly map?: string;
  /** Seconds. */
  readonly wait: number;
}

type Kind = 'restore' | 'failback';

const shown = 50;

/** `certstandby restore`. */
export function restoreCommand(host: Host): Command {
  return withMoveOptions(new Command('restore'))
    .description("bring a link's certificates out of a backup into a new primary, and point the link there")
    .argument('[names...]', 'only certificates with these names; * stands for anything')
    .option('--from <store>', 'the backup to read, by its name in the configuration (default: the first of the link)')
    .option('--replace', 'replace what the new primary holds under the same name, where both serve a domain in common')
    .option('--replace-others', 'replace it whatever domains it serves')
    .option('--retained', 'bring back certificates too that had been deleted from the old primary')
    .addHelpText(
      'after',
      '\nFirst name the new primary in the configuration: as the primary of the link. It may be empty, or hold some of it already; it may' +
        '\nbe the backup itself (--from names it too), which is the fastest way, as nothing has to be imported.' +
        '\n\nExamples:' +
        '\n  certstandby restore --link shop --plan                    what would be done, and how long it takes at the least' +
        "\n  certstandby restore 'shop*' --link shop                   the most important ones first" +
        '\n  certstandby restore --link shop --map ids.csv             all, and the old and new ids in a file' +
        `\n\n${goesOn}`,
    )
    .action((names: readonly string[], options: RestoreCommandOptions) => move('restore', names, options, host));
}

/** `certstandby failback`. */
export function failbackCommand(host: Host): Command {
  return withMoveOptions(new Command('failback'))
    .description('bring home what changed while another primary stood in, and point the link home')
    .argument('[names...]', 'only certificates with these names; * stands for anything')
    .option(
      '--from <store>',
      'the primary that stood in, by its name in the configuration (default: the one that the link has now)',
    )
    .addHelpText(
      'after',
      '\nFirst name the home primary in the configuration again: as the primary of the link. What it still holds goes back to its old id;' +
        '\nwhat was renewed meanwhile replaces the older version there, and what is new is imported.' +
        '\n\nExamples:' +
        '\n  certstandby failback --link shop --plan' +
        '\n  certstandby failback --link shop --from paris' +
        `\n\n${goesOn}`,
    )
    .action((names: readonly string[], options: RestoreCommandOptions) => move('failback', names, options, host));
}

const goesOn =
  'It can be stopped at any moment, and run again: it goes on where it stopped, and doubles nothing. At the end it reconciles, so that' +
  '\nevents work in the new direction at once. Exits 0 if everything was moved and is equal in every backup, 6 if not, and says which.';

function withMoveOptions(command: Command): Command {
  return withLinkOptions(command)
    .option('--plan', 'print what would be done, and change nothing')
    .option(
      '--map <file>',
      'write the old and new ids of all that was ever moved to this file, as CSV; rows that it holds are kept',
    )
    .option('--wait <seconds>', 'how long to wait for copies that have to be tried again', seconds, 30);
}

/** Thrown to leave it at the plan. */
class OnlyPlan extends Error {}

async function move(kind: Kind, names: readonly string[], options: RestoreCommandOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  const watch: Watch = { passed: () => {} };
  const observer = { passed: (report: PassReport) => watch.passed(report) };
  const act = options.plan === true ? undefined : actOf(kind, names, options);
  await withLinks(options, { output, host, observer, moving: true, act }, async (program, [link]) => {
    if (link === undefined) return;
    const run: Run = { program, link, output, signal, watch };
    const from = await sourceOf(kind, run, options.from);
    const bar = output.progress(`${link.name}: moving`);
    try {
      const result = await program.restore(link, {
        kind,
        from,
        wanted: namesFit(names),
        replace: options.replace === true || options.replaceOthers === true,
        replaceOthers: options.replaceOthers === true,
        retained: options.retained === true,
        signal,
        waiting: (milliseconds) =>
          output.line(
            `${link.name}: an earlier run was stopped; waiting ${duration(milliseconds)} until what it sent has taken effect`,
          ),
        async confirm(plan) {
          printPlan(run, plan, options.plan === true);
          if (options.plan === true) throw new OnlyPlan();
          // Before anything is moved: a path that cannot be written to is found now.
          await keepMap(run, options.map, false);
          bar.expect(plan.lines.filter(({ action }) => action !== 'held').length);
        },
        goesOn: (about) => output.line(goingOnWords(about, storeNames(program)(about.store))),
        moved(line, id) {
          bar.advance();
          output.item({ ...line, id });
        },
      });
      bar.end();
      await keepMap(run, options.map, true);
      const moved = printResult(run, result);
      const equal = await reconcileLink(run, { wait: options.wait });
      host.exitCode = Math.max(moved, equal);
    } catch (thrown) {
      if (thrown instanceof OnlyPlan) return;
      // What was moved by then has its new ids, and somebody waits for them.
      await keepMap(run, options.map, false).catch((problem) => output.problem(asCodedError(problem), link.name));
      throw thrown;
    } finally {
      bar.end();
    }
  });
}

/** What of the command is told in the audit trail. */
function actOf(kind: Kind, names: readonly string[], options: RestoreCommandOptions) {
  const { from, replace, replaceOthers, retained } = options;
  const said = { '<names>': names.length === 0 ? undefined : names, from, replace, retained };
  return { command: kind, options: { ...said, 'replace-others': replaceOthers } };
}

async function sourceOf(kind: Kind, { program, link }: Run, named: string | undefined): Promise<Store> {
  const { stores } = program;
  const given = named === undefined ? undefined : stores.get(named);
  if (given !== undefined) return given;
  const bound = kind === 'failback' ? await program.boundTo(link) : link.backups[0]?.id;
  const found = [...stores.values()].find(({ id }) => id === bound);
  if (named === undefined && found !== undefined) return found;
  const what =
    named === undefined ? `the store ${bound}, which link ${link.name} has as its primary now,` : `the store ${named}`;
  throw new CodedError('usage', `${what} is not in the configuration; there are: ${[...stores.keys()].join(', ')}`);
}

const actionWords = {
  import: 'to import',
  finish: 'to finish',
  present: 'there, equal or newer',
  replace: 'to replace an older version',
  held: 'held by another one of the name',
} as const;

function heldWords({ name, target, otherDomains, expired }: RestoreLine): string {
  const held = `${clean(name)}: ${actionWords.held}, ${clean(target ?? '')}, which stays`;
  if (expired) return `${held}: it is valid, and the copy has expired`;
  return otherDomains
    ? `${held}: the two serve no domain in common; --replace-others replaces it`
    : `${held}; --replace replaces it, where it is the only one of the name`;
}

function printPlan({ program, link, output }: Run, plan: RestorePlan, only: boolean): void {
  const nameOf = storeNames(program);
  const { lines, there, retained, requests, secondsAtLeast, notListed, notRead } = plan;
  const promoted = plan.from === plan.to;
  const sums = (Object.keys(actionWords) as (keyof typeof actionWords)[])
    .map((action) => [lines.filter((line) => line.action === action).length, action] as const)
    .filter(([number]) => number > 0)
    .map(
      ([number, action]) =>
        `${number} ${promoted && action === 'finish' ? 'to promote, where they are' : actionWords[action]}`,
    );
  const all = there > 0 ? [...sums, `${there} there already`] : sums;
  output.line(`${link.name}: from ${nameOf(plan.from)} into ${nameOf(plan.to)}: ${all.join(', ') || 'nothing to do'}`);
  const asked = [...requests]
    .filter(([, number]) => number > 0)
    .map(([store, number]) => `${nameOf(store)} ${thousands(number)}`);
  if (asked.length > 0)
    output.line(
      `  requests: ${asked.join(', ')}; ${secondsAtLeast > 0 ? `at least ${duration(secondsAtLeast * 1_000)} under the limits of the stores` : 'no limit is known'}`,
    );
  if (retained > 0)
    output.finding(
      `  ${count(retained, 'copy', 'copies')} of certificates that had been deleted stay out; --retained brings them too`,
    );
  for (const { store, error } of notListed) {
    output.finding(
      `  ${nameOf(store)} could not be listed: ${error.message} [${error.code}]\n    Its copies are not known as copies of the new primary; run this again when it can be.`,
    );
  }
  for (const { store, error } of notRead.slice(0, shown))
    output.finding(
      `  in ${nameOf(store)}: ${clean(error.message)} [${error.code}]; nobody knows whether it belongs to this link`,
    );
  for (const line of lines.filter(({ action }) => action === 'held').slice(0, shown))
    output.finding(`  ${heldWords(line)}`);
  output.item({
    ...plan,
    requests: Object.fromEntries(requests),
    notListed: notListed.map(({ store }) => store),
    notRead: notRead.map(({ store, place }) => ({ store, place })),
  });
  if (!only) return;
  output.table(
    ['CERTIFICATE', 'ACTION', 'OLD ID', 'NEW ID'].map((title) => ({ title })),
    lines.map(({ name, action, origin, target }) => [name, action, origin.certificate, target ?? '']),
  );
  output.line('Nothing was changed.');
}

/** Prints what came of it. Answers the exit code. */
function printResult(
  { program, link, output }: Run,
  { moved, failed, lines, to, notListed, notRead }: RestoreResult,
): number {
  for (const { name, error } of failed.slice(0, shown))
    output.finding(`  ${output.paint.bad(`${clean(name)} was not moved: ${clean(error.message)}`)} [${error.code}]`);
  if (failed.length > shown) output.finding(`  … and ${failed.length - shown} more; --json has them all`);
  const held = lines.filter(({ action }) => action === 'held').length;
  output.line(
    `${link.name}: ${count(moved.length, 'certificate')} moved; ${storeNames(program)(to)} is its primary now`,
  );
  output.item({
    link: link.name,
    moved: moved.length,
    held,
    failed: failed.map(({ name, error }) => ({ name, code: error.code, message: error.message })),
  });
  if (failed.length + held + notRead.length > 0) return errorRegistry.certificate_expired.exit;
  return notListed.length > 0 ? errorRegistry.store_unavailable.exit : 0;
}

/** Writes the map of the whole link, if one is wanted; of marks too if `marks`. */
async function keepMap({ program, link, output }: Run, path: string | undefined, marks: boolean): Promise<void> {
  if (path === undefined) return;
  const { rows, notListed } = await program.idMap(link, { marks });
  await writeIdMap(path, rows);
  for (const { store, error } of notListed) output.problem(error, storeNames(program)(store));
}
