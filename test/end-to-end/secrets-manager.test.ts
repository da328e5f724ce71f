import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { compose } from '../../src/compose/program.ts';
import { parseConfig } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { Store } from '../../src/store/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { storeOf } from '../services/secrets-manager/instance.ts';
import { testCertificate } from '../support/certificates.ts';
import { apiKeyOf, exchangeToken, startTestInstance, type TestInstance } from '../support/instance.ts';
import { makeSigner } from '../support/notifications.ts';

// Two instances of our own, by Secrets Manager's API, and between them the program, which is told
// by a webhook that is signed as Event Notifications signs it: by jose, with the key that the
// destination serves.

// They are of two accounts: each has an IAM and a key of its own.
const crnIn = (region: string, account: string, guid: string) =>
  `crn:v1:bluemix:public:cloudcerts:${region}:a/${account}:${guid}::`;
const crns = {
  frankfurt: crnIn('eu-de', 'e5e6f6e6e6e6e6e6e6e6e6e6e6e6e6e6', '00000000-0000-4000-8000-00000000000a'),
  london: crnIn('eu-gb', '0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d', '00000000-0000-4000-8000-00000000000c'),
};
const keys = { frankfurt: apiKeyOf('manager'), london: 'a-key-of-the-other-account' };
const secretsCrn = (name: keyof typeof crns) => crns[name].replace(':cloudcerts:', ':secrets-manager:');
const events = 'crn:v1:bluemix:public:event-notifications:eu-de:a/e5e6:00000000-0000-4000-8000-00000000000e::';
const signer = makeSigner();
const asked: string[] = [];

/** What Event Notifications serves of a destination, and IAM beside it. */
const service = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  request.resume();
  const answer = request.url?.endsWith('/public_key')
    ? { public_key: signer.publicKeyPem }
    : { access_token: 'token', expires_in: 3_600 };
  response.end(JSON.stringify(answer));
});
const instances = new Map<keyof typeof crns, TestInstance>();

beforeAll(async () => {
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  for (const name of ['frankfurt', 'london'] as const)
    instances.set(
      name,
      await startTestInstance({
        crn: crns[name],
        apiKeys: [{ name: 'manager', key: new Secret(keys[name]), role: 'manager' }],
      }),
    );
});
afterAll(async () => {
  await Promise.all([...instances.values()].map((instance) => instance.close()));
  service.closeAllConnections();
  service.close();
});

async function program() {
  const at = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
  const storeLine = (name: keyof typeof crns) =>
    `  ${name}: { kind: secrets-manager, instance: "${secretsCrn(name)}", apiKey: env:${name.toUpperCase()}, endpoint: "${instances.get(name)?.url}",` +
    ' group: standby, makeGroup: true, carryGroups: true, settles: 300ms, listingLag: 0s, readSettles: 0s, requestsPerSecond: 500 }';
  const config = parseConfig(
    `version: 1
stores:
${storeLine('frankfurt')}
${storeLine('london')}
links: { shop: { primary: frankfurt, backups: [london] } }
senders:
  events: { kind: event-notifications, store: frankfurt, source: "${secretsCrn('frankfurt')}", instance: "${events}",
            destination: webhook-1, apiKey: env:FRANKFURT, endpoint: "${at}", iam: "${at}" }
`,
    { env: { FRANKFURT: keys.frankfurt, LONDON: keys.london }, readFile: () => '', path: '/etc/certstandby.yaml' },
  );
  const composed = await compose(config, { runtime: systemRuntime, log: silentLog, table: memoryTable() });
  let sent = 0;
  const tell = async (event_type: string, ids: readonly string[]) => {
    sent += 1;
    const data = {
      ...{ event_type, secret_type: 'imported_cert', source_service: 'SecretsManager' },
      source_instance_crn: secretsCrn('frankfurt'),
      secrets: ids.map((secret_id) => ({ secret_id, event_time: new Date().toISOString(), secret_name: 'shop' })),
    };
    const token = await new SignJWT({ data: { id: `n-${sent}`, notification_id: `n-${sent}`, source: 'sm', data } })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
      .sign(signer.privateKey);
    const { status } = await composed.receiver({
      method: 'POST',
      path: '/callback/events',
      header: (name) => (name === 'content-type' ? 'text/plain' : undefined),
      body: Buffer.from(token),
    });
    return status;
  };
  return { ...composed, tell };
}

const sideAt = (name: keyof typeof crns) => ({ ...(instances.get(name) as TestInstance), apiKey: keys[name] });
const storeAt = (name: keyof typeof crns): Store => storeOf(sideAt(name));
const fingerprints = async (store: Store) => {
  const found = new Map<string, string>();
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await store.list(cursor === undefined ? {} : { cursor });
    for (const { id, name } of page.certificates) {
      const read = await store.read(id);
      if (read.state === 'present') found.set(name, fingerprintOf(read.value.content));
    }
    cursor = page.cursor;
  }
  return found;
};

const groupsAt = async (name: keyof typeof crns) => {
  const { url } = sideAt(name);
  const headers = { authorization: `Bearer ${await exchangeToken(url, keys[name])}` };
  const answer = await fetch(`${url}/api/v2/secret_groups`, { headers });
  return ((await answer.json()) as { secret_groups: { name: string }[] }).secret_groups.map((group) => group.name);
};

test('from an event to a copy: created, rotated, deleted', async () => {
  const primary = storeOf(sideAt('frankfurt'), { group: 'web', makeGroup: true });
  const metadata = { name: 'my shop', description: 'the shop', tags: ['production'] };
  const first = parseContent(await testCertificate({ intermediates: 2 }));
  const { id } = await primary.import({ content: first, metadata });
  const { tell, sweep, reconcile, links, close, records } = await program();
  try {
    expect(await tell('secret_created', [id])).toBe(503);
    expect(asked).toEqual([]);
    await sweep();
    expect(asked.at(-1)).toContain('/destinations/webhook-1/public_key');
    const before = asked.length;
    // What is known to be absent is believed for a second.
    await expect.poll(() => tell('secret_created', [id])).toBe(202);
    const copies = () => fingerprints(storeAt('london'));
    await expect.poll(async () => [...(await copies()).values()]).toEqual([fingerprintOf(first)]);
    const [copy] = (await storeAt('london').list({})).certificates;
    expect(copy).toMatchObject({
      name: expect.stringMatching(/^my shop-[0-9a-f]{16}$/),
      description: 'the shop',
      tags: ['production'],
      mark: { store: secretsCrn('frankfurt'), certificate: id },
    });
    expect(await groupsAt('london')).toEqual(['default', 'web']);

    const renewed = parseContent(await testCertificate());
    await primary.reimport(id, renewed);
    const crn = `${secretsCrn('frankfurt').slice(0, -1)}secret:${id}`;
    expect(await tell('secret_rotated', [crn])).toBe(202);
    await expect.poll(async () => [...(await copies()).values()]).toEqual([fingerprintOf(renewed)]);
    expect((await storeAt('london').list({})).certificates.map((one) => one.id)).toEqual([copy?.id]);

    // A change of which no event tells is found by reconcile.
    await primary.updateMetadata(id, { ...metadata, description: 'the new shop' }, undefined);
    const [link] = links;
    if (link === undefined) throw new Error('no link');
    await reconcile(link);
    await expect
      .poll(async () => (await storeAt('london').list({})).certificates.map(({ description }) => description))
      .toEqual(['the new shop']);

    await primary.delete(id);
    expect(await tell('secret_deleted', [id])).toBe(202);
    await expect
      .poll(async () => {
        const found = [];
        for await (const record of records(link)) found.push(record.absentSince !== undefined);
        return found;
      })
      .toEqual([true]);
    // Copies stay: what a deletion means, the policy of the link says.
    expect((await copies()).size).toBe(1);
    expect(asked).toHaveLength(before);
  } finally {
    await close();
  }
});
