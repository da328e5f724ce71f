import { compose, type Program } from '../compose.ts';
import { loadConfig } from '../config.ts';
import { CodedError, errorRegistry } from '../errors.ts';
import { jsonLog } from '../log.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import { systemRuntime as runtime } from '../runtime.ts';

export interface ReconcileOptions {
  readonly config: string;
  readonly link?: string;
  /** Seconds. */
  readonly wait: number;
}

/** `certstandby reconcile`: compares both sides of each link, works off what differs, and says what is left and why. */
export async function reconcileCommand(options: ReconcileOptions): Promise<void> {
  const log = jsonLog({ least: 'error', now: runtime.now, write: (line) => process.stderr.write(line) });
  const program = await compose(loadConfig(options.config, process.env), { runtime, log });
  try {
    const links = program.links.filter(({ name }) => options.link === undefined || name === options.link);
    if (links.length === 0) {
      const known = program.links.map(({ name }) => name).join(', ');
      throw new CodedError('usage', `there is no link ${options.link}; the configuration has ${known}`);
    }
    let left = 0;
    for (const link of links) left += await reconcileLink(program, link, options.wait * 1_000);
    if (left > 0) process.exitCode = errorRegistry.certificate_expired.exit;
  } finally {
    await program.close();
  }
}

/** Reconciles one link and prints what came of it. Answers how many certificates are not equal everywhere. */
async function reconcileLink(program: Program, link: Link, waitMs: number): Promise<number> {
  const report = await program.reconcile(link);
  const asked = Object.entries(report.asked);
  const reasons = asked.map(([reason, count]) => `${count} ${reason.replaceAll('-', ' ')}`).join(', ');
  process.stdout.write(
    `${link.name}: ${report.listed} certificates in the primary, ${report.included} included; ` +
      `${reasons === '' ? 'nothing to look at' : `looked at: ${reasons}`}\n`,
  );
  if (report.unmarked > 0) {
    process.stdout.write(`  ${report.unmarked} certificates in the backups are not ours and were not touched\n`);
  }
  const left = await settle(program, link, waitMs);
  for (const problem of left) process.stdout.write(`  ${problem}\n`);
  if (left.length === 0)
    process.stdout.write(
      `  every included certificate is equal in ${link.backups.length === 1 ? 'the backup' : 'every backup'}\n`,
    );
  return left.length;
}

/** Waits until nothing is pending that time alone would mend, at most so long. Answers the problems that are left, as lines. */
async function settle(program: Program, link: Link, waitMs: number): Promise<readonly string[]> {
  const until = runtime.now() + waitMs;
  for (;;) {
    await program.dispatch.idle();
    const problems: string[] = [];
    let pending = false;
    for await (const record of program.records(link)) {
      pending ||= isPending(record);
      problems.push(...problemsOf(record));
    }
    if (!pending || runtime.now() >= until) return problems;
    await runtime.wait(250);
  }
}

function isPending(record: ReplicationRecord): boolean {
  return record.requested > record.replicated || (record.wakeAt !== undefined && record.refusal === undefined);
}

/** What a person has to know about a certificate that is not equal in every backup. */
function problemsOf(record: ReplicationRecord): string[] {
  const name = record.primary?.name ?? record.certificate;
  const about = `${name} (${record.certificate})`;
  const errors = [record.lastError, ...record.backups.map(({ lastError }) => lastError)].filter(
    (error) => error !== undefined,
  );
  if (errors.length > 0) {
    return errors.map(({ code, message }) => `${about}: ${message} [${code}]\n    ${errorRegistry[code].remedy}`);
  }
  if (record.aside === 'keyless') return [`${about}: not copied, it has no private key`];
  return record.requested > record.replicated ? [`${about}: still to be looked at`] : [];
}
