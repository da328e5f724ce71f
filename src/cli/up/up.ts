import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { fingerprintOf } from '../../certificate/fingerprint.ts';
import type { Acknowledged } from '../../compose/callbacks.ts';
import type { ConsoleParts } from '../../compose/console.ts';
import { compose, type Program } from '../../compose/program.ts';
import type { ConsoleServer } from '../../console/server.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { errorFields, jsonLog, type Log } from '../../log.ts';
import { startReceiverServer } from '../../receiver/node-host.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { drillEvery } from '../drill-schedule.ts';
import { interrupted } from '../interrupt.ts';
import { portNumber } from '../options.ts';
import type { Host } from '../output/output.ts';
import { every } from '../schedule.ts';
import { serve } from '../serve.ts';
import { demonstrate, demonstratedRows } from './demonstration.ts';
import { type Embedded, startEmbedded } from './embedded.ts';
import { type EventRow, type EventTable, eventTable } from './event-table.ts';
import { takeFolder } from './folder.ts';

interface UpOptions {
  readonly config?: string;
  readonly once: boolean;
  readonly folder?: string;
  readonly port?: number;
}

/** `certstandby up`. */
export function upCommand(host: Host): Command {
  return new Command('up')
    .description('bring up receiver and worker; without --config also a primary and a backup to try it on')
    .option('-c, --config <file>', 'run the links of this configuration instead, as serve does')
    .option('--once', 'make the sample certificates, show that all are in the backup, and stop', false)
    .option('--folder <path>', 'where the embedded pair keeps records, credentials and logs (default: .certstandby)')
    .option('--port <number>', 'first port to try; the next free ones are taken (default: 8471)', portNumber)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby up                              a primary and a backup on this machine, and a live table' +
        '\n  certstandby up --once                       the same as a self-test: exits 0 if every copy is equal' +
        '\n  certstandby up --config certstandby.yaml    your own stores',
    )
    .action((options: UpOptions) => up(options, host));
}

/**
 * Receiver and worker for the embedded pair of stores until a signal comes; with a configuration it
 * is `serve`.
 */
async function up(options: UpOptions, host: Host): Promise<void> {
  if (options.config !== undefined) {
    if (options.once) throw new CodedError('usage', '--once shows the embedded pair; it does not go with --config');
    return serve({ config: options.config, log: 'info' }, host);
  }
  const stopping = interrupted(host, limits.closeMs + 2_000);
  const stopped = new Promise<string>((resolve) => {
    stopping.addEventListener('abort', () => resolve(asCodedError(stopping.reason).message), { once: true });
  });
  const folder = takeFolder(options.folder);
  try {
    const logFile = join(folder.path, 'certstandby.log');
    const write = (line: string) => appendFileSync(logFile, line, { mode: 0o600 });
    const log = jsonLog({ least: 'info', now: runtime.now, write });
    const embedded = await startEmbedded({
      folder,
      runtime,
      log,
      ...defined({ port: options.port }),
    });
    try {
      await upEmbedded(embedded, { options, host, log, stopped });
    } finally {
      await embedded.close();
    }
  } finally {
    folder.release();
  }
}

async function upEmbedded(
  embedded: Embedded,
  given: { readonly options: UpOptions; readonly host: Host; readonly log: Log; readonly stopped: Promise<string> },
): Promise<void> {
  const { options, host, log, stopped } = given;
  // The table needs the program to read copies back, and the program tells the table what happens.
  let program: Program | undefined;
  const table: EventTable = eventTable(host.stdout, (link, certificate) => readBack(program, link, certificate));
  let live: ConsoleParts['live'] | undefined;
  const observer = {
    acknowledged(...event: Parameters<Acknowledged>) {
      const [link, told, answer] = event;
      table.acknowledged(link, told, answer);
      live?.acknowledged(...event);
    },
    passed(report: Parameters<EventTable['passed']>[0]) {
      table.passed(report);
      live?.passed(report);
    },
  };
  program = await compose(embedded.config, { runtime, log, observer });
  const { primary } = program.links[0] ?? {};
  if (primary === undefined) return;
  const shown = await program.console();
  live = shown.live;
  let served: ConsoleServer | undefined;
  await run(program, log, {
    until: stopped,
    port: embedded.nextPort,
    ended: async () => served?.close(),
    async started(url) {
      await embedded.register(`${url}/callback/${embedded.link}`);
      host.stdout.write(embedded.heading(url));
      table.start();
      const rows = await Promise.race([demonstrate(primary, table, { now: runtime.now, embedded }), stopped]);
      if (typeof rows === 'string') return 'stop';
      if (options.once) {
        conclude(rows, host);
        return 'stop';
      }
      served = await serveConsole(shown, embedded, log);
      const { token } = await shown.links.make();
      host.stdout.write(embedded.nextSteps(`${served.url}/enter/${token}`));
      return 'stay';
    },
  });
}

/** Serves the console of the pair on the next free port. */
async function serveConsole(shown: ConsoleParts, embedded: Embedded, log: Log): Promise<ConsoleServer> {
  const { startConsoleServer } = await import('../../console/server.ts');
  const at = { host: '127.0.0.1', port: embedded.nextPort + 1, nextFree: true };
  const served = await startConsoleServer({ ...shown, ...at, now: runtime.now, log });
  embedded.servesConsole(served.port);
  return served;
}

/** The verdict of `--once`: the exit code, and a sentence. */
function conclude(rows: readonly EventRow[], host: Host): void {
  const wrong = rows.filter(({ equal }) => !equal);
  if (rows.length === demonstratedRows && wrong.length === 0) {
    host.stdout.write('\nEvery certificate read back from the backup equals the primary, private key included.\n');
    return;
  }
  host.stderr.write(
    `\ncertstandby: ${demonstratedRows - rows.length + wrong.length} of ${demonstratedRows} events did not end as an equal copy in the backup\n`,
  );
  host.exitCode = 6;
}

/**
 * Starts receiver, sweep and reconcile, and stops them again, in the order in which nothing is
 * lost.
 */
async function run(
  program: Program,
  log: Log,
  options: {
    readonly until: Promise<string>;
    readonly port?: number;
    readonly started?: (url: string) => Promise<'stay' | 'stop'>;
    /** Before anything is closed. */
    readonly ended?: () => Promise<void>;
  },
): Promise<void> {
  const { host, port } = program.config.receiver;
  const { sweepEveryMs, reconcileEveryMs } = program.config.worker;
  try {
    const server = await startReceiverServer({
      receiver: program.receiver,
      host,
      port: options.port ?? port,
      nextFree: options.port !== undefined,
      log,
    });
    // Each link alone: one that fails neither hides the others nor is hidden by them.
    const reconcileEach = (links: readonly Program['links'][number][]) =>
      Promise.all(
        links.map((link) =>
          program.reconcile(link).catch((thrown: unknown) => {
            log('error', 'reconcile_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
          }),
        ),
      );
    const reconcileAll = () => reconcileEach(program.links);
    const ending = new AbortController();
    const watching = program.watch();
    const tasks = [
      every({ name: 'sweep', periodMs: sweepEveryMs, runtime, log }, program.sweep),
      every({ name: 'asked_reconcile', periodMs: sweepEveryMs, runtime, log }, async () =>
        reconcileEach(await program.reconcilesAsked()),
      ),
      every({ name: 'reconcile', periodMs: reconcileEveryMs, runtime, log }, reconcileAll),
      ...drillEvery(program, { log, stopping: ending.signal }),
    ];
    try {
      log('info', 'started', { url: server.url });
      // A signal does not wait until a large estate is compared.
      await Promise.race([program.sweep().then(reconcileAll), options.until]);
      if ((await options.started?.(server.url)) !== 'stop') {
        const signal = await options.until;
        log('info', 'stopping', { signal });
      }
    } finally {
      ending.abort();
      await options.ended?.();
      watching.close();
      await server.close();
      await Promise.all(tasks.map((task) => task.stop()));
    }
  } finally {
    await program.close();
  }
}

/** Reads a certificate and all its copies back over HTTP, in full, and compares fingerprints. */
async function readBack(program: Program | undefined, linkName: string, certificate: string): Promise<boolean> {
  const link = program?.links.find(({ name }) => name === linkName);
  if (program === undefined || link === undefined) return false;
  const record = await program.record(link, certificate);
  const original = await link.primary.read(certificate);
  if (original.state !== 'present' || record === undefined) return false;
  const wanted = fingerprintOf(original.value.content);
  const equal = await Promise.all(
    link.backups.map(async (store) => {
      const { id } = record.backups.find((state) => state.store === store.id) ?? {};
      const copy = id === undefined ? undefined : await store.read(id);
      return copy?.state === 'present' && fingerprintOf(copy.value.content) === wanted;
    }),
  );
  return equal.every(Boolean);
}
