import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { startInstanceServer } from '../../../src/instance/api/server.ts';
import { fileRootKey } from '../../../src/keys/file.ts';
import { keyring } from '../../../src/keys/keyring.ts';
import { silentLog } from '../../../src/log.ts';
import { systemRuntime as runtime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { lmdbTable } from '../../../src/table/lmdb.ts';
import { apiKeyOf } from '../../support/instance.ts';
import { instanceCrn } from '../../support/notifications.ts';

/**
 * An instance server that orders, on an embedded table, in a process of its own that can be killed.
 * Usage: <folder of table and root key> <ACME directory> <DNS server>. Says its URL.
 */
const [path = '', directory = '', dnsServer = ''] = process.argv.slice(2);
const table = lmdbTable({ path: join(path, 'data') });
const { rootKey } = await fileRootKey({ path: join(path, 'root.key'), create: true });
const keys = keyring({ table, tenant: instanceCrn, rootKeys: [rootKey], runtime, log: silentLog });
const { url } = await startInstanceServer({
  host: '127.0.0.1',
  port: 0,
  table,
  runtime,
  log: silentLog,
  limits: 'none',
  keyringOf: () => keys,
  // What it holds for itself is free soon after it is gone.
  delivery: { requestMs: 100 },
  ordering: { acme: { directory }, dnsServer, policy: { leaseMs: 200, lookEveryMs: 10, firstWaitMs: 10 } },
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
