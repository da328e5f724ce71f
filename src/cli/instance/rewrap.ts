import { setTimeout as wait } from 'node:timers/promises';
import { Command } from 'commander';
import type { Instances } from '../../compose/instances.ts';
import { CodedError } from '../../errors.ts';
import { oneByOne } from '../one-by-one.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { count } from '../output/text.ts';
import { showRecoveryTexts, withoutFolder } from './create.ts';
import {
  type FolderOptions,
  folderOption,
  type InstanceSettings,
  openFolder,
  readSettings,
  rootKeysOf,
  writeSettings,
} from './folder.ts';

interface RewrapOptions extends OutputOptions, FolderOptions {
  readonly rootKey?: readonly string[];
}

/** Servers of the same folder have read the settings after this. */
const settledMs = 5_000;

/** `certstandby instance rewrap`. */
export function instanceRewrapCommand(host: Host): Command {
  return withOutputOptions(new Command('rewrap'))
    .description('wrap all data keys anew: under the root keys as they are now, or under other ones')
    .addOption(folderOption())
    .option('--root-key <key...>', 'the root keys from now on, one or two, as for instance create')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance rewrap                                      after the root key was rotated' +
        '\n  certstandby instance rewrap --root-key file:certstandby-instances/keys/new.key     change to another root key' +
        '\n  certstandby instance rewrap --root-key aws-kms:<ARN> aws-kms:<ARN of another region>' +
        '\n\nNothing that is sealed is touched, and a server of the same folder goes on: it follows instances.json. Servers of the' +
        '\nsame table with a folder of their own want the new root keys in their instances.json before. It can be interrupted.',
    )
    .action((options: RewrapOptions) => rewrap(options, host));
}

async function rewrap(options: RewrapOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const { folder } = options;
  const before = readSettings(folder);
  const instances = await openFolder(folder, host, output.log, before);
  try {
    const wanted = options.rootKey?.map((text) => withoutFolder(text, folder));
    if (before === undefined || wanted === undefined) return await rewrapAll(instances, output);
    if (wanted.length > 2) throw new CodedError('usage', 'there are at most two root keys');
    for (const rootKeys of steps(before.rootKeys, wanted)) {
      const settings: InstanceSettings = { ...before, rootKeys: [...rootKeys] };
      await instances.useRootKeys(rootKeysOf(folder, settings, host));
      showRecoveryTexts(instances.made.splice(0), output, host);
      writeSettings(folder, settings);
      // No server may still need what is dropped now.
      await wait(settledMs);
      await rewrapAll(instances, output);
    }
  } finally {
    await instances.close();
  }
}

/**
 * From one set of root keys to another: each set shares one with the set before, since only what
 * opens can be wrapped anew.
 */
export function steps(before: readonly string[], wanted: readonly string[]): readonly (readonly string[])[] {
  if (wanted.some((rootKey) => before.includes(rootKey))) return [wanted];
  return [[...before.slice(0, 1), ...wanted.slice(0, 1)], wanted];
}

async function rewrapAll({ registry, keyringOf }: Instances, output: Output): Promise<void> {
  const all = await registry.list();
  let wrapped = 0;
  const nameOf = ({ crn }: (typeof all)[number]) => crn;
  const exit = await oneByOne(all, nameOf, output, async ({ crn }) => {
    const { complete, dataKeys } = await keyringOf(crn).rewrap();
    output.item({ crn, complete, dataKeys });
    output.line(
      `${crn}: ${count(dataKeys.length, 'data key')} ${complete ? 'wrapped by every root key' : 'looked at'}`,
    );
    for (const { id, failed } of dataKeys) {
      for (const { rootKey, state } of failed) output.finding(`${crn}: data key ${id} under ${rootKey}: ${state}`);
    }
    if (complete) wrapped += 1;
  });
  const failures = all.length - wrapped;
  // Thrown, and not only told: the root keys of before must not be dropped now.
  if (failures > 0 || exit > 0) {
    throw new CodedError(
      'keys_unavailable',
      `the data keys of ${count(failures, 'instance')} are not all wrapped; run it again`,
    );
  }
}
