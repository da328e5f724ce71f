import { Command } from 'commander';
import type { Instances } from '../../compose/instances.ts';
import { asCodedError, CodedError, type ErrorCode } from '../../errors.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import { interrupted } from '../interrupt.ts';
import { readNamedFileOrInput } from '../named-file.ts';
import { oneByOne } from '../one-by-one.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { clean, count } from '../output/text.ts';
import { type FolderOptions, folderOption, instanceOption, openFolder, pickInstances } from './folder.ts';

interface CheckOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
  readonly recovery?: string;
  readonly repair: boolean;
}

/**
 * What a certificate fails with whose data key does not open: so do the others of its instance, and
 * no other's.
 */
const keyFailures: ReadonlySet<ErrorCode> = new Set(['keys_unreadable', 'keys_refused', 'keys_unavailable']);

/** `certstandby instance check`. */
export function instanceCheckCommand(host: Host): Command {
  return withOutputOptions(new Command('check'))
    .description(
      'does everything open: data keys under each root key, and every certificate; is the recovery text right',
    )
    .addOption(folderOption())
    .addOption(instanceOption('only this instance (default: all)'))
    .option('--recovery <file>', 'only compare the recovery text in this file, - for standard input, with the root key')
    .option('--repair', 'remove what interrupted imports have left behind', false)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance check\n  certstandby instance check --recovery -     type it in, then Ctrl-D' +
        '\n\nIt changes nothing without --repair, but --recovery notes for doctor that the text was right. It can run beside a server.' +
        '\nIt exits with 6 if something does not open.',
    )
    .action((options: CheckOptions) => check(options, host));
}

async function check(options: CheckOptions, host: Host): Promise<void> {
  const signal = interrupted(host);
  const output = commandOutput(options, host);
  const instances = await openFolder(options.folder, host, output.log);
  try {
    if (options.recovery !== undefined) return await checkRecovery(options.recovery, instances, { output, signal });
    let wrong = 0;
    const picked = await pickInstances(await instances.registry.list(), options.instance);
    const exit = await oneByOne(
      picked,
      ({ crn }) => crn,
      output,
      async ({ crn }) => {
        const badKeys = await checkKeys(crn, instances, output);
        wrong += badKeys;
        try {
          wrong += await checkCertificates(crn, instances, { output, signal, repair: options.repair });
        } catch (thrown) {
          const error = asCodedError(thrown);
          if (!keyFailures.has(error.code)) throw error;
          // Its data keys were counted, unless one was lost between the two looks.
          if (badKeys === 0) wrong += 1;
          output.finding(`${crn}: no certificate could be opened: ${error.message}`);
        }
      },
    );
    if (exit > 0) host.exitCode = exit;
    if (wrong > 0) throw new CodedError('instances_unsound', `${count(wrong, 'thing')} did not open`);
  } finally {
    await instances.close();
  }
}

async function checkRecovery(
  file: string,
  instances: Instances,
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<void> {
  const { rootKeyOfRecoveryText } = await import('../../compose/root-keys.ts');
  const text = await readRecoveryText(file, signal);
  const id = await rootKeyOfRecoveryText(text);
  text.wipe();
  if (!instances.rootKeys().includes(id)) {
    throw new CodedError(
      'keys_recovery_text_wrong',
      `this is the recovery text of another root key (${id}); here are ${instances.rootKeys().join(', ')}`,
    );
  }
  await instances.recoveryProofs.note(id, runtime.now());
  output.item({ recoveryText: 'right', rootKey: id });
  output.line(`This recovery text makes ${id} again.`);
}

/** How many data keys do not open under every root key. */
async function checkKeys(crn: string, instances: Instances, output: Output): Promise<number> {
  const { dataKeys } = await instances.keyringOf(crn).check();
  let wrong = 0;
  for (const { id, current, wraps, alsoWrappedBy } of dataKeys) {
    const bad = wraps.filter(({ state }) => state !== 'opens');
    output.item({ crn, dataKey: id, current, wraps, alsoWrappedBy });
    output.line(`${crn}: data key ${id}${current ? ', current' : ''}: ${bad.length === 0 ? 'opens' : 'see below'}`);
    for (const { rootKey, state, found, remedy } of bad)
      output.finding(
        `${crn}: data key ${id} under ${rootKey}: ${state}`,
        ...(found === undefined ? [] : [`  ${clean(found)}`]),
        ...(remedy === undefined ? [] : [`  ${clean(remedy)}`]),
      );
    if (bad.length > 0) wrong += 1;
  }
  return wrong;
}

/** How many certificates do not open. */
async function checkCertificates(
  crn: string,
  instances: Instances,
  { output, signal, repair }: { readonly output: Output; readonly signal: AbortSignal; readonly repair: boolean },
): Promise<number> {
  const upkeep = instances.upkeepOf(crn);
  const tidied = repair ? await upkeep.tidy(signal) : 0;
  const { good, notIssued, unreadable, orphans } = await upkeep.check({ repair, signal });
  output.item({ crn, good, notIssued, unreadable, orphans, tidied });
  output.line(
    `${crn}: ${count(good, 'certificate')} opened${notIssued > 0 ? `, and ${notIssued} not issued yet` : ''}`,
  );
  for (const { id, message } of unreadable) output.finding(`${crn}: ${id}: ${message}`);
  if (orphans > 0) {
    output.line(
      `${crn}: ${count(orphans, 'content')} without a certificate${repair ? ', removed' : '; --repair removes them'}`,
    );
  }
  return unreadable.length;
}

/**
 * A recovery text from a file, - for standard input. Throws `usage`, what `regular-file.ts` throws,
 * and the signal's reason.
 */
export async function readRecoveryText(file: string, signal: AbortSignal): Promise<Secret> {
  return new Secret((await readNamedFileOrInput(file, 'the recovery text', signal)).trim());
}
