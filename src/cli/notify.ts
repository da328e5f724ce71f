import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { fileError } from '../regular-file.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { Secret } from '../secret.ts';
import type { Named } from '../sender/change-message.ts';
import { notify } from '../sender/notify.ts';
import { newKeyPair } from '../sender/standard-webhook-keys.ts';
import { interrupted } from './interrupt.ts';
import { readNamedFile } from './named-file.ts';
import { callbackBase, seconds } from './options.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from './output/output.ts';
import { count, duration } from './output/text.ts';

interface NotifyOptions extends OutputOptions {
  readonly to?: string;
  readonly key?: string;
  readonly id?: true;
  readonly within: number;
  readonly test?: true;
  readonly newKey?: string;
}

/** `certstandby notify`. */
export function notifyCommand(host: Host): Command {
  return withOutputOptions(new Command('notify'))
    .description('tell a receiver that certificates have changed: for hooks of tools that renew them')
    .argument(
      '[certificate...]',
      `their names in the store; none, or more than ${limits.notificationCertificates}, says that something has changed`,
    )
    .option('--to <url>', 'callback URL of a sender of the configuration there (or in CERTSTANDBY_NOTIFY_TO)')
    .option(
      '--key <reference>',
      'where the key stands that signs: env:NAME or file:PATH (or in CERTSTANDBY_NOTIFY_KEY)',
    )
    .option('--id', 'the arguments are ids, not names')
    .option('--within <seconds>', 'how long it is tried again', seconds, 300)
    .option('--test', 'only try the way: nothing is looked at')
    .option('--new-key <file>', 'write a new private key to this file, print the public key, and send nothing')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby notify --to https://standby.example.com/callback/certbot --key file:/etc/certstandby/certbot.key www.example.com' +
        '\n  certstandby notify --new-key /etc/certstandby/certbot.key' +
        '\n\nExit code 0 says that the change is durable on the other side, however long the copy takes; any other one that it is not.' +
        '\nEach try is signed anew under the same id, so that a change counts once however often it arrives.',
    )
    .action((names: string[], options: NotifyOptions) => run(names, options, host));
}

async function run(names: readonly string[], options: NotifyOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  if (options.newKey !== undefined) return newKey(options.newKey, output);
  const { to = host.env.CERTSTANDBY_NOTIFY_TO, key = host.env.CERTSTANDBY_NOTIFY_KEY } = options;
  if (to === undefined) throw new CodedError('usage', 'where to is not said: give --to or CERTSTANDBY_NOTIFY_TO');
  if (key === undefined) throw new CodedError('usage', 'no key is given: give --key or CERTSTANDBY_NOTIFY_KEY');
  callbackBase(to);
  if (names.includes(''))
    throw new CodedError('usage', 'a name is empty: is the variable set from which the hook takes it?');
  const certificates = names.map((given): Named => (options.id ? { id: given } : { name: given }));
  const delivered = await notify({
    to,
    key: readKey(key, host),
    ...(certificates.length === 0 ? {} : { certificates }),
    test: options.test === true,
    withinMs: options.within * 1_000,
    runtime,
    signal: interrupted(host),
    failed: (why, againMs) =>
      output.log('warn', 'not_taken_yet', { message: `${why}; sent again in ${duration(againMs)}` }),
  });
  output.item({ to, ...delivered });
  const what = names.length === 0 ? 'a change' : count(names.length, 'certificate');
  output.line(`${to} says ${delivered.status}: ${what}`);
}

/**
 * The key that a reference leads to. Never on the command line, where every user of the machine
 * reads it.
 */
function readKey(reference: string, host: Host): Secret {
  const [, scheme, target = ''] = /^(env|file):(.+)$/.exec(reference) ?? [];
  if (scheme === 'file') return new Secret(readNamedFile(target, 'the key that signs').trim());
  if (scheme === undefined)
    throw new CodedError('usage', '--key is a reference, env:NAME or file:PATH, and never the key itself');
  const held = host.env[target];
  if (held === undefined || held === '')
    throw new CodedError('usage', `the environment variable ${target}, which holds the key, is not set`);
  return new Secret(held.trim());
}

/**
 * Makes a key pair: the private key in a file that only its owner reads, the public one on the
 * screen.
 */
function newKey(path: string, output: Output): void {
  const { privateKey, publicKey } = newKeyPair();
  try {
    writeFileSync(path, `${privateKey}\n`, { mode: 0o600, flag: 'wx' });
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'EEXIST')
      throw new CodedError('usage', `${path} is there already, and no key is written over a file: give another path`);
    if (code === 'ENOENT') throw new CodedError('usage', `the folder in which ${path} is to be written is not there`);
    throw fileError(path, thrown);
  }
  output.item({ file: path, publicKey });
  output.line(`${path} holds the private key; give this to the receiver, as publicKey of a sender:`, publicKey);
}
