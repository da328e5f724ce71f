import { once } from 'node:events';
import { Command, Option } from 'commander';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type { InstanceApi } from '../../instance/api/server.ts';
import { limits } from '../../limits.ts';
import { errorFields, jsonLog } from '../../log.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { interrupted } from '../interrupt.ts';
import { portNumber } from '../options.ts';
import type { Host } from '../output/output.ts';
import { every } from '../schedule.ts';
import { type FolderOptions, folderOption, openFolder, readSettings, rootKeysOf } from './folder.ts';
import { type OrderingCommandOptions, orderingOf, withOrderingOptions } from './ordering.ts';

interface RunOptions extends FolderOptions, OrderingCommandOptions {
  readonly host: string;
  readonly port: number;
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  readonly behindProxy: boolean;
  readonly api?: readonly InstanceApi[];
  readonly log: (typeof logLevels)[number];
}

/** As `instanceApis`: the server itself is loaded only to run. */
const apiNames = ['certificate-manager', 'secrets-manager'] as const satisfies readonly InstanceApi[];
const logLevels = ['debug', 'info', 'warn', 'error'] as const;
/** How often instances.json is looked at: root keys may change while it runs. */
const settingsMs = 2_000;

/** `certstandby instance run`. */
export function instanceRunCommand(host: Host): Command {
  return withOrderingOptions(serveOptions(new Command('run')))
    .description('serve the instances of a folder; logs JSON lines to stderr')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance run' +
        '\n  certstandby instance run --host 0.0.0.0 --port 8443 --tls-certificate server.pem --tls-key server.key' +
        '\n  certstandby instance run --acme-directory https://acme-v02.api.letsencrypt.org/directory --dns-hook ./dns-hook' +
        '\n  certstandby instance run --api secrets-manager      IBM’s clients of it: service URL http://127.0.0.1:8473' +
        '\n  curl -s http://127.0.0.1:8473/healthz      table, root keys, instances: 200 if all is well, else 503' +
        '\n\nThe options about orders can stand in instances.json of the folder instead: "ordering": { "acmeDirectory": "...",' +
        '\n"acmeContact": ["..."], "dnsHook": "...", "dnsHookEnv": ["..."], "dnsServer": "..." }.' +
        '\n\nSIGTERM or Ctrl-C stops it: requests under way are finished. A second signal ends it at once.',
    )
    .action((options: RunOptions) => run(options, host));
}

function serveOptions(command: Command): Command {
  return command
    .addOption(folderOption())
    .option('--host <address>', 'address on which it listens', '127.0.0.1')
    .option('--port <number>', 'its port; 0 takes any free one', portNumber, 8473)
    .option(
      '--tls-certificate <file>',
      'PEM: its own certificate, then the chain; a changed file is taken over within seconds',
    )
    .option('--tls-key <file>', 'PEM: the private key of that certificate')
    .option('--behind-proxy', 'something in front of it ends TLS: plain HTTP is right off loopback too', false)
    .addOption(
      new Option('--api <name...>', 'the APIs that it speaks, on the same certificates; default: all of them').choices(
        apiNames,
      ),
    )
    .addOption(new Option('--log <level>', 'the least that is logged').choices(logLevels).default('info'));
}

async function run(options: RunOptions, host: Host): Promise<void> {
  const stopping = interrupted(host, limits.closeMs + 2_000);
  const log = jsonLog({ least: options.log, now: runtime.now, write: (line) => void host.stderr.write(line) });
  const { folder, tlsCertificate: certificate, tlsKey: key } = options;
  if ((certificate === undefined) !== (key === undefined)) {
    throw new CodedError('usage', '--tls-certificate and --tls-key go together');
  }
  const { tlsFiles } = await import('../../http/tls-files.ts');
  const tls = certificate !== undefined && key !== undefined ? tlsFiles({ certificate, key, log }) : undefined;
  const ordering = orderingOf(options, { folder, settings: readSettings(folder), host });
  const instances = await openFolder(folder, host, log);
  try {
    let inForce = JSON.stringify(readSettings(folder)?.rootKeys);
    const { behindProxy, port } = options;
    const server = await instances.serve({
      host: options.host,
      port,
      behindProxy,
      instances: [],
      ordering,
      ...defined({ tls, apis: options.api }),
    });
    const following = every({ name: 'settings', periodMs: settingsMs, runtime, log }, async () => {
      const settings = readSettings(folder);
      const text = JSON.stringify(settings?.rootKeys);
      if (settings === undefined || text === inForce) return;
      await instances.useRootKeys(rootKeysOf(folder, settings, host));
      inForce = text;
      log('info', 'root_keys_changed', { rootKeys: instances.rootKeys() });
    });
    try {
      log('info', 'started', { url: server.url, issues: ordering.acme?.directory ?? 'development certificates' });
      host.stdout.write(`${server.url}\n`);
      if (!stopping.aborted) await once(stopping, 'abort');
      log('info', 'stopping', errorFields(asCodedError(stopping.reason)));
    } finally {
      await following.stop();
      await server.close();
    }
  } finally {
    await instances.close();
  }
}
