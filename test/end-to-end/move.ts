import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { secretsManagerStore } from '../../src/services/secrets-manager/store.ts';
import type { Store } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';

const crnIn = (region: string, guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:${region}:a/e5e6f6e6e6e6e6e6e6e6e6e6e6e6e6e6:00000000-0000-4000-8000-0000000000${guid}::`;
const secrets = (crn: string) => crn.replace(':cloudcerts:', ':secrets-manager:');

/** The old instance, and others that speak Secrets Manager's API, in other regions too. */
const crns = {
  ...{ old: crnIn('eu-de', '0a'), frankfurt: crnIn('eu-de', '0b'), london: crnIn('eu-gb', '0c') },
  paris: crnIn('eu-fr2', '0d'),
};
type Name = keyof typeof crns;

const apiKey = apiKeyOf('manager');
const keyKinds = ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const;

/**
 * Moves so many certificates from Certificate Manager to Secrets Manager and back, by the commands
 * as a person types them, as docs/certificate-manager-to-secrets-manager.md says.
 */
export async function moveThereAndBack(certificates: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-move-'));
  const instances = new Map<Name, TestInstance>();
  try {
    for (const name of Object.keys(crns) as Name[]) instances.set(name, await startTestInstance({ crn: crns[name] }));
    await moved(folder, instances, certificates);
  } finally {
    for (const instance of instances.values()) await instance.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function moved(folder: string, instances: ReadonlyMap<Name, TestInstance>, certificates: number): Promise<void> {
  const urlOf = (name: Name) => instances.get(name)?.url ?? '';
  const common = (name: Name) => ({ endpoint: urlOf(name), iamUrl: urlOf(name), runtime });
  const store = (name: Name): Store =>
    name === 'old'
      ? certificateManagerStore({ ...common(name), instance: crns[name], apiKey: new Secret(apiKey) })
      : secretsManagerStore({ ...common(name), instance: secrets(crns[name]), credentials: new Secret(apiKey) });

  const config = join(folder, 'certstandby.yaml');
  const pointLink = (primary: Name) => {
    const bounds = 'settles: 300ms, listingLag: 0s, readSettles: 0s, requestsPerSecond: 1000';
    const line = (name: Name) =>
      `  ${name}: { kind: ${name === 'old' ? 'certificate-manager' : 'secrets-manager'}, instance: "${name === 'old' ? crns[name] : secrets(crns[name])}",` +
      ` apiKey: env:KEY, endpoint: "${urlOf(name)}", iam: "${urlOf(name)}", ${bounds}` +
      `${name === 'old' ? ', writesPerCertificatePerMinute: unlimited' : ''} }`;
    const stores = (Object.keys(crns) as Name[]).map(line);
    writeFileSync(
      config,
      `version: 1\ntable: { kind: lmdb, path: records }\nstores:\n${stores.join('\n')}\n` +
        `links: { shop: { primary: ${primary}, backups: [london] } }\n`,
    );
  };
  const run = (...args: string[]) => runCommand([...args, '--config', config], testHost({ env: { KEY: apiKey } }));

  /** What a store holds, by what it is called. */
  const held = async (name: Name) => {
    const found = new Map<string, string>();
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const page = await store(name).list(cursor === undefined ? {} : { cursor });
      for (const { id, name: called } of page.certificates) {
        const read = await store(name).read(id);
        if (read.state !== 'present') throw new Error(`${called} is ${read.state}`);
        found.set(called.replace(/-[0-9a-f]{16}$/, ''), fingerprintOf(read.value.content));
      }
      cursor = page.cursor;
    }
    return found;
  };

  for (let n = 0; n < certificates; n += 1) {
    // RSA keys take long to make: each kind is there, and most are of elliptic curves.
    const keyKind = n < keyKinds.length ? keyKinds[n] : 'p-256';
    const domains = [`shop-${n}.example.test`, `*.shop-${n}.example.test`];
    const content = parseContent(
      await testCertificate({ domains, intermediates: n % 3, ...(keyKind !== undefined && { keyKind }) }),
    );
    await store('old').import({
      content,
      metadata: { name: `shop ${n}: *.example`, description: `no ${n}`, tags: [] },
    });
  }
  const names = Array.from({ length: 1_480 }, (_, n) => `${'a'.repeat(30)}-${1_000 + n}.example.test`);
  const tooLong = parseContent(await testCertificate({ domains: ['long.example.test', ...names] }));
  await store('old').import({ content: tooLong, metadata: { name: 'too long', description: '', tags: [] } });

  // A standby in the second region, from the first minute. What it does not take is named before.
  pointLink('old');
  const planned = await run('reconcile', '--plan');
  expect(planned.output + planned.errors).toContain('Secrets Manager takes 100000');
  const copied = await run('reconcile');
  expect(copied.output + copied.errors).toContain('Secrets Manager takes 100000');
  const before = await held('old');
  before.delete('too long');
  expect(await held('london')).toEqual(before);
  expect(before.size).toBe(certificates);

  // Out of the standby into the new primary.
  pointLink('frankfurt');
  const plan = await run('restore', '--link', 'shop', '--from', 'london', '--plan');
  expect(plan.output).toContain(`${certificates} to import`);
  const map = join(folder, 'ids.csv');
  const there = await run('restore', '--link', 'shop', '--from', 'london', '--map', map);
  expect(there).toMatchObject({ code: 0, output: expect.stringContaining('frankfurt is its primary now') });
  expect(await held('frankfurt')).toEqual(before);
  expect(await held('london')).toEqual(before);
  const rows = readFileSync(map, 'utf8').trim().split('\n').slice(1);
  expect(rows).toHaveLength(certificates);
  for (const row of rows) {
    expect(row).toContain(`"${crns.old}","${crns.old.slice(0, -1)}certificate:`);
    expect(row).toMatch(new RegExp(`"${secrets(crns.frankfurt)}","(?:crn:[^"]*:secret:)?[0-9a-f-]{36}"$`));
  }
  // It is called there what it was called here.
  const [first] = (await store('frankfurt').list({})).certificates;
  expect(first?.name).toMatch(/^shop \d+: \*\.example$/);

  // What is renewed there goes to the standby, and home again.
  const renewed = parseContent(await testCertificate({ domains: first?.domains ?? [] }));
  await store('frankfurt').reimport(first?.id ?? '', renewed);
  expect((await run('reconcile')).code).toBe(0);
  const away = await held('frankfurt');
  expect([...away.values()]).toContain(fingerprintOf(renewed));
  expect(await held('london')).toEqual(away);

  pointLink('old');
  const home = await run('failback', '--link', 'shop', '--from', 'frankfurt', '--map', map);
  const back = await held('old');
  back.delete('too long');
  expect(home.output + home.errors).not.toContain('instance_');
  expect(back).toEqual(away);
  expect(await held('london')).toEqual(away);

  // From a zip, as Certificate Manager exported it.
  const zip = join(folder, 'export.zip');
  expect((await run('download', '--from', 'old', '--to', zip, '--as', 'zip', '--unencrypted-keys')).code).toBe(0);
  const imported = await run('import', zip, '--into', 'paris');
  expect(imported.output + imported.errors).toContain('Secrets Manager takes 100000');
  expect(await held('paris')).toEqual(away);
}
