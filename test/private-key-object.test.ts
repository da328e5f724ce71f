import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { expect, test } from 'vitest';
import { privateKeyObject } from '../src/private-key-object.ts';
import { testCertificate } from './support/certificates.ts';

const der = (key: { export(options: { type: 'pkcs8'; format: 'der' }): Buffer }) =>
  key.export({ type: 'pkcs8', format: 'der' });

/** The key with another number in it than the one of its public half. */
function withAnotherNumber(pem: string): string {
  const changed = der(privateKeyObject(pem));
  const number = changed.indexOf(Buffer.from([0x04, 0x20])) + 2;
  changed.fill(0, number, number + 31);
  changed[number + 31] = 1;
  return `-----BEGIN PRIVATE KEY-----\n${changed.toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

test('a good key is read at once after a handshake with an untrue signature', async () => {
  const { certificate, privateKey } = await testCertificate();
  const good = der(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const server = createServer({ cert: certificate, key: withAnotherNumber(privateKey?.reveal() ?? '') });
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect({ port, host: '127.0.0.1', ca: certificate });
  // In the very call that tells of the failure: later the queue of errors is empty again.
  const read = await new Promise<string | undefined>((resolve, reject) => {
    socket.once('secureConnect', () => reject(new Error('the signature was taken')));
    socket.once('error', () => {
      try {
        resolve(privateKeyObject({ key: good, format: 'der', type: 'pkcs8' }).asymmetricKeyType);
      } catch (error) {
        reject(error);
      }
    });
  });
  socket.destroy();
  server.close();
  expect(read).toBe('ec');
});

test('what is no key is refused', () => {
  expect(() => privateKeyObject({ key: Buffer.alloc(40, 1), format: 'der', type: 'pkcs8' })).toThrow();
});
