import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerDiagnosis } from '../../src/services/certificate-manager/diagnosis.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { wholeMark } from '../../src/store/mark.ts';
import type { Store } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { type CommandEnd, runCommand, type TestHost, testHost } from '../support/command.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';

// The whole of it over real HTTP, by the commands as a person types them: the region is lost,
// another one stands in, and it comes back.

const crnIn = (region: string, guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:${region}:a/e5e6f6e6e6e6e6e6e6e6e6e6e6e6e6e6:${guid}::`;
const crns = {
  frankfurt: crnIn('eu-de', '00000000-0000-4000-8000-00000000000a'),
  paris: crnIn('eu-fr2', '00000000-0000-4000-8000-00000000000b'),
  london: crnIn('eu-gb', '00000000-0000-4000-8000-00000000000c'),
};
type Name = keyof typeof crns;

let folder: string;
const instances = new Map<Name, TestInstance>();
const apiKey = apiKeyOf('manager');

async function start(name: Name): Promise<void> {
  instances.set(name, await startTestInstance({ crn: crns[name], port: instances.has(name) ? portOf(name) : 0 }));
}
const urlOf = (name: Name) => instances.get(name)?.url ?? '';
const portOf = (name: Name) => Number(new URL(urlOf(name)).port);

/** As somebody at the service's own console sees it. */
const optionsOf = (name: Name) => ({
  instance: crns[name],
  apiKey: new Secret(apiKey),
  endpoint: urlOf(name),
  iamUrl: urlOf(name),
  runtime,
});
const store = (name: Name): Store => certificateManagerStore(optionsOf(name));

/** Writes the configuration: from this primary to that backup. */
function pointLink(primary: Name, backup: Name): void {
  const stores = (Object.keys(crns) as Name[]).map(
    (name) =>
      `  ${name}: { kind: certificate-manager, instance: "${crns[name]}", apiKey: env:KEY, endpoint: "${urlOf(name)}", iam: "${urlOf(name)}",` +
      ' settles: 300ms, listingLag: 0s, writesPerCertificatePerMinute: unlimited, requestsPerSecond: 200 }',
  );
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
receiver: { host: 127.0.0.1, port: 0 }
worker: { sweepEvery: 1s }
serve: { metrics: { port: 0 }, stopWithin: 5s }
stores:
${stores.join('\n')}
links: { shop: { primary: ${primary}, backups: [${backup}] } }
`,
  );
}

const run = (...args: string[]) =>
  runCommand([...args, '--config', join(folder, 'certstandby.yaml')], testHost({ env: { KEY: apiKey } }));

/** Serves the link until told to stop; notifications of the primary arrive. */
async function serving(primary: Name, work: () => Promise<void>): Promise<CommandEnd> {
  const host: TestHost = testHost({ env: { KEY: apiKey } });
  const ended = runCommand(['serve', '--config', join(folder, 'certstandby.yaml')], host);
  const logged = () =>
    host
      .errors()
      .split('\n')
      .filter((line) => line.includes('"event":"serving"'));
  await expect.poll(logged).toHaveLength(1);
  const { callbacks } = JSON.parse(logged()[0] ?? '') as { callbacks: [string] };
  await certificateManagerDiagnosis(optionsOf(primary)).registerChannel?.(callbacks[0]);
  await work();
  host.signal('SIGTERM');
  return ended;
}

/** Fingerprints by name; several of one name, where there are several. */
async function held(name: Name): Promise<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {};
  for (const { id, name: called } of (await store(name).list({})).certificates) {
    const reading = await store(name).read(id);
    if (reading.state !== 'present') throw new Error(`${called} is ${reading.state}`);
    found[called] = [...(found[called] ?? []), fingerprintOf(reading.value.content)];
  }
  return found;
}

async function certificate(): Promise<CertificateContent> {
  return parseContent(await testCertificate());
}
async function put(into: Name, name: string): Promise<string> {
  const metadata = { name, description: `the ${name}`, tags: [] };
  return (await store(into).import({ content: await certificate(), metadata })).id;
}
/** The ids of the originals, by name, as the marks of their copies tell. */
async function oldIds(): Promise<ReadonlyMap<string, string>> {
  const { certificates } = await store('london').list({});
  return new Map(certificates.map(({ name, mark }) => [name, wholeMark(mark)?.certificate ?? '']));
}
async function idOf(name: string, where: Name): Promise<string> {
  return (await store(where).list({})).certificates.find((one) => one.name === name)?.id ?? '';
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-worst-day-'));
  for (const name of Object.keys(crns) as Name[]) await start(name);
});
afterAll(async () => {
  for (const instance of instances.values()) await instance.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a region is lost, another one stands in, and it comes home', async () => {
  pointLink('frankfurt', 'london');
  for (const name of ['shop', 'api', 'billing']) await put('frankfurt', name);
  expect((await run('reconcile')).code).toBe(0);
  const before = await held('frankfurt');
  expect(await held('london')).toEqual(before);

  // The region is gone, with everything in it.
  await instances.get('frankfurt')?.close();
  pointLink('paris', 'london');
  const served = await run('reconcile');
  expect(served).toMatchObject({ code: 3, errors: expect.stringMatching(/If that one is lost: certstandby restore/) });

  const planned = await run('restore', '--plan');
  expect(planned.code).toBe(0);
  expect(planned.output).toMatch(
    /^shop: from london into paris: 3 to import\n {2}requests: london 6, paris 6; at least 1\.0 s under the limits/,
  );
  expect(planned.output).toMatch(/^shop +import +[0-9a-f]{32} *$/m);
  expect(planned.output).toMatch(/\nNothing was changed\.\n$/);
  expect(await held('paris')).toEqual({});

  // What hurts most comes first; its ids are in the map of all the same.
  const map = join(folder, 'ids.csv');
  const old = await oldIds();
  expect(await run('restore', 'api')).toMatchObject({ code: 0, errors: '' });
  const restored = await run('restore', '--map', map);
  expect(restored).toMatchObject({ code: 0, errors: '' });
  expect(restored.output).toMatch(/^shop: 2 certificates moved; paris is its primary now$/m);
  expect(restored.output).toMatch(/^ {2}every included certificate is equal in the backup$/m);
  expect(await held('paris')).toEqual(before);
  expect(await held('london')).toEqual(before);
  const crnOf = (at: Name, id: string) => `${crns[at].slice(0, -1)}certificate:${id}`;
  const rows: string[] = [];
  for (const name of ['api', 'billing', 'shop']) {
    const [before, now] = [crnOf('frankfurt', old.get(name) ?? ''), crnOf('paris', await idOf(name, 'paris'))];
    rows.push(`"${name}","${crns.frankfurt}","${before}","${crns.paris}","${now}"`);
  }
  const whole = `${['name,old store,old id,new store,new id', ...rows].join('\n')}\n`;
  expect(readFileSync(map, 'utf8')).toBe(whole);
  expect(await run('restore', '--map', map)).toMatchObject({ code: 0 });
  expect(readFileSync(map, 'utf8')).toBe(whole);
  expect(await run('map')).toMatchObject({ code: 0, output: whole });

  // Events work in the new direction at once.
  let renewed = '';
  const end = await serving('paris', async () => {
    const content = await certificate();
    renewed = fingerprintOf(content);
    await store('paris').reimport(await idOf('shop', 'paris'), content);
    await put('paris', 'new');
    await expect.poll(async () => (await held('london')).shop).toEqual([renewed]);
    await expect.poll(async () => (await held('london')).new).toHaveLength(1);
  });
  expect(end.code).toBe(0);
  const away = await held('paris');

  // The region is back, built anew.
  await start('frankfurt');
  pointLink('frankfurt', 'london');
  const home = await run('failback', '--json');
  expect(home.code).toBe(0);
  expect(await held('frankfurt')).toEqual(away);
  expect(await held('london')).toEqual(away);
  expect(away).toMatchObject({ shop: [renewed], api: before.api, billing: before.billing });
  const verified = await run('verify');
  expect(verified).toMatchObject({ code: 0 });

  const after = await serving('frankfurt', async () => {
    const content = await certificate();
    await store('frankfurt').reimport(await idOf('api', 'frankfurt'), content);
    await expect.poll(async () => (await held('london')).api).toEqual([fingerprintOf(content)]);
  });
  expect(after.code).toBe(0);
  expect(Object.keys(await held('london')).sort()).toEqual(['api', 'billing', 'new', 'shop']);

  // Lost once more, and stopped by Ctrl-C as soon as something was moved: what was moved is in the
  // map.
  pointLink('paris', 'london');
  const host: TestHost = testHost({ env: { KEY: apiKey } });
  const { write } = host.stdout;
  host.stdout.write = (text: string) => {
    write(text);
    if (/"origin":.*"id":/.test(text)) host.signal('SIGINT');
    return true;
  };
  const again = join(folder, 'again.csv');
  const config = join(folder, 'certstandby.yaml');
  const interrupted = await runCommand(['restore', '--json', '--map', again, '--config', config], host);
  expect(interrupted.code).toBe(130);
  expect(readFileSync(again, 'utf8')).toMatch(new RegExp(`^name,.*\\n"[a-z]+","${crns.frankfurt}",`));
});
