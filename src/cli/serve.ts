import { Command, Option } from 'commander';
import type { Alerts } from '../alerts/alerts.ts';
import type { Acknowledged } from '../compose/callbacks.ts';
import type { ConsoleParts } from '../compose/console.ts';
import type { Program } from '../compose/program.ts';
import { type Config, defaultServe, loadConfig, readConfigFile, writtenSettings } from '../config.ts';
import { defined } from '../defined.ts';
import { asCodedError } from '../errors.ts';
import type { TlsFiles } from '../http/tls-files.ts';
import { errorFields, jsonLog, type Log } from '../log.ts';
import type { Metrics } from '../monitor/metrics.ts';
import { systemRuntime as runtime, unlessAborted } from '../runtime.ts';
import { serveConsole } from './console-listener.ts';
import { drillEvery } from './drill-schedule.ts';
import { interrupted } from './interrupt.ts';
import { configOption } from './options.ts';
import type { Host } from './output/output.ts';
import { every } from './schedule.ts';
import { checkTransport } from './transport.ts';
import { version } from './version.ts';

export interface ServeOptions {
  readonly config: string;
  readonly log: LogLevel;
}

const logLevels = ['debug', 'info', 'warn', 'error'] as const;
type LogLevel = (typeof logLevels)[number];

/** What is left of a stop when the time for passes is over, in milliseconds. */
const endsMs = 2_000;
const nobodyIsTold =
  'nobody will be told of what goes wrong: name channels under alerts in the configuration (docs/alerts.md)';
/** How often the TLS files are looked at. */
const tlsReloadMs = 10_000;

/** `certstandby serve`. */
export function serveCommand(host: Host): Command {
  return new Command('serve')
    .description('run receiver and worker for one machine, with metrics and health; logs JSON lines to stderr')
    .addOption(configOption())
    .addOption(new Option('--log <level>', 'the least that is logged').choices(logLevels).default('info'))
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby serve --config /etc/certstandby/certstandby.yaml' +
        '\n  curl -s http://127.0.0.1:9464/metrics     lag, pending, failures, age of the last reconcile' +
        '\n  curl -s http://127.0.0.1:9464/readyz      would a notification be acknowledged now, and if not, why' +
        '\n\nOff loopback it speaks TLS (serve.tls), or says that something in front does (serve.behindProxy); else it does not' +
        '\nstart. SIGTERM or Ctrl-C stops it: it takes nothing new, finishes passes for serve.stopWithin, and exits 0. Passes' +
        '\nthat take longer are done again after the next start. A second signal ends it at once.',
    )
    .action((options: ServeOptions) => serve(options, host));
}

/**
 * Serves until a signal comes, which may be before it has started. Throws what keeps it from
 * starting.
 */
export async function serve(options: ServeOptions, host: Host): Promise<void> {
  const stopping = interrupted(host);
  try {
    await serveUntil(stopping, options, host);
  } catch (thrown) {
    if (!stopping.aborted || thrown !== stopping.reason) throw thrown;
  }
}

async function serveUntil(stopping: AbortSignal, options: ServeOptions, host: Host): Promise<void> {
  const config = loadConfig(options.config, host.env, { tells: true });
  const settings = config.serve ?? defaultServe;
  const log = jsonLog({ least: options.log, now: runtime.now, write: (line) => void host.stderr.write(line) });
  checkTransport(config);
  const { compose } = await import('../compose/program.ts');
  const { tlsFiles } = await import('../http/tls-files.ts');
  const tls = settings.tls && tlsFiles({ ...settings.tls, log });

  // The program tells the metrics what happens, and the metrics ask the program.
  let metrics: Metrics | undefined;
  let live: ConsoleParts['live'] | undefined;
  const observer = {
    acknowledged(...event: Parameters<Acknowledged>) {
      const [link, told, answer, sender] = event;
      metrics?.acknowledged(link, told, answer, sender);
      live?.acknowledged(...event);
    },
    passed(report: Parameters<Metrics['passed']>[0]) {
      metrics?.passed(report);
      live?.passed(report);
    },
  };
  const program = await unlessAborted(stopping, compose(config, { runtime, log, observer, runs: 'serve' }));
  // Closed in this order: intake, what runs by the clock, and last those who watch, so that a stop
  // can be watched.
  const closing: (() => Promise<unknown>)[] = [() => program.close()];
  try {
    metrics = await metricsOf(program);
    const shown = config.console && (await program.console());
    live = shown?.live;
    const { monitor, server, consoleAt } = await unlessAborted(
      stopping,
      listen(config, { program, metrics, tls, log, closing, shown }),
    );
    // From now on there is work that may be finished.
    interrupted(host, settings.stopWithinMs + endsMs);
    const alerts = await program.alerts(stopping);
    if ((config.alerts?.channels ?? []).length === 0) log('warn', 'nobody_is_told', { message: nobodyIsTold });
    const work = startWork(config, { program, metrics, alerts, tls, log, stopping, file: options.config });
    closing.splice(1, 0, work.stop);
    const callbacks = program.callbacks.map((link) => `${server.url}/callback/${link}`);
    log('info', 'serving', { version, callbacks, monitor: monitor.url, ...defined({ console: consoleAt }) });
    await aborted(stopping);
    log('info', 'stopping', { signal: asCodedError(stopping.reason).fields.signal });
  } finally {
    const atLast = async () => program.audit?.close(endsMs / 2);
    await stopWithin(closing, settings.stopWithinMs, log, host, atLast);
  }
}

async function metricsOf(program: Program): Promise<Metrics> {
  const { createMetrics } = await import('../compose/program.ts');
  return createMetrics({
    version,
    now: runtime.now,
    storeNames: new Map([...program.stores].map(([name, store]) => [store.id, name])),
    readiness: program.readiness,
    audit: program.audit?.state,
    links: program.links.map((link) => ({
      link,
      figures: () => program.figures(link),
      lastReconcileAt: () => program.lastReconcileAt(link),
    })),
  });
}

interface Parts {
  readonly program: Program;
  readonly metrics: Metrics;
  readonly tls: TlsFiles | undefined;
  readonly log: Log;
}

interface ListenParts extends Parts {
  readonly closing: (() => Promise<unknown>)[];
  /** What the console shows. Absent: there is none. */
  readonly shown: ConsoleParts | undefined;
}

/** Starts the listeners; each is put in front of what is closed so far. */
async function listen(config: Config, parts: ListenParts) {
  const { startMonitorServer } = await import('../monitor/server.ts');
  const { startReceiverServer } = await import('../receiver/node-host.ts');
  const { program, metrics, tls, log, closing } = parts;
  const { metrics: at } = config.serve ?? defaultServe;
  const monitor = await startMonitorServer({ metrics, readiness: program.readiness, ...at, log });
  closing.unshift(() => monitor.close());
  const consoleAt = await startConsole(config, parts);
  const server = await startReceiverServer({
    receiver: async (request) => {
      const answer = await program.receiver(request);
      metrics.answered(answer.status, answer.sender);
      return answer;
    },
    ready: async () => (await program.readiness()).problems.length === 0,
    ...config.receiver,
    ...defined({ tls }),
    log,
  });
  closing.unshift(() => server.close());
  return { monitor, server, consoleAt };
}

/** Where the console is served; `undefined` where it is not, or not yet. */
async function startConsole(
  config: Config,
  { shown, log, closing }: Pick<ListenParts, 'shown' | 'log' | 'closing'>,
): Promise<string | undefined> {
  if (config.console === undefined || shown === undefined) return undefined;
  const { startConsoleServer } = await import('../console/server.ts');
  const options = { ...shown, ...config.console, now: runtime.now, log };
  const served = await serveConsole(() => startConsoleServer(options), { runtime, log });
  closing.unshift(served.close);
  return served.url;
}

/**
 * Starts what runs by the clock: sweep and reconcile, at once and then every so often, and the look
 * at the TLS files.
 */
function startWork(
  config: Config,
  parts: Parts & {
    readonly alerts: Alerts | undefined;
    readonly stopping: AbortSignal;
    readonly file: string;
  },
) {
  const { program, alerts, tls, log } = parts;
  const { sweepEveryMs, reconcileEveryMs } = config.worker;
  const reconcileAll = () => Promise.all(program.links.map((link) => reconcileLink(link, parts)));
  const watching = program.watch();
  const first = program.sweep().then(reconcileAll);
  const tasks = [
    every({ name: 'sweep', periodMs: sweepEveryMs, runtime, log }, program.sweep),
    every({ name: 'asked_reconcile', periodMs: sweepEveryMs, runtime, log }, async () => {
      await Promise.all((await program.reconcilesAsked()).map((link) => reconcileLink(link, parts)));
    }),
    every({ name: 'reconcile', periodMs: reconcileEveryMs, runtime, log }, reconcileAll),
    ...drillEvery(program, parts),
    ...auditEvery(program, parts),
    ...(alerts === undefined || config.alerts === undefined
      ? []
      : [every({ name: 'alerts', periodMs: config.alerts.everyMs, runtime, log }, alerts.round)]),
    every({ name: 'tls', periodMs: tlsReloadMs, runtime, log }, async () => tls?.reload()),
  ];
  return {
    async stop() {
      watching.close();
      await Promise.all([first, ...tasks.map((task) => task.stop())]);
      await alerts?.settled();
    },
  };
}

/** How often it is looked whether something of the audit trail is due. */
const auditUpkeepMs = 600_000;

/** Tells once what the configuration is now; then by the clock what nobody told, and upkeep. */
function auditEvery(
  { audit, config, links }: Program,
  { file, log, stopping }: { readonly file: string; readonly log: Log; readonly stopping: AbortSignal },
) {
  if (audit === undefined) return [];
  const saw = async () => audit.sawSettings(writtenSettings(readConfigFile(file)));
  saw().catch((thrown: unknown) => log('error', 'audit_not_written', errorFields(asCodedError(thrown))));
  return [
    every({ name: 'audit', periodMs: config.worker.sweepEveryMs, runtime, log }, () => audit.complete(links)),
    every({ name: 'audit_upkeep', periodMs: auditUpkeepMs, runtime, log }, () => audit.upkeep(stopping)),
  ];
}

/**
 * Reconciles one link. Never throws: one that fails neither hides the others nor is hidden by them.
 */
async function reconcileLink(
  link: Program['links'][number],
  { program, metrics, log, stopping }: Parts & { readonly stopping: AbortSignal },
): Promise<void> {
  try {
    const { notListed, notRead } = await program.reconcile(link, { signal: stopping });
    metrics.reconciled(link.name, notListed.length + notRead.length === 0 ? 'complete' : 'incomplete');
  } catch (thrown) {
    if (stopping.aborted) return;
    const error = asCodedError(thrown);
    // A person's, say. What it asks for is looked at by the process that is woken, which may be
    // this one.
    if (error.code === 'reconcile_running') return log('info', 'reconcile_elsewhere', { link: link.name });
    metrics.reconciled(
      link.name,
      error.code === 'reconcile_brake' || error.code === 'reconcile_vanished' ? 'held' : 'failed',
    );
    log('error', 'reconcile_failed', { link: link.name, ...errorFields(error) });
  }
}

/**
 * Stops one after the other; what takes too long is left, and the process ends all the same: a pass
 * that was cut off is looked at again. `atLast`: what is done before that all the same.
 */
export async function stopWithin(
  closing: readonly (() => Promise<unknown>)[],
  withinMs: number,
  log: Log,
  host: Host,
  atLast: () => Promise<unknown> = async () => undefined,
) {
  const startedAt = runtime.now();
  const closed = (async () => {
    for (const close of closing) await close();
    return 'closed' as const;
  })();
  const patience = new AbortController();
  const outcome = await Promise.race([closed, runtime.wait(withinMs, patience.signal).catch(() => undefined)]);
  patience.abort();
  const ms = runtime.now() - startedAt;
  if (outcome === 'closed') return log('info', 'stopped', { ms });
  closed.catch(() => undefined);
  log('warn', 'stopped_with_work_under_way', { ms, message: 'it is looked at again after the next start' });
  await atLast().catch(() => undefined);
  host.exit(0);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
