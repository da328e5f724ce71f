import type { Command } from 'commander';
import { personHere } from '../audit/person.ts';
import { type Act, tellAct } from '../compose/audit.ts';
import { type ComposeOptions, compose, type Program } from '../compose/program.ts';
import { openForDiagnosis } from '../compose/stores.ts';
import { type Config, defaultAudit, loadConfig } from '../config.ts';
import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { includes, type Link } from '../replication/link.ts';
import { type Runtime, systemRuntime as runtime } from '../runtime.ts';
import type { Store } from '../store/store.ts';
import type { Table } from '../table/table.ts';
import { configOption } from './options.ts';
import { type Host, type Output, type OutputOptions, withOutputOptions } from './output/output.ts';

/** What every command that looks at links takes. */
export interface LinkOptions extends OutputOptions {
  readonly config: string;
  readonly link?: string;
}

/** One link that a command works on, and what it needs for that. */
export interface LinkRun {
  readonly program: Program;
  readonly link: Link;
  readonly output: Output;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Adds `--config`, `--link`, and what every command prints by. */
export function withLinkOptions(command: Command): Command {
  return withOutputOptions(command.addOption(configOption()).option('-l, --link <name>', 'only this link'));
}

/** Runs something with the program of a configuration and the links that were asked for. */
export async function withLinks<T>(
  options: LinkOptions,
  given: {
    readonly output: Output;
    readonly host: Host;
    readonly observer?: ComposeOptions['observer'];
    /** The one link is about to be moved to the primary that the configuration names. */
    readonly moving?: boolean;
    /** It uses channels of alerts: what these refer to has to be there. */
    readonly tells?: boolean;
    /** What is done, for the audit trail; absent: nothing is changed. */
    readonly act?: Act | undefined;
  },
  work: (program: Program, links: readonly Link[]) => Promise<T>,
): Promise<T> {
  const { output, host, observer, act } = given;
  const config = loadConfig(options.config, host.env, { tells: given.tells ?? false });
  const moving = given.moving === true ? (options.link ?? onlyLink(config.links).name) : undefined;
  const program = await compose(config, {
    runtime,
    log: output.log,
    ...defined({ observer, moving, runs: act?.command }),
  });
  const wording = storesByName(program);
  output.reword(wording);
  try {
    const links = program.links.filter(({ name }) => options.link === undefined || name === options.link);
    if (links.length > 0) {
      if (act !== undefined) program.audit?.act(withLink(act, options), personHere(host.env));
      return await work(program, links);
    }
    const known = program.links.map(({ name }) => name).join(', ');
    throw new CodedError('usage', `there is no link ${options.link}; the configuration has ${known}`);
  } catch (thrown) {
    throw reworded(thrown, wording);
  } finally {
    await program.close();
  }
}

const withLink = ({ command, options }: Act, { link }: LinkOptions): Act => ({
  command,
  options: { ...(link === undefined ? {} : { link }), ...options },
});

/**
 * Tells the audit trail what a command does that opens no program, before it does so. `opened`: a
 * table that it has open.
 */
export async function actOn(
  config: Config,
  act: Act,
  { output, host, opened }: { readonly output: Output; readonly host: Host; readonly opened?: Table | undefined },
): Promise<void> {
  const { table, audit = defaultAudit } = config;
  await tellAct({ config: { table, audit }, runtime, log: output.log, table: opened }, act, personHere(host.env));
}

/** The same error with its message in other words. */
function reworded(thrown: unknown, wording: (text: string) => string): unknown {
  if (!(thrown instanceof CodedError)) return thrown;
  const { code, message, fields, cause } = thrown;
  const words = wording(message);
  return words === message ? thrown : new CodedError(code, words, { fields, cause });
}

/**
 * Does something for one link and answers its exit code; a link that fails is told of, and keeps no
 * other from its turn.
 */
export async function forLink(link: Link, output: Output, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (thrown) {
    const error = asCodedError(thrown);
    if (error.code === 'usage' || error.code === 'interrupted') throw thrown;
    output.problem(error, link.name);
    output.item({ link: link.name, error: { code: error.code, message: error.message } });
    return error.entry.exit;
  }
}

/** The one link of a command that works on one. Throws `usage` if there are several. */
export function onlyLink<T extends { readonly name: string }>(links: readonly T[]): T {
  const [link, ...others] = links;
  if (link !== undefined && others.length === 0) return link;
  throw new CodedError('usage', `say which link with --link: ${links.map(({ name }) => name).join(', ')}`);
}

/**
 * Puts, in a text for people, the names that the configuration gives to stores in the place of
 * their ids.
 */
function storesByName({ stores }: Pick<Program, 'stores'>): (text: string) => string {
  const named = [...stores].map(([name, { id }]) => [id, name] as const);
  return (text) => named.reduce((words, [id, name]) => words.replaceAll(id, () => name), text);
}

/**
 * Stores by the names that the configuration gives them; a store that it does not name, by its id.
 */
export function storeNames(program: Pick<Program, 'stores'>): (id: string) => string {
  const names = new Map([...program.stores].map(([name, { id }]) => [id, name]));
  return (id) => names.get(id) ?? id;
}

/**
 * One store of a configuration by the name that it has there. Nothing is asked of it yet. Throws
 * `usage` if there is none.
 */
export async function storeOf(config: Config, name: string, configPath: string, runtime: Runtime): Promise<Store> {
  const stores = await openForDiagnosis(config, runtime);
  const store = stores.get(name);
  if (store !== undefined) return store;
  throw new CodedError(
    'usage',
    `there is no store ${name} in ${configPath}; there are: ${[...stores.keys()].join(', ')}`,
  );
}

/**
 * Whether a certificate's name fits one of these, `*` for anything; without any, every one does.
 */
export function namesFit(names: readonly string[]): (name: string) => boolean {
  const filter = { names, domains: [] };
  return (name) => includes(filter, { name, domains: [] });
}
