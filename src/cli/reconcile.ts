import { Command, InvalidArgumentError, Option } from 'commander';
import { asCodedError, CodedError, errorRegistry } from '../errors.ts';
import { heldLines } from '../findings/brake-words.ts';
import { standingWords } from '../findings/standing-words.ts';
import { vanishedLines } from '../findings/vanished-words.ts';
import type { Link } from '../replication/link.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { ReconcileReport } from '../replication/reconcile/reconcile.ts';
import { systemRuntime as runtime, unlessAborted } from '../runtime.ts';
import { interrupted } from './interrupt.ts';
import { oneByOne } from './one-by-one.ts';
import { seconds } from './options.ts';
import { cappedByCause } from './output/capped.ts';
import { commandOutput, type Host } from './output/output.ts';
import { printPassedOver } from './output/passed-over.ts';
import type { Progress } from './output/progress.ts';
import { clean, count, thousands } from './output/text.ts';
import { type LinkOptions, type LinkRun, onlyLink, storeNames, withLinkOptions, withLinks } from './program.ts';
import { confirmPlan, printPlan } from './reconcile-plan.ts';

interface ReconcileOptions extends LinkOptions {
  readonly plan?: boolean;
  /** Digest of a plan. */
  readonly apply?: string;
  readonly full?: boolean;
  readonly yesChange?: number;
  /** The id of a loss that status, or a reconcile, has told of. */
  readonly acceptVanished?: string;
  /** The id of what the brake keeps, of which status, or a reconcile, has told. */
  readonly acceptChanges?: string;
  /** Seconds. */
  readonly wait: number;
}

/** The exit code when a certificate is not equal in every backup. */
const notEqualExit = errorRegistry.certificate_expired.exit;
/** Problems that are printed; JSON has them all. */
const problemsShown = 50;

/** `certstandby reconcile`. */
export function reconcileCommand(host: Host): Command {
  return withLinkOptions(new Command('reconcile'))
    .description('compare both sides of each link, and bring the backups up to date')
    .option('--plan', 'print exactly what would be done, and change nothing')
    .addOption(new Option('--apply <plan>', 'do what --plan printed, if it still is the same').conflicts('plan'))
    .option('--full', 'read every certificate in full, and not only those whose turn it is')
    .option('--yes-change <number>', 'go on where the brake holds, if at most so many would change', wholeNumber)
    .addOption(
      new Option('--accept-vanished <loss>', 'say that what is gone from the primary is meant to be gone').conflicts([
        'plan',
        'apply',
      ]),
    )
    .addOption(
      new Option('--accept-changes <id>', 'say that what the brake keeps from being written is meant').conflicts([
        'plan',
        'apply',
      ]),
    )
    .option('--wait <seconds>', 'how long to wait for copies that have to be tried again', seconds, 30)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby reconcile --config certstandby.yaml\n  certstandby reconcile --link shop --plan' +
        '\n  certstandby reconcile --link shop --apply 4f1c0a9b2d3e5f60\n  certstandby reconcile --wait 120' +
        '\n\nExits 0 if every included certificate is equal in every backup, 6 if not, and says which and why; 6 too while all that' +
        '\nthe primary held, or more of it than the brake allows, is gone and nobody has said with --accept-vanished that it is meant.' +
        '\nIt can be stopped at any moment, and run again: it goes on where it stopped.',
    )
    .action((options: ReconcileOptions) => reconcileLinks(options, host));
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('not a whole number');
  return Number(text);
}

/** Compares both sides of each link, works off what differs, and says what is left and why. */
async function reconcileLinks(options: ReconcileOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  const watch: Watch = { passed: () => {} };
  const observer = { passed: (report: PassReport) => watch.passed(report) };
  await withLinks(options, { output, host, observer, act: actOf(options) }, async (program, links) => {
    const { apply, acceptVanished, acceptChanges } = options;
    if ([apply, acceptVanished, acceptChanges].some((given) => given !== undefined)) onlyLink(links);
    const exits: number[] = [];
    const nameOf = ({ name }: Link) => name;
    const failed = await oneByOne(links, nameOf, output, async (link) => {
      const run: Run = { program, link, output, signal, watch };
      exits.push(options.plan ? await printPlan(run, options.full) : await reconcileLink(run, options));
    });
    host.exitCode = Math.max(failed, ...exits);
  });
}

/** What of the command is told in the audit trail: a plan changes nothing. */
function actOf({ plan, apply, full, yesChange, acceptVanished, acceptChanges }: ReconcileOptions) {
  if (plan === true) return undefined;
  const said = { apply, full, 'yes-change': yesChange };
  const accepted = { 'accept-vanished': acceptVanished, 'accept-changes': acceptChanges };
  return { command: 'reconcile', options: { ...said, ...accepted } };
}

/** What is told of passes, while something watches them. */
export interface Watch {
  passed: (report: PassReport) => void;
}

export interface Run extends LinkRun {
  readonly watch: Watch;
}

/**
 * Reconciles one link and prints what came of it; a link that fails does not keep the others from
 * theirs. Answers its exit code.
 */
export async function reconcileLink(
  run: Run,
  options: Pick<ReconcileOptions, 'apply' | 'full' | 'yesChange' | 'acceptVanished' | 'acceptChanges' | 'wait'>,
): Promise<number> {
  const { program, link, output, signal } = run;
  const before = program.requests();
  try {
    const report = await compareAndAsk(run, options);
    describe(run, report);
    const asked = Object.values(report.asked).reduce((sum, number) => sum + number, 0);
    const problems = await settle(run, { asked, waitMs: options.wait * 1_000 });
    const notRead = await stillUnknown(run, report.notRead);
    return conclude(run, { ...report, notRead }, { problems, requests: program.requests() - before });
  } catch (thrown) {
    if (signal.aborted) throw stopped(link);
    const error = asCodedError(thrown);
    output.problem(error, link.name);
    output.item({ link: link.name, error: { code: error.code, message: error.message, ...error.fields } });
    return error.entry.exit;
  }
}

const stopped = (link: Link) =>
  new CodedError('interrupted', `the reconcile of ${link.name} was stopped; what it asked for is kept`, {
    fields: { link: link.name },
  });

async function compareAndAsk(
  run: Run,
  options: Pick<ReconcileOptions, 'apply' | 'full' | 'yesChange' | 'acceptVanished' | 'acceptChanges'>,
): Promise<ReconcileReport> {
  const { program, link, output, signal } = run;
  const bar = output.progress(`${link.name}: comparing`);
  let compared = 0;
  const { apply, yesChange, acceptVanished, acceptChanges, full } = options;
  try {
    return await program.reconcile(link, {
      signal,
      allowChanges: yesChange,
      acceptVanished,
      acceptChanges,
      full,
      progress: (step, done) => {
        if (step !== 'comparing') return;
        bar.advance(done - compared);
        compared = done;
      },
      ...(apply === undefined ? {} : { confirm: (comparison) => confirmPlan(run, { comparison, full }, apply) }),
    });
  } finally {
    bar.end();
  }
}

function describe({ program, link, output }: Run, report: ReconcileReport): void {
  const { listed, included, asked, unmarked, notListed, retained, passedOver } = report;
  const reasons = Object.entries(asked).map(([reason, count]) => `${count} ${reason.replaceAll('-', ' ')}`);
  output.line(
    `${link.name}: ${count(listed, 'certificate')} in the primary, ${included} included; ` +
      `${reasons.length === 0 ? 'nothing to look at' : `looked at: ${reasons.join(', ')}`}`,
  );
  if (unmarked > 0) output.line(`  not ours in the backups, and not touched: ${count(unmarked, 'certificate')}`);
  if (retained > 0)
    output.line(`  ${count(retained, 'copy', 'copies')} of certificates that are gone from the primary are kept`);
  printPassedOver(output, passedOver);
  const nameOf = storeNames(program);
  for (const { store, error } of notListed) {
    output.finding(
      `  ${nameOf(store)} could not be compared: ${clean(error.message)} [${error.code}]`,
      `    ${error.remedy}`,
    );
  }
}

interface Problem {
  readonly certificate: string;
  readonly name: string;
  readonly kind: string;
  readonly words: readonly string[];
  /** Where one backup does not take it: the code of that, and the backup. Many have the same. */
  readonly refused?: string;
}

/**
 * Works off what was asked for, and then waits, at most so long, while there is something that time
 * alone may mend. Answers the problems that are left.
 */
async function settle(
  run: Run,
  { asked, waitMs }: { readonly asked: number; readonly waitMs: number },
): Promise<readonly Problem[]> {
  const { program, link, output, signal, watch } = run;
  const bar: Progress | undefined = asked === 0 ? undefined : output.progress(`${link.name}: looking`, asked);
  let passes = 0;
  watch.passed = () => {
    passes += 1;
    if (passes <= asked) bar?.advance();
  };
  try {
    await unlessAborted(signal, program.dispatch.idle());
    // What was not handed over at once is due.
    for (let rounds = 0; (await program.wakeDue(link)) > 0 && rounds <= asked; rounds += 1)
      await unlessAborted(signal, program.dispatch.idle());
  } finally {
    bar?.end();
    watch.passed = () => {};
  }
  const until = runtime.now() + waitMs;
  let announced = false;
  for (;;) {
    const { problems, pending } = await problemsOf(run);
    if (!pending || runtime.now() >= until) return problems;
    if (!announced) output.line(`  waiting up to ${Math.ceil(waitMs / 1_000)} s for what has to be tried again`);
    announced = true;
    await runtime.wait(Math.min(500, Math.max(1, until - runtime.now())), signal);
    await program.wakeDue(link);
    await unlessAborted(signal, program.dispatch.idle());
  }
}

async function problemsOf({
  program,
  link,
}: Run): Promise<{ readonly problems: Problem[]; readonly pending: boolean }> {
  const nameOf = storeNames(program);
  const problems: Problem[] = [];
  let pending = false;
  // What cannot be understood was told of by the comparison.
  for await (const record of program.records(link, () => undefined)) {
    const standing = program.standing(link, record);
    const { kind } = standing;
    if (kind === 'equal' || kind === 'aside' || kind === 'gone') continue;
    // A refusal is looked at again by and by, but only a person mends it.
    pending ||= kind !== 'refused';
    const { certificate, primary } = record;
    const refused =
      standing.kind === 'refused' && standing.store !== undefined
        ? { refused: `${nameOf(standing.store)} [${standing.error.code}]` }
        : {};
    const words = standingWords(standing, nameOf);
    problems.push({ certificate, name: primary?.name ?? certificate, kind, words, ...refused });
  }
  return { problems, pending };
}

/**
 * What could not be read, without the copies that a pass has taken over meanwhile and written anew.
 */
async function stillUnknown({ program, link }: Run, notRead: ReconcileReport['notRead']): Promise<typeof notRead> {
  if (!notRead.some(({ store, id }) => id !== undefined && store !== link.primary.id)) return notRead;
  const known = new Set<string>();
  for await (const { backups } of program.records(link, () => undefined))
    for (const { store, id } of backups) if (id !== undefined) known.add(`${store} ${id}`);
  return notRead.filter(({ store, id }) => !known.has(`${store} ${id}`));
}

/** Prints what is left, and what it cost. Answers the exit code. */
function conclude(
  { link, output }: Run,
  report: ReconcileReport,
  end: { readonly problems: readonly Problem[]; readonly requests: number },
): number {
  const { problems, requests } = end;
  const cap = cappedByCause<Problem>();
  const shown = problems.filter((problem) => problem.refused === undefined || cap.shows(problem.refused, problem));
  for (const { name, certificate, words } of shown.slice(0, problemsShown)) {
    const [first = '', ...more] = words.map(clean);
    output.finding(`  ${clean(name)} (${certificate}): ${first}`, ...more.map((line) => `    ${line}`));
  }
  for (const { cause, more } of cap.rest())
    output.finding(
      `  … and ${more} more that are refused by ${cause}; certstandby status says until when copies serve`,
    );
  if (shown.length > problemsShown) output.finding(`  … and ${shown.length - problemsShown} more; --json has them all`);
  const { included, pages, notListed, notRead, vanished, held } = report;
  for (const { error } of notRead.slice(0, problemsShown))
    output.finding(`  ${clean(error.message)} [${error.code}]`, `    ${error.remedy}`);
  if (notRead.length > problemsShown)
    output.finding(`  … and ${notRead.length - problemsShown} more; --json has them all`);
  if (vanished !== undefined) output.finding(...vanishedLines(link.name, vanished, runtime.now()));
  if (held !== undefined) output.finding(...heldLines(link.name, held, runtime.now()));
  const everything = pages + included * (1 + link.backups.length);
  const saved = `; to download and import everything again would have taken ${thousands(everything)}`;
  output.line(`  ${count(requests, 'request')}${everything > requests ? saved : ''}`);
  const exit = exitOf(problems.length + notRead.length + (vanished === undefined ? 0 : 1), notListed.length);
  if (exit === 0 && included === 0) output.line('  there is nothing to copy');
  else if (exit === 0)
    output.line(
      `  every included certificate is equal in ${link.backups.length === 1 ? 'the backup' : 'every backup'}`,
    );
  const listedErrors = notListed.map(({ store, error }) => ({ store, code: error.code, message: error.message }));
  const readErrors = notRead.map(({ store, place, error }) => ({
    store,
    place,
    code: error.code,
    message: error.message,
  }));
  output.item({ ...report, notListed: listedErrors, notRead: readErrors, requests, everything, problems, exit });
  return exit;
}

function exitOf(problems: number, notListed: number): number {
  if (problems > 0) return notEqualExit;
  return notListed > 0 ? errorRegistry.store_unavailable.exit : 0;
}
