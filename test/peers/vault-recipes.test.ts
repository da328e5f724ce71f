import { hash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { compose } from '../../src/compose/program.ts';
import { parseConfig } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';
import { freePort } from '../support/free-port.ts';
import { startTestInstance } from '../support/instance.ts';
import { auditDevices, done, openBaoProgram, requireOpenBao, startDevelopmentBao, startRaftBao } from './openbao.ts';
import { openPage } from './typed-page.ts';

const found = requireOpenBao();

let folder: string;
const ends: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-recipe-'));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

const region = 'eu-de';
const crnOf = (guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${guid}::`;

describe.skipIf(found === undefined)('the recipe of docs/certificate-manager-to-vault.md', () => {
  test('from a Certificate Manager to an OpenBao, and back into an empty one', async () => {
    const bao = await startDevelopmentBao();
    ends.push(() => bao.close());
    const page = await openPage('certificate-manager-to-vault.md', {
      programs: { vault: openBaoProgram },
      here: (text) => text.replace('https://vault.example.test:8200 VAULT_CACERT=vault-ca.pem', bao.url),
      env: { VAULT_TOKEN: bao.root },
    });
    ends.push(() => page.close());
    await page.type('login');
    const secretId = join(page.folder, 'vault-secret-id');

    const crn = crnOf('11111111-2222-4333-8444-555555555555');
    const first = await startTestInstance({ crn });
    ends.push(() => first.close());
    const frankfurt = certificateManagerStore({
      instance: crn,
      apiKey: new Secret(first.apiKey),
      endpoint: first.url,
      iamUrl: first.url,
      runtime,
    });
    const originals = new Map<string, string>();
    for (const name of ['shop', 'api', 'apps wildcard']) {
      const content = parseContent(await testCertificate());
      await frankfurt.import({ content, metadata: { name, description: `the ${name}`, tags: [] } });
      originals.set(name, fingerprintOf(content));
    }

    const file = join(folder, 'certstandby.yaml');
    const write = (primary: string, instance: string, url: string) =>
      writeFileSync(
        file,
        `version: 1
table: { kind: lmdb, path: records }
stores:
  ${primary}: { kind: certificate-manager, instance: "${instance}", apiKey: env:KEY, endpoint: "${url}", iam: "${url}" }
  vault:
    kind: vault
    address: ${bao.url}
    mount: secret
    prefix: standby
    login: approle
    roleId: certstandby
    secretId: file:${secretId}
    readSettles: 0s
    listingLag: 0s
links:
  shop: { primary: ${primary}, backups: [vault] }
`,
      );
    write('frankfurt', crn, first.url);
    const env = { KEY: first.apiKey };
    const run = async (...args: readonly string[]) => {
      const end = await runCommand([...args, '--config', file], testHost({ env }));
      console.info(`$ certstandby ${args.join(' ')}\n${end.output}${end.errors}(exit ${end.code})`);
      return end;
    };
    expect((await run('reconcile')).code).toBe(0);
    expect((await run('verify')).code).toBe(0);
    const { body } = await bao.ask('GET', 'secret/metadata/standby/?list=true');
    expect(body.data.keys).toHaveLength(3);
    for (const key of body.data.keys as string[]) {
      const copy = (await done(bao, 'GET', `secret/data/standby/${key}`)).data;
      const { certificate, private_key, ca_chain } = copy.data;
      const pem: CertificatePem = { certificate, intermediate: ca_chain, privateKey: new Secret(private_key) };
      expect(fingerprintOf(parseContent(pem))).toBe(originals.get(copy.metadata.custom_metadata['certstandby-name']));
    }
    // Nothing of ours is left there: each command gave its token back.
    const accessors = (await done(bao, 'GET', 'auth/token/accessors?list=true')).data.keys as string[];
    expect(accessors).toHaveLength(1);

    // The region is gone. An empty instance takes its place.
    await first.close();
    const other = crnOf('99999999-2222-4333-8444-555555555555');
    const second = await startTestInstance({ crn: other });
    ends.push(() => second.close());
    write('london', other, second.url);
    expect((await run('restore', '--from', 'vault', '--link', 'shop', '--map', join(folder, 'ids.csv'))).code).toBe(0);
    const london = certificateManagerStore({
      instance: other,
      apiKey: new Secret(second.apiKey),
      endpoint: second.url,
      iamUrl: second.url,
      runtime,
    });
    const restored = new Map<string, string>();
    for (const { id, name } of (await london.list({})).certificates) {
      const reading = await london.read(id);
      if (reading.state === 'present') restored.set(name, fingerprintOf(reading.value.content));
    }
    expect(restored).toEqual(originals);
    expect((await run('verify')).code).toBe(0);
    expect((await bao.ask('GET', 'secret/metadata/standby/?list=true')).body.data.keys).toHaveLength(3);
  });
});

describe.skipIf(found === undefined)('an OpenBao whose audit device tells of changes', () => {
  test('a certificate that is written there is in the backup within seconds, and nothing else is looked at', async () => {
    const port = await freePort();
    const secret = 'a-secret-of-the-audit-device-of-a-test';
    const log = join(folder, 'audit.log');
    const bao = await startRaftBao({
      configuration: auditDevices({ log, port, secret }),
    });
    ends.push(() => bao.close());
    mkdirSync(join(folder, 'copies'), { mode: 0o700 });
    const config = parseConfig(
      `version: 1
receiver: { host: 127.0.0.1, port: ${port} }
stores:
  vault:
    { kind: vault, address: "${bao.url}", prefix: certs, ca: "${bao.caFile}", login: approle, roleId: standby, secretId: env:ID, poll: 1h, readSettles: 0s, listingLag: 0s }
  copies: { kind: directory, path: copies, id: copies }
links: { web: { primary: vault, backups: [copies] } }
senders:
  bao: { kind: openbao-audit, store: vault, prefix: certs, digest: ${hash('sha256', secret)} }
`,
      { env: { ID: 'test-secret-id' }, readFile: () => '', path: join(folder, 'certstandby.yaml') },
    );
    const told: string[] = [];
    const program = await compose(config, {
      runtime,
      log: silentLog,
      table: memoryTable(),
      observer: { acknowledged: (_link, { certificates }) => told.push(...certificates.map(({ id }) => id)) },
    });
    ends.push(() => program.close());
    const server = await startReceiverServer({ host: '127.0.0.1', port, log: silentLog, receiver: program.receiver });
    ends.push(() => server.close());

    const pemOf = async () => {
      const { certificate, intermediate = '', privateKey } = await testCertificate();
      return { 'tls.crt': certificate + intermediate, 'tls.key': privateKey.reveal() };
    };
    const [link] = program.links;
    if (link === undefined) throw new Error('there is no link');
    await program.reconcile(link);
    const before = told.length;
    const wanted = await pemOf();
    const at = performance.now();
    await done(bao, 'POST', 'secret/data/certs/shop', { data: wanted });
    await done(bao, 'POST', 'secret/data/other/shop', { data: wanted });
    await done(bao, 'GET', 'secret/data/certs/shop');
    const copyOf = async () => {
      const [id] = readdirSync(join(folder, 'copies')).filter((name) => name.startsWith('shop-'));
      const reading = id === undefined ? undefined : await program.stores.get('copies')?.read(id);
      return reading?.state === 'present' ? toPem(reading.value.content).privateKey?.reveal() : undefined;
    };
    const normal = (pem: string) => pem.trim();
    await expect.poll(async () => normal((await copyOf()) ?? '')).toBe(normal(wanted['tls.key']));
    console.info(`from the write in OpenBao to the copy, seen: ${Math.round(performance.now() - at)} ms`);
    const renewed = await pemOf();
    await done(bao, 'POST', 'secret/data/certs/shop', { data: renewed });
    await expect.poll(async () => normal((await copyOf()) ?? '')).toBe(normal(renewed['tls.key']));
    expect(new Set(told.slice(before))).toEqual(new Set(['shop']));

    // The receiver is away: with a device beside it the server goes on, and reconcile finds it.
    await server.close();
    const third = await pemOf();
    await done(bao, 'POST', 'secret/data/certs/shop', { data: third });
    expect(normal((await copyOf()) ?? '')).toBe(normal(renewed['tls.key']));
    await program.reconcile(link);
    await expect.poll(async () => normal((await copyOf()) ?? '')).toBe(normal(third['tls.key']));
  });
});

describe.skipIf(found === undefined)('copies of other tools in an OpenBao', () => {
  test('are planned, proven equal, and taken under management in bulk', async () => {
    const bao = await startDevelopmentBao();
    ends.push(() => bao.close());
    const names = Array.from({ length: 30 }, (_, n) => `shop-${n}`);
    for (const [index, name] of names.entries()) {
      const { certificate, intermediate = '', privateKey } = await testCertificate();
      mkdirSync(join(folder, 'live', name), { recursive: true, mode: 0o700 });
      writeFileSync(join(folder, 'live', name, 'fullchain.pem'), certificate + intermediate);
      writeFileSync(join(folder, 'live', name, 'privkey.pem'), privateKey.reveal(), { mode: 0o600 });
      // Every tenth was left behind by its tool.
      const stale = index % 10 === 9 ? await testCertificate() : { certificate, intermediate, privateKey };
      const chain = stale.intermediate ?? '';
      const data = { 'tls.crt': stale.certificate + chain, 'tls.key': stale.privateKey.reveal() };
      await done(bao, 'POST', `secret/data/pushed/${name}`, { data });
      await done(bao, 'POST', `secret/metadata/pushed/${name}`, {
        custom_metadata: { 'managed-by': 'external-secrets' },
      });
    }
    const file = join(folder, 'certstandby.yaml');
    writeFileSync(
      file,
      `version: 1
table: { kind: lmdb, path: records }
stores:
  live: { kind: directory, id: live, path: live, quiet: 0s }
  vault: { kind: vault, address: "${bao.url}", prefix: pushed, token: env:TOKEN, readSettles: 0s, listingLag: 0s }
links: { web: { primary: live, backups: [vault] } }
`,
    );
    const run = async (...args: readonly string[]) => {
      const end = await runCommand([...args, '--config', file], testHost({ env: { TOKEN: bao.root } }));
      const shown = end.output.split('\n').filter((line) => !/^ {2}adopt(?:ing)? /.test(line));
      console.info(`$ certstandby ${args.join(' ')}\n${shown.join('\n')}${end.errors}(exit ${end.code})`);
      return end;
    };
    const plan = await run('adopt', '--all', '--plan');
    expect(plan.output).toContain(
      '30 copies without our mark; 27 would be adopted; 3 of no certificate of this primary',
    );
    expect((await run('adopt', '--all')).code).toBe(0);
    expect((await run('reconcile')).code).toBe(0);
    expect((await run('verify')).output).toContain('30 same');
    const { data } = await done(bao, 'GET', 'secret/detailed-metadata/pushed/?list=true');
    const marked = Object.values(data.key_info as Record<string, { custom_metadata: Record<string, string> }>).filter(
      ({ custom_metadata }) => custom_metadata.certstandby !== undefined,
    );
    expect(marked).toHaveLength(30);
    expect(data.keys).toHaveLength(33);
  });
});
