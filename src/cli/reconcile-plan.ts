import type { Plan, PlanLine } from '../compose.ts';
import { CodedError, errorRegistry } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { printPassedOver } from './passed-over.ts';
import { type LinkRun, storeNames } from './program.ts';
import { clean, count } from './text.ts';
import { vanishedLines } from './vanished-words.ts';

/** Prints the plan of one link. Answers the exit code: 0 if nothing would be done. */
export async function printPlan(run: LinkRun, full = false): Promise<number> {
  const { program, link, output, signal } = run;
  const nameOf = storeNames(program);
  const tally = { lines: 0, people: 0 };
  const plan = await program.plan(link, {
    signal,
    full,
    line: (line) => {
      output.item({ link: link.name, ...line });
      if (line.outcome === 'nothing') return;
      tally.lines += 1;
      if (line.outcome === 'refuse' || line.outcome === 'unsure') tally.people += 1;
      for (const text of lineWords(line, nameOf)) output.finding(`  ${text}`);
      for (const remark of line.remarks ?? []) output.line(`  remark   ${clean(line.name)}: ${clean(remark)}`);
    },
  });
  const { comparison, digest, looks } = plan;
  const brake = program.brakeOf(link, plan);
  output.item({
    link: link.name,
    plan: digest,
    lines: tally.lines,
    looks,
    listed: comparison.listed,
    included: comparison.included,
    expired: comparison.expired,
    ...(brake === undefined ? {} : { brake }),
    ...(comparison.vanished === undefined ? {} : { vanished: comparison.vanished }),
  });
  output.line(
    `${link.name}: ${count(comparison.listed, 'certificate')} in the primary, ${comparison.included} included; ` +
      `${tally.lines === 0 ? 'nothing would be done' : `${count(tally.lines, 'certificate')} above`}`,
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
  return tally.lines + comparison.notRead.length > 0 || vanished !== undefined
    ? errorRegistry.certificate_expired.exit
    : 0;
}

/** The certificates of the plan with this digest, if that is still what would be done. Throws `reconcile_plan_changed`. */
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
      return line.backups.flatMap(({ store, writes, adopts, problem: failed }) => {
        const place = nameOf(store);
        const steps = writes.map((step) => `${stepWords(step)} in ${place}: ${about}`);
        if (adopts !== undefined) steps.unshift(`take     ${short(adopts)} in ${place} for the copy: ${about}`);
        if (failed !== undefined) steps.push(`try      ${place}: ${about} [${failed}]`);
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
