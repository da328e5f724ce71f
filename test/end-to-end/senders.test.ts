import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compose } from '../../src/compose/program.ts';
import { parseConfig } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { changeMessage } from '../../src/sender/change-message.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';
import { testCertificate } from '../support/certificates.ts';
import { liveFolder } from '../support/live-folder.ts';

/**
 * An issuer of tokens whose keys change, a folder that CI jobs renew, and the program between it
 * and its copies.
 */

let folder: string;
const asked = { count: 0 };
const newKey = (kid: string) => ({ kid, ...generateKeyPairSync('rsa', { modulusLength: 2048 }) });
let key = newKey('first');
const issuer = createServer((_request, response) => {
  asked.count += 1;
  const { publicKey, kid } = key as { publicKey: KeyObject; kid: string };
  response.end(JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] }));
});

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-senders-'));
  mkdirSync(join(folder, 'copies'), { mode: 0o700 });
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  issuer.closeAllConnections();
  issuer.close();
  rmSync(folder, { recursive: true, force: true });
});

async function program({ table = memoryTable(), keysAt = '/jwks' }: { table?: Table; keysAt?: string } = {}) {
  const base = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
  const config = parseConfig(
    `version: 1
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 0s }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies] } }
senders:
  ci:
    kind: oidc-token
    store: live
    issuer: https://token.example.com
    jwks: ${base}${keysAt}
    audience: here
    bearer: { repository: example/site }
`,
    { env: {}, readFile: () => '', path: join(folder, 'certstandby.yaml') },
  );
  const composed = await compose(config, { runtime: systemRuntime, log: silentLog, table });
  const post = async (token: string, certificates: readonly ({ id: string } | { name: string })[]) => {
    const body = changeMessage({ type: 'certificate.changed', at: Date.now(), certificates });
    const { status } = await composed.receiver({
      method: 'POST',
      path: '/callback/ci',
      header: (name) => (name === 'authorization' ? `Bearer ${token}` : undefined),
      body: Buffer.from(body),
    });
    return status;
  };
  return { ...composed, post };
}

const tokenOf = ({ kid, privateKey }: ReturnType<typeof newKey>) =>
  new SignJWT({ repository: 'example/site' })
    .setProtectedHeader({ alg: 'RS256', kid })
    .setIssuer('https://token.example.com')
    .setAudience('here')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(privateKey);

describe('a CI job that renews a certificate', () => {
  it('tells of it by its token; keys are fetched by the sweep, and never because something arrived', async () => {
    const certbot = liveFolder(folder);
    certbot.renew('shop', await testCertificate());
    const { post, sweep, close, readiness } = await program();
    try {
      expect(await post(await tokenOf(key), [{ name: 'shop' }])).toBe(503);
      expect((await readiness()).problems).toMatchObject([
        { code: 'notification_key_missing', message: expect.stringMatching(/ci/) },
      ]);
      expect(asked.count).toBe(0);
      await sweep();
      expect(asked.count).toBe(1);
      // What is known to be absent is believed for a second.
      await expect.poll(async () => post(await tokenOf(key), [{ name: 'shop' }])).toBe(202);
      await expect
        .poll(() => readdirSync(join(folder, 'copies')).filter((id) => id.startsWith('shop')))
        .toHaveLength(1);

      // The issuer changes its key: a token of the new one is to come again, until the next sweep;
      // the old one is good for a while.
      const old = key;
      key = newKey('second');
      expect(await post(await tokenOf(key), [{ name: 'shop' }])).toBe(503);
      expect(asked.count).toBe(1);
      expect(await post(await tokenOf({ ...old, kid: 'second' }), [])).toBe(503);
      await sweep();
      expect(await post(await tokenOf(old), [])).toBe(202);
    } finally {
      await close();
    }
  });

  it('is not believed by keys of an address that the configuration named before', async () => {
    const table = { ...memoryTable(), close: async () => {} };
    const before = await program({ table });
    await before.sweep();
    expect(await before.post(await tokenOf(key), [])).toBe(202);
    await before.close();

    const after = await program({ table, keysAt: '/elsewhere' });
    try {
      expect(await after.post(await tokenOf(key), [])).toBe(503);
      await after.sweep();
      await expect.poll(async () => after.post(await tokenOf(key), [])).toBe(202);
    } finally {
      await after.close();
    }
  });

  it('costs no more than its budget, however much it invents', async () => {
    const { post, sweep, close, records, links } = await program();
    try {
      await sweep();
      const token = await tokenOf(key);
      for (let request = 0; request < 20; request += 1) {
        const invented = Array.from({ length: 25 }, (_, at) => ({ id: `invented-${request}-${at}` }));
        expect(await post(token, invented)).toBe(202);
      }
      const [link] = links;
      if (link === undefined) throw new Error('no link');
      const made: string[] = [];
      for await (const { certificate } of records(link)) if (certificate.startsWith('invented')) made.push(certificate);
      // Sixty a minute are looked at; a second minute may begin on the way.
      expect(made.length).toBeGreaterThan(0);
      expect(made.length).toBeLessThanOrEqual(120);
    } finally {
      await close();
    }
  });
});
