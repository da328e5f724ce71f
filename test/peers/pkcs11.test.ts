import { spawnSync } from 'node:child_process';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { keyring } from '../../src/keys/keyring.ts';
import { pkcs11RootKey } from '../../src/keys/pkcs11.ts';
import type { RootKey } from '../../src/keys/root-key.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { rootKeyContract } from '../keys/contract.ts';
import { runCommand, testHost } from '../support/command.ts';
import { root } from '../support/root.ts';
import { hasSoftHsm, softHsm } from './softhsm.ts';

describe.skipIf(!hasSoftHsm)('a root key in a token of SoftHSM2', () => {
  let hsm: ReturnType<typeof softHsm>;
  let serial: string;
  const opened: RootKey[] = [];
  beforeAll(() => {
    hsm = softHsm();
    ({ serial } = hsm.newToken('one'));
    hsm.newToken('two');
    hsm.newKey('one', 'root', '01');
    hsm.newKey('two', 'root', '02');
  });
  afterAll(async () => {
    for (const rootKey of opened) await rootKey.close();
    hsm.dispose();
  });

  const context = { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' };
  function rootKeyOf(path: string, more: { readonly pinSource?: string; readonly pin?: string } = {}) {
    const { pinSource, pin = hsm.pin } = more;
    const env = { ...hsm.env, HSM_PIN: pin };
    const rootKey = pkcs11RootKey({ uri: hsm.uriOf(path, pinSource), folder: hsm.folder, env });
    opened.push(rootKey);
    return rootKey;
  }
  const failureOf = (work: Promise<unknown>) => work.then(() => 'opened', asCodedError);
  const opens = async (rootKey: RootKey, wrapped: string) =>
    Buffer.from((await rootKey.unwrap(wrapped, context)).dataKey).toString('hex');

  rootKeyContract(
    'pkcs11',
    async () => {
      hsm.newKey('one', 'contract', '0a');
      hsm.newKey('one', 'contract-other', '0b');
      return {
        rootKey: rootKeyOf('token=one;object=contract'),
        other: rootKeyOf('token=one;object=contract-other'),
        refuse: async () => void hsm.deleteKey('one', 'contract'),
      };
    },
    { runs: 20 },
  );

  it('is found by the label or the serial number of its token, and by its own label or id', async () => {
    const dataKey = randomBytes(32);
    const wrapped = await rootKeyOf('token=one;object=root').wrap(dataKey, context);
    for (const path of [`serial=${serial};id=%01`, `serial=${serial};token=one;object=root;id=%01;type=secret-key`])
      expect(await opens(rootKeyOf(path), wrapped), path).toBe(dataKey.toString('hex'));
  });

  it('wraps by AES-GCM as everybody does: what knows the key opens it', async () => {
    const key = randomBytes(32);
    hsm.importKey('two', 'known', 'aa', key);
    const dataKey = randomBytes(32);
    const wrapped = await rootKeyOf('token=two;object=known').wrap(dataKey, context);
    const bytes = Buffer.from(wrapped.slice(2), 'base64url');
    const opening = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16));
    opening.setAAD(Buffer.from('["certstandby-wrapped-key.1",["dataKey","1-9f3c02ab"],["tenant","crn:v1:one"]]'));
    expect(Buffer.concat([opening.update(bytes.subarray(12, -16)), opening.final()]).equals(dataKey)).toBe(true);
  });

  it('is away with its token, and opens again when that is back', async () => {
    const token = hsm.newToken('leaving');
    hsm.newKey('leaving', 'root', '03');
    const rootKey = rootKeyOf('token=leaving;object=root');
    const dataKey = randomBytes(32);
    const wrapped = await rootKey.wrap(dataKey, context);
    token.pull();
    const other = rootKeyOf('token=leaving;object=root');
    expect(await failureOf(other.unwrap(wrapped, context))).toMatchObject({
      code: 'keys_unavailable',
      message: expect.stringContaining('no token of that name is there'),
    });
    // A library that cannot even begin.
    renameSync(hsm.tokens, `${hsm.tokens}-away`);
    expect(await failureOf(other.unwrap(wrapped, context))).toMatchObject({
      code: 'keys_unavailable',
      remedy: expect.stringContaining('See to the token'),
    });
    renameSync(`${hsm.tokens}-away`, hsm.tokens);
    token.plug();
    expect(await opens(other, wrapped)).toBe(dataKey.toString('hex'));
    expect(await opens(rootKey, wrapped)).toBe(dataKey.toString('hex'));
  });

  it('that is pulled out in the middle of a call, or hangs, fails that call alone', async () => {
    const rootKey = rootKeyOf('token=one;object=root');
    const dataKey = randomBytes(32);
    const wrapped = await rootKey.wrap(dataKey, context);
    // The process of the library dies between two calls, with login and session.
    process.kill(await childOf(), 'SIGKILL');
    expect(await opens(rootKey, wrapped)).toBe(dataKey.toString('hex'));
    // In the middle of one.
    const child = await childOf();
    process.kill(child, 'SIGSTOP');
    const during = rootKey.unwrap(wrapped, context);
    process.kill(child, 'SIGKILL');
    expect(Buffer.from((await during).dataKey).equals(dataKey)).toBe(true);
    // It hangs, and does not end: the call takes as long as it may.
    process.kill(await childOf(), 'SIGSTOP');
    expect(await failureOf(rootKey.wrap(dataKey, context))).toMatchObject({
      code: 'keys_unavailable',
      fields: { reason: 'timeout' },
      remedy: expect.stringContaining('See to the token'),
    });
    expect(await opens(rootKey, wrapped)).toBe(dataKey.toString('hex'));
  });

  it('a wrong PIN is tried once, and not again until another one stands there', async () => {
    const file = join(hsm.folder, 'hsm.pin');
    writeFileSync(file, 'wrong-pin\n', { mode: 0o600 });
    const rootKey = rootKeyOf('token=one;object=root', { pinSource: 'file:hsm.pin' });
    const wrap = () => failureOf(rootKey.wrap(randomBytes(32), context));
    const first = await wrap();
    expect(first).toMatchObject({ code: 'keys_refused', fields: { reason: 'CKR_PIN_INCORRECT' } });
    expect(await wrap()).toMatchObject({ code: 'keys_refused', fields: { reason: 'pin_refused_before' } });
    expect(JSON.stringify(first) + String((first as Error).stack)).not.toContain('wrong-pin');
    writeFileSync(file, `${hsm.pin}\n`);
    expect(await wrap()).toBe('opened');
    writeFileSync(file, `${hsm.pin}\n`, { mode: 0o600 });
  });

  it.each([
    ['token=none;object=root', 'keys_unavailable', 'token_absent'],
    ['token=one;object=none', 'keys_refused', 'key_missing'],
    ['token=one;object=twice', 'keys_refused', 'key_ambiguous'],
    ['token=one;object=leaving', 'keys_refused', 'key_may_leave'],
  ])('of %s it is said what is wrong: %s, %s', async (path, code, reason) => {
    if (reason === 'key_ambiguous') for (const id of ['21', '22']) hsm.newKey('one', 'twice', id);
    if (reason === 'key_may_leave') hsm.newKey('one', 'leaving', '23', '--extractable');
    const found = await failureOf(rootKeyOf(path).wrap(randomBytes(32), context));
    expect(found).toMatchObject({ code, fields: { reason }, remedy: expect.stringMatching(/^[A-Z]/) });
  });

  it('of two tokens either opens', async () => {
    const [one, two] = [rootKeyOf('token=one;object=root'), rootKeyOf('token=two;object=root')];
    const table = memoryTable();
    const open = (rootKeys: readonly RootKey[]) =>
      keyring({ table, tenant: 'crn:v1:one', runtime: systemRuntime, log: silentLog, rootKeys });
    const place = { certificate: 'c1', field: 'private-key', version: '1' };
    const sealed = await open([one, two]).seal(place, Buffer.from('what must not be seen'));
    for (const alone of [one, two])
      expect(Buffer.from(await open([alone]).open(place, sealed)).toString()).toBe('what must not be seen');
  });

  it('keeps an instance, whose check says so when the token is gone; and a file takes its place', async () => {
    const token = hsm.newToken('instance');
    hsm.newKey('instance', 'root', '07');
    const instances = join(hsm.folder, 'instances');
    const run = (...args: readonly string[]) =>
      runCommand(
        ['instance', ...args, '--folder', instances],
        testHost({ env: { ...hsm.env, HSM_PIN: hsm.pin } as never }),
      );
    const uri = hsm.uriOf('token=instance;object=root');
    const created = await run('create', '--root-key', uri);
    expect(created).toMatchObject({ code: 0, errors: '' });
    expect(readFileSync(join(instances, 'instances.json'), 'utf8')).not.toContain(hsm.pin);
    expect((await run('check')).output).toMatch(/data key \S+, current: opens/);

    // In a process of its own, which waits for the token, and ends when it has answered.
    const hook = new URL('../support/typescript-in-threads.mjs', import.meta.url).href;
    const main = join(root, 'src/cli/main.ts');
    const typed = spawnSync(process.execPath, ['--import', hook, main, 'instance', 'check', '--folder', instances], {
      env: { ...hsm.env, HSM_PIN: hsm.pin },
      encoding: 'utf8',
    });
    expect(typed).toMatchObject({ status: 0, stdout: expect.stringMatching(/data key \S+, current: opens/) });

    token.pull();
    const gone = await run('check');
    expect(gone.code).toBe(6);
    expect(gone.output).toMatch(
      /data key \S+ under pkcs11:object=root;token=instance: unavailable\n {2}asking the token .*: no token of that name is there\n {2}No token of that name is there. See to the token/,
    );
    const env = { ...hsm.env, HSM_PIN: hsm.pin } as never;
    const looked = await runCommand(['doctor', '--instances', instances], testHost({ env }));
    expect(looked).toMatchObject({
      code: 4,
      output: expect.stringMatching(
        /does not open under pkcs11:.*: unavailable \(.*\n +No token of that name is there. See/,
      ),
    });
    token.plug();

    expect(await run('rewrap', '--root-key', 'file:../root.key')).toMatchObject({ code: 0, errors: '' });
    expect((await run('check')).output).toMatch(/data key \S+, current: opens/);
  });
});

/** The process of the library that was started last. */
async function childOf(): Promise<number> {
  const ids = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
  const ours = ids.filter((id) => readFileSync(`/proc/${id}/cmdline`, 'utf8').includes('certstandby-pkcs11'));
  return Number(ours.at(-1));
}
