import { isIPv6 } from 'node:net';
import { Command } from 'commander';
import { loadConfig } from '../config.ts';
import { CodedError } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type OutputOptions, withOutputOptions } from './output/output.ts';
import { duration } from './output/text.ts';

interface ConsoleOptions extends OutputOptions {
  readonly config: string;
}

/** `certstandby console`. */
export function consoleCommand(host: Host): Command {
  return withOutputOptions(new Command('console'))
    .description('print a link that signs one person in to the console that serve serves, once')
    .addOption(configOption())
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby console\n  certstandby console --json | jq -r .url' +
        '\n\nThe console is served by certstandby serve where the configuration has console: {}. Whoever has the link gets in, once,' +
        '\nwithin minutes: give it to nobody. It is kept as a digest, in the table.',
    )
    .action((options: ConsoleOptions) => printLink(options, host));
}

async function printLink(options: ConsoleOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const config = loadConfig(options.config, host.env);
  if (config.console === undefined) throw new CodedError('console_off', `${options.config} has no console`);
  const { makeSignInLink } = await import('../compose/console.ts');
  const { host: address, port } = config.console;
  const { token, until } = await makeSignInLink(config, port, runtime.now);
  const url = `http://${isIPv6(address) ? `[${address}]` : address}:${port}/enter/${token}`;
  output.item({ url, until });
  output.finding(url);
  output.line(`Open it within ${duration(until - runtime.now())}, where certstandby serve runs; it is good once.`);
}
