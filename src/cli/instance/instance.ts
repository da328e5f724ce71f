import { Command } from 'commander';
import type { Host } from '../output/output.ts';
import { instanceCertificatesCommand } from './certificates.ts';
import { instanceCheckCommand } from './check.ts';
import { instanceCreateCommand } from './create.ts';
import { instanceDeleteCommand, instanceReclaimCommand } from './delete.ts';
import { instanceKeysCommand } from './keys.ts';
import { instanceListCommand } from './list.ts';
import { instanceOrderCommand } from './order.ts';
import { instanceRecoverRootKeyCommand } from './recover-root-key.ts';
import { instanceRenewCommand } from './renew.ts';
import { instanceRestoreCommand } from './restore.ts';
import { instanceRewrapCommand } from './rewrap.ts';
import { instanceRotateDataKeyCommand } from './rotate-data-key.ts';
import { instanceRunCommand } from './run.ts';
import { instanceSnapshotCommand } from './snapshot.ts';

/** `certstandby instance`. */
export function instanceCommand(host: Host): Command {
  const command = new Command('instance')
    .description('instances of our own, with the APIs of Certificate Manager and Secrets Manager: make, run, keep')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby instance create --region eu-gb     make an instance, its root key and its first API key' +
        '\n  certstandby instance run --port 8443 --tls-certificate server.pem --tls-key server.key --host 0.0.0.0' +
        '\n  certstandby instance check                     does everything open that was sealed',
    );
  for (const child of [
    instanceRunCommand,
    instanceCreateCommand,
    instanceListCommand,
    instanceKeysCommand,
    instanceOrderCommand,
    instanceRenewCommand,
    instanceCertificatesCommand,
    instanceCheckCommand,
    instanceRotateDataKeyCommand,
    instanceRewrapCommand,
    instanceRecoverRootKeyCommand,
    instanceSnapshotCommand,
    instanceRestoreCommand,
    instanceDeleteCommand,
    instanceReclaimCommand,
  ]) {
    command.addCommand(child(host));
  }
  return command;
}
