import { Command } from 'commander';
import { importFrom } from '../compose.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { Secret } from '../secret.ts';
import { passphraseVariable, readAgeLines, readPassphrase } from './archive-secrets.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output.ts';
import { namesFit, storeNamed } from './program.ts';
import { clean, count } from './text.ts';

interface ImportCommandOptions extends OutputOptions {
  readonly config: string;
  readonly into: string;
  readonly passphraseFile?: string;
  readonly identity?: string;
  readonly replace?: boolean;
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
    .option('--passphrase-file <file>', `the passphrase, in its first line (else ${passphraseVariable})`)
    .option('--identity <file>', 'age: the identities (AGE-SECRET-KEY-1...) in this file')
    .option('--replace', 'replace what the store holds under the same name')
    .option('--dry-run', 'only say what would be done')
    .addHelpText(
      'after',
      '\nExamples:' +
        '\n  certstandby import shop.age --into paris --passphrase-file /root/passphrase --dry-run' +
        '\n  certstandby import /etc/letsencrypt/live --into paris' +
        "\n  certstandby import shop.age 'shop*' --into paris --identity key.txt --replace" +
        '\n\nThe whole archive is read and checked first: nothing is imported from one that was cut, changed, or lacks a private key.' +
        '\nWhat the store holds already is left as it is, so the same command goes on after an interruption.',
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
  const { into, replace = false, dryRun = false } = options;
  const passphrase = await readPassphrase(options.passphraseFile, host.env, { fresh: false, signal });
  const identities = options.identity === undefined ? [] : await readAgeLines(options.identity, 'identities', signal);
  const unlock = { ...(passphrase && { passphrase }), identities: identities.map((each) => new Secret(each)) };
  const store = await storeNamed(into, options.config, host, runtime);
  let done = 0;
  const bar = output.progress('importing');
  try {
    const { kind, lines, apply } = await importFrom(
      runtime,
      store,
      { path, unlock },
      {
        wanted: namesFit(names),
        replace,
        signal,
        done(line) {
          done += 1;
          bar.advance();
          output.item({ ...line, done: true });
        },
      },
    );
    bar.expect(lines.length);
    if (dryRun) for (const line of lines) output.item({ ...line, done: false });
    else await apply();
    bar.end();
    const sum = (Object.keys(words) as (keyof typeof words)[])
      .map((action) => [lines.filter((line) => line.action === action).length, words[action][dryRun ? 1 : 0]] as const)
      .filter(([number]) => number > 0)
      .map(([number, word]) => `${number} ${word}`);
    if (dryRun)
      output.table(
        ['CERTIFICATE', 'ACTION', 'FINGERPRINT'].map((title) => ({ title })),
        lines.map(({ name, action, fingerprint }) => [name, words[action][1], fingerprint.slice(0, 16)]),
      );
    const total = count(lines.length, 'certificate');
    output.line(`${total} in ${path} (${kind}), into ${into}: ${sum.join(', ') || 'no name fits'}`);
    output.item({ archive: path, kind, into, certificates: lines.length, dryRun });
  } catch (thrown) {
    const error = asCodedError(signal.aborted ? signal.reason : thrown);
    if (done === 0) throw error;
    throw new CodedError(
      error.code,
      `${clean(error.message)}; ${count(done, 'certificate')} had been looked after before`,
      {
        cause: error,
        fields: error.fields,
      },
    );
  } finally {
    bar.end();
    passphrase?.wipe();
    for (const identity of unlock.identities) identity.wipe();
  }
}
