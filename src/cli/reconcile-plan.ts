import { defined } from '../defined.ts';
import { CodedError, errorRegistry } from '../errors.ts';
import {
  type BackupWords,
  backupWords,
  keptBesideWords,
  keysNotProvenWords,
  linesOf,
} from '../findings/backup-words.ts';
import { vanishedLines } from '../findings/vanished-words.ts';
import type { BackupFindings } from '../replication/backup-findings.ts';
import type { Plan, PlanLine } from '../replication/reconcile/plan.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { cappedByCause } from './output/capped.ts';
import type { Output } from './output/output.ts';
import { printPassedOver } from './output/passed-over.ts';
import { clean, count } from './output/text.ts';
import { type LinkRun, storeNames } from './program.ts';

/**
 * Prints the plan of one link. Answers the exit code: 0 if nothing would be done, and nothing is
 * refused that was looked at before.
 */
export async function printPlan(run: LinkRun, full = false): Promise<number> {
  const { program, link, output, signal } = run;
  const nameOf = storeNames(program);
  const tally = { lines: 0, refused: 0 };
  const cap = cappedByCause<PlanLine>();
  const plan = await program.plan(link, {
    signal,
    full,
    line: (line) => {
      output.item({ link: link.name, ...line });
      if (line.outcome === 'nothing') return;
      const words = lineWords(line, nameOf);
      // What a backup would not take is told together, below.
      if (words.length === 0) tally.refused += 1;
      else tally.lines += 1;
      const isUndone = line.outcome === 'refuse' || line.outcome === 'unsure';
      const isShown = !isUndone || cap.shows(`${line.outcome} ${line.problem}`, line);
      if (isShown) for (const text of words) output.finding(`  ${text}`);
      for (const remark of line.remarks ?? []) output.line(`  remark   ${clean(line.name)}: ${clean(remark)}`);
    },
  });
  for (const { first, more } of cap.rest()) output.finding(`  ${moreWords(first, more)}`);
  const { comparison, digest, looks, findings, standing } = plan;
  const brake = program.brakeOf(link, plan);
  output.item({
    link: link.name,
    plan: digest,
    lines: tally.lines,
    refused: tally.refused,
    standing,
    findings,
    looks,
    listed: comparison.listed,
    included: comparison.included,
    expired: comparison.expired,
    ...defined({ brake }),
    ...(comparison.vanished === undefined ? {} : { vanished: comparison.vanished }),
  });
  output.line(
    `${link.name}: ${count(comparison.listed, 'certificate')} in the primary, ${comparison.included} included; ` +
      `${tally.lines === 0 ? 'nothing would be done' : `${count(tally.lines, 'certificate')} above`}`,
  );
  printBackups(output, findings, nameOf);
  if (standing > 0)
    output.finding(
      `  ${count(standing, 'certificate')} refused or failing since before: certstandby status names each`,
    );
  if (looks > 0) output.line(`  ${looks} more would be read in full, because it is their turn`);
  if (comparison.unmarked > 0)
    output.line(
      `  not ours in the backups, and not touched: ${count(comparison.unmarked, 'certificate')} (certstandby adopt takes one)`,
    );
  for (const { store, error } of comparison.notListed)
    output.finding(`  ${nameOf(store)} could not be compared: ${error.message} [${error.code}]`);
  const { vanished } = comparison;
  if (vanished !== undefined) output.finding(...vanishedLines(link.name, vanished, runtime.now()));
  printPassedOver(output, comparison.passedOver);
  for (const { error } of comparison.notRead) output.finding(`  ${clean(error.message)} [${error.code}]`);
  if (brake !== undefined) {
    const { changing, vanishing, allowed } = brake;
    output.finding(
      `  the brake would hold: ${changing} copies written over, ${vanishing} originals gone; ${allowed} are allowed without a person`,
    );
  }
  if (tally.lines > 0)
    output.line(
      `  to do exactly this: certstandby reconcile --link ${link.name} ${full ? '--full ' : ''}--apply ${digest}`,
    );
  if (comparison.notListed.length > 0) return errorRegistry.store_unavailable.exit;
  const { refusals = [] } = findings;
  const undone = tally.lines + tally.refused + standing + refusals.length + comparison.notRead.length;
  return undone > 0 || vanished !== undefined ? errorRegistry.certificate_expired.exit : 0;
}

/** How many more there are of a cause, of which this is the first, than were shown. */
function moreWords({ outcome, problem }: PlanLine, more: number): string {
  const start = outcome === 'refuse' ? 'refuse ' : 'try    ';
  return `${start}  … and ${count(more, 'certificate')} more [${problem}] (--json names each)`;
}

/** What the backups do not take, and what somebody has to see to there. */
function printBackups(output: Output, findings: BackupFindings, nameOf: (store: string) => string): void {
  const now = runtime.now();
  const indented = (found: BackupWords) => linesOf(found).map((line, index) => `${index === 0 ? '  ' : '    '}${line}`);
  for (const found of backupWords(findings, now, nameOf)) output.finding(...indented(found));
  for (const kept of findings.keptBeside ?? []) output.line(...indented(keptBesideWords(kept, now, nameOf)));
  for (const keys of findings.keysNotProven ?? []) output.line(`  ${keysNotProvenWords(keys, nameOf)}`);
}

/**
 * The certificates of the plan with this digest, if that is still what would be done. Throws
 * `reconcile_plan_changed`.
 */
export async function confirmPlan(
  { program, link, signal }: LinkRun,
  given: { readonly comparison: Plan['comparison']; readonly full: boolean | undefined },
  wanted: string,
): Promise<ReadonlySet<string>> {
  const certificates = new Set<string>();
  const { digest } = await program.plan(link, {
    signal,
    ...given,
    line: ({ certificate }) => certificates.add(certificate),
  });
  if (digest === wanted) return certificates;
  throw new CodedError(
    'reconcile_plan_changed',
    `the plan is ${digest} by now, and not ${wanted}: nothing was changed`,
    {
      fields: { link: link.name, plan: digest, wanted },
    },
  );
}

const short = (id: string) => (id.length > 12 ? `${id.slice(0, 12)}…` : id);

/** What one line says to a person: what would be done, to what, where, and why. */
function lineWords(line: PlanLine, nameOf: (store: string) => string): readonly string[] {
  const { name, certificate, outcome, reason, message, problem } = line;
  const about = `${clean(name)} (${short(certificate)}), ${reason.replaceAll('-', ' ')}`;
  switch (outcome) {
    case 'refuse':
      return [`refuse   ${about}: ${clean(message ?? '')} [${problem}]`];
    case 'unsure':
      return [`try      ${about}: ${clean(message ?? '')} [${problem}]`];
    case 'retain':
      return [`retain   ${about}: if a second look finds it gone too, its copies stay and say so`];
    default:
      return line.backups.flatMap(({ store, writes, adopts, problem: failed, refused }) => {
        const place = nameOf(store);
        const steps = writes.map((step) => `${stepWords(step)} in ${place}: ${about}`);
        if (adopts !== undefined) steps.unshift(`take     ${short(adopts)} in ${place} for the copy: ${about}`);
        if (failed !== undefined && refused === undefined) steps.push(`try      ${place}: ${about} [${failed}]`);
        return steps;
      });
  }
}

function stepWords(step: PlanLine['backups'][number]['writes'][number]): string {
  switch (step.write) {
    case 'import':
      return 'import   a new copy';
    case 'reimport':
      return `rewrite  ${short(step.copy)}`;
    case 'describe':
      return `rename   ${short(step.copy)} (name, description, mark)`;
    case 'remove':
      return `remove   ${short(step.copy)}`;
  }
}
