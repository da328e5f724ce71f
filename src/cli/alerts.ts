import { Command } from 'commander';
import type { FindingRow } from '../alerts/alert-rows.ts';
import type { Alerts, ChannelState } from '../alerts/alerts.ts';
import type { Act } from '../compose/audit.ts';
import type { Config } from '../config.ts';
import { loadConfig } from '../config.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { milliseconds } from '../settings.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from './output/output.ts';
import { clean, count, duration } from './output/text.ts';
import { withLinks } from './program.ts';

interface AlertsOptions extends OutputOptions {
  readonly config: string;
}

interface QuietOptions extends AlertsOptions {
  readonly for: string;
}

/** `certstandby alerts test|list|mute|acknowledge`. */
export function alertsCommand(host: Host): Command {
  const alerts = new Command('alerts').description(
    'who is told of what is wrong: try the channels, list findings, mute',
  );
  const part = (name: string, description: string) =>
    withOutputOptions(alerts.command(name)).description(description).addOption(configOption());
  part('test', 'send a message that says that nothing is wrong, and say what each channel answered')
    .argument('[channel]', 'only this one of alerts.channels, or heartbeat')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby alerts test\n  certstandby alerts test oncall' +
        '\n\nExits 0 if every channel took it, else 4. Whether a person sees it, look for yourself.',
    )
    .action((channel: string | undefined, options: AlertsOptions) => test(channel, options, host));
  part('list', 'what has been found and told, and how each channel does')
    .addHelpText('after', '\nExamples:\n  certstandby alerts list\n  certstandby alerts list --json')
    .action((options: AlertsOptions) => list(options, host));
  const quiet = (how: 'mute' | 'acknowledge', what: string) =>
    part(how, what)
      .argument('<finding>', 'its name, as messages and certstandby alerts list have it')
      .requiredOption('--for <duration>', 'for how long, such as 8h or 7d')
      .addHelpText('after', `\nExample:\n  certstandby alerts ${how} shop/expiring --for 3d`)
      .action((finding: string, options: QuietOptions) => hush(how, finding, options, host));
  quiet('mute', 'tell no channel of a finding for a while, whatever becomes of it');
  quiet('acknowledge', 'not tell again of a finding for a while; that it is over is told');
  return alerts;
}

function alertsIn(config: Config, path: string): NonNullable<Config['alerts']> {
  const { alerts } = config;
  if (alerts !== undefined && (alerts.channels.length > 0 || alerts.heartbeat !== undefined)) return alerts;
  throw new CodedError('usage', `${path} names no channels under alerts, so that nobody is told`);
}

async function test(only: string | undefined, options: AlertsOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const signal = interrupted(host);
  const config = alertsIn(loadConfig(options.config, host.env), options.config);
  const { channelsToTry } = await import('../compose/alerts.ts');
  const channels = channelsToTry(config, runtime);
  const wanted = channels.filter(({ name }) => only === undefined || name === only);
  if (wanted.length === 0) {
    const names = channels.map(({ name }) => name).join(', ');
    throw new CodedError('usage', `there is no channel ${only}; the configuration has ${names}`);
  }
  // All at once, so that one that is slow holds up no other; told in the order of the file.
  const tried = wanted.map((channel) => channel.test(signal).then(() => undefined, asCodedError));
  let exit = 0;
  for (const [index, { name, kind }] of wanted.entries()) {
    const failure = await tried[index];
    signal.throwIfAborted();
    if (failure === undefined) {
      output.item({ channel: name, kind, taken: true });
      output.line(`${name} (${kind}): ${output.paint.good('taken')}; see whether it has arrived`);
      continue;
    }
    const { code, message, remedy } = failure;
    output.item({ channel: name, kind, taken: false, error: { code, message, remedy } });
    output.problem(failure, name);
    exit = Math.max(exit, failure.entry.exit);
  }
  host.exitCode = exit;
}

/** Does something with the alerts of a configuration. */
async function withAlerts(
  options: AlertsOptions,
  host: Host,
  work: (alerts: Alerts, output: Output) => Promise<void>,
  act?: Act,
) {
  const output = commandOutput(options, host, runtime.now);
  await withLinks(options, { output, host, tells: true, act }, async (program) => {
    alertsIn(program.config, options.config);
    const alerts = await program.alerts(interrupted(host));
    if (alerts !== undefined) await work(alerts, output);
  });
}

function list(options: AlertsOptions, host: Host): Promise<void> {
  return withAlerts(options, host, async (alerts, output) => {
    const now = runtime.now();
    const [{ findings, unreadable }, channels] = await Promise.all([alerts.findings(), alerts.channels()]);
    for (const finding of findings) showFinding(finding, now, output);
    for (const finding of unreadable) {
      output.item({ finding, unreadable: true });
      output.finding(
        `${output.paint.strong(clean(finding))}: what is kept of it cannot be read`,
        '  The next look of certstandby serve puts it right, and tells it anew if it stands.',
      );
    }
    for (const channel of channels) showChannel(channel, now, output);
    if (findings.length + unreadable.length === 0)
      output.line(`nothing stands that is told; ${count(channels.length, 'channel')}`);
  });
}

function showFinding(row: FindingRow, now: number, output: Output): void {
  const { id, severity, state, since, endedAt, words, mutedUntil = 0, acknowledgedUntil = 0 } = row;
  const told = [...row.heard].map(([channel, heard]) => ({ channel, last: heard.version >= row.version }));
  const quiet = {
    ...(mutedUntil > now && { mutedUntil }),
    ...(acknowledgedUntil > now && { acknowledgedUntil }),
  };
  output.item({ finding: id, severity, state, since, endedAt, words, ...quiet, told });
  const how =
    state === 'over' ? `over for ${duration(now - (endedAt ?? now))}` : `${severity}, for ${duration(now - since)}`;
  const until = (moment: number) => new Date(moment).toISOString();
  const hushed = [
    ...(mutedUntil > now ? [`muted until ${until(mutedUntil)}`] : []),
    ...(acknowledgedUntil > now ? [`acknowledged until ${until(acknowledgedUntil)}`] : []),
  ];
  const [first = '', ...more] = words;
  output.finding(`${output.paint.strong(id)}: ${[how, ...hushed].join('; ')}`, `  ${first}`);
  for (const line of more) output.line(`    ${line}`);
}

function showChannel(channel: ChannelState, now: number, output: Output): void {
  const { name, kind, failingSince, error, takenAt, waiting } = channel;
  output.item({ channel: name, kind, takenAt, failingSince, error, waiting });
  const last =
    takenAt === undefined ? 'has taken no message yet' : `took the last message ${duration(now - takenAt)} ago`;
  const rest = waiting === 0 ? '' : `; ${count(waiting, 'finding')} to be told`;
  if (error === undefined) output.line(`channel ${name} (${kind}) ${last}${rest}`);
  else
    output.finding(
      `channel ${name} (${kind}) takes nothing${failingSince === undefined ? '' : ` for ${duration(now - failingSince)}`}, and ${last}${rest}`,
      `  ${error.message} [${error.code}]`,
      `  ${error.remedy}`,
    );
}

/** Longer than a person looks ahead: what is muted for ever would be forgotten. */
const longestQuietMs = 90 * 86_400_000;

function hush(how: 'mute' | 'acknowledge', finding: string, options: QuietOptions, host: Host): Promise<void> {
  const forMs = milliseconds(options.for) ?? 0;
  if (forMs < 1 || forMs > longestQuietMs)
    throw new CodedError('usage', '--for takes a duration such as 30m, 8h or 7d, at most 90d');
  const work = async (alerts: Alerts, output: Output) => {
    const until = runtime.now() + forMs;
    await alerts.quiet(finding, how, until);
    output.item({ finding, [how === 'mute' ? 'mutedUntil' : 'acknowledgedUntil']: until });
    const words = how === 'mute' ? 'is muted' : 'is not told again';
    output.line(`${finding} ${words} until ${new Date(until).toISOString()}`);
  };
  const act = { command: `alerts ${how}`, options: { '<finding>': finding, for: options.for } };
  return withAlerts(options, host, work, act);
}
