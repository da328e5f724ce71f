import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
    const [program = '', ...args] = withClient?.('python3', script, serviceUrl, instance.url, instance.apiKey) ?? [];
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(JSON.stringify([await given(), await given()]));
    const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    return JSON.parse(output);
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
  }, 60_000);

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
