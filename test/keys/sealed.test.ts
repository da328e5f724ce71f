import { createCipheriv, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { type Binding, dataKeyOf, openValue, sealValue } from '../../src/keys/sealed.ts';

const key = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
const binding: Binding = {
  dataKey: '1-9f3c02ab',
  tenant: 'crn:v1:test',
  place: { certificate: 'c1', field: 'private-key', version: '7' },
};
const header = {
  alg: 'dir',
  enc: 'A256GCM',
  typ: 'certstandby-sealed.1',
  kid: '1-9f3c02ab',
  place: { tenant: 'crn:v1:test', certificate: 'c1', field: 'private-key', version: '7' },
};
/** Sealed once, by another program: what is on a disk today must open tomorrow. */
const golden =
  'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwidHlwIjoiY2VydHN0YW5kYnktc2VhbGVkLjEiLCJraWQiOiIxLTlmM2MwMmFiIiwicGxhY2UiOnsidGVuYW50IjoiY3JuOnYxOnRlc3QiLCJjZXJ0aWZpY2F0ZSI6ImMxIiwiZmllbGQiOiJwcml2YXRlLWtleSIsInZlcnNpb24iOiI3In19..J95g6f84nEy8X7L_.Vbbstd_Wz-OzrsUQCFQu47nx5ieHivGhnzgDub7ECDa1Umpx.3iycJoBGbIGyjI52lYPwdQ';
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A JWE with whatever header, sound in itself. */
function jwe(protectedHeader: unknown, content = 'content', with_: Uint8Array = key): string {
  const head = typeof protectedHeader === 'string' ? protectedHeader : base64url(protectedHeader);
  const iv = Buffer.alloc(12, 5);
  const sealing = createCipheriv('aes-256-gcm', with_, iv);
  sealing.setAAD(Buffer.from(head));
  const ciphertext = Buffer.concat([sealing.update(content), sealing.final()]);
  const parts = [iv, ciphertext, sealing.getAuthTag()].map((part) => part.toString('base64url'));
  return `${head}..${parts.join('.')}`;
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    return asCodedError(thrown).code;
  }
  return 'opened';
}
const opening = (sealed: string, given: Binding = binding, with_: Uint8Array = key) =>
  codeOf(() => openValue(with_, given, sealed));

describe('a sealed value', () => {
  it('opens where it was sealed, whatever is in it', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5000 }),
        fc.string({ unit: 'binary' }),
        fc.string(),
        fc.string(),
        (content, certificate, field, version) => {
          const given = { ...binding, place: { certificate, field, version } };
          const sealed = sealValue(key, given, content);
          expect(sealed).toMatch(/^[\w-]+\.\.[\w-]{16}\.[\w-]*\.[\w-]{22}$/);
          expect(Buffer.from(openValue(key, given, sealed)).equals(content)).toBe(true);
          expect(dataKeyOf(sealed)).toBe('1-9f3c02ab');
        },
      ),
    );
  });

  it('is never the same twice, and says nothing of its content', () => {
    const [one, two] = [sealValue(key, binding, Buffer.from('secret')), sealValue(key, binding, Buffer.from('secret'))];
    expect(one.split('.')[2]).not.toBe(two.split('.')[2]);
    expect(one.split('.')[3]).not.toBe(two.split('.')[3]);
  });

  it('of this format opens for as long as there is this format', () => {
    expect(text(openValue(key, binding, golden))).toBe('the content of a golden sealed value');
  });

  it('is left alone by wiping: content given and content got are memory of their own', () => {
    const content = Buffer.from('content');
    const sealed = sealValue(key, binding, content);
    expect(content.toString()).toBe('content');
    const opened = openValue(key, binding, sealed);
    opened.fill(0);
    expect(text(openValue(key, binding, sealed))).toBe('content');
    expect(opened.buffer.byteLength).toBe(7);
  });
});

describe('jose, an independent implementation,', () => {
  it('opens what is sealed here', async () => {
    const sealed = sealValue(key, binding, Buffer.from('the content'));
    const { plaintext, protectedHeader } = await compactDecrypt(sealed, key);
    expect(text(plaintext)).toBe('the content');
    expect(protectedHeader).toEqual(header);
  });

  it('seals what opens here, if it writes our header', async () => {
    const sealed = await new CompactEncrypt(Buffer.from('the content')).setProtectedHeader(header).encrypt(key);
    expect(text(openValue(key, binding, sealed))).toBe('the content');
  });

  it('refuses what is changed, like us', async () => {
    const sealed = sealValue(key, binding, Buffer.from('the content'));
    const changed = `${sealed.slice(0, -10)}${sealed.at(-10) === 'A' ? 'B' : 'A'}${sealed.slice(-9)}`;
    await expect(compactDecrypt(changed, key)).rejects.toMatchObject({ code: 'ERR_JWE_DECRYPTION_FAILED' });
    expect(opening(changed)).toBe('sealed_unreadable');
  });
});

describe('a sealed value refuses to open', () => {
  const sealed = sealValue(key, binding, Buffer.from('the content'));

  it.each<readonly [string, Binding]>([
    ['tenant', { ...binding, tenant: 'crn:v1:other' }],
    ['certificate', { ...binding, place: { ...binding.place, certificate: 'c2' } }],
    ['field', { ...binding, place: { ...binding.place, field: 'chain' } }],
    ['version', { ...binding, place: { ...binding.place, version: '6' } }],
    ['data key', { ...binding, dataKey: '2-9f3c02ab' }],
  ])('moved to another %s', (_, elsewhere) => {
    expect(opening(sealed, binding)).toBe('opened');
    expect(opening(sealed, elsewhere)).toBe('sealed_unreadable');
  });

  it('with another key', () => {
    expect(opening(sealed, binding, Buffer.alloc(32, 1))).toBe('sealed_unreadable');
  });

  it('with any bit changed', () => {
    fc.assert(
      fc.property(fc.nat(sealed.length * 8 - 1), (bit) => {
        const bytes = Buffer.from(sealed, 'latin1');
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(opening(bytes.toString('latin1'))).toBe('sealed_unreadable');
      }),
      { numRuns: 1000 },
    );
  });

  it('with any character changed, which not every one would change in the bytes', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= ';
    fc.assert(
      fc.property(fc.nat(sealed.length - 1), fc.nat(alphabet.length - 1), (at, pick) => {
        fc.pre(sealed[at] !== alphabet[pick]);
        expect(opening(`${sealed.slice(0, at)}${alphabet[pick]}${sealed.slice(at + 1)}`)).toBe('sealed_unreadable');
      }),
      { numRuns: 1000 },
    );
  });

  it('cut off, or with something added', () => {
    for (let length = 0; length < sealed.length; length += 1)
      expect(opening(sealed.slice(0, length)), `${length}`).toBe('sealed_unreadable');
    for (const more of ['A', '.', '=', '\n', ' ', '\0'])
      for (const text of [sealed + more, more + sealed]) expect(opening(text), text).toBe('sealed_unreadable');
  });

  it('put together from parts of two', () => {
    const other = sealValue(key, binding, Buffer.from('the other!!')).split('.');
    for (let part = 2; part < 5; part += 1)
      expect(
        opening(
          sealed
            .split('.')
            .with(part, other[part] ?? '')
            .join('.'),
        ),
      ).toBe('sealed_unreadable');
  });

  it.each<readonly [string, unknown]>([
    ['another algorithm', { ...header, alg: 'A256GCMKW' }],
    ['no algorithm', { ...header, alg: 'none' }],
    ['another encryption', { ...header, enc: 'A128GCM' }],
    ['compression', { ...header, zip: 'DEF' }],
    ['crit', { ...header, crit: ['place'] }],
    ['a key of its own', { ...header, jwk: { kty: 'oct', k: key.toString('base64url') } }],
    ['a member more in its place', { ...header, place: { ...header.place, more: 1 } }],
    ['no place', { ...header, place: undefined }],
    ['its members in another order', Object.fromEntries(Object.entries(header).reverse())],
    ['spaces', Buffer.from(JSON.stringify(header, null, 1)).toString('base64url')],
    ['a member twice', Buffer.from(JSON.stringify(header).replace('{', '{"alg":"dir",')).toString('base64url')],
  ])('with %s in its header, though the key is right', (_, given) => {
    expect(opening(jwe(header))).toBe('opened');
    expect(opening(jwe(given))).toBe('sealed_unreadable');
  });
});

describe('the data key that a value needs', () => {
  it.each<readonly [string, string, RegExp]>([
    ['is nothing', '', /no sealed value/],
    ['is a PEM', '-----BEGIN PRIVATE KEY-----', /no sealed value/],
    ['is a JWE of somebody else', jwe({ alg: 'dir', enc: 'A256GCM' }), /no sealed value/],
    ['is JSON but no object', `${base64url(null)}.`, /no sealed value/],
    ['names no data key of ours', jwe({ ...header, kid: '../../1' }), /no sealed value/],
    ['names a version beyond all', jwe({ ...header, kid: '1234567890-9f3c02ab' }), /no sealed value/],
    [
      'is of a later format',
      jwe({ ...header, typ: 'certstandby-sealed.2' }),
      /format certstandby-sealed\.2.*knows certstandby-sealed\.1/,
    ],
  ])('is not told of what %s', (_, sealed, message) => {
    expect(codeOf(() => dataKeyOf(sealed))).toBe('sealed_unreadable');
    expect(() => dataKeyOf(sealed)).toThrow(message);
  });

  it('no message shows what was sealed', () => {
    const content = randomBytes(24).toString('hex');
    const sealed = jwe(header, content, Buffer.alloc(32, 9));
    let found: unknown;
    try {
      openValue(key, binding, sealed);
    } catch (thrown) {
      found = thrown;
    }
    const { message, fields, stack } = asCodedError(found);
    expect(JSON.stringify([message, fields, stack])).not.toContain(content);
    expect(fields).toEqual({
      tenant: 'crn:v1:test',
      dataKey: '1-9f3c02ab',
      certificate: 'c1',
      field: 'private-key',
      version: '7',
    });
  });
});
