import { Command } from 'commander';
import type { RefusedEntry } from '../archive/archive.ts';
import type { ImportLine } from '../archive/import.ts';
import { importFrom } from '../compose/archives.ts';
import { loadConfig } from '../config.ts';
import { defined } from '../defined.ts';
import { asCodedError, CodedError, errorRegistry } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { Secret } from '../secret.ts';
import { passphraseVariable, readAgeLines, readPassphrase } from './archive-secrets.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import { goingOnWords } from './output/operation-words.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from './output/output.ts';
import { clean, count } from './output/text.ts';
import { actOn, namesFit, storeOf } from './program.ts';

interface ImportCommandOptions extends OutputOptions {
  readonly config: string;
  readonly into: string;
  readonly passphraseFile?: string;
  readonly identity?: string;
  readonly acceptNoMac?: boolean;
  readonly replace?: boolean;
  readonly replaceOthers?: boolean;
  readonly replaceIssued?: boolean;
  readonly dryRun?: boolean;
}

const words = {
  import: ['imported', 'to import'],
  replace: ['replaced', 'to replace'],
  present: ['there already', 'there already'],
  conflict: ['in conflict', 'in conflict'],
} as const;

/** `certstandby import`. */
export function importCommand(host: Host): Command {
  return withOutputOptions(new Command('import').addOption(configOption()))
    .description('import the certificates of an archive into a store')
    .argument('<archive>', 'an age file, a .p12 file or a folder of them, a folder of PEM files, a zip of them')
    .argument('[names...]', 'only certificates with these names; * stands for anything')
    .requiredOption('--into <store>', 'the store, by its name in the configuration')
    .option(
      '--passphrase-file <file>',
      `the passphrase, in its first line; - is standard input (else ${passphraseVariable})`,
    )
    .option('--identity <file>', 'age: the identities (AGE-SECRET-KEY-1...) in this file')
    .option('--accept-no-mac', 'PKCS#12: read files without a MAC too, which anybody may have changed')
    .option('--replace', 'replace what the store holds under the same name, where both serve a domain in common')
    .option('--replace-others', 'replace it whatever domains it serves')
    .option('--replace-issued', 'with one of these: a self-signed one may replace one that an authority issued')
    .option('--dry-run', 'only say what would be done')
    .addHelpText(
      'after',
      '\nExamples:' +
        '\n  certstandby import shop.age --into paris --passphrase-file /root/passphrase --dry-run' +
        '\n  certstandby import /etc/letsencrypt/live --into paris' +
        "\n  certstandby import shop.age 'shop*' --into paris --identity key.txt --replace" +
        '\n\nThe whole archive is read and checked first: nothing is imported from one that was cut, or whose seal does not hold. A' +
        '\ncertificate that cannot be taken (no private key, a damaged file, another one of its name in the store) is named, and the' +
        '\nothers are imported. What the store holds already is left as it is, so the same command goes on after an interruption.' +
        '\nExits 0 if all were taken, 6 if some were not, 4 if the store did not answer.',
    )
    .action((archive: string, names: readonly string[], options: ImportCommandOptions) =>
      importArchive(archive, names, options, host),
    );
}

async function importArchive(
  path: string,
  names: readonly string[],
  options: ImportCommandOptions,
  host: Host,
): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  const {
    into,
    acceptNoMac = false,
    replace = false,
    replaceOthers = false,
    replaceIssued = false,
    dryRun = false,
  } = options;
  const passphrase = await readPassphrase(options.passphraseFile, host.env, { fresh: false, signal });
  const identities = options.identity === undefined ? [] : await readAgeLines(options.identity, 'identities', signal);
  const unlock = {
    ...defined({ passphrase }),
    identities: identities.map((each) => new Secret(each)),
    acceptNoMac,
  };
  const config = loadConfig(options.config, host.env);
  const store = await storeOf(config, into, options.config, runtime);
  const said = { '<names>': names.length === 0 ? undefined : names, into, replace: replace || undefined };
  const more = { 'replace-others': replaceOthers || undefined, 'replace-issued': replaceIssued || undefined };
  if (!dryRun) await actOn(config, { command: 'import', options: { ...said, ...more } }, { output, host });
  const done: ImportLine[] = [];
  const failed: RefusedEntry[] = [];
  const bar = output.progress('importing');
  try {
    const plan = await importFrom(
      runtime,
      store,
      { path, unlock },
      {
        wanted: namesFit(names),
        replace: replace || replaceOthers,
        replaceOthers,
        replaceIssued,
        signal,
        goesOn: (about) => output.line(goingOnWords(about, into)),
        done(line) {
          done.push(line);
          bar.advance();
          output.item({ ...line, done: true });
        },
        failed(line, error) {
          bar.advance();
          failed.push({ ...line, error });
        },
      },
    );
    bar.expect(plan.lines.filter(({ action }) => action !== 'conflict').length);
    if (dryRun) for (const line of plan.lines) output.item({ ...line, done: false });
    else await plan.apply();
    bar.end();
    host.exitCode = report(plan, { path, into, dryRun, failed, done: dryRun ? plan.lines : done }, output);
  } catch (thrown) {
    const error = asCodedError(signal.aborted ? signal.reason : thrown);
    if (done.length === 0) throw error;
    throw new CodedError(
      error.code,
      `${clean(error.message)}; ${count(done.length, 'certificate')} had been looked after before`,
      {
        cause: error,
        fields: error.fields,
      },
    );
  } finally {
    bar.end();
    await store.close?.();
    passphrase?.wipe();
    for (const identity of unlock.identities) identity.wipe();
  }
}

interface Outcome {
  readonly path: string;
  readonly into: string;
  readonly dryRun: boolean;
  readonly failed: readonly RefusedEntry[];
  /** What was done, or with `dryRun` would be. */
  readonly done: readonly ImportLine[];
}

/**
 * Prints what came of it: each certificate that was not taken, then the sum. Answers the exit code.
 */
function report(plan: Awaited<ReturnType<typeof importFrom>>, outcome: Outcome, output: Output): number {
  const { kind, lines, passedOver } = plan;
  const { path, into, dryRun, failed, done } = outcome;
  const conflicts = lines.filter(({ action }) => action === 'conflict').map((line) => conflictOf(line, into));
  const refused = [...plan.refused, ...conflicts, ...failed];
  for (const { entry, name, error } of refused) {
    const { code, message, remedy } = error;
    output.finding(`  ${output.paint.bad(clean(message))} [${code}]`, `    ${clean(remedy)}`);
    output.item({ entry, name, error: { code, message } });
  }
  for (const { file, why } of passedOver) {
    output.line(`  ${output.paint.faint(`${clean(file)} was passed over: ${clean(why)}`)}`);
    output.item({ passedOver: file, why });
  }
  if (dryRun)
    output.table(
      ['CERTIFICATE', 'ACTION', 'FINGERPRINT'].map((title) => ({ title })),
      lines.map(({ name, action, fingerprint }) => [name, words[action][1], fingerprint.slice(0, 16)]),
    );
  const numbers = (Object.keys(words) as (keyof typeof words)[]).map((action) => {
    const those = action === 'conflict' ? conflicts : done.filter((line) => line.action === action);
    return [those.length, words[action][dryRun ? 1 : 0]] as const;
  });
  const sum = [...numbers, [plan.refused.length + failed.length, 'refused'] as const]
    .filter(([number]) => number > 0)
    .map(([number, word]) => `${number} ${word}`);
  const certificates = lines.length + plan.refused.length;
  const say = refused.length > 0 ? output.finding : output.line;
  say(`${count(certificates, 'certificate')} in ${path} (${kind}), into ${into}: ${sum.join(', ') || 'no name fits'}`);
  const exit = exitOf(refused);
  output.item({ archive: path, kind, into, certificates, refused: refused.length, dryRun, exit });
  return exit;
}

function conflictOf(
  { entry, name, id, otherDomains, selfSigned, wouldNotServe }: ImportLine,
  into: string,
): RefusedEntry {
  const message = `${into} holds another certificate under the name ${name} (${id}), which stays`;
  if (wouldNotServe !== undefined) {
    const why = `${message}: it would serve, and that of the archive would not: ${wouldNotServe.message}`;
    const { code, fields } = wouldNotServe;
    return { entry, name, error: new CodedError(code, why, { cause: wouldNotServe, fields: { ...fields, entry } }) };
  }
  if (selfSigned) {
    const why = `${message}: an authority issued it, and that of the archive is self-signed`;
    return { entry, name, error: new CodedError('archive_self_signed', why, { fields: { entry } }) };
  }
  const code = otherDomains ? 'archive_other_domains' : 'archive_conflict';
  const more = otherDomains ? ', and the two serve no domain in common' : '';
  return { entry, name, error: new CodedError(code, message + more, { fields: { entry } }) };
}

/** A service that did not answer is told as that, unless a certificate was refused too. */
function exitOf(refused: readonly RefusedEntry[]): number {
  if (refused.length === 0) return 0;
  const service = errorRegistry.store_unavailable.exit;
  return refused.every(({ error }) => error.entry.exit === service)
    ? service
    : errorRegistry.archive_entry_damaged.exit;
}
