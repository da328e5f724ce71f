import { Command } from 'commander';
import { acceptStore, dropKeptKey, type KeysOfCallback, keptKeysOf } from '../compose/stores.ts';
import { loadConfig } from '../config.ts';
import { CodedError } from '../errors.ts';
import { ago } from '../findings/status-words.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output/output.ts';
import { clean, count } from './output/text.ts';
import { actOn, storeOf } from './program.ts';

interface StoreOptions extends OutputOptions {
  readonly config: string;
}

/** `certstandby store accept` and `certstandby store drop-key`. */
export function storeCommand(host: Host): Command {
  const store = new Command('store').description(
    'say what only a person can say of a store: another place is meant, a key is trusted no more',
  );
  withOutputOptions(store.command('accept'))
    .description('bind a store to the place that is behind its setting now')
    .argument('<store>', 'its name in the configuration')
    .addOption(configOption())
    .addHelpText(
      'after',
      '\nExample:\n  certstandby store accept nas' +
        '\n\nA store that was replaced (another disk, an empty mount point, a cluster made anew) is not written to, and not read, until' +
        '\nsomebody says that it is meant. After this command the next reconcile fills it.',
    )
    .action((name: string, options: StoreOptions) => accept(name, options, host));
  withOutputOptions(store.command('drop-key'))
    .description('list the keys that verify what tells of a store, or trust one of them no more')
    .argument('<store>', 'its name in the configuration')
    .argument('[id]', 'the key to drop; without it the kept keys are listed')
    .addOption(configOption())
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby store drop-key frankfurt\n  certstandby store drop-key frankfurt 3f9a0c…' +
        '\n\nWhat a store, or the issuer of a sender, serves is fetched by the clock, and a key that it ceases to serve is used for an hour more. One that is dropped is' +
        '\nused no more, by a running receiver within seconds, and does not come back though it be served. The last key is not dropped.',
    )
    .action((name: string, id: string | undefined, options: StoreOptions) => dropKey(name, id, options, host));
  return store;
}

async function dropKey(name: string, id: string | undefined, options: StoreOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const config = loadConfig(options.config, host.env);
  const store = await storeOf(config, name, options.config, runtime);
  const now = runtime.now();
  const before = (await keptKeysOf(config, name, now)).filter(
    ({ of }) => of === 'sender' || store.notificationKey !== undefined,
  );
  if (store.notificationKey === undefined && before.length === 0 && id === undefined) {
    output.item({ store: name, ...told([]) });
    output.line(`${name} sends no notifications that a kept key would have to verify`);
    return;
  }
  if (id === undefined) {
    output.item({ store: name, ...told(before) });
    if (before.length === 0) output.line(`${name} is the primary of no link: no keys are kept for it`);
    for (const kept of before) for (const line of keptWords(kept, now)) output.line(line);
    return;
  }
  await actOn(config, { command: 'store drop-key', options: { '<store>': name, '<id>': id } }, { output, host });
  const dropped = await dropKeptKey(config, { store: name, id, now });
  if (dropped.length === 0) {
    const ids = [...new Set(before.flatMap(({ keys }) => keys.map((key) => key.id)))];
    const there = ids.length === 0 ? 'none' : ids.join(', ');
    throw new CodedError('usage', `no key ${clean(id)} is kept for ${name}; there are: ${clean(there)}`);
  }
  output.item({ store: name, dropped: id, ...told(dropped) });
  for (const callback of dropped) {
    const left = count(callback.keys.filter(({ used }) => used).length, 'key');
    output.line(`${clean(id)} verifies nothing for ${clean(callback.name)} any more; ${left} left`);
  }
}

/** What is kept, for programs: by link, and by sender where there is one. */
function told(callbacks: readonly KeysOfCallback[]) {
  const links = callbacks.flatMap(({ of, name, ...kept }) => (of === 'link' ? [{ link: name, ...kept }] : []));
  const senders = callbacks.flatMap(({ of, name, ...kept }) => (of === 'sender' ? [{ sender: name, ...kept }] : []));
  return { links, ...(senders.length > 0 && { senders }) };
}

/** The keys of a link or a sender, a line each. */
function keptWords({ name, pinned, keys, dropped }: KeysOfCallback, now: number): readonly string[] {
  const own = pinned ? `: links.${name}.verificationKey pins a key, and these are not used` : '';
  const lines = keys.map(({ id, goneAt, used }) => {
    const since = goneAt === undefined ? 'served now' : `not served since ${ago(now, goneAt)}`;
    return `  ${id}  ${since}${used ? '' : ', not used any more'}`;
  });
  const none = keys.length === 0 ? ['  none yet: certstandby serve, or the sweep, fetches them'] : [];
  return [`${name}${own}`, ...none, ...lines, ...dropped.map((id) => `  ${id}  dropped`)].map(clean);
}

async function accept(name: string, options: StoreOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const signal = interrupted(host);
  const config = loadConfig(options.config, host.env);
  const store = await storeOf(config, name, options.config, runtime);
  await actOn(config, { command: 'store accept', options: { '<store>': name } }, { output, host });
  const { before, identity } = await acceptStore(config.table, store, { runtime, signal }).finally(() =>
    store.close?.(),
  );
  output.item({ store: name, before, identity });
  if (store.identity === undefined) {
    output.line(`${name} can prove no identity: there is nothing to accept`);
  } else if (identity === undefined) {
    output.line(`${name} has no identity yet; its next write gives it one, and binds it`);
  } else if (before === identity) {
    output.line(`${name} is bound to ${identity} already, and stays as it is`);
  } else {
    const words = before === undefined ? 'was bound to none' : `was bound to ${before}`;
    output.line(`${name} is bound to ${identity} from now on; it ${words}`);
  }
}
