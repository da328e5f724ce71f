import { Command, Option } from 'commander';
import type { Instances } from '../../compose/instances.ts';
import { CodedError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import { readNamedFile } from '../named-file.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { type FolderOptions, folderOption, instanceOption, openFolder, pickInstance } from './folder.ts';

interface KeysOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
}

interface CreateOptions extends KeysOptions {
  readonly name: string;
  readonly role: 'reader' | 'writer' | 'manager';
  readonly keyFile?: string;
}

/** `certstandby instance keys`. */
export function instanceKeysCommand(host: Host): Command {
  const keys = new Command('keys')
    .description('the API keys of an instance: list, create, revoke')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance keys create --name backup-writer --role manager' +
        '\n  certstandby instance keys list' +
        '\n  certstandby instance keys revoke 0b6f0c2e-5d0e-4b0e-9f5a-0c9b7e1d2a3f' +
        '\n\nKeys are kept as hashes: a lost one cannot be shown again, only replaced. A running server follows within seconds.',
    );
  const list = withKeyOptions('list', 'the API keys, without the keys themselves').action((options: KeysOptions) =>
    onInstance(options, host, listKeys),
  );
  const create = withKeyOptions('create', 'make an API key; it is shown this once')
    .requiredOption('--name <name>', 'who has it; stands in logs')
    .addOption(
      new Option('--role <role>', 'what it may do').choices(['reader', 'writer', 'manager']).makeOptionMandatory(),
    )
    .option('--key-file <file>', 'take the key in this file instead of a new one, so that clients need not change')
    .action((options: CreateOptions) => onInstance(options, host, (...found) => createKey(options, ...found)));
  const revoke = withKeyOptions('revoke', 'remove an API key, and with it all access tokens it gave')
    .argument('<id>', 'its id, as list shows it')
    .action((id: string, options: KeysOptions) => onInstance(options, host, (...found) => revokeKey(id, ...found)));
  for (const command of [list, create, revoke]) keys.addCommand(command);
  return keys;
}

function withKeyOptions(name: string, description: string): Command {
  return withOutputOptions(new Command(name))
    .description(description)
    .addOption(folderOption())
    .addOption(instanceOption('of which instance, if there are several'));
}

async function onInstance(
  options: KeysOptions,
  host: Host,
  work: (instances: Instances, crn: string, output: Output) => Promise<void>,
): Promise<void> {
  const output = commandOutput(options, host);
  const instances = await openFolder(options.folder, host, output.log);
  try {
    const { crn } = await pickInstance(instances, options.instance);
    await work(instances, crn, output);
  } finally {
    await instances.close();
  }
}

async function listKeys({ registry }: Instances, crn: string, output: Output): Promise<void> {
  const rows: string[][] = [];
  for (const { id, name, role, createdAt } of await registry.keys(crn)) {
    const created = new Date(createdAt).toISOString();
    output.item({ id, name, role, created });
    rows.push([id, name, role, created.slice(0, 10)]);
  }
  output.table([{ title: 'ID' }, { title: 'NAME' }, { title: 'ROLE' }, { title: 'MADE' }], rows);
}

async function createKey(options: CreateOptions, { registry }: Instances, crn: string, output: Output): Promise<void> {
  const { name, role, keyFile } = options;
  const given = keyFile === undefined ? {} : { key: readKey(keyFile) };
  const { kept, key } = await registry.addKey(crn, { name, role, ...given }).catch(asUsage);
  const shown = keyFile === undefined ? { apiKey: key.reveal() } : {};
  output.item({ id: kept.id, name, role, ...shown });
  // With --quiet too: it is shown nowhere else.
  if (keyFile === undefined) output.finding(key.reveal());
  output.line(`API key ${kept.id}, role ${role}${keyFile === undefined ? '; it is shown this once' : ''}`);
  key.wipe();
}

/**
 * A name or a key that is not taken is a mistake of the command line here, and of no configuration.
 */
function asUsage(thrown: unknown): never {
  if (thrown instanceof CodedError && thrown.code === 'configuration_invalid')
    throw new CodedError('usage', thrown.message, { cause: thrown });
  throw thrown;
}

async function revokeKey(id: string, { registry }: Instances, crn: string, output: Output): Promise<void> {
  const revoked = await registry.revokeKey(crn, id);
  if (revoked === undefined) throw new CodedError('usage', `there is no API key ${id} in ${crn}`);
  output.item({ revoked: id, name: revoked.name });
  output.line(`revoked ${id}, "${revoked.name}"`);
}

function readKey(file: string): Secret {
  return new Secret(readNamedFile(file, 'the API key').trim());
}
