import { Command, Option } from 'commander';
import { CodedError } from '../../errors.ts';
import type { Host, OutputOptions } from '../output/output.ts';
import { withOutputOptions } from '../output/output.ts';
import { type FolderOptions, folderOption, instanceOption } from './folder.ts';
import { awaitOrder, type OrdersOfInstance, withOrders } from './order.ts';

interface RenewOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
  readonly newKey: boolean;
  readonly autoRenew?: 'on' | 'off';
  readonly wait: boolean;
}

/** `certstandby instance renew`. */
export function instanceRenewCommand(host: Host): Command {
  return withOutputOptions(new Command('renew'))
    .description('renew an ordered certificate now, or say whether it renews by itself')
    .argument('<certificate>', 'its id, its CRN, or its name if there is one of that name')
    .addOption(folderOption())
    .addOption(instanceOption('of which instance, if there are several'))
    .option('--new-key', 'with a new private key; from then on automatic renewals make new ones too', false)
    .addOption(
      new Option('--auto-renew <on|off>', 'only say whether it is renewed by itself, and renew nothing now').choices([
        'on',
        'off',
      ]),
    )
    .option('--no-wait', 'only begin it; certstandby instance certificates shows what became of it')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance renew shop.example.com --new-key' +
        '\n  certstandby instance renew shop.example.com --auto-renew on' +
        '\n\nAn order that has failed is tried again this way. Until the new certificate is there, and when the renewal fails, the old' +
        '\none stays in force. Exits 0 when it is there, 4 if the renewal failed.',
    )
    .action((certificate: string, options: RenewOptions) =>
      withOrders(options, host, async (orders, output, signal) => {
        if (options.autoRenew !== undefined && options.newKey)
          throw new CodedError('usage', '--auto-renew renews nothing now, so --new-key does not go with it');
        const id = await idOf(orders, certificate);
        if (options.autoRenew !== undefined) {
          const policy = await orders.policy(id, { auto_renew_enabled: options.autoRenew === 'on' });
          output.item({ certificate: id, ...policy });
          output.line(`${id} is ${policy.auto_renew_enabled ? '' : 'not '}renewed by itself`);
          return;
        }
        await orders.renew(id, { rotate_keys: options.newKey });
        output.line(`the renewal of ${id} has begun`);
        if (options.wait) await awaitOrder(orders, id, { output, signal, folder: options.folder });
        else output.item({ certificate: id, status: 'pending' });
      }),
    );
}

/** The id of the certificate that is meant. Throws `usage`. */
async function idOf(orders: OrdersOfInstance, meant: string): Promise<string> {
  const id = meant.split(':').at(-1) ?? '';
  if (/^[\w-]{1,64}$/.test(id) && (await orders.get(id)) !== undefined) return id;
  const [only, ...more] = await orders.list(({ name }) => name === meant);
  if (only !== undefined && more.length === 0) return only.id;
  if (only === undefined)
    throw new CodedError('usage', `there is no certificate of the name or id ${meant} in this instance`);
  const ids = [only, ...more].map((row) => row.id).join(', ');
  throw new CodedError(
    'usage',
    `there are ${more.length + 1} certificates of the name ${meant}; say which by its id: ${ids}`,
  );
}
