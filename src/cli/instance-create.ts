import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { CodedError } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import {
  defaultSettings,
  type FolderOptions,
  folderOption,
  type InstanceSettings,
  openFolder,
  readSettings,
  writeSettings,
} from './instance-folder.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from './output.ts';

interface CreateOptions extends OutputOptions, FolderOptions {
  readonly region: string;
  readonly crn?: string;
  readonly limits: 'ibm' | 'none';
  readonly allowLoopbackChannels: boolean;
  readonly rootKey?: readonly string[];
  readonly dynamodb?: string;
}

/** `certstandby instance create`. */
export function instanceCreateCommand(host: Host = process): Command {
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
      'new folders: file:<path>, aws-kms:<key ARN>, key-protect:<region>/<instance>/<key>; two for two regions (default: file:keys/root.key)',
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
  const there = readSettings(folder);
  if (there !== undefined && (options.rootKey !== undefined || options.dynamodb !== undefined)) {
    throw new CodedError('usage', `${folder} has its table and root keys already; see certstandby instance rewrap`);
  }
  const settings = there ?? settingsOf(options);
  const { instanceCrnOf } = await import('../compose.ts');
  const crn = options.crn ?? instanceCrnOf(options.region, runtime.newId());
  const instances = await openFolder(folder, host, output.log, settings);
  try {
    if (there === undefined) writeSettings(folder, settings);
    showRecoveryTexts(instances.made, output, host);
    const limits = options.limits === 'ibm' ? {} : 'none';
    await instances.registry.create({ crn, limits, allowLoopbackChannels: options.allowLoopbackChannels });
    // What is made now need not be made at the first request, when the root key may be away.
    await instances.keyringOf(crn).currentDataKey();
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

/** A path on the command line counts from where one is; in the settings it counts from the folder. */
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
    if (output.json)
      host.stdout.write(`${JSON.stringify({ rootKeyFile: path, recoveryText: recoveryText.reveal() })}\n`);
    output.finding(
      [
        `A root key was made in ${path}. Without it nothing opens. Write its recovery text down and keep it elsewhere;`,
        'it is shown this once, and `certstandby instance check --recovery -` tells whether it was written down right:',
        '',
        `    ${recoveryText.reveal()}`,
        '',
      ].join('\n'),
    );
    recoveryText.wipe();
  }
}
