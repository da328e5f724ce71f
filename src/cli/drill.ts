import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { asCodedError, errorRegistry } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { interrupted } from './interrupt.ts';
import { readSignedFile } from './named-file.ts';
import { wholeNumber } from './options.ts';
import { commandOutput, type Host, type Output } from './output/output.ts';
import { clean, count, duration } from './output/text.ts';
import { type LinkOptions, type LinkRun, storeNames, withLinkOptions, withLinks } from './program.ts';

interface DrillCommandOptions extends LinkOptions {
  readonly sample?: number;
  readonly trust?: string;
  readonly check?: string;
  readonly key?: string;
}

/** `certstandby drill`. */
export function drillCommand(host: Host): Command {
  return withLinkOptions(new Command('drill'))
    .description('serve every copy to a client, from the backups alone, and sign what came of it')
    .option('--sample <copies>', 'only so many copies of each backup, chosen by chance', wholeNumber)
    .option('--trust <file>', 'PEM file of the authorities to trust, instead of drill.trust')
    .option('--check <report>', 'only check the signature of a report, and say what it says')
    .option('--key <file>', 'with --check: the public key to trust (default: signing.pub beside the report)')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby drill --trust /etc/ssl/our-ca.pem\n  certstandby drill --sample 20 --link shop' +
        '\n  certstandby drill --check drills/2026-11-24T03-00-00-000Z-shop.json --key safe/signing.pub' +
        '\n\nEach copy is read from its backup, served over TLS on 127.0.0.1, and asked for by a client that checks chain, dates and' +
        '\nnames and has the private key proven. The primary is not asked: it may be gone. The report, signed, and a page of it are' +
        '\nwritten to drill.folder. Keep its signing.pub somewhere else: --check proves nothing to whom both can be exchanged.' +
        '\nExits 0 if every copy served, 6 if not or if a report was changed, 4 if a backup could not be read.',
    )
    .action((options: DrillCommandOptions) => drillOrCheck(options, host));
}

async function drillOrCheck(options: DrillCommandOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  if (options.check !== undefined) return check(options.check, options.key, output, host);
  if (options.trust !== undefined) readSignedFile(options.trust, 'the authorities to trust', limits.drillTrustBytes);
  const signal = interrupted(host);
  const trust = options.trust === undefined ? {} : { trust: options.trust };
  const act = { command: 'drill', options: { sample: options.sample } };
  await withLinks(options, { output, host, act }, async (program, links) => {
    const exits: number[] = [];
    const sample = options.sample === undefined ? {} : { sample: options.sample };
    for (const link of links) exits.push(await drillLink({ program, link, output, signal }, { ...trust, ...sample }));
    host.exitCode = Math.max(...exits);
  });
}

async function drillLink(
  { program, link, output, signal }: LinkRun,
  given: { readonly sample?: number; readonly trust?: string },
): Promise<number> {
  const nameOf = storeNames(program);
  const bar = output.progress(`${link.name}: serving`);
  try {
    const { report, signedFile, pageFile } = await program.drill(link, {
      ...given,
      signal,
      drilled(copy) {
        bar.advance();
        output.item({ link: link.name, ...copy });
        for (const remark of copy.remarks ?? [])
          output.line(`  ${output.paint.faint(`${'remark'.padEnd(13)} ${clean(copy.name)}: ${clean(remark)}`)}`);
        if (copy.served) return;
        const words = `${copy.failure?.padEnd(13)} ${clean(copy.name)} (${nameOf(copy.store)} ${copy.copy}): ${clean(copy.message ?? '')}`;
        output.finding(`  ${output.paint.bad(words)}`);
      },
    });
    bar.end();
    for (const { store, code, message } of report.notDrilled)
      output.finding(`  ${output.paint.bad(`${nameOf(store)} was not drilled: ${clean(message)} [${code}]`)}`);
    const exit = exitOf(report);
    const took = duration(Date.parse(report.completedAt) - Date.parse(report.startedAt));
    const say = exit === 0 ? output.line : output.finding;
    const tried = report.served + report.failed;
    say(
      `${link.name}: ${report.served} of ${count(tried, 'copy', 'copies')} served, of ${report.kept} kept, in ${took}` +
        (tried === 0 ? '; nothing was proven' : ''),
    );
    output.line(`  report: ${signedFile}`, `  page:   ${pageFile}`);
    output.item({ ...report, copies: undefined, signedFile, pageFile, exit });
    return exit;
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const error = asCodedError(thrown);
    output.problem(error, link.name);
    output.item({ link: link.name, error: { code: error.code, message: error.message } });
    return error.entry.exit;
  } finally {
    bar.end();
  }
}

interface Outcome {
  readonly served: number;
  readonly failed: number;
  readonly kept: number;
  readonly notDrilled: readonly unknown[];
}

/**
 * Nothing is good that was not tried: backups that could not be read come before copies that
 * failed.
 */
function exitOf({ failed, notDrilled }: Outcome): number {
  if (notDrilled.length > 0) return errorRegistry.store_unavailable.exit;
  return failed > 0 ? errorRegistry.certificate_expired.exit : 0;
}

async function check(file: string, key: string | undefined, output: Output, host: Host): Promise<void> {
  const { checkReport: checkDrillReport } = await import('../drill/report.ts');
  const publicKey = readSignedFile(key ?? join(dirname(file), 'signing.pub'), 'the public key', limits.signingKeyBytes);
  const report = await checkDrillReport(readSignedFile(file, 'the report', limits.drillReportBytes), publicKey);
  const { link, startedAt, served, failed, kept } = report;
  output.item({ ...report, signature: 'holds' });
  output.line(
    `The signature holds. Drill of ${clean(link)} on ${startedAt}: ${served} served, ${failed} failed, of ${kept} kept.`,
  );
  for (const copy of report.copies) {
    if (!copy.served) output.finding(`  ${copy.failure}  ${clean(copy.name)}: ${clean(copy.message ?? '')}`);
  }
  host.exitCode = exitOf(report);
}
