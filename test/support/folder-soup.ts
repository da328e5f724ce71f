import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { limits } from '../../src/limits.ts';
import { testCertificate } from './certificates.ts';

const derOf = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');

/** Puts a good certificate there, as certbot lays out its files. */
export function putCertificate(folder: string, { certificate, intermediate = '', privateKey }: CertificatePem): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'fullchain.pem'), certificate + intermediate);
  writeFileSync(join(folder, 'privkey.pem'), privateKey?.reveal() ?? '', { mode: 0o600 });
}

/**
 * Kinds of elements that nobody can read as a certificate, by what is in the place of one. Each
 * makes one under the name that it is given, and answers how a message has to name it.
 */
export async function badElements(): Promise<
  ReadonlyMap<string, (root: string, name: string, servers: Server[]) => string | Promise<string>>
> {
  const good = await testCertificate();
  const other = await testCertificate();
  const leaf = good.certificate;
  const key = good.privateKey?.reveal() ?? '';
  const encrypted = createPrivateKey(key)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'a test' })
    .toString();
  /** A folder with the files of a good certificate, one of them replaced. */
  const folder = (make: (path: string) => string | undefined) => (root: string, name: string) => {
    const path = join(root, name);
    mkdirSync(path);
    return make(path) ?? path;
  };
  const instead = (file: string, make: (path: string) => void) =>
    folder((path) => {
      if (file !== 'fullchain.pem') writeFileSync(join(path, 'fullchain.pem'), leaf);
      if (file !== 'privkey.pem') writeFileSync(join(path, 'privkey.pem'), key);
      make(join(path, file));
      return join(path, file);
    });
  const fifo = (path: string) => void execFileSync('mkfifo', [path]);
  return new Map<string, (root: string, name: string, servers: Server[]) => string | Promise<string>>([
    ['a folder in place of the certificate', instead('fullchain.pem', (path) => mkdirSync(path))],
    ['a pipe', instead('fullchain.pem', fifo)],
    ['a device without end', instead('fullchain.pem', (path) => symlinkSync('/dev/zero', path))],
    ['a link to itself', instead('fullchain.pem', (path) => symlinkSync('fullchain.pem', path))],
    [
      'a link into a lost archive',
      instead('fullchain.pem', (path) => symlinkSync('../../archive/x/fullchain1.pem', path)),
    ],
    [
      'a key whose link leads nowhere',
      instead('privkey.pem', (path) => symlinkSync('../../archive/x/privkey1.pem', path)),
    ],
    [
      'a file too large',
      instead('fullchain.pem', (path) => writeFileSync(path, Buffer.alloc(limits.storeFileBytes + 1))),
    ],
    ['a key that is a pipe', instead('privkey.pem', fifo)],
    [
      'an encrypted key',
      folder((path) => {
        writeFileSync(join(path, 'fullchain.pem'), leaf);
        writeFileSync(join(path, 'privkey.pem'), encrypted);
        return undefined;
      }),
    ],
    ['no PEM', folder((path) => void writeFileSync(join(path, 'fullchain.pem'), 'nothing of the kind\n'))],
    ['a PEM cut off', folder((path) => void writeFileSync(join(path, 'fullchain.pem'), leaf.slice(0, 300)))],
    ['an empty file', folder((path) => void writeFileSync(join(path, 'fullchain.pem'), ''))],
    [
      'a PKCS#12 file',
      folder((path) => void writeFileSync(join(path, 'site.p12'), Buffer.from('3082040002010330820400', 'hex'))),
    ],
    [
      'a Java keystore',
      folder((path) => void writeFileSync(join(path, 'site.jks'), Buffer.from('feedfeed00000002', 'hex'))),
    ],
    ['a certificate in DER', folder((path) => void writeFileSync(join(path, 'tls.crt'), derOf(leaf)))],
    [
      'two certificates in one folder',
      folder((path) => {
        for (const [name, pem] of [
          ['a', good],
          ['b', other],
        ] as const) {
          writeFileSync(join(path, `${name}.crt`), pem.certificate);
          writeFileSync(join(path, `${name}.key`), pem.privateKey?.reveal() ?? '');
        }
        return undefined;
      }),
    ],
    ['what stands beside it damaged', instead('certstandby.json', (path) => writeFileSync(path, '{"format":'))],
    [
      'a name that is not UTF-8',
      (root, name) => {
        mkdirSync(Buffer.concat([Buffer.from(join(root, name)), Buffer.from([0xff])]));
        return `${join(root, name)}\\xff`;
      },
    ],
    [
      'a link that leads nowhere',
      (root, name) => {
        symlinkSync('nowhere', join(root, name));
        return join(root, name);
      },
    ],
    [
      'a socket',
      async (root, name, servers) => {
        const path = join(root, name);
        mkdirSync(path);
        const server = createServer();
        servers.push(server);
        await new Promise<void>((listening) => server.listen(join(path, 'fullchain.pem'), listening));
        return join(path, 'fullchain.pem');
      },
    ],
  ]);
}
