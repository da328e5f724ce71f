import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { errorRegistry } from '../../src/errors.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { directoryStore } from '../../src/services/directory/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { requirePeer } from './peer.ts';

const openssl = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-remedies-'));
  mkdirSync(join(folder, 'site'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string) => join(folder, 'site', name);
const store = () => directoryStore({ id: 'web-1', path: folder, region: 'here', runtime: systemRuntime, quietMs: 0 });

/**
 * Runs the command of the remedy that begins so, on a file in the folder. Answers are typed where
 * it asks.
 */
function remedy(beginning: string, file: string, ...more: readonly string[]): void {
  const { remedy: text } = errorRegistry.store_form_unknown;
  const [command = ''] = new RegExp(`${beginning} [^;]*?fullchain\\.pem`).exec(text) ?? [];
  const [program = '', ...args] = command.split(' ').map((word) => (word === '<file>' ? file : word));
  execFileSync(program, [...args, ...more], { cwd: join(folder, 'site'), stdio: 'pipe' });
}

it.skipIf(openssl === undefined)('a certificate in DER is read once the command of the remedy was run', async () => {
  const pem = await testCertificate();
  const { leaf, chain } = parseContent(pem);
  writeFileSync(at('tls.crt'), leaf.raw);
  writeFileSync(at('privkey.pem'), pem.privateKey?.reveal() ?? '');
  expect(await store().read('site')).toMatchObject({ state: 'unreadable', error: { code: 'store_form_unknown' } });
  remedy('openssl x509', 'tls.crt');
  expect(chain).toHaveLength(1);
  const reading = await store().read('site');
  expect(reading.state === 'present' && reading.value.content.leaf.raw.equals(leaf.raw)).toBe(true);
  expect(reading.state === 'present' && reading.value.content.privateKey !== undefined).toBe(true);
});

it.skipIf(openssl === undefined)('a PKCS#12 file is read once the command of the remedy was run', async () => {
  const pem = await testCertificate();
  writeFileSync(at('all'), `${pem.privateKey?.reveal()}${pem.certificate}${pem.intermediate}`);
  const passphrase = 'a test passphrase';
  const args = ['pkcs12', '-export', '-in', 'all', '-out', 'site.p12', '-passout', `pass:${passphrase}`];
  execFileSync('openssl', args, { cwd: join(folder, 'site'), stdio: 'pipe' });
  rmSync(at('all'));
  expect(readdirSync(join(folder, 'site'))).toEqual(['site.p12']);
  expect(await store().read('site')).toMatchObject({ state: 'unreadable', error: { code: 'store_form_unknown' } });
  remedy('openssl pkcs12', 'site.p12', '-passin', `pass:${passphrase}`);
  const reading = await store().read('site');
  expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf(parseContent(pem)));
});
