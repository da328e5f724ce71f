import { generateKeyPairSync } from 'node:crypto';
import { startInstanceServer } from '../../../src/instance/api/server.ts';
import { silentLog } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { lmdbTable } from '../../../src/table/lmdb.ts';
import { apiKeyOf } from '../../support/instance.ts';
import { testKeyring } from '../../support/keyring.ts';
import { instanceCrn } from '../../support/notifications.ts';

/**
 * An instance server on an embedded table, in a process of its own that can be killed. Usage:
 * <folder of the table>. Says its URL.
 */
const [path = ''] = process.argv.slice(2);
const { url } = await startInstanceServer({
  host: '127.0.0.1',
  port: 0,
  table: lmdbTable({ path }),
  runtime: systemRuntime,
  log: silentLog,
  limits: 'none',
  keyringOf: (tenant) => testKeyring(tenant),
  // What it holds for itself is free soon after it is gone.
  delivery: { requestMs: 100 },
  instances: [
    {
      crn: instanceCrn,
      apiKeys: [{ name: 'manager', key: new Secret(apiKeyOf('manager')), role: 'manager' }],
      signingKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
      allowLoopbackChannels: true,
    },
  ],
});
process.stdout.write(`${url}\n`);
