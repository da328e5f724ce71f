import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { Instances } from '../../compose/instances.ts';
import { CodedError } from '../../errors.ts';
import { jsonText } from '../../foreign-text.ts';
import { refuseExposedFolder } from '../../private-folder.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import {
  defaultSettings,
  type FolderOptions,
  folderOption,
  type InstanceSettings,
  openFolder,
  readSettings,
  writeSettings,
} from './folder.ts';

interface CreateOptions extends OutputOptions, FolderOptions {
  readonly region: string;
  readonly crn?: string;
  readonly limits: 'ibm' | 'none';
  readonly allowLoopbackChannels: boolean;
  readonly rootKey?: readonly string[];
  readonly dynamodb?: string;
}

/** `certstandby instance create`. */
export function instanceCreateCommand(host: Host): Command {
  return withOutputOptions(new Command('create'))
    .description('make an instance and its first API key; in a new folder also the table and the root key')
    .addOption(folderOption())
    .option('--region <region>', 'the region in its CRN: where it runs', 'eu-gb')
    .option('--crn <crn>', 'its CRN, if it is to have a certain one')
    .addOption(
      new Option('--limits <limits>', "Certificate Manager's limits (1,000 certificates, 5 changes a minute), or none")
        .choices(['ibm', 'none'])
        .default('none'),
    )
    .option('--allow-loopback-channels', 'let notification channels have endpoints on this machine', false)
    .option(
      '--root-key <key...>',
      'new folders: file:<path>, aws-kms:<key ARN>, key-protect:<region>/<instance>/<key>, pkcs11:<URI of a key in an HSM>; two for two regions (default: file:keys/root.key)',
    )
    .option('--dynamodb <table@region>', 'new folders: keep everything in this table instead of in files')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance create --region eu-gb' +
        '\n  certstandby instance create --region eu-gb --root-key aws-kms:arn:aws:kms:eu-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab' +
        '\n\nThe API key, and the recovery text of a root key in a file, are shown once and kept nowhere. A running' +
        '\n`certstandby instance run` takes the new instance up within seconds.',
    )
    .action((options: CreateOptions) => create(options, host));
}

async function create(options: CreateOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const { folder } = options;
  refuseExposedFolder(folder);
  const there = readSettings(folder);
  if (there !== undefined && (options.rootKey !== undefined || options.dynamodb !== undefined)) {
    throw new CodedError('usage', `${folder} has its table and root keys already; see certstandby instance rewrap`);
  }
  const settings = there ?? settingsOf(options);
  const crn = await wantedCrn(options);
  const instances = await openFolder(folder, host, output.log, settings);
  try {
    showRecoveryTexts(instances.made, output, host);
    await checkNew(crn, instances);
    // First, since the root key may be away: what fails here leaves no instance behind that never
    // was one.
    await instances.keyringOf(crn).currentDataKey();
    if (there === undefined) writeSettings(folder, settings);
    const limits = options.limits === 'ibm' ? {} : 'none';
    await instances.registry.create({ crn, limits, allowLoopbackChannels: options.allowLoopbackChannels });
    const { kept, key } = await instances.registry.addKey(crn, { name: 'first', role: 'manager' });
    output.item({ crn, apiKey: key.reveal(), apiKeyId: kept.id, role: kept.role });
    output.line(`instance  ${crn}`);
    // With --quiet too: it is shown nowhere else.
    output.finding(`API key   ${key.reveal()}`);
    output.line(`          role manager, id ${kept.id}; it is shown this once`);
    output.line();
    output.line(`Serve it with:  certstandby instance run --folder ${folder}`);
    key.wipe();
  } finally {
    await instances.close();
  }
}

/** The CRN of the new instance, known to be one before anything is made. Throws `usage`. */
async function wantedCrn({ crn: given, region }: Pick<CreateOptions, 'crn' | 'region'>): Promise<string> {
  const { instanceCrnOf, isInstanceCrn } = await import('../../instance/rows/crn.ts');
  const crn = given ?? instanceCrnOf(region, runtime.newId());
  if (isInstanceCrn(crn)) return crn;
  throw new CodedError(
    'usage',
    given === undefined
      ? `--region ${region} is no region: letters, digits and hyphens, such as eu-gb`
      : `--crn ${given} is not the CRN of an instance (ten segments, ending in "::")`,
  );
}

/** Throws `usage` if the instance is there already, and `instance_erased` if it was. */
async function checkNew(crn: string, { registry }: Instances): Promise<void> {
  if ((await registry.list()).some((other) => other.crn === crn))
    throw new CodedError('usage', `the instance ${crn} is there already`);
  if (await registry.wasErased(crn))
    throw new CodedError('instance_erased', `the instance ${crn} was here, was deleted, and has been erased`);
}

/** The settings of a new folder, as the command line gives them. Throws `usage`. */
export function settingsOf({
  folder,
  rootKey,
  dynamodb,
}: Pick<CreateOptions, 'folder' | 'rootKey' | 'dynamodb'>): InstanceSettings {
  const [, name, region] = /^([^@]+)@([\w-]+)$/.exec(dynamodb ?? '') ?? [];
  if (dynamodb !== undefined && (name === undefined || region === undefined)) {
    throw new CodedError('usage', '--dynamodb wants <table>@<region>');
  }
  if (rootKey !== undefined && rootKey.length > 2) throw new CodedError('usage', 'there are at most two root keys');
  return {
    ...defaultSettings,
    ...(rootKey !== undefined && { rootKeys: rootKey.map((text) => withoutFolder(text, folder)) }),
    ...(name !== undefined && region !== undefined && { table: { kind: 'dynamodb', name, region } }),
  };
}

/**
 * A path on the command line counts from where one is; in the settings it counts from the folder.
 */
export function withoutFolder(text: string, folder: string): string {
  const [, path] = /^file:(.+)$/.exec(text) ?? [];
  return path === undefined ? text : `file:${pathFrom(folder, path)}`;
}

function pathFrom(folder: string, path: string): string {
  const inside = join(folder, 'x').slice(0, -1);
  return path.startsWith(inside) ? path.slice(inside.length) : resolve(path);
}

/** The only time that anybody sees what makes a root key file again. */
export function showRecoveryTexts(
  made: readonly { readonly path: string; readonly recoveryText: { reveal(): string; wipe(): void } }[],
  output: Output,
  host: Host,
): void {
  for (const { path, recoveryText } of made) {
    if (output.json) host.stdout.write(`${jsonText({ rootKeyFile: path, recoveryText: recoveryText.reveal() })}\n`);
    output.finding(
      `A root key was made in ${path}. Without it nothing opens. Write its recovery text down and keep it elsewhere;`,
      'it is shown this once, and `certstandby instance check --recovery -` tells whether it was written down right:',
      '',
      `    ${recoveryText.reveal()}`,
      '',
    );
    recoveryText.wipe();
  }
}
