import { Command } from 'commander';
import { instanceCertificatesCommand } from './instance-certificates.ts';
import { instanceCheckCommand } from './instance-check.ts';
import { instanceCreateCommand } from './instance-create.ts';
import { instanceDeleteCommand, instanceReclaimCommand } from './instance-delete.ts';
import { instanceKeysCommand } from './instance-keys.ts';
import { instanceListCommand } from './instance-list.ts';
import { instanceOrderCommand } from './instance-order.ts';
import { instanceRecoverRootKeyCommand } from './instance-recover-root-key.ts';
import { instanceRenewCommand } from './instance-renew.ts';
import { instanceRestoreCommand } from './instance-restore.ts';
import { instanceRewrapCommand } from './instance-rewrap.ts';
import { instanceRotateDataKeyCommand } from './instance-rotate-data-key.ts';
import { instanceRunCommand } from './instance-run.ts';
import { instanceSnapshotCommand } from './instance-snapshot.ts';
import type { Host } from './output.ts';

/** `certstandby instance`. */
export function instanceCommand(host: Host): Command {
  const command = new Command('instance')
    .description('instances of our own with the API of Certificate Manager: make them, run them, look after their keys')
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
