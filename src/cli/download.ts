import { Command, Option } from 'commander';
import { type ArchiveKind, archiveKinds } from '../archive/archive.ts';
import { downloadTo } from '../compose/archives.ts';
import { loadConfig } from '../config.ts';
import { defined } from '../defined.ts';
import { errorRegistry } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { passphraseVariable, readAgeLines, readPassphrase } from './archive-secrets.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output/output.ts';
import { clean, count } from './output/text.ts';
import { actOn, namesFit, storeOf } from './program.ts';

interface DownloadCommandOptions extends OutputOptions {
  readonly config: string;
  readonly from: string;
  readonly to: string;
  readonly as: ArchiveKind;
  readonly passphraseFile?: string;
  readonly recipient?: readonly string[];
  readonly recipientsFile?: string;
  readonly unencryptedKeys?: boolean;
  readonly legacy?: boolean;
}

/** `certstandby download`. */
export function downloadCommand(host: Host): Command {
  return withOutputOptions(new Command('download').addOption(configOption()))
    .description('write certificates of a store, private keys included, to an archive')
    .argument('[names...]', 'only certificates with these names; * stands for anything')
    .requiredOption('--from <store>', 'the store, by its name in the configuration')
    .requiredOption('--to <path>', 'where the archive is to stand; nothing may stand there yet')
    .addOption(new Option('--as <kind>', 'kind of archive').choices(archiveKinds).default('age'))
    .option(
      '--passphrase-file <file>',
      `the passphrase, in its first line; - is standard input (else ${passphraseVariable})`,
    )
    .option('--recipient <age1...>', 'age: encrypt to this recipient; may be repeated', collect)
    .option('--recipients-file <file>', 'age: encrypt to the recipients in this file')
    .option('--unencrypted-keys', 'pem, zip: private keys may leave unencrypted')
    .option('--legacy', 'pkcs12: triple DES and SHA-1, for programs that know nothing newer')
    .addHelpText(
      'after',
      '\nKinds:' +
        '\n  age     one file, encrypted; opens with: age --decrypt shop.age | tar --extract' +
        '\n  pkcs12  a folder with a .p12 file for each, encrypted; for OpenSSL, Java and Windows' +
        '\n  pem     a folder as certbot lays it out, private keys unencrypted' +
        "\n  zip     a zip with Certificate Manager's file names, private keys unencrypted" +
        '\n\nExamples:' +
        '\n  certstandby download --from frankfurt --to shop.age --passphrase-file /root/passphrase' +
        "\n  certstandby download 'shop*' --from london --to shop.age --recipient age1..." +
        '\n  certstandby download --from london --to for-java --as pkcs12 --passphrase-file /root/passphrase' +
        '\n\nThe archive appears when it is complete, for its owner alone. Exits 0 if it holds all that was asked for, 4 if some could not' +
        '\nbe read.',
    )
    .action((names: readonly string[], options: DownloadCommandOptions) => downloadNamed(names, options, host));
}

async function downloadNamed(names: readonly string[], options: DownloadCommandOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  const { as: kind, to: path, unencryptedKeys = false, legacy = false, recipientsFile } = options;
  const inFile = recipientsFile === undefined ? [] : await readAgeLines(recipientsFile, 'recipients', signal);
  const recipients = [...(options.recipient ?? []), ...inFile];
  // What lies in the environment is meant for archives that ask for a passphrase.
  const asks =
    options.passphraseFile !== undefined || (recipients.length === 0 && (kind === 'age' || kind === 'pkcs12'));
  const passphrase = asks ? await readPassphrase(options.passphraseFile, host.env, { fresh: true, signal }) : undefined;
  const config = loadConfig(options.config, host.env);
  const store = await storeOf(config, options.from, options.config, runtime);
  // It takes private keys out: that is told before it happens.
  const said = { '<names>': names.length === 0 ? undefined : names, from: options.from, as: kind };
  const act = { command: 'download', options: { ...said, 'unencrypted-keys': unencryptedKeys || undefined } };
  await actOn(config, act, { output, host });
  const bar = output.progress('downloading');
  try {
    const given = { path, kind, recipients, legacy, unencryptedKeys, ...defined({ passphrase }) };
    const { downloaded, missing, suspect } = await downloadTo(runtime, store, given, {
      wanted: namesFit(names),
      signal,
      listed: (total) => bar.expect(total),
      downloaded(certificate) {
        bar.advance();
        output.item(certificate);
      },
    });
    bar.end();
    for (const { name, code, message } of missing)
      output.finding(`  ${output.paint.bad(`${clean(name)} is not in it: ${clean(message)}`)} [${code}]`);
    for (const { name, code, message } of suspect)
      output.finding(`  ${output.paint.warning(`${clean(name)} is in it, but ${clean(message)}`)} [${code}]`);
    const exit = missing.length > 0 ? errorRegistry.store_unavailable.exit : 0;
    const say = exit === 0 && downloaded > 0 ? output.line : output.finding;
    say(`${count(downloaded, 'certificate')} of ${options.from} in ${path}${downloaded === 0 ? '; no name fits' : ''}`);
    if (unencryptedKeys && downloaded > 0)
      output.finding(output.paint.warning('Private keys in it are not encrypted. Remove it when it has served.'));
    output.item({ archive: path, kind, downloaded, missing, suspect, exit });
    host.exitCode = exit;
  } finally {
    bar.end();
    await store.close?.();
    passphrase?.wipe();
  }
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
