import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { asCodedError } from '../../src/errors.ts';
import { Secret } from '../../src/secret.ts';
import { markDigest } from '../../src/store/mark.ts';
import { storeOf } from '../services/secrets-manager/instance.ts';
import { startScriptedServer } from '../store/scripted-server.ts';
import { testCertificate } from '../support/certificates.ts';
import { startTestInstance, type TestInstance } from '../support/instance.ts';
import { requireLibrary } from './pypi.ts';

const withClient = requireLibrary('ibm-secrets-manager-sdk', '2.1.19', { module: 'ibm_secrets_manager_sdk' });

describe.skipIf(withClient === undefined)("IBM's own client of Secrets Manager, for Python", () => {
  let instance: TestInstance;
  beforeAll(async () => {
    instance = await startTestInstance();
  });
  afterAll(() => instance.close());

  const given = async () => {
    const { certificate, intermediate, privateKey } = await testCertificate({ intermediates: 1 });
    return { certificate, intermediate, private_key: privateKey.reveal() };
  };

  /** What the client saw at this service URL. */
  async function seen(serviceUrl: string): Promise<Record<string, unknown>> {
    const script = fileURLToPath(new URL('./secrets-manager-client.py', import.meta.url));
    const certificates = [await given(), await given()];
    return (await python(script, [serviceUrl, instance.url, instance.apiKey], certificates)) as Record<string, unknown>;
  }

  it('imports, rotates, lists over pages, describes, locks, groups and deletes at an instance of our own', async () => {
    const guid = instance.crn.split(':')[7];
    for (const serviceUrl of [instance.url, `${instance.url}/instances/${guid}`]) {
      expect(await seen(serviceUrl)).toMatchObject({
        groups: ['default', 'standby'],
        group: true,
        made: {
          name: 'my.shop',
          state: 1,
          custom_metadata: { certstandby: { mark: 'm' }, other: 1 },
          labels: ['one label', 'certstandby-abc'],
        },
        duplicate: { status: 409, message: expect.stringContaining('already exists: my.shop') },
        badName: { status: 400 },
        paged: expect.arrayContaining(['my.shop', 'page-0', 'page-1', 'page-2', 'page-3']),
        filtered: [true],
        same: true,
        byName: true,
        versions: ['current', 'previous'],
        previous: true,
        current: [true, true],
        patched: { other: 1 },
        metadata: 'my.other.shop',
        locks: ['in-use'],
        lockedDelete: { status: 412, message: expect.stringContaining('is locked') },
        movedLock: ['previous'],
        lockedRotation: { status: 412 },
        allLocks: 1,
        left: ['current'],
        fullGroup: 400,
        gone: { status: 404 },
        deletedAgain: 404,
      });
      // The second time beside what the first one left: its names are free again.
      await forget();
    }
  }, 180_000);

  it('makes what our store takes into the group of that name, and locks what our store then leaves as it is', async () => {
    const backup = await startTestInstance();
    try {
      const secret_prototype = {
        secret_type: 'imported_cert',
        name: 'my.shop',
        labels: ['one label'],
        ...(await given()),
      };
      const [group] = await calls(instance, [['create_secret_group', { name: 'web', description: 'shops' }]]);
      const [made] = await calls(instance, [
        ['create_secret', { secret_prototype: { ...secret_prototype, secret_group_id: group?.id } }],
      ]);
      const read = await storeOf(instance, { carryGroups: true }).read(String(made?.id));
      if (read.state !== 'present') throw read.state === 'unreadable' ? read.error : new Error(read.state);
      expect(read.value.metadata).toMatchObject({ name: 'my.shop', tags: ['one label', 'secret-group:web'] });

      const standby = storeOf(backup, { carryGroups: true, makeGroup: true });
      const mark = { store: 'a-primary', certificate: read.value.metadata.id };
      const { id } = await standby.import({ ...read.value, mark });
      const label = `certstandby-${markDigest(mark)}`;
      const [groups, named, labelled] = await calls(backup, [
        ['list_secret_groups', {}],
        ['get_secret_by_name_type', { secret_type: 'imported_cert', name: 'my.shop', secret_group_name: 'web' }],
        ['list_secrets', { match_all_labels: [label] }],
      ]);
      expect(groups).toMatchObject({ secret_groups: [{ name: 'default' }, { name: 'web' }] });
      expect(named).toMatchObject({
        id,
        labels: ['one label', label],
        custom_metadata: { certstandby: { group: 'web' } },
      });
      expect(labelled).toMatchObject({ secrets: [{ id }] });

      // Locked, the version in force and the one before.
      const locks = [{ name: 'ingress', description: 'by the ingress' }];
      await calls(backup, [['create_secret_locks_bulk', { id, locks }]]);
      await standby.reimport(id, parseContent(await testCertificate()));
      await calls(backup, [['create_secret_locks_bulk', { id, locks }]]);
      const refusal = await standby.reimport(id, parseContent(await testCertificate())).catch(asCodedError);
      expect(refusal).toMatchObject({ code: 'store_held', remedy: expect.stringContaining('locks are never broken') });
      expect(await standby.delete(id).catch(asCodedError)).toMatchObject({ code: 'store_held' });
      const [left] = await calls(backup, [['list_secret_locks', { id }]]);
      expect(left).toMatchObject({ locks: [{ name: 'ingress' }, { name: 'ingress' }] });
    } finally {
      await backup.close();
      await forget();
    }
  }, 180_000);

  it('has models of each kind of certificate by which our store reads all of it', async () => {
    const { certificate, intermediate = '', private_key } = await given();
    const common = {
      ...{
        id: 'aaaaaaaa-0000-4000-8000-000000000001',
        secret_group_id: 'default',
        name: 'shop',
        description: 'the shop',
      },
      ...{ crn: 'crn', created_by: 'me', created_at: '2026-11-01T10:00:00Z', updated_at: '2026-11-02T10:00:00Z' },
      ...{ labels: ['a label'], custom_metadata: {}, state: 1, state_description: 'active', versions_total: 1 },
      ...{ common_name: 'shop.example.test', alt_names: ['www.shop.example.test'], issuer: 'CN=R3' },
      ...{ serial_number: '0a:0b', key_algorithm: 'RSA2048', signing_algorithm: 'SHA256-RSA', certificate },
      validity: { not_before: '2026-11-01T00:00:00Z', not_after: '2027-01-30T00:00:00Z' },
      expiration_date: '2027-01-30T00:00:00Z',
    };
    const request = {
      ...Object.fromEntries(['ou', 'organization', 'country', 'locality', 'province'].map((name) => [name, []])),
      ...{ street_address: [], postal_code: [], require_cn: false, exclude_cn_from_sans: false, server_flag: true },
      ...{ client_flag: false, code_signing_flag: false, email_protection_flag: false, key_type: 'rsa' },
      ...{ key_bits: 2048, csr: '-----BEGIN CERTIFICATE REQUEST-----', private_key },
    };
    const secrets = [
      ['ImportedCertificate', { secret_type: 'imported_cert', intermediate, private_key }],
      ['ImportedCertificate', { secret_type: 'imported_cert', intermediate, managed_csr: request }],
      [
        'PublicCertificate',
        { secret_type: 'public_cert', intermediate, private_key, rotation: { auto_rotate: true, rotate_keys: false } },
      ],
      [
        'PrivateCertificate',
        {
          secret_type: 'private_cert',
          certificate_template: 't',
          issuing_ca: intermediate,
          ca_chain: [intermediate],
          private_key,
        },
      ],
    ] as const;
    const wanted = fingerprintOf(parseContent({ certificate, intermediate, privateKey: new Secret(private_key) }));
    const server = await startScriptedServer();
    try {
      const script = fileURLToPath(new URL('./secrets-manager-models.py', import.meta.url));
      const said = (await python(
        script,
        [],
        secrets.map(([model, more]) => [model, { ...common, ...more }]),
      )) as object[];
      expect(said).toHaveLength(secrets.length);
      for (const body of said) {
        server.answers({ body });
        const store = storeOf({ url: server.url, crn: instance.crn, apiKey: 'key' });
        const read = await store.read(common.id);
        if (read.state !== 'present') throw read.state === 'unreadable' ? read.error : new Error(read.state);
        expect(fingerprintOf(read.value.content)).toBe(wanted);
        expect(read.value.metadata).toMatchObject({
          ...{
            name: 'shop',
            description: 'the shop',
            tags: ['a label'],
            serial: '0a0b',
            status: 'active',
            issuer: 'CN=R3',
          },
          domains: ['shop.example.test', 'www.shop.example.test'],
          notAfter: Date.UTC(2027, 0, 30),
        });
      }
    } finally {
      await server.close();
    }
  }, 180_000);

  /** What a script prints, given this. */
  async function python(script: string, args: readonly string[], given: unknown): Promise<unknown> {
    const [program = '', ...all] = withClient?.('python3', script, ...args) ?? [];
    const child = spawn(program, all, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(JSON.stringify(given));
    const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    return JSON.parse(output);
  }

  /** The answers of IBM's client to these calls, by its own names for them. */
  async function calls(at: TestInstance, asked: readonly (readonly [string, object])[]) {
    const script = fileURLToPath(new URL('./secrets-manager-calls.py', import.meta.url));
    return (await python(script, [at.url, at.apiKey], asked)) as readonly Record<string, unknown>[];
  }

  /** Deletes what the client has left. */
  async function forget(): Promise<void> {
    const headers = { authorization: `Bearer ${await instance.token()}` };
    const listed = await fetch(`${instance.url}/api/v2/secrets`, { headers });
    const { secrets } = (await listed.json()) as { readonly secrets: readonly { readonly id: string }[] };
    for (const { id } of secrets) {
      expect((await fetch(`${instance.url}/api/v2/secrets/${id}`, { method: 'DELETE', headers })).status).toBe(204);
    }
  }
});
