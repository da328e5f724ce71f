import { Command } from 'commander';
import { CodedError } from '../../errors.ts';
import { isIssued } from '../../instance/certificates/certificate-row.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { type Host, type Output, type OutputOptions, withOutputOptions } from '../output/output.ts';
import { clean } from '../output/text.ts';
import { type FolderOptions, folderOption, instanceOption } from './folder.ts';
import { type OrdersOfInstance, withOrders } from './order.ts';

interface CertificatesOptions extends OutputOptions, FolderOptions {
  readonly instance?: string;
}

type Certificate = Awaited<ReturnType<OrdersOfInstance['list']>>[number];

/** `certstandby instance certificates`. */
export function instanceCertificatesCommand(host: Host): Command {
  return withOutputOptions(new Command('certificates'))
    .description('the certificates of an instance: when they expire, and what became of what was ordered')
    .argument('[certificate]', 'only this one: its id, its CRN, or its name (default: all)')
    .addOption(folderOption())
    .addOption(instanceOption('of which instance, if there are several'))
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance certificates' +
        "\n  certstandby instance certificates shop.example.com --json | jq -r '.issuance, .reason'" +
        '\n\nISSUANCE is that of the last order or renewal: pending, valid, or failed and why. A certificate that is valid stays so' +
        '\nwhile it is renewed, and when that fails. What was imported has none.',
    )
    .action((certificate: string | undefined, options: CertificatesOptions) =>
      withOrders(options, host, async (orders, output) => {
        const id = certificate?.split(':').at(-1);
        const found = await orders.list((row) => id === undefined || row.id === id || row.name === certificate);
        if (certificate !== undefined && found.length === 0)
          throw new CodedError('usage', `there is no certificate of the name or id ${certificate} in this instance`);
        show(found, output);
      }),
    );
}

function show(certificates: readonly Certificate[], output: Output): void {
  const rows: string[][] = [];
  for (const { id, name, domains, issuance, expiresOn, ...row } of certificates) {
    const expires = isIssued({ expiresOn }) ? new Date(expiresOn).toISOString() : undefined;
    const status = statusOf({ issuance, expiresOn });
    const { code, info } = issuance ?? {};
    const failed = issuance?.status === 'failed' ? { code, reason: info } : {};
    const ordered = issuance && { issuance: issuance.status, ...failed, autoRenew: row.autoRenew ?? false };
    output.item({ certificate: id, name, domains, status, ...ordered, expires });
    rows.push([name, id, domains.join(' '), status, issuance?.status ?? '', expires?.slice(0, 10) ?? '']);
  }
  const titles = [{ title: 'NAME', most: 40 }, { title: 'ID' }, { title: 'DOMAINS', most: 40 }];
  output.table([...titles, { title: 'STATUS' }, { title: 'ISSUANCE' }, { title: 'EXPIRES' }], rows);
  for (const { id, issuance } of certificates) {
    if (issuance?.status === 'failed') output.finding(`${id} failed: ${clean(issuance.info)} [${issuance.code}]`);
  }
}

/** As the API says it. */
function statusOf({ issuance, expiresOn }: Pick<Certificate, 'issuance' | 'expiresOn'>): string {
  if (isIssued({ expiresOn })) return expiresOn < runtime.now() ? 'expired' : 'valid';
  return issuance?.status === 'failed' ? 'failed' : 'pending';
}
