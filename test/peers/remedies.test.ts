import { execFile, execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import { shellCommands } from '../support/remedies.ts';
import { requirePeer } from './peer.ts';

const openssl = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');
const iproute = requirePeer('iproute2', ['ss', '--version'], 'apt-get install iproute2');

describe.skipIf(openssl === undefined || iproute === undefined)('commands in remedies, run as they stand there', () => {
  let folder: string;
  const listener = createTcpServer();
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-remedies-'));
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const ca = await createDevelopmentCa({ name: 'Remedies', now: Date.now });
    const { certificate, privateKey } = await ca.issue({ domains: ['shop.example.test'] });
    writeFileSync(join(folder, 'cert.der'), new X509Certificate(certificate).raw);
    const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(
      join(folder, 'key.pem'),
      key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' }),
    );
    writeFileSync(join(folder, 'one.pem'), certificate + privateKey.reveal());
    execFileSync('openssl', ['pkcs12', '-export', '-in', 'one.pem', '-out', 'old.p12', '-passout', 'pass:secret'], {
      cwd: folder,
    });
  });
  afterAll(() => {
    listener.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(Object.entries(shellCommands).flatMap(([command, run]) => (run === null ? [] : [[command, run] as const])))(
    '%s',
    (command, run) => {
      execFileSync('bash', ['-euo', 'pipefail', '-c', run(command)], { cwd: folder, stdio: 'pipe' });
    },
  );

  test('NODE_EXTRA_CA_CERTS has a server trusted whose authority is one of our own', async () => {
    const ca = await createDevelopmentCa({ name: 'Own', now: Date.now });
    const { certificate, intermediate = '', privateKey } = await ca.issue({ domains: ['localhost'] });
    writeFileSync(join(folder, 'own.pem'), ca.rootPem);
    const server = createServer({ cert: certificate + intermediate, key: privateKey.reveal() }, (_, response) =>
      response.end('ok'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const ask = `require('node:https').get({host:'127.0.0.1',port:${port},servername:'localhost'},(r)=>{r.resume();console.log(r.statusCode)}).on('error',(e)=>console.log(e.code))`;
    const asked = async (extra: Record<string, string>) =>
      (await promisify(execFile)(process.execPath, ['-e', ask], { env: { ...process.env, ...extra } })).stdout.trim();
    try {
      expect(await asked({})).toMatch(/^(UNABLE|SELF_SIGNED)/);
      expect(await asked({ NODE_EXTRA_CA_CERTS: join(folder, 'own.pem') })).toBe('200');
    } finally {
      server.close();
    }
  });
});
