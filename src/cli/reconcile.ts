import { Command } from 'commander';
import { compose, type Program } from '../compose.ts';
import { loadConfig } from '../config.ts';
import { asCodedError, CodedError, errorRegistry } from '../errors.ts';
import { jsonLog } from '../log.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { configOption, seconds } from './options.ts';

interface ReconcileOptions {
  readonly config: string;
  readonly link?: string;
  /** Seconds. */
  readonly wait: number;
}

/** The exit code when a certificate is not equal in every backup. */
const notEqualExit = errorRegistry.certificate_expired.exit;

/** `certstandby reconcile`. */
export function reconcileCommand(): Command {
  return new Command('reconcile')
    .description('compare both sides of each link, and bring the backups up to date')
    .addOption(configOption())
    .option('-l, --link <name>', 'only this link')
    .option('--wait <seconds>', 'how long to wait for copies that have to be tried again', seconds, 30)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby reconcile --config certstandby.yaml\n  certstandby reconcile --link shop --wait 120' +
        '\n\nExits 0 if every included certificate is equal in every backup, 6 if not, and says which and why.',
    )
    .action(reconcileLinks);
}

/** Compares both sides of each link, works off what differs, and says what is left and why. */
async function reconcileLinks(options: ReconcileOptions): Promise<void> {
  const log = jsonLog({ least: 'error', now: runtime.now, write: (line) => process.stderr.write(line) });
  const program = await compose(loadConfig(options.config, process.env), { runtime, log });
  try {
    const links = program.links.filter(({ name }) => options.link === undefined || name === options.link);
    if (links.length === 0) {
      const known = program.links.map(({ name }) => name).join(', ');
      throw new CodedError('usage', `there is no link ${options.link}; the configuration has ${known}`);
    }
    const exits: number[] = [];
    for (const link of links) exits.push(await reconcileLink(program, link, options.wait * 1_000));
    process.exitCode = Math.max(...exits);
  } finally {
    await program.close();
  }
}

/** Reconciles one link and prints what came of it; a link that fails does not keep the others from theirs. Answers its exit code. */
async function reconcileLink(program: Program, link: Link, waitMs: number): Promise<number> {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  try {
    const { listed, included, asked, unmarked, notListed } = await program.reconcile(link);
    const reasons = Object.entries(asked).map(([reason, count]) => `${count} ${reason.replaceAll('-', ' ')}`);
    print(
      `${link.name}: ${listed} certificates in the primary, ${included} included; ` +
        `${reasons.length === 0 ? 'nothing to look at' : `looked at: ${reasons.join(', ')}`}`,
    );
    if (unmarked > 0) print(`  ${unmarked} certificates in the backups are not ours and were not touched`);
    for (const { store, error } of notListed) {
      print(`  ${store} could not be compared: ${error.message} [${error.code}]\n    ${error.entry.remedy}`);
    }
    const problems = await settle(program, link, waitMs);
    for (const problem of problems) print(`  ${problem}`);
    if (problems.length > 0) return notEqualExit;
    if (notListed.length > 0) return errorRegistry.store_unavailable.exit;
    print(`  every included certificate is equal in ${link.backups.length === 1 ? 'the backup' : 'every backup'}`);
    return 0;
  } catch (thrown) {
    const error = asCodedError(thrown);
    process.stderr.write(`certstandby: ${link.name}: ${error.message}\n  ${error.entry.remedy} [${error.code}]\n`);
    return error.entry.exit;
  }
}

/** Waits, at most so long, while there is something that time alone may mend. Answers the problems that are left, as lines. */
async function settle(program: Program, link: Link, waitMs: number): Promise<readonly string[]> {
  const until = runtime.now() + waitMs;
  let announced = false;
  for (;;) {
    await program.dispatch.idle();
    const problems: string[] = [];
    let pending = false;
    for await (const record of program.records(link)) {
      const found = problemsOf(record, link);
      problems.push(...found);
      // A refusal is looked at again by and by, but only a person mends it.
      pending ||= found.length > 0 && record.refusal === undefined && record.aside === undefined;
    }
    if (!pending || runtime.now() >= until) return problems;
    if (!announced)
      process.stdout.write(`  waiting up to ${Math.ceil(waitMs / 1_000)} s for what has to be tried again\n`);
    announced = true;
    await runtime.wait(250);
  }
}

/** What a person has to know of a certificate that is not equal in every backup; nothing if it is, or is not to be. */
function problemsOf(record: ReplicationRecord, link: Link): string[] {
  const { primary, aside, refusal } = record;
  const about = `${primary?.name ?? record.certificate} (${record.certificate})`;
  const describe = (error: ReplicationRecord['lastError'], otherwise: string) =>
    error === undefined
      ? `${about}: ${otherwise}`
      : `${about}: ${error.message} [${error.code}]\n    ${errorRegistry[error.code].remedy}`;
  if (record.absentSince !== undefined || aside === 'excluded' || aside === 'marked') return [];
  if (aside === 'keyless') return [`${about}: not copied, it has no private key`];
  if (refusal !== undefined || primary === undefined || record.lastError !== undefined) {
    return [describe(record.lastError, 'still to be looked at')];
  }
  const behind = link.backups.flatMap(({ id: store }) => {
    const state = record.backups.find((backup) => backup.store === store);
    const equal = state?.id !== undefined && state.fingerprint === primary.fingerprint && state.lastError === undefined;
    if (equal) return [];
    const later = record.wakeAt === undefined ? '' : `; looked at again at ${new Date(record.wakeAt).toISOString()}`;
    return [describe(state?.lastError, `not yet known to be in ${store}${later}`)];
  });
  if (behind.length > 0) return behind;
  return record.requested > record.replicated ? [`${about}: still to be looked at`] : [];
}
