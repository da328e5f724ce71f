import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { pkcs11RootKey } from '../../src/keys/pkcs11.ts';
import { parsePkcs11Uri } from '../../src/keys/pkcs11-uri.ts';

// What a token does is tested with a real one, in test/peers/pkcs11.test.ts.
const query = '?module-path=/usr/lib/hsm.so&pin-source=env:HSM_PIN';

describe('a PKCS #11 URI', () => {
  it('names token and key one way, in whatever order and however escaped it is written', () => {
    const uris = [
      'token=hsm one;object=root%3bkey;id=%0A%ff',
      'id=%0a%FF;object=root%3Bkey;token=hsm%20one;type=secret-key',
    ];
    for (const uri of uris)
      expect(parsePkcs11Uri(`pkcs11:${uri}${query}`)).toEqual({
        name: 'id=%0a%ff;object=root%3Bkey;token=hsm%20one',
        token: 'hsm one',
        object: 'root;key',
        keyId: '0aff',
        modulePath: '/usr/lib/hsm.so',
        pinSource: 'env:HSM_PIN',
      });
    expect(pkcs11RootKey({ uri: `pkcs11:serial=7;id=%01${query}`, folder: '/', env: {} }).id).toBe(
      'pkcs11:id=%01;serial=7',
    );
  });

  it.each([
    ['object=root', query, 'it names no token'],
    ['token=one', query, 'it names no key'],
    ['token=one;object=', query, 'it names no key'],
    ['token=one;object=root;type=private', query, 'type can only be secret-key'],
    ['token=one;object=root;slot-id=1', query, 'there can be token, serial, object, id, type'],
    ['token=one;token=two;object=root', query, 'token stands there twice'],
    ['token=one;object=root%4', query, 'object has a % without'],
    ['token=one;object=%ff', query, 'no UTF-8'],
    ['token=one;object=root', '?pin-source=env:HSM_PIN', 'it needs module-path'],
    ['token=one;object=root', '?module-path=hsm.so&pin-source=env:HSM_PIN', 'it needs module-path'],
    ['token=one;object=root', '?module-path=/usr/lib/hsm.so', 'it needs pin-source'],
    ['token=one;object=root', '?module-path=/usr/lib/hsm.so&pin-source=|sh', 'it needs pin-source'],
    ['token=one;object=root', `${query}&pin-value=secret-pin`, 'a PIN does not stand here'],
  ])('that cannot be used says what it lacks: %s%s', (path, more, what) => {
    const open = () => pkcs11RootKey({ uri: `pkcs11:${path}${more}`, folder: '/', env: {} });
    expect(open).toThrow(what);
    expect(open).not.toThrow('secret-pin');
  });
});

describe('a root key in a token', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-pkcs11-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const failureOf = async (pinSource: string, env: Record<string, string> = {}) => {
    const module = join(folder, 'none.so');
    const uri = `pkcs11:token=one;object=root?module-path=${module}&pin-source=${pinSource}`;
    const rootKey = pkcs11RootKey({ uri, folder, env });
    try {
      return await rootKey.wrap(Buffer.alloc(32, 1), {}).then(() => 'opened', asCodedError);
    } finally {
      await rootKey.close();
    }
  };

  it('says of a PIN what keeps it from being used, before anything is loaded', async () => {
    writeFileSync(join(folder, 'open.pin'), '1234', { mode: 0o644 });
    writeFileSync(join(folder, 'empty.pin'), '', { mode: 0o600 });
    expect(await failureOf('env:HSM_PIN')).toMatchObject({
      code: 'keys_refused',
      message: expect.stringContaining('there is no PIN: the environment variable HSM_PIN is not set'),
      remedy: 'Put the PIN where pin-source of the root key leads.',
    });
    expect(await failureOf('file:empty.pin')).toMatchObject({ message: expect.stringContaining('empty.pin is empty') });
    expect(await failureOf('file:none.pin')).toMatchObject({ fields: { reason: 'pin_missing' } });
    if (process.platform !== 'win32')
      expect(await failureOf('file:open.pin')).toMatchObject({ fields: { reason: 'pin_exposed' } });
  });

  it('says what is missing where there is no library, and goes on', async () => {
    expect(await failureOf('env:HSM_PIN', { HSM_PIN: '1234' })).toMatchObject({
      code: 'keys_refused',
      // Whether the package is compiled here or not.
      fields: { reason: expect.stringMatching(/^(library_missing|module_unusable)$/) },
      remedy: expect.stringMatching(/pkcs11js|module-path/),
    });
  });
});
