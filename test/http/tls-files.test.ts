import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type PeerCertificate } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tlsFiles } from '../../src/http/tls-files.ts';
import type { LogFields } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { mismatchedKey, testCertificate } from '../support/certificates.ts';

let folder: string;
let files: { readonly certificate: string; readonly key: string };
const lines: [string, LogFields | undefined][] = [];
const log = (_: string, event: string, fields?: LogFields) => void lines.push([event, fields]);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-tls-'));
  files = { certificate: join(folder, 'tls.pem'), key: join(folder, 'tls.key') };
  lines.length = 0;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function write(pem: Awaited<ReturnType<typeof testCertificate>>): Promise<void> {
  writeFileSync(files.certificate, `${pem.certificate}\n${pem.intermediate ?? ''}`);
  writeFileSync(files.key, pem.privateKey?.reveal() ?? '');
}
const forDomain = (domain: string) => testCertificate({ domains: [domain] });

/** The domain in the certificate that the server shows. */
function shownBy(port: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve((socket.getPeerCertificate() as PeerCertificate).subjectaltname);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('a server shows what the files hold, and after a reload what they hold then; what is not good is logged once and changes nothing', async () => {
  await write(await forDomain('one.example.test'));
  const tls = tlsFiles({ ...files, log });
  expect(tls.notAfter()).toBe(Date.UTC(2099, 0, 1));
  const server = await startReceiverServer({
    receiver: async () => ({ status: 200, headers: {}, body: '' }),
    host: '127.0.0.1',
    port: 0,
    tls,
    log,
  });
  try {
    expect(server.url).toBe(`https://127.0.0.1:${server.port}`);
    expect(await shownBy(server.port)).toBe('DNS:one.example.test');

    await write(await forDomain('two.example.test'));
    expect(await shownBy(server.port)).toBe('DNS:one.example.test');
    tls.reload();
    expect(await shownBy(server.port)).toBe('DNS:two.example.test');
    expect(lines).toEqual([['tls_reloaded', { notAfter: '2099-01-01T00:00:00.000Z' }]]);

    await write(await mismatchedKey({ domains: ['three.example.test'] }));
    tls.reload();
    tls.reload();
    expect(await shownBy(server.port)).toBe('DNS:two.example.test');
    expect(lines.slice(1)).toEqual([
      [
        'tls_not_reloaded',
        expect.objectContaining({
          code: 'tls_unusable',
          message: `${files.key} does not hold the private key of ${files.certificate}`,
        }),
      ],
    ]);
  } finally {
    await server.close();
  }
});

test('nothing changed is nothing said', async () => {
  await write(await forDomain('one.example.test'));
  const tls = tlsFiles({ ...files, log });
  tls.reload();
  expect(lines).toEqual([]);
});

test('files that are missing, no certificate, or of another key are refused with the file named and nothing quoted', async () => {
  const refusal = (): string => {
    try {
      tlsFiles({ ...files, log });
      return 'taken';
    } catch (thrown) {
      return (thrown as Error).message;
    }
  };
  expect(refusal()).toBe(`${files.certificate} cannot be read (ENOENT)`);
  writeFileSync(files.certificate, 'not a certificate');
  writeFileSync(files.key, 'secret');
  expect(refusal()).toBe(`${files.certificate} holds no certificate in PEM`);
  writeFileSync(files.certificate, (await forDomain('one.example.test')).certificate);
  expect(refusal()).toBe(`${files.key} does not hold the private key of ${files.certificate}`);
});
