import { Command } from 'commander';
import { asCodedError, CodedError, errorRegistry, remedyOf } from '../errors.ts';
import { day } from '../findings/backup-words.ts';
import { vanishedLines } from '../findings/vanished-words.ts';
import type { VerifyFinding, VerifyReport } from '../replication/verify.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { interrupted } from './interrupt.ts';
import { cappedByCause } from './output/capped.ts';
import { commandOutput, type Host } from './output/output.ts';
import { clean, count, duration } from './output/text.ts';
import { type LinkOptions, type LinkRun, storeNames, withLinkOptions, withLinks } from './program.ts';

/** `certstandby verify`. */
export function verifyCommand(host: Host): Command {
  return withLinkOptions(new Command('verify'))
    .description('read both sides back in full, and prove that every copy equals its original and would serve')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby verify --config certstandby.yaml\n  certstandby verify --quiet || alert' +
        '\n  certstandby verify --json | jq \'select(.state != "same")\'' +
        '\n\nSays of each copy: same, older, different, missing, extra, unreadable, vacant, would-not-serve. Changes nothing.' +
        '\nA remark tells of a chain that serves and holds more than clients need, such as an expired cross certificate.' +
        '\nExits 0 if every copy is the same, 6 if not, or if the primary lost what it had, 4 if a backup could not be listed.',
    )
    .action((options: LinkOptions) => verifyLinks(options, host));
}

async function verifyLinks(options: LinkOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  await withLinks(options, { output, host }, async (program, links) => {
    const exits: number[] = [];
    for (const link of links) exits.push(await verifyLink({ program, link, output, signal }));
    host.exitCode = Math.max(...exits);
  });
}

async function verifyLink(run: LinkRun): Promise<number> {
  const { program, link, output, signal } = run;
  const nameOf = storeNames(program);
  const refused = refusedCopies();
  const bar = output.progress(`${link.name}: reading`);
  let read = 0;
  try {
    const report = await program.verify(link, {
      signal,
      progress: (certificates) => {
        bar.advance(certificates - read);
        read = certificates;
      },
      finding: (finding) => {
        output.item({ link: link.name, ...finding });
        for (const remark of finding.remarks ?? [])
          output.line(`  ${output.paint.faint(`${'remark'.padEnd(15)} ${clean(finding.name)}: ${clean(remark)}`)}`);
        if (finding.state === 'same') return;
        if (!refused.shows(finding)) return;
        const text = findingWords(finding, nameOf);
        if (finding.problem) output.finding(`  ${output.paint.bad(text)}`);
        else output.line(`  ${output.paint.faint(text)}`);
      },
    });
    bar.end();
    for (const line of refused.rest(nameOf)) output.finding(`  ${output.paint.bad(line)}`);
    return conclude(run, report);
  } catch (thrown) {
    if (signal.aborted) {
      throw new CodedError(
        'interrupted',
        `the verify of ${link.name} was stopped after ${read} certificates; nothing is kept of it`,
      );
    }
    const error = asCodedError(thrown);
    output.problem(error, link.name);
    output.item({ link: link.name, error: { code: error.code, message: error.message } });
    return error.entry.exit;
  } finally {
    bar.end();
  }
}

function findingWords(finding: VerifyFinding, nameOf: (id: string) => string): string {
  const { state, name, copy, store, how, refused, stops } = finding;
  const where = copy === undefined ? nameOf(store) : `${nameOf(store)} ${copy}`;
  const until = stops === undefined ? '' : `; it stops serving on ${day(stops)}`;
  return `${state.padEnd(15)} ${clean(name)} (${where}): ${clean(how)}${until}${refusedWords(refused)}`;
}

function refusedWords(refused: VerifyFinding['refused']): string {
  if (refused === undefined) return '';
  const { code, message, since, until } = refused;
  const ends = until === undefined ? '' : `, until ${day(until)}`;
  return `; refused there since ${day(since)}${ends}: ${clean(message)} [${code}]`;
}

/**
 * Keeps copies that one backup does not take from hiding the others, and tells when the first that
 * is not shown stops serving.
 */
function refusedCopies() {
  const cap = cappedByCause<VerifyFinding>();
  const stopsOf = new Map<string, number>();
  return {
    /** Whether this finding is shown by itself. */
    shows(finding: VerifyFinding): boolean {
      const { store, refused, stops = Number.POSITIVE_INFINITY } = finding;
      if (refused === undefined) return true;
      const cause = `${store} ${refused.code}`;
      if (cap.shows(cause, finding)) return true;
      stopsOf.set(cause, Math.min(stopsOf.get(cause) ?? stops, stops));
      return false;
    },
    rest: (nameOf: (id: string) => string) =>
      cap.rest().map(({ cause, first: { store, refused }, more }) => {
        const stops = stopsOf.get(cause) ?? Number.POSITIVE_INFINITY;
        const soonest = Number.isFinite(stops) ? `; the first of them stops serving on ${day(stops)}` : '';
        return `… and ${count(more, 'copy', 'copies')} more in ${nameOf(store)} [${refused?.code}]${soonest}`;
      }),
  };
}

function conclude({ program, link, output }: LinkRun, report: VerifyReport): number {
  const { certificates, counts, problems, withoutKeys, reshaped = 0, notListed, passedOver, vanished } = report;
  const { startedAt, completedAt } = report;
  const nameOf = storeNames(program);
  const states = Object.entries(counts).map(([state, number]) => `${number} ${state}`);
  const words = `${link.name}: ${count(certificates, 'certificate')} read back in ${duration(completedAt - startedAt)}`;
  const say = problems > 0 ? output.finding : output.line;
  say(`${words}; ${states.length === 0 ? 'there was nothing to compare' : states.join(', ')}`);
  if (withoutKeys > 0)
    output.line(
      `  ${count(withoutKeys, 'copy', 'copies')} compared without the private key, which the service does not give back`,
    );
  if (reshaped > 0)
    output.line(
      `  ${count(reshaped, 'copy is', 'copies are')} the same as the service keeps it: it completes chains, or puts them in another order`,
    );
  const { vacant = 0 } = counts;
  if (vacant > 0)
    say(
      `  ${count(vacant, 'place')} of ours without content [store_copy_vacant]`,
      `    ${remedyOf('store_copy_vacant')}`,
    );
  for (const { store, error } of notListed)
    output.finding(
      `  ${nameOf(store)} could not be listed: ${clean(error.message)} [${error.code}]`,
      `    ${error.remedy}`,
    );
  if (passedOver > 0)
    output.line(
      `  passed over in the primary, as no certificates: ${count(passedOver, 'element')} (certstandby reconcile names them)`,
    );
  if (vanished !== undefined) output.finding(...vanishedLines(link.name, vanished, completedAt));
  else if (problems === 0 && certificates > 0)
    output.line(`  ${output.paint.good('every copy is the same as its original, and would serve')}`);
  const exit = exitOf(report);
  output.item({
    ...report,
    notListed: notListed.map(({ store, error }) => ({ store, code: error.code, message: error.message })),
    exit,
  });
  return exit;
}

function exitOf({ problems, notListed, vanished }: VerifyReport): number {
  if (notListed.length > 0) return errorRegistry.store_unavailable.exit;
  return problems > 0 || vanished !== undefined ? errorRegistry.certificate_expired.exit : 0;
}
