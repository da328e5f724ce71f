import { createPrivateKey, randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { badKeys, passphrase } from '../support/bad-keys.ts';
import { type Canary, keyCanary, searchFiles, searchFor, textCanary } from '../support/canaries.ts';
import { testCertificate } from '../support/certificates.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { exchangeToken } from '../support/instance.ts';
import { type RoleProcess, startRole } from '../support/roles.ts';
import { primaryCrn as crn } from './program.ts';
import type { sealedHandlers } from './sealed-child.ts';

const kinds: readonly KeyKind[] = [
  ...Array<KeyKind>(3).fill('rsa-2048'),
  'rsa-4096',
  ...Array<KeyKind>(2).fill('rsa-pss-2048'),
  ...Array<KeyKind>(9).fill('p-256'),
  ...Array<KeyKind>(5).fill('p-384'),
  ...Array<KeyKind>(5).fill('p-521'),
  ...Array<KeyKind>(7).fill('ed25519'),
];
/**
 * How many of them are imported, each under a name of its own; the others replace what is there.
 */
const imports = 20;

interface Given {
  readonly name: string;
  readonly pem: CertificatePem;
}

let script: BundledScript;
let folder: string;
let given: readonly Given[];
let bad: Awaited<ReturnType<typeof badKeys>>;
let canaries: readonly Canary[];
const apiKey = randomBytes(33).toString('base64url');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-sealed-'));
  [script, bad, given] = await Promise.all([
    bundleScript('test/end-to-end/sealed-child.ts'),
    badKeys(),
    Promise.all(
      kinds.map(async (keyKind, index) => ({
        name: `${keyKind} ${index}`,
        pem: olderEncoding(await testCertificate({ keyKind }), index),
      })),
    ),
  ]);
  canaries = [
    ...given.map(({ name, pem }) => keyCanary(name, pem.privateKey?.reveal() ?? '')),
    ...bad.canaries,
    textCanary('the API key', apiKey),
    textCanary('the passphrase', passphrase),
  ];
}, 120_000);
afterAll(async () => {
  await script?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const olderEncodings: Readonly<Record<string, 'pkcs1' | 'sec1'>> = { rsa: 'pkcs1', ec: 'sec1' };

/** Every other key as PKCS#1 or SEC1, where its kind has such a thing. */
function olderEncoding(pem: CertificatePem, index: number): CertificatePem {
  const key = createPrivateKey(pem.privateKey?.reveal() ?? '');
  const type = olderEncodings[key.asymmetricKeyType ?? ''];
  if (type === undefined || index % 2 === 0) return pem;
  return { ...pem, privateKey: new Secret(key.export({ type, format: 'pem' }).toString()) };
}

/**
 * A server in a process of its own that has its own folder, which gets everything that it prints,
 * logs and keeps.
 */
async function startServer(name: string, sealed: boolean) {
  const own = join(folder, name);
  mkdirSync(join(own, 'tmp'), { recursive: true });
  const output = openSync(join(own, 'output.txt'), 'a');
  const child: RoleProcess<ReturnType<typeof sealedHandlers>> = startRole({
    program: script.file,
    role: 'instance',
    env: { TMPDIR: join(own, 'tmp') },
    output,
  });
  closeSync(output);
  const url = await child.call('start', { folder: own, apiKey, sealed });
  const store = certificateManagerStore({
    instance: crn,
    apiKey: new Secret(apiKey),
    endpoint: url,
    iamUrl: url,
    runtime,
  });
  return { folder: own, child, url, store };
}

type Server = Awaited<ReturnType<typeof startServer>>;

/**
 * Everything that one does with certificates. Answers what each certificate now holds, how many
 * rows were sealed anew, and the token used.
 */
async function useServer({ child, url, store }: Server) {
  const held = new Map<string, CertificatePem>();
  for (const { name, pem } of given.slice(0, imports)) {
    const metadata = { name, description: `holds ${name}`, tags: [] };
    held.set((await store.import({ content: parseContent(pem), metadata })).id, pem);
  }
  const ids = [...held.keys()];
  const replace = async (from: number, to: number) => {
    for (const [index, { pem }] of given.slice(from, to).entries()) {
      const id = ids[index] ?? '';
      await store.reimport(id, parseContent(pem));
      held.set(id, pem);
    }
  };
  await replace(imports, imports + 6);
  const resealed = await child.call('rotate');
  await replace(imports + 6, given.length);
  await store.list({});
  await store.updateMetadata(ids[2] ?? '', { name: 'renamed', description: '', tags: [] }, undefined);
  await store.delete(ids[3] ?? '');
  held.delete(ids[3] ?? '');

  const token = await exchangeToken(url, apiKey);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const certificate = encodeURIComponent(crn.replace(/::$/, `:certificate:${ids[0]}`));
  const previous = await fetch(`${url}/api/v2/certificate/${certificate}/previous`, { headers });
  expect(previous.status).toBe(200);
  expect(await previous.text()).toContain('PRIVATE KEY');
  for (const [name, priv_key] of Object.entries(bad.keys)) {
    const { certificate: content, intermediate } = bad.good;
    for (const body of [
      { name, data: { content, intermediate, priv_key } },
      { name: priv_key, data: { content } },
      { name, data: { content: priv_key, intermediate } },
      { name, description: priv_key },
    ]) {
      const request = { method: 'POST', headers, body: JSON.stringify(body) };
      const answer = await fetch(`${url}/api/v3/${encodeURIComponent(crn)}/certificates/import`, request);
      expect([400, 413]).toContain(answer.status);
      expect(searchFor(canaries)(Buffer.from(await answer.text()))).toEqual([]);
    }
  }
  return { held, resealed, token: textCanary('an access token', token) };
}

/** Dies while it imports. */
async function killUnderLoad({ child, store }: Server): Promise<void> {
  const metadata = { name: 'never answered', description: '', tags: [] };
  const pending = given.map(({ pem }) => store.import({ content: parseContent(pem), metadata }).catch(() => undefined));
  await pending[2];
  await child.kill();
  await Promise.all(pending);
}

async function expectHeld({ store }: Server, held: ReadonlyMap<string, CertificatePem>): Promise<void> {
  for (const [id, pem] of held) {
    const reading = await store.read(id);
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf(parseContent(pem)));
  }
}

describe('an instance with a root key in a file, used, killed under load, and started again', () => {
  test('leaves no private key, API key or token in any file, and nothing in its temporary folder', async () => {
    const first = await startServer('sealed', true);
    const { held, resealed, token } = await useServer(first);
    // Every content in force, the previous ones, and the signing key.
    expect(resealed).toBe(imports + 6 + 1);
    await killUnderLoad(first);
    const [, , rootKey = ''] = readFileSync(join(first.folder, 'root-key'), 'utf8').split('\n');
    const search = searchFor([...canaries, token]);
    const forRootKey = searchFor([textCanary('the root key', rootKey)]);
    expect(searchFiles(first.folder, search)).toEqual([]);

    const second = await startServer('sealed', true);
    await expectHeld(second, held);
    await second.child.call('stop');
    await second.child.stop();
    expect(searchFiles(first.folder, search)).toEqual([]);
    expect(searchFiles(first.folder, forRootKey).map((found) => found.split(':')[0])).toEqual(['root-key']);
    expect(readdirSync(join(first.folder, 'tmp'))).toEqual([]);
  });

  test('whose values were not sealed leaves every key where the same search finds it', async () => {
    const server = await startServer('open', false);
    const { held } = await useServer(server);
    await killUnderLoad(server);
    const found = searchFiles(server.folder, searchFor(canaries)).join('\n');
    const names = given.filter(({ pem }) => [...held.values()].includes(pem)).map(({ name }) => name);
    expect(names.length).toBeGreaterThan(imports - 2);
    expect(names.filter((name) => !found.includes(`data.mdb: ${name}: d as base64`))).toEqual([]);
  });
}, 120_000);
