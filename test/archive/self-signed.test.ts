import { beforeAll, expect, it } from 'vitest';
import { planImport } from '../../src/archive/import.ts';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { certifyLeaf } from '../support/bundles.ts';
import { content, described, held } from '../support/replication.ts';

let issued: CertificateContent;
let selfSigned: CertificateContent;
let renewed: CertificateContent;
beforeAll(async () => {
  const own = () => certifyLeaf(undefined).then(parseContent);
  [issued, selfSigned, renewed] = await Promise.all([content(), own(), own()]);
});

async function importInto(there: CertificateContent, given: CertificateContent, replaceIssued = false) {
  const store = memoryStore({ id: 'paris', region: 'fr', runtime });
  store.put({ content: there, metadata: described('shop') }, 'p1');
  const entries = async function* () {
    // The key of each is overwritten when it has been looked at.
    const privateKey = given.privateKey && { ...given.privateKey, pem: given.privateKey.pem.copy() };
    yield { entry: 'shop.pem', ...described('shop'), content: { ...given, ...(privateKey && { privateKey }) } };
  };
  const how = { wanted: () => true, replace: true, replaceOthers: true, replaceIssued };
  const plan = await planImport(runtime, store, entries, how);
  await plan.apply();
  return { lines: plan.lines, holds: fingerprintOf((await held(store, 'p1')).content) };
}

it('a self-signed certificate replaces one that an authority issued only where a person says so', async () => {
  const refused = await importInto(issued, selfSigned);
  expect(refused.lines).toMatchObject([{ action: 'conflict', id: 'p1', selfSigned: true }]);
  expect(refused.holds).toBe(fingerprintOf(issued));
  const meant = await importInto(issued, selfSigned, true);
  expect(meant.lines).toMatchObject([{ action: 'replace' }]);
  expect(meant.holds).toBe(fingerprintOf(selfSigned));
});

it('a self-signed certificate replaces a self-signed one, and one of an authority replaces either', async () => {
  for (const [there, given] of [
    [selfSigned, renewed],
    [selfSigned, issued],
  ] as const) {
    const { lines, holds } = await importInto(there, given);
    expect(lines).toMatchObject([{ action: 'replace' }]);
    expect(holds).toBe(fingerprintOf(given));
  }
});
