import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { type Config, isSecret, loadConfig, readConfigFile, writtenSettings } from '../../config.ts';
import { errorRegistry } from '../../errors.ts';
import { backupExit } from '../../findings/backup-words.ts';
import { isUsedUp, quotaWords } from '../../findings/quota-words.ts';
import { silentLog } from '../../log.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import type { Store } from '../../store/store.ts';
import { timeLimit } from '../../time-limit.ts';
import { interrupted } from '../interrupt.ts';
import { callbackBase, configOption, seconds } from '../options.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { clean, count, duration } from '../output/text.ts';
import { actOn } from '../program.ts';
import { checkTransport } from '../transport.ts';
import { checkAlerts } from './alerts.ts';
import {
  checkBackups,
  checkLink,
  checkStore,
  type Finding,
  failed,
  good,
  type LinkState,
  partOf,
  problem,
  warning,
} from './checks.ts';
import { checkInstances } from './instances.ts';
import { awaitTest, checkSender, type LastTest, triesItself } from './senders.ts';

interface DoctorOptions extends OutputOptions {
  readonly config: string;
  readonly register?: string;
  readonly wait: number;
  readonly instances?: string;
  readonly prove?: string;
  readonly yes?: boolean;
  readonly rights?: boolean;
}

/** How long one question to a service may take, in milliseconds. */
const patienceMs = 10_000;
/** A certificate of our own that ends sooner is worth a word, in milliseconds. */
const soonMs = 14 * 86_400_000;
/**
 * Which class of problem decides the exit code, where there are several: the one that is to be
 * mended first.
 */
const exitOrder = [3, 5, 4, 6, 1];

/** `certstandby doctor`. */
export function doctorCommand(host: Host): Command {
  return withOutputOptions(new Command('doctor'))
    .description('check configuration, credentials, rights, channels, keys and clocks; say what mends each problem')
    .addOption(configOption())
    .option(
      '--register <url>',
      'register <url>/callback/<link> at each primary that has no such channel, set senders up, and try them',
      callbackBase,
    )
    .option(
      '--wait <seconds>',
      'wait so long for test messages of senders that only their own side can send',
      seconds,
      0,
    )
    .option('--prove <store>', 'measure what a store states about itself, with a certificate of its own, instead')
    .option('--yes', 'with --prove: do not ask before anything is sent')
    .option(
      '--rights',
      'print the least rights that the stores of each link take, as policies where there are such, and ask nobody',
    )
    .option('--instances <folder>', 'check the instances of our own in this folder instead: keys, and their recovery')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby doctor --config certstandby.yaml' +
        '\n  certstandby doctor --instances certstandby-instances' +
        '\n  certstandby doctor --register https://certstandby.example.com --wait 120' +
        '\n  certstandby doctor --prove london' +
        '\n  certstandby doctor --rights' +
        '\n  certstandby doctor --json | jq -r \'select(.outcome == "problem").remedy\'' +
        '\n\nIt asks the services for real and changes nothing, unless --register or --prove is given. Exits 0 if there is no problem, else by' +
        '\nthe class of the one to mend first: 3 configuration, 5 the table, 4 a service, 6 certificates or their copies.',
    )
    .action((options: DoctorOptions) => doctor(options, host));
}

async function doctor(options: DoctorOptions, host: Host): Promise<void> {
  if (options.rights === true) return (await import('./rights.ts')).printRights(options, host);
  if (options.prove !== undefined) return (await import('./prove.ts')).prove(options.prove, options, host);
  const stopping = interrupted(host);
  const output = commandOutput(options, host);
  const findings: Finding[] = [];
  const found = (...some: readonly Finding[]) => {
    for (const finding of some) print(output, finding);
    findings.push(...some);
  };
  if (options.instances !== undefined) {
    found(...(await checkInstances(options.instances, host)));
    return conclude(findings, output, host);
  }
  // Without a configuration there is nothing to check; what is wrong with it is told as it always
  // is.
  const config = loadConfig(options.config, host.env);
  const { stores, links } = config;
  found(good('configuration', `${options.config}: ${count(stores.length, 'store')}, ${count(links.length, 'link')}`));
  found(...checkOwnFiles(config, options.config), ...(await checkServe(config)));
  const { states, finding } = await readTable(config);
  found(finding);
  stopping.throwIfAborted();

  if (options.register !== undefined)
    await actOn(config, { command: 'doctor', options: { register: true } }, { output, host });
  const { openForDiagnosis } = await import('../../compose/stores.ts');
  const { tellersOf } = await import('../../compose/services.ts');
  const opened = await openForDiagnosis(config, runtime);
  const context = {
    now: runtime.now,
    wait: runtime.wait,
    signal: () => timeLimit(patienceMs, stopping),
  };
  const progress = output.progress('asking the services', opened.size + links.length);
  try {
    const asks = new Map<string, boolean>();
    const ofStores = [...opened].map(async ([name, store]) => {
      const checked = await checkStore(name, store, partOf(config, name), context).catch((thrown: unknown) => [
        failed(name, thrown),
      ]);
      asks.set(
        name,
        checked.every(({ outcome }) => outcome !== 'problem'),
      );
      progress.advance();
      return checked;
    });
    for (const checked of ofStores) found(...(await checked));
    found(...(await checkQuotas(config, opened)));
    for (const link of links) {
      stopping.throwIfAborted();
      const primary = opened.get(link.primary) as Store;
      const line = `certstandby doctor --config ${options.config} --register https://PUBLIC-ADDRESS`;
      const more = {
        reconcileEveryMs: config.worker.reconcileEveryMs,
        toldBy: tellersOf(link.primary, config),
        asks: asks.get(link.primary) ?? false,
        registerLine: line,
        ...(options.register !== undefined && { register: options.register }),
      };
      const checked = checkLink(link, primary, states.get(link.name), { ...context, ...more });
      found(...(await checked.catch((thrown: unknown) => [failed(link.name, thrown)])));
      const backups = new Map(link.backups.map((name) => [opened.get(name)?.id ?? name, name]));
      found(...checkBackups(link, backups, states.get(link.name)?.backups, runtime.now()));
      progress.advance();
    }
    const { sendersForDiagnosis } = await import('../../compose/senders.ts');
    const { signal } = context;
    const senders = await sendersForDiagnosis(config, runtime);
    const checked = senders.length === 0 ? undefined : await openForTests(config);
    try {
      const lastTestAt = checked?.lastTestAt;
      const waited = options.wait > 0 && lastTestAt !== undefined ? senders.filter(triesItself) : [];
      const before = new Map<string, number | undefined>();
      for (const { name } of waited) before.set(name, await lastTestAt?.(name));
      for (const sender of senders) {
        const relay = opened.get(sender.store)?.diagnosis?.relay;
        found(...(await checkSender(sender, { base: options.register, signal, lastTestAt, relay })));
      }
      const waitMs = options.wait * 1_000;
      const waits = waited.map((sender) =>
        awaitTest(sender, {
          before: before.get(sender.name),
          lastTestAt: lastTestAt as LastTest,
          waitMs,
          runtime,
          signal: stopping,
        }),
      );
      for (const finding of await Promise.all(waits)) found(finding);
    } finally {
      await checked?.close();
    }
    found(...(await checkAlerts(config, { config: options.config, runtime, signal })));
    stopping.throwIfAborted();
  } finally {
    progress.end();
    await Promise.all([...opened.values()].map((store) => store.close?.()));
  }
  conclude(findings, output, host);
}

/** Files of the configuration that hold secrets: nobody but their owner should read them. */
function checkOwnFiles(config: Config, path: string): Finding[] {
  const secrets = [...writtenSettings(readConfigFile(path))].flatMap(([setting, { value }]) => {
    const [, file] = /^"file:(.+)"$/.exec(value) ?? [];
    return isSecret(setting) && file !== undefined ? [resolve(dirname(path), file)] : [];
  });
  if (config.serve?.tls !== undefined) secrets.push(config.serve.tls.key);
  return secrets.flatMap((file) => {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o077) === 0 || process.platform === 'win32') return [];
    const readers = (mode & 0o007) === 0 ? 'its group' : 'everybody';
    return [warning('configuration', `${file} holds a secret and is open to ${readers}`, `chmod 600 ${file}`)];
  });
}

async function checkServe(config: Config): Promise<Finding[]> {
  try {
    checkTransport(config);
    const { host, port } = config.receiver;
    const files = config.serve?.tls;
    const why = config.serve?.behindProxy ? ', behind a proxy' : '';
    if (files === undefined) return [good('receiver', `plain HTTP on ${host}, port ${port}${why}`)];
    const { tlsFiles } = await import('../../http/tls-files.ts');
    const leftMs = tlsFiles({ ...files, log: silentLog }).notAfter() - runtime.now();
    if (leftMs > soonMs)
      return [good('receiver', `TLS on ${host}, port ${port}; certificate valid ${duration(leftMs)}`)];
    const words = leftMs > 0 ? `expires in ${duration(leftMs)}` : 'has expired: senders refuse to connect';
    return [
      warning('receiver', `its certificate ${words}`, `Renew ${files.certificate}; a running serve takes it over.`),
    ];
  } catch (thrown) {
    return [failed('receiver', thrown)];
  }
}

/**
 * What the table says of each link. An LMDB file that is not there is not made: the first start
 * does that.
 */
async function readTable({ table, links }: Config) {
  const states = new Map<string, LinkState>();
  const nothing = { boundTo: undefined, verificationKey: undefined, lastReconcileAt: undefined, backups: undefined };
  const where = table.kind === 'lmdb' ? table.path : `${table.name} in ${table.region}`;
  if (table.kind === 'lmdb' && !existsSync(table.path)) {
    for (const { name } of links) states.set(name, nothing);
    return {
      states,
      finding: warning('table', `${where} is not there yet`, 'The first start makes it: certstandby serve'),
    };
  }
  try {
    const { linkRecords } = await import('../../records/link-records.ts');
    const { openTable } = await import('../../compose/tables.ts');
    const { recordedFindings } = await import('../../compose/program.ts');
    const opened = await openTable(table);
    try {
      const records = linkRecords(opened);
      for (const { name } of links) {
        const [boundTo, verificationKey, lastReconcileAt, { silence }, backups] = await Promise.all([
          records.boundTo(name),
          records.verificationKey(name),
          records.lastReconcileAt(name),
          records.reconcileState(name),
          recordedFindings(opened, name, runtime.now()),
        ]);
        states.set(name, { boundTo, verificationKey, lastReconcileAt, silence, backups });
      }
    } finally {
      await opened.close();
    }
    return { states, finding: checkWritable(table) ?? good('table', `${where} can be read`) };
  } catch (thrown) {
    return { states, finding: failed('table', thrown) };
  }
}

/**
 * The table, to see test messages come. `undefined` where there is none, or none that can be
 * opened: that was told.
 */
async function openForTests({ table }: Config) {
  if (table.kind === 'lmdb' && !existsSync(table.path)) return undefined;
  const { linkRecords } = await import('../../records/link-records.ts');
  const { openTable } = await import('../../compose/tables.ts');
  const opened = await openTable(table).catch(() => undefined);
  if (opened === undefined) return undefined;
  const { lastTestAt } = linkRecords(opened);
  return { lastTestAt, close: () => opened.close() };
}

/**
 * What is left of the quotas that stores state. They are counted on the table: where there is none,
 * nothing was used.
 */
async function checkQuotas({ table }: Config, opened: ReadonlyMap<string, Store>): Promise<readonly Finding[]> {
  const stating = [...opened].filter(([, { abilities }]) => (abilities.quotas ?? []).length > 0);
  if (stating.length === 0 || (table.kind === 'lmdb' && !existsSync(table.path))) return [];
  const { countedOn } = await import('../../compose/prove.ts');
  const { openTable } = await import('../../compose/tables.ts');
  const counting = await openTable(table).catch(() => undefined);
  // That the table cannot be opened was told.
  if (counting === undefined) return [];
  try {
    const of = stating.map(async ([name, store]) => {
      const { left } = await countedOn(counting, store, runtime);
      return left.map((quota) =>
        isUsedUp(quota)
          ? {
              ...problem(name, 'store_quota_used_up', `nothing is left for new copies: ${quotaWords(quota)}`),
              exit: backupExit,
            }
          : good(name, quotaWords(quota)),
      );
    });
    const found = await Promise.all(
      of.map((one, index) => one.catch((thrown: unknown) => [failed(stating[index]?.[0] ?? '', thrown)])),
    );
    return found.flat();
  } finally {
    await counting.close();
  }
}

/**
 * Whether this user may write an LMDB table. A service's table is only read here: rights there show
 * with the first write.
 */
function checkWritable(table: Config['table']): Finding | undefined {
  if (table.kind !== 'lmdb') return undefined;
  try {
    accessSync(table.path, constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    const remedy = `Run it as the owner of ${table.path}, or: chown -R $(id -un) ${table.path}`;
    return problem('table', 'table_unavailable', `${table.path} may not be written by this user`, remedy);
  }
}

function print(output: Output, finding: Finding): void {
  const { paint } = output;
  const { about, outcome, message, remedy, code } = finding;
  output.item(finding);
  const text = `${about}: ${clean(message)}`;
  if (outcome === 'good') output.line(`${paint.good('ok')}       ${text}`);
  else {
    const mark = outcome === 'problem' ? paint.bad('problem') : paint.warning('warning');
    output.finding(
      `${mark}  ${text}${code === undefined ? '' : ` ${paint.faint(`[${code}]`)}`}`,
      `         ${clean(remedy ?? '')}`,
    );
  }
}

function conclude(findings: readonly Finding[], output: Output, host: Host): void {
  const problems = findings.filter(({ outcome }) => outcome === 'problem');
  const warnings = findings.filter(({ outcome }) => outcome === 'warning');
  const exits = problems.map(({ code, exit: own }) => own ?? errorRegistry[code ?? 'internal'].exit);
  const exit = problems.length === 0 ? 0 : (exitOrder.find((one) => exits.some((found) => found === one)) ?? 1);
  output.item({ problems: problems.length, warnings: warnings.length, checks: findings.length, exit });
  const found = [
    problems.length > 0 && count(problems.length, 'problem'),
    warnings.length > 0 && count(warnings.length, 'warning'),
  ];
  const words = found.filter(Boolean).join(' and ');
  output.line('', words === '' ? 'All is well.' : `${words}; below each stands what mends it.`);
  host.exitCode = exit;
}
