import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fileRootKey } from '../../src/keys/file.ts';
import { keyring } from '../../src/keys/keyring.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { requirePeer } from './peer.ts';

const jose = requirePeer('jose', ['jose', 'alg', '-k', 'encr'], 'apt-get install jose');

describe.skipIf(jose === undefined)('jose, the tool on the command line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-jose-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const opens = (sealed: string, dataKey: Uint8Array) => {
    writeFileSync(
      join(folder, 'key.jwk'),
      JSON.stringify({ kty: 'oct', k: Buffer.from(dataKey).toString('base64url') }),
    );
    writeFileSync(join(folder, 'sealed.jwe'), sealed);
    return spawnSync('jose', ['jwe', 'dec', '-i', 'sealed.jwe', '-k', 'key.jwk'], { cwd: folder, encoding: 'utf8' });
  };

  it('opens a sealed value with the unwrapped data key, and not when it was changed', async () => {
    const table = memoryTable();
    const { rootKey } = await fileRootKey({ path: join(folder, 'root.key'), create: true });
    const keys = keyring({ table, tenant: 'crn:v1:one', rootKeys: [rootKey], runtime: systemRuntime, log: silentLog });
    const content = '-----BEGIN what must not be seen-----\n';
    const sealed = await keys.seal({ certificate: 'c1', field: 'chain', version: '1' }, Buffer.from(content));
    await keys.close();
    const [row] = (await table.query({ partition: 'keys.1/crn:v1:one', limit: 1 })).rows;
    const context = { tenant: 'crn:v1:one', dataKey: String(row?.id) };
    const { dataKey } = await rootKey.unwrap(String(row?.[`wrap/${rootKey.id}`]), context);

    expect(opens(sealed, dataKey)).toMatchObject({ status: 0, stdout: content });
    const changed = `${sealed.slice(0, -10)}${sealed.at(-10) === 'A' ? 'B' : 'A'}${sealed.slice(-9)}`;
    // It prints what it could decrypt before it finds that nobody may trust it: its exit code is
    // what counts.
    expect(opens(changed, dataKey)).toMatchObject({ status: 1 });
  });
});
