import { Command } from 'commander';
import { acceptStore } from '../compose/stores.ts';
import { loadConfig } from '../config.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output/output.ts';
import { storeOf } from './program.ts';

interface StoreOptions extends OutputOptions {
  readonly config: string;
}

/** `certstandby store accept`. */
export function storeCommand(host: Host): Command {
  const store = new Command('store').description('say that another place behind a store is meant');
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
  return store;
}

async function accept(name: string, options: StoreOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const signal = interrupted(host);
  const config = loadConfig(options.config, host.env);
  const store = await storeOf(config, name, options.config, runtime);
  const { before, identity } = await acceptStore(config.table, store, { runtime, signal });
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
