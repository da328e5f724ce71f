import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { Secret } from '../../src/secret.ts';
import { testCertificate } from '../support/certificates.ts';
import { liveFolder } from '../support/live-folder.ts';
import { type OpenBao, openBaoProgram, requireOpenBao, startRaftBao } from './openbao.ts';
import { openPage } from './typed-page.ts';

// Pages of docs/ typed line by line, with real servers. Only addresses, and what lies below /etc
// and /srv, are others here.

const bao = requireOpenBao();

const dayMs = 86_400_000;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const fingerprint = (pem: CertificatePem) => fingerprintOf(parseContent(pem));

/** A page whose Vault is a real OpenBao with TLS. */
async function pageWithBao(page: string) {
  const server = await startRaftBao();
  ends.push(() => server.close());
  const typed = await openPage(page, {
    programs: { vault: openBaoProgram, bao: openBaoProgram },
    here: (text) => text.replaceAll('https://vault.example.test:8200', server.url),
    env: { VAULT_TOKEN: server.root },
  });
  ends.push(() => typed.close());
  copyFileSync(server.caFile ?? '', join(typed.folder, 'vault-ca.pem'));
  return { server, typed };
}

/** What a copy holds, as another tool reads it; `undefined` where there is none. */
async function copyIn(server: OpenBao, name: string): Promise<string | undefined> {
  const { status, body } = await server.ask('GET', `secret/data/standby/${name}`);
  if (status !== 200) return undefined;
  const { certificate, private_key, ca_chain } = body.data.data;
  return fingerprint({ certificate, intermediate: ca_chain, privateKey: new Secret(private_key) });
}

describe.skipIf(bao === undefined)('docs/certbot-to-vault.md', () => {
  test('from the folder of certbot to an OpenBao, out of it on a new machine, and home to certbot', async () => {
    const { server, typed } = await pageWithBao('certbot-to-vault.md');
    const letsencrypt = join(typed.folder, 'etc/letsencrypt');
    let certbot = liveFolder(letsencrypt);
    let issuedAt = Date.now() - 60 * dayMs;
    /** Each is newer than all before it. */
    const issue = async (name: string) => {
      issuedAt += dayMs;
      const pem = await testCertificate({ domains: [name], notBefore: issuedAt, notAfter: issuedAt + 90 * dayMs });
      certbot.renew(name, pem);
      return fingerprint(pem);
    };
    const names = ['shop.example.test', 'api.example.test'];
    const [shop, api] = [await issue('shop.example.test'), await issue('api.example.test')];
    await typed.type('login');
    // Whoever types it again finds it as it was.
    await typed.run(typed.block('login'));
    await typed.type('secret-id');
    typed.configure('config');
    expect(await typed.type('first')).toContain('2 same');
    expect(await Promise.all(names.map((name) => copyIn(server, name)))).toEqual([shop, api]);
    const stop = await typed.serve();
    const renewed = await issue('shop.example.test');
    await expect.poll(() => copyIn(server, 'shop.example.test')).toBe(renewed);
    await stop();
    // By a hook, where nothing runs all day.
    const again = await issue('shop.example.test');
    await typed.run('certstandby reconcile');
    expect(await copyIn(server, 'shop.example.test')).toBe(again);

    // Another machine: neither the folder nor the records of the first one.
    await typed.run('rm -r etc/letsencrypt records vault-secret-id');
    await typed.type('secret-id');
    await typed.type('folder');
    typed.configure('config-after');
    expect(await typed.type('restore')).toContain('2 same');
    const restored = (name: string) => {
      const at = (file: string) => readFileSync(join(typed.folder, 'srv/certificates', name, 'current', file), 'utf8');
      return fingerprint({ certificate: at('fullchain.pem'), privateKey: new Secret(at('privkey.pem')) });
    };
    expect(names.map(restored)).toEqual([again, api]);

    // certbot issues anew.
    certbot = liveFolder(letsencrypt);
    const issued = [await issue('shop.example.test'), await issue('api.example.test')];
    typed.configure('config-home');
    expect(await typed.type('home')).toContain('2 same');
    expect(await Promise.all(names.map((name) => copyIn(server, name)))).toEqual(issued);
    expect(readdirSync(certbot.live).toSorted()).toEqual(['README', ...names.toSorted()]);
  });
});
