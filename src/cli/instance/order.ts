import { Command, Option } from 'commander';
import type { Instances } from '../../compose/instances.ts';
import { CodedError, type ErrorCode, errorRegistry } from '../../errors.ts';
import { orderedKeys } from '../../instance/orders/order-request.ts';
import { type Runtime, systemRuntime } from '../../runtime.ts';
import { interrupted } from '../interrupt.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { clean, count } from '../output/text.ts';
import { type FolderOptions, folderOption, instanceOption, openFolder, pickInstance } from './folder.ts';

interface OrderOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
  readonly name?: string;
  readonly description: string;
  readonly key: string;
  readonly autoRenew: boolean;
  readonly wait: boolean;
}

/** What a command asks of orders. */
export type OrdersOfInstance = Awaited<ReturnType<Instances['ordersOf']>>;

const lookMs = 500;
/** After so long it is said that nobody works on it, or what keeps who does. */
const impatientMs = 30_000;

const [defaultKey = ''] = orderedKeys.keys();

/** `certstandby instance order`. */
export function instanceOrderCommand(host: Host): Command {
  return withOutputOptions(new Command('order'))
    .description('order a certificate; the running server gets it from its certificate authority')
    .argument('<domains...>', 'the domains; the first one is the common name. *.example.com is a wildcard')
    .addOption(folderOption())
    .addOption(instanceOption('in which instance, if there are several'))
    .option('--name <name>', 'its name (default: the first domain)')
    .option('--description <text>', 'its description', '')
    .addOption(
      new Option('--key <kind>', 'kind of its private key').choices([...orderedKeys.keys()]).default(defaultKey),
    )
    .option('--auto-renew', 'have it renewed by itself', false)
    .option('--no-wait', 'only begin it; certstandby instance certificates shows what became of it')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance order shop.example.com www.shop.example.com --auto-renew' +
        "\n  certstandby instance order '*.apps.example.com' --key p-256 --name apps" +
        '\n\nIt is begun here, and carried out by `certstandby instance run` on the same folder or table, with the authority and the DNS' +
        '\nhook that it was given. Ctrl-C ends the waiting, not the order: see what became of it with `certstandby instance certificates`.' +
        '\nExits 0 when the certificate is there, 4 if the order failed.',
    )
    .action((domains: readonly string[], options: OrderOptions) =>
      withOrders(options, host, async (orders, output, signal) => {
        const { name = domains[0], description, key, autoRenew, wait } = options;
        const { id } = await begun(orders, {
          name,
          description,
          domains,
          domain_validation_method: 'dns-01',
          key_algorithm: orderedKeys.get(key),
          auto_renew_enabled: autoRenew,
        });
        output.line(`ordered as ${id}`);
        if (wait) await awaitOrder(orders, id, { output, signal, folder: options.folder });
        else output.item({ certificate: id, status: 'pending' });
      }),
    );
}

/**
 * Begins an order. Throws `usage` where the domains, the name or the description cannot be ordered:
 * they are of the command line.
 */
async function begun(orders: OrdersOfInstance, request: object): Promise<{ readonly id: string }> {
  try {
    return await orders.order(request);
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code === 'instance_request_invalid')
      throw new CodedError('usage', thrown.message, { cause: thrown });
    throw thrown;
  }
}

/** Opens the one instance that is meant, and closes it again. */
export async function withOrders(
  options: OutputOptions & FolderOptions & { readonly instance?: string },
  host: Host,
  work: (orders: OrdersOfInstance, output: Output, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const signal = interrupted(host);
  const output = commandOutput(options, host);
  const instances = await openFolder(options.folder, host, output.log);
  try {
    const { crn } = await pickInstance(instances, options.instance);
    await work(await instances.ordersOf(crn), output, signal);
  } finally {
    await instances.close();
  }
}

/**
 * Waits for the end of an order, and says what keeps it when that takes long. Throws the reason of
 * its failure, and `order_still_running` where the waiting was stopped.
 */
export async function awaitOrder(
  orders: Pick<OrdersOfInstance, 'get' | 'isTakenUp' | 'failuresOf'>,
  id: string,
  {
    output,
    signal,
    folder,
    runtime = systemRuntime,
  }: {
    readonly output: Output;
    readonly signal: AbortSignal;
    readonly folder: string;
    readonly runtime?: Pick<Runtime, 'now' | 'wait'>;
  },
): Promise<void> {
  const since = runtime.now();
  let said = '';
  for (;;) {
    const row = await orders.get(id);
    if (row?.issuance === undefined)
      throw new CodedError('instance_not_found', `certificate ${id} was deleted meanwhile`);
    const { status, code, info } = row.issuance;
    if (status === 'valid') {
      const expires = new Date(row.expiresOn).toISOString();
      output.item({ certificate: id, name: row.name, status, issuer: row.issuer, expires, serial: row.serialNumber });
      output.line(`${clean(row.name)}: issued by ${clean(row.issuer)}, expires ${expires}`);
      return;
    }
    if (status === 'failed') {
      output.item({ certificate: id, name: row.name, status, code, reason: info });
      throw new CodedError(isErrorCode(code) ? code : 'acme_refused', info);
    }
    if (runtime.now() - since > impatientMs) {
      const words = await delayOf(orders, id, { info, folder });
      if (words !== said) output.finding(words);
      said = words;
    }
    await runtime.wait(lookMs, signal).catch(() => {
      const look = `certstandby instance certificates ${id} --folder ${folder}`;
      throw new CodedError('order_still_running', `stopped waiting for certificate ${id}; its order goes on: ${look}`);
    });
  }
}

/** Why an order is not done yet, in words that change only with the reason. */
async function delayOf(
  orders: Pick<OrdersOfInstance, 'isTakenUp' | 'failuresOf'>,
  id: string,
  { info, folder }: { readonly info: string; readonly folder: string },
): Promise<string> {
  if (!(await orders.isTakenUp(id)))
    return `Nobody works on it yet. Is a server running?  certstandby instance run --folder ${folder}`;
  if (info !== '') return `Not there yet: ${clean(info)}`;
  const failures = await orders.failuresOf(id);
  return failures === 0
    ? 'Not there yet: the server works on it.'
    : `Not there yet: ${count(failures, 'attempt')} in a row failed, and the next one comes by itself. The server's log says why.`;
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorRegistry, code);
}
