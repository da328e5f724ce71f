import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CreateKeyCommand, DecryptCommand, KMSClient } from '@aws-sdk/client-kms';
import { compactDecrypt } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { awsKmsRootKey } from '../../src/keys/aws-kms.ts';
import { type KeyringOptions, keyring } from '../../src/keys/keyring.ts';
import type { RootKey } from '../../src/keys/root-key.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { rootKeyContract } from '../keys/contract.ts';
import { runCommand } from '../support/command.ts';
import { requireLibrary } from './pypi.ts';

/** AWS played by moto, from PyPI. */
const withMoto = requireLibrary('moto', '5.2.1', { extra: '[server]' });

describe.skipIf(withMoto === undefined)('AWS KMS, played by moto', () => {
  /** Each region is a server of its own, so that one can lose everything. */
  const servers = new Map<string, { readonly process: ChildProcess; readonly url: string }>();
  const secretAccessKey = 'testing';
  const place = { certificate: 'c1', field: 'private-key', version: '1' };
  const content = Buffer.from('what must not be seen');
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

  beforeAll(async () => {
    const [program = '', ...args] = withMoto?.('python3', '-m', 'moto.server', '-H', '127.0.0.1', '-p', '0') ?? [];
    const start = async (region: string) => {
      const process = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      servers.set(region, { process, url: await listening(process) });
    };
    await Promise.all([start('eu-central-1'), start('eu-west-1')]);
  });
  afterAll(async () => {
    for (const { process } of servers.values()) {
      const end = once(process, 'exit');
      process.kill('SIGKILL');
      await end;
    }
  });

  const endpointOf = (region: string) => servers.get(region)?.url ?? '';
  const regionOf = (arn: string) => arn.split(':')[3] ?? '';
  const client = (region: string) =>
    new KMSClient({ region, endpoint: endpointOf(region), credentials: { accessKeyId: 'testing', secretAccessKey } });

  async function newKey(region: string): Promise<string> {
    const kms = client(region);
    const { KeyMetadata } = await kms.send(new CreateKeyCommand({}));
    kms.destroy();
    if (KeyMetadata?.Arn === undefined) throw new Error('no key was made');
    return KeyMetadata.Arn;
  }

  /**
   * Deletes all keys of a region: moto lets disabled and dying keys work, and forgets none by
   * itself.
   */
  async function forget(region: string): Promise<void> {
    const { ok } = await fetch(`${endpointOf(region)}/moto-api/reset`, { method: 'POST' });
    expect(ok).toBe(true);
  }

  const rootKeyOf = (keyArn: string, where = endpointOf(regionOf(keyArn))): RootKey =>
    awsKmsRootKey({
      keyArn,
      endpoint: where,
      credentials: { accessKeyId: 'testing', secretAccessKey: new Secret(secretAccessKey) },
    });

  rootKeyContract(
    'aws-kms',
    async () => {
      const [one, two] = [await newKey('eu-central-1'), await newKey('eu-central-1')];
      return { rootKey: rootKeyOf(one), other: rootKeyOf(two), refuse: () => forget('eu-central-1') };
    },
    { runs: 20, damageIsRefused: 'moto looks for the key that the ciphertext names, before anything else' },
  );

  function ring(rootKeys: readonly RootKey[], options: Partial<KeyringOptions> = {}) {
    const table = options.table ?? memoryTable();
    const open = (given: readonly RootKey[] = rootKeys) =>
      keyring({ table, tenant: 'crn:v1:one', runtime: systemRuntime, log: silentLog, ...options, rootKeys: given });
    return { table, open };
  }

  it('a wrong encryption context is refused by the service itself', async () => {
    const arn = await newKey('eu-central-1');
    const wrapped = await rootKeyOf(arn).wrap(Buffer.alloc(32, 1), { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' });
    const kms = client('eu-central-1');
    const asking = (EncryptionContext: Record<string, string>) =>
      kms.send(new DecryptCommand({ KeyId: arn, CiphertextBlob: Buffer.from(wrapped, 'base64'), EncryptionContext }));
    const { Plaintext } = await asking({ tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' });
    expect(Plaintext).toEqual(new Uint8Array(32).fill(1));
    for (const context of [
      {},
      { tenant: 'crn:v1:two', dataKey: '1-9f3c02ab' },
      { tenant: 'crn:v1:one', dataKey: '2-9f3c02ab' },
    ])
      await expect(asking(context as Record<string, string>)).rejects.toMatchObject({
        name: 'InvalidCiphertextException',
      });
    kms.destroy();
  });

  it('the command line makes an instance under it, checks it, and leaves it for a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certstandby-cli-kms-'));
    const instances = join(folder, 'instances');
    const run = (...args: string[]) => runCommand(['instance', ...args, '--folder', instances]);
    const environment = {
      AWS_ENDPOINT_URL_KMS: endpointOf('eu-west-1'),
      AWS_ACCESS_KEY_ID: 'testing',
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
    };
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    try {
      const arn = await newKey('eu-west-1');
      const created = await run('create', '--root-key', `aws-kms:${arn}`);
      expect(created).toMatchObject({ code: 0, errors: '' });
      expect(created.output).not.toContain('CS1-');
      expect((await run('check')).output).toMatch(/data key \S+, current: opens/);
      expect((await runCommand(['doctor', '--instances', instances])).output).toContain('All is well.');
      expect(await run('rewrap', '--root-key', 'file:../root.key')).toMatchObject({ code: 0, errors: '' });
      await forget('eu-west-1');
      expect((await run('check')).output).toMatch(/data key \S+, current: opens/);
    } finally {
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('a data key moved to another tenant does not open, and what it sealed neither', async () => {
    const { table, open } = ring([rootKeyOf(await newKey('eu-central-1'))]);
    const first = open();
    const sealed = await first.seal(place, content);
    const [row] = (await table.query({ partition: 'keys.1/crn:v1:one', limit: 1 })).rows;
    const { partition: _, sort = '', ...fields } = row ?? { partition: '' };
    await table.putIfAbsent({ partition: 'keys.1/crn:v1:two', sort: `${sort}` }, fields);
    const stranger = keyring({
      table,
      tenant: 'crn:v1:two',
      rootKeys: [
        rootKeyOf(
          String(
            Object.keys(fields)
              .find((name) => name.startsWith('wrap/'))
              ?.slice('wrap/aws-kms:'.length),
          ),
        ),
      ],
      runtime: systemRuntime,
      log: silentLog,
    });
    await expect(stranger.open(place, sealed)).rejects.toMatchObject({ code: 'keys_unreadable' });
    for (const each of [first, stranger]) await each.close();
  });

  it.each(['unreachable', 'deleted'] as const)(
    'with root keys in two regions everything opens after the first one is %s, and can be rewrapped without it',
    async (how) => {
      const [first, second] = [await newKey('eu-central-1'), await newKey('eu-west-1')];
      const { open } = ring([rootKeyOf(first), rootKeyOf(second)]);
      const before = open();
      const sealed = await before.seal(place, content);
      await before.close();
      if (how === 'deleted') await forget('eu-central-1');
      const gone = how === 'deleted' ? rootKeyOf(first) : rootKeyOf(first, 'http://127.0.0.1:1');

      const after = open([gone, rootKeyOf(second)]);
      expect(text(await after.open(place, sealed))).toBe(text(content));
      expect(text(await after.open(place, await after.seal(place, content)))).toBe(text(content));
      expect(after.status()).toMatchObject({
        state: 'degraded',
        rootKeys: [{ state: how === 'unreachable' ? 'unavailable' : 'refused' }, { state: 'opens' }],
      });
      await after.close();

      const third = rootKeyOf(await newKey('eu-west-1'));
      const moved = open([rootKeyOf(second), third]);
      expect(await moved.rewrap()).toMatchObject({ complete: true, dataKeys: [{ dropped: [`aws-kms:${first}`] }] });
      await moved.close();
      const alone = open([third]);
      expect(text(await alone.open(place, sealed))).toBe(text(content));
      await alone.close();
    },
  );

  it('a sealed value is opened by jose with what KMS decrypts, and nothing of this program', async () => {
    const arn = await newKey('eu-central-1');
    const { table, open } = ring([rootKeyOf(arn)]);
    const keys = open();
    const sealed = await keys.seal(place, content);
    await keys.close();
    const [row] = (await table.query({ partition: 'keys.1/crn:v1:one', limit: 1 })).rows;
    const kms = client('eu-central-1');
    const { Plaintext } = await kms.send(
      new DecryptCommand({
        CiphertextBlob: Buffer.from(String(row?.[`wrap/aws-kms:${arn}`]), 'base64'),
        EncryptionContext: { tenant: 'crn:v1:one', dataKey: String(row?.id) },
      }),
    );
    kms.destroy();
    const { plaintext } = await compactDecrypt(sealed, Plaintext ?? new Uint8Array());
    expect(text(plaintext)).toBe(text(content));
  });
});

/** The address that it says it runs on. */
async function listening(server: ChildProcess): Promise<string> {
  if (!server.stderr) throw new Error('moto did not start');
  const lines = createInterface({ input: server.stderr });
  for await (const line of lines) {
    const [, url] = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line) ?? [];
    if (url === undefined) continue;
    // It goes on to write a line for each request.
    server.stderr.resume();
    return url;
  }
  throw new Error('moto ended before it could be asked');
}
