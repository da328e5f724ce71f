import { createInterface } from 'node:readline';
import { fileRootKey } from '../../src/keys/file.ts';
import { keyring } from '../../src/keys/keyring.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';

/**
 * What the tests of the keyring do in another process. Usage: seal|open <folder of the table> <root
 * key file>.
 */
const [what = '', path = '', keyPath = ''] = process.argv.slice(2);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const place = { certificate: 'c1', field: 'private-key', version: '1' };
const say = (text: string) => process.stdout.write(`${text}\n`);

const table = lmdbTable({ path });
say('ready');
const { value: line } = await input.next();
const { rootKey, recoveryText } = await fileRootKey({ path: keyPath, create: what === 'seal' });
const keys = keyring({ table, tenant: 'crn:v1:one', rootKeys: [rootKey], runtime: systemRuntime, log: silentLog });

if (what === 'seal') {
  const sealed = await keys.seal(place, Buffer.from('sealed here'));
  say(JSON.stringify({ sealed, rootKey: rootKey.id, shown: recoveryText !== undefined }));
} else {
  const sealed: string[] = JSON.parse(line);
  const opened = await Promise.all(sealed.map((value) => keys.open(place, value)));
  say(JSON.stringify(opened.map((content) => Buffer.from(content).toString())));
}
await keys.close();
await table.close();
process.stdin.destroy();
