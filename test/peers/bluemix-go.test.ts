import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataOf } from '../instance/client.ts';
import { testCertificate } from '../support/certificates.ts';
import { startTestInstance, type TestInstance } from '../support/instance.ts';
import { requirePeer } from './peer.ts';

/** What the client answered: the names of its members are its own. */
interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: what the client makes of an answer is what is looked at
  readonly value?: any;
  readonly status?: number;
  readonly error?: string;
}

const source = fileURLToPath(new URL('bluemix-go', import.meta.url));
const go = requirePeer('Go', ['go', 'version'], 'apt-get install golang-go');
const folder = mkdtempSync(join(tmpdir(), 'certstandby-bluemix-go-'));
const program = join(folder, 'client');

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(go === undefined)("IBM's Go client (bluemix-go, certificatemanager)", () => {
  let instance: TestInstance;
  let client: ChildProcessByStdio<Writable, Readable, null>;
  let answers: AsyncIterator<string>;

  beforeAll(async () => {
    // The module proxy is that of the environment; go.sum says what may come from it.
    const built = spawnSync('go', ['build', '-mod=readonly', '-buildvcs=false', '-o', program, '.'], {
      cwd: source,
      encoding: 'utf8',
    });
    if (built.status !== 0) throw new Error(`the client could not be built: ${built.stderr}`);
    instance = await startTestInstance();
    client = spawn(program, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH, INSTANCE_URL: instance.url, INSTANCE_API_KEY: instance.apiKey },
    });
    answers = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
  }, 400_000);

  afterAll(async () => {
    if (client !== undefined && client.exitCode === null) {
      const ended = once(client, 'exit');
      client.stdin.end();
      await ended;
    }
    await instance?.close();
  });

  /** One call, and what the client made of the answer. */
  async function call(operation: string, request: object = {}): Promise<Answer> {
    client.stdin.write(`${JSON.stringify({ Operation: operation, ...request })}\n`);
    return JSON.parse((await answers.next()).value ?? '{"error":"the client ended"}');
  }

  it('imports, reads, downloads, updates, reimports and deletes', async () => {
    const request = { domains: ['shop.example.test', 'www.shop.example.test'], keyKind: 'rsa-2048' } as const;
    const first = await testCertificate({ ...request, serial: '0a01' });
    const imported = await call('import', {
      Crn: instance.crn,
      Import: { name: 'shop', description: '', data: dataOf(first) },
    });
    const crn = imported.value._id;
    expect(imported).toEqual({
      value: {
        _id: crn,
        name: 'shop',
        description: '',
        domains: ['shop.example.test', 'www.shop.example.test'],
        rotate_keys: false,
        status: 'valid',
        issuer: 'Test Intermediate 1',
        begins_on: 946_684_800_000,
        expires_on: 4_070_908_800_000,
        algorithm: 'ecdsa-with-SHA256',
        key_algorithm: 'rsaEncryption 2048 bit',
        imported: true,
        has_previous: false,
        issuance_info: null,
        serial_number: '0a01',
        order_policy: {},
      },
    });
    expect(await call('metadata', { Crn: crn })).toEqual(imported);
    expect((await call('download', { Crn: crn })).value.data).toEqual(dataOf(first));

    expect(await call('update', { Crn: crn, Update: { name: 'shop 2', description: 'ours' } })).toEqual({});
    const second = await testCertificate({ ...request, serial: '0a02' });
    const reimported = await call('reimport', { Crn: crn, Reimport: dataOf(second) });
    expect(reimported.value).toEqual({
      ...imported.value,
      name: 'shop 2',
      description: 'ours',
      serial_number: '0a02',
      has_previous: true,
    });
    expect((await call('download', { Crn: crn })).value.data).toEqual(dataOf(second));
    expect((await call('list', { Crn: instance.crn })).value).toEqual([reimported.value]);

    expect(await call('delete', { Crn: crn })).toEqual({});
    expect((await call('metadata', { Crn: crn })).status).toBe(404);
    expect((await call('list', { Crn: instance.crn })).value ?? []).toEqual([]);
  });

  it('lists 450 certificates over three pages, each once', async () => {
    const data = dataOf(await testCertificate());
    const made: string[] = [];
    for (let count = 0; count < 450; count++) {
      const { value } = await call('import', {
        Crn: instance.crn,
        Import: { name: `n${count}`, description: '', data },
      });
      made.push(value._id);
    }
    const listed: string[] = (await call('list', { Crn: instance.crn })).value.map(({ _id }: { _id: string }) => _id);
    expect(new Set(made).size).toBe(450);
    expect(listed.toSorted()).toEqual(made.toSorted());
  });

  it('orders, waits until it is valid, renews with a new key, and switches automatic renewal on and off', async () => {
    const order = {
      name: 'ordered',
      domains: ['shop.example.test'],
      domain_validation_method: 'dns-01',
      algorithm: 'sha256WithRSAEncryption',
      issuer: "Let's Encrypt",
    };
    const { value: ordered } = await call('order', { Crn: instance.crn, Order: order });
    expect(ordered).toMatchObject({ status: 'pending', imported: false, issuance_info: { status: 'pending' } });
    const Crn: string = ordered._id;
    const standing = async () => (await call('metadata', { Crn })).value;
    await expect.poll(async () => (await standing()).status).toBe('valid');
    const first = (await call('download', { Crn })).value;
    expect(first.data.priv_key).toContain('PRIVATE KEY');
    expect((await call('renew', { Crn, Renew: { rotate_keys: true } })).value.rotate_keys).toBe(true);
    await expect.poll(async () => (await standing()).has_previous).toBe(true);
    expect((await call('download', { Crn })).value.data.priv_key).not.toBe(first.data.priv_key);
    const policy = async (on: boolean) => (await call('policy', { Crn, Policy: { auto_renew_enabled: on } })).value;
    expect(await policy(true)).toEqual({ auto_renew_enabled: true });
    expect((await standing()).order_policy).toEqual({ auto_renew_enabled: true });
    // The client leaves false out of what it sends, and of what it says.
    expect(await policy(false)).toEqual({});
    expect((await standing()).order_policy).toEqual({});
    await call('delete', { Crn });
  });

  it('is told what is wrong with a request', async () => {
    const [one, other] = [dataOf(await testCertificate()), dataOf(await testCertificate())];
    const mismatch = { ...one, priv_key: other.priv_key };
    const refused = await call('import', { Crn: instance.crn, Import: { name: 'x', description: '', data: mismatch } });
    expect(refused.status).toBe(400);
    expect(refused.error).toContain('certificate_key_mismatch');
    expect(refused.error).toContain('Import the private key that belongs to this certificate.');
    const order = { name: 'x', domains: ['shop.example.test'], domain_validation_method: 'http-01' };
    expect((await call('order', { Crn: instance.crn, Order: order })).status).toBe(400);
    // A role is missing: the client fetches a new token, tries once more, and gives up.
    const foreign = instance.crn.replace('11111111', '00000000');
    expect((await call('list', { Crn: foreign })).error).toContain('instance_forbidden');
  });
});
