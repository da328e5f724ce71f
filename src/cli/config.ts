import { Command, Option } from 'commander';
import {
  configSettings,
  loadConfig,
  type Platform,
  platforms,
  readConfigFile,
  settingsText,
  writtenSettings,
} from '../config.ts';
import { deploymentOf } from '../deployment.ts';
import { CodedError } from '../errors.ts';
import { jsonText } from '../foreign-text.ts';
import { effectiveSettings, settingsOf, type Written } from './config-options.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from './output/output.ts';
import { clean, count } from './output/text.ts';

interface ConfigOptions extends OutputOptions {
  readonly config: string;
}

/** `certstandby config check|explain|show|export`. */
export function configCommand(host: Host): Command {
  const config = new Command('config').description('check, explain, print, or export the configuration');
  const part = (name: string, description: string) =>
    withOutputOptions(config.command(name)).description(description).addOption(configOption());
  part('check', 'read the configuration and what it refers to, and name every mistake')
    .addHelpText(
      'after',
      '\nExample:\n  certstandby config check --config certstandby.yaml && systemctl restart certstandby',
    )
    .action((options: ConfigOptions) => check(options, commandOutput(options, host), host));
  part('explain', 'say of each setting what it means, what holds, and where that comes from')
    .argument('[setting]', 'only this one, or those below it: worker, stores.london')
    .addHelpText('after', '\nExamples:\n  certstandby config explain\n  certstandby config explain serve.tls')
    .action((setting: string | undefined, options: ConfigOptions) =>
      explain(setting, options, commandOutput(options, host), host),
    );
  part('show', 'print the configuration in force, defaults filled in; secrets stay references')
    .addHelpText('after', '\nExample:\n  certstandby config show --config certstandby.yaml')
    .action((options: ConfigOptions) => show(options, commandOutput(options, host), host));
  config
    .command('export')
    .description('check the configuration for functions, and print what is deployed with them; secrets stay references')
    .addOption(configOption())
    .addOption(new Option('--platform <platform>', 'where the functions run').choices(platforms).makeOptionMandatory())
    .addHelpText(
      'after',
      '\nExample:\n  certstandby config export --platform aws > certstandby.json' +
        '\n\nWhat cannot be had where the functions run is a mistake: a folder, the environment of another machine. Nothing is read of a' +
        '\nsecret: the functions do that. npm run deploy does this by itself.',
    )
    .action(async ({ config: path, platform }: { readonly config: string; readonly platform: Platform }) => {
      const config = loadConfig(path, host.env, { platform });
      const { functionPolicies } = await import('../compose/rights.ts');
      const deployment = deploymentOf(config, platform, await functionPolicies(config));
      host.stdout.write(`${jsonText(deployment)}\n`);
    });
  return config;
}

function check(options: ConfigOptions, output: Output, host: Host): void {
  const { stores, links, table } = loadConfig(options.config, host.env, { tells: true });
  const held = { config: options.config, stores: stores.map(({ name }) => name), links: links.map(({ name }) => name) };
  output.item({ ...held, table: table.kind });
  const counted = `${count(stores.length, 'store')}, ${count(links.length, 'link')}, records in ${table.kind}`;
  output.line(`${options.config} is ${output.paint.good('good')}: ${counted}`);
}

/**
 * What is written in a configuration that is good. Read after it was checked: a secret written out
 * in it is a mistake, and is never printed.
 */
function writtenIn(options: ConfigOptions, host: Host): Written {
  loadConfig(options.config, host.env);
  return writtenSettings(readConfigFile(options.config));
}

function show(options: ConfigOptions, output: Output, host: Host): void {
  const settings = effectiveSettings(writtenIn(options, host));
  output.item(settings);
  output.line(...settingsText(settings).trimEnd().split('\n'));
}

function explain(setting: string | undefined, options: ConfigOptions, output: Output, host: Host): void {
  const written = writtenIn(options, host);
  const isAsked = (path: string) => setting === undefined || path === setting || path.startsWith(`${setting}.`);
  const explained = configSettings.flatMap((option) => {
    const settings = settingsOf(option, written).filter(({ path }) => isAsked(path) || isAsked(option.path));
    return settings.length === 0 ? [] : [{ option, settings }];
  });
  if (explained.length === 0) {
    const tops = [...new Set(configSettings.map(({ path }) => path.split('.')[0]))].join(', ');
    throw new CodedError('usage', `there is no setting ${setting}; there are ${tops}, and what is below them`);
  }
  const { paint } = output;
  for (const { option, settings } of explained) {
    const kind = option.of === undefined ? '' : ` (${option.of})`;
    output.line(`${paint.strong(option.path)}${kind}: ${option.what}`);
    const otherwise = option.default === undefined ? option.otherwise : JSON.stringify(option.default);
    output.line(paint.faint(`    default: ${otherwise ?? 'none, it must be given'}`));
    for (const { path, value, line } of settings) {
      const from = line === undefined ? 'default' : `${options.config}, line ${line}`;
      output.item({
        setting: path,
        what: option.what,
        default: option.default,
        otherwise: option.default === undefined ? (option.otherwise ?? 'required') : undefined,
        line,
        value: value && JSON.parse(value),
      });
      if (value !== undefined) output.line(`    ${path} = ${clean(value)}  ${paint.faint(`(${from})`)}`);
    }
  }
}
