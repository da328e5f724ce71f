import { Command } from 'commander';
import type { Program } from '../compose/program.ts';
import { keptBesideWords, keysNotProvenWords, linesOf } from '../findings/backup-words.ts';
import { forecastWords, quotaWords } from '../findings/quota-words.ts';
import { ago, destroyedSoonWords, type Finding, judgeStatus, silentListingWords } from '../findings/status-words.ts';
import type { Link } from '../replication/link.ts';
import type { LinkStatus } from '../replication/status.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { commandOutput, type Host, type Output } from './output/output.ts';
import { clean, count, duration } from './output/text.ts';
import { forLink, type LinkOptions, storeNames, withLinkOptions, withLinks } from './program.ts';

/** `certstandby status`. */
export function statusCommand(host: Host): Command {
  return withLinkOptions(new Command('status'))
    .description('say how every link stands: what is equal, what is behind, what is stuck and why')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby status\n  certstandby status --quiet || alert\n  certstandby status --json | jq .lag' +
        '\n\nTold from the records and the last verify; no store is asked.' +
        '\nExits 0 if all is good, 4 if a service is the trouble, 6 if certificates are. What was not looked at is not good.',
    )
    .action((options: LinkOptions) => showStatus(options, host));
}

async function showStatus(options: LinkOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  await withLinks(options, { output, host }, async (program, links) => {
    const exits: number[] = [];
    for (const link of links) exits.push(await forLink(link, output, () => showLink(program, link, output)));
    host.exitCode = Math.max(...exits);
  });
}

async function showLink(program: Program, link: Link, output: Output): Promise<number> {
  const nameOf = storeNames(program);
  const status = await program.status(link);
  const { wrong, near, good } = judgeStatus(status, program.config.worker.reconcileEveryMs, nameOf);
  const exit = Math.max(0, ...wrong.map((each) => each.exit));
  output.item({ ...status, good: wrong.length === 0, wrong: wrong.map(wordsIn), near: near.map(wordsIn), exit });
  const { paint } = output;
  const verdict = wrong.length === 0 ? paint.good('GOOD') : paint.bad('NOT GOOD');
  const say = wrong.length === 0 ? output.line : output.finding;
  say(`${paint.strong(link.name)}: ${verdict}${wrong.length === 0 ? `: ${good}` : ''}`);
  for (const { words } of [...wrong, ...near]) {
    const [first = '', ...more] = words.split('\n');
    output.finding(`  ${paint.bad('!')} ${first}`, ...more.map((line) => `    ${line}`));
  }
  for (const line of figures(status, nameOf)) output.line(`  ${line}`);
  return exit;
}

const wordsIn = ({ words }: Finding) => words;

/** The figures, a line each, whether they are good or not. */
function figures(status: LinkStatus, nameOf: (store: string) => string): readonly string[] {
  const { backups, lag, reconcile, nextExpiry, verify, drill, fullCopy, counts, circles, vanishedAccepted, now } =
    status;
  const lines = backups.map(({ store, equal, behind }) => `${nameOf(store)}: ${equal} equal, ${behind} behind`);
  for (const keys of status.keysNotProven ?? []) lines.push(keysNotProvenWords(keys, nameOf));
  for (const quota of status.quotas ?? []) {
    lines.push(`${nameOf(quota.store)}: ${quotaWords(quota)}`);
    if (quota.forecast !== undefined && status.renewals !== undefined)
      lines.push(`  ${forecastWords(quota.forecast, status.renewals, quota.perMs)}`);
  }
  for (const kept of status.keptBeside ?? []) {
    const [first, ...more] = linesOf(keptBesideWords(kept, now, nameOf));
    lines.push(first, ...more.map((line) => `  ${line}`));
  }
  if (lag !== undefined) {
    const { p50Ms, p99Ms, maxMs, of } = lag;
    lines.push(
      `lag: half within ${duration(p50Ms)}, 99 % within ${duration(p99Ms)}, the longest ${duration(maxMs)} (${count(of, 'change')} in 30 days)`,
    );
  }
  const { completedAt, tookMs = 0, running, unmarked = 0, passedOver = 0 } = reconcile;
  if (completedAt !== undefined) lines.push(`compared: ${ago(now, completedAt)}, in ${duration(tookMs)}`);
  if (running !== undefined)
    lines.push(
      `a reconcile is ${running.step} since ${ago(now, running.since)}, ${count(running.done, 'certificate')} far`,
    );
  if (verify !== undefined) {
    const states = Object.entries(verify.counts).map(([state, number]) => `${number} ${state}`);
    lines.push(`verified: ${ago(now, verify.completedAt)}: ${states.join(', ') || 'nothing was there'}`);
  } else lines.push('verified: never');
  if (drill !== undefined)
    lines.push(`drilled: ${ago(now, drill.completedAt)}: ${drill.served} of ${drill.kept} served`);
  else lines.push('drilled: never');
  if (nextExpiry !== undefined)
    lines.push(
      `next expiry: ${clean(nextExpiry.name)} in ${duration(nextExpiry.at - now)} (${new Date(nextExpiry.at).toISOString().slice(0, 10)})`,
    );
  if (vanishedAccepted !== undefined)
    lines.push(
      `accepted ${ago(now, vanishedAccepted.at)}: ${vanishedAccepted.gone} of ${count(vanishedAccepted.of, 'certificate')} gone from the primary`,
    );
  if (counts.gone > 0)
    lines.push(`${count(counts.gone, 'certificate')} gone from the primary; what copies there are stay`);
  if (circles > 0)
    lines.push(
      `links in a circle: ${count(circles, 'certificate')} came from a backup of this link, and get no copy there`,
    );
  if (unmarked > 0) lines.push(`not ours in the backups: ${count(unmarked, 'certificate')}`);
  if (passedOver > 0)
    lines.push(
      `passed over in the primary: ${count(passedOver, 'element')} that hold no certificate (certstandby reconcile names each)`,
    );
  for (const soon of status.destroyedSoon ?? []) lines.push(destroyedSoonWords(soon, now, nameOf));
  for (const silent of status.silentListings ?? []) lines.push(silentListingWords(silent, nameOf));
  if (fullCopy !== undefined)
    lines.push(`a copy of everything would take ${duration(fullCopy.ms)}, by the limit of ${nameOf(fullCopy.store)}`);
  return lines;
}
