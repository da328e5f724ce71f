import {
  constants,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  privateEncrypt,
  sign as rsaSign,
} from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { pinVerificationKey, verifyCompactJws } from '../../src/sender/jws.ts';
import { base64url, makeSigner, respellings } from '../support/notifications.ts';

const signer = makeSigner();
const stranger = makeSigner();
const key = pinVerificationKey(signer.publicKeyPem);
const payload = '{"hello":"world"}';

/** What a call throws: its code and its message. */
function refusal(call: () => unknown): { readonly code: string; readonly message: string } {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof CodedError) return { code: thrown.code, message: thrown.message };
    throw thrown;
  }
  throw new Error('it was not refused');
}

const notGenuine = {
  code: 'notification_not_genuine',
  message: 'the notification is not signed by the instance of this link',
};

/** A token whose header says anything, with a signature made in any way. */
function forge(header: unknown, signature: (input: Buffer) => Buffer): string {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${signature(Buffer.from(input)).toString('base64url')}`;
}

/** PEM of the public key of a pair. */
function spki({ publicKey }: { readonly publicKey: KeyObject }): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

describe('verifyCompactJws', () => {
  it('gives the payload bytes of a good token', () => {
    expect(verifyCompactJws(signer.sign(payload), key).toString()).toBe('{"hello":"world"}');
    expect(verifyCompactJws(signer.sign(''), key).length).toBe(0);
    const bytes = Uint8Array.of(0, 255, 128, 10);
    expect([...verifyCompactJws(signer.sign(bytes), key)]).toEqual([0, 255, 128, 10]);
  });

  it.each([
    ['typ', { alg: 'RS256', typ: 'JWT' }],
    ['kid', { alg: 'RS256', kid: '../../key' }],
    ['x5t', { alg: 'RS256', x5t: 'dGh1bWI', 'x5t#S256': 'dGh1bWI' }],
    ['another order', '{ "typ": "JWT", "alg": "RS256" }'],
    ['a parameter that nobody knows', { alg: 'RS256', 'https://example.test/x': { jwk: {} } }],
  ])('tolerates in the header: %s', (_name, header) => {
    expect(verifyCompactJws(signer.sign(payload, header), key).toString()).toBe(payload);
  });

  it.each([
    ['alg missing', {}],
    ['alg only inherited', '{"__proto__":{"alg":"RS256"}}'],
    ['alg none', { alg: 'none' }],
    ['alg in another case', { alg: 'rs256' }],
    ['alg with a space', { alg: 'RS256 ' }],
    ['alg in a list', { alg: ['RS256'] }],
    ['alg RS384', { alg: 'RS384' }],
    ['alg RS512', { alg: 'RS512' }],
    ['alg PS256', { alg: 'PS256' }],
    ['alg HS256', { alg: 'HS256' }],
    ['alg ES256', { alg: 'ES256' }],
    ['alg twice', '{"alg":"none","alg":"RS256"}'],
    ['alg twice, once escaped', '{"\\u0061lg":"none","alg":"RS256"}'],
    ['jwk', { alg: 'RS256', jwk: stranger.publicKey.export({ format: 'jwk' }) }],
    ['jku', { alg: 'RS256', jku: 'https://attacker.test/keys' }],
    ['x5u', { alg: 'RS256', x5u: 'https://attacker.test/chain' }],
    ['x5c', { alg: 'RS256', x5c: ['MIIB'] }],
    ['crit', { alg: 'RS256', crit: [] }],
    ['crit that names exp', { alg: 'RS256', crit: ['exp'], exp: 1 }],
    ['b64 false', { alg: 'RS256', b64: false, crit: ['b64'] }],
    ['b64 true', { alg: 'RS256', b64: true }],
    ['zip', { alg: 'RS256', zip: 'DEF' }],
    ['enc', { alg: 'RS256', enc: 'A256GCM' }],
    ['a refused parameter that is null', { alg: 'RS256', jwk: null }],
    ['a refused parameter, escaped', '{"alg":"RS256","j\\u0077k":{}}'],
  ])('refuses, even where the signature would hold: %s', (_name, header) => {
    expect(refusal(() => verifyCompactJws(signer.sign(payload, header), key))).toEqual(notGenuine);
  });

  it('refuses signatures of other kinds, of other keys and of other lengths, all in the same words', () => {
    const good = signer.sign(payload);
    const [header = '', body = '', signature = ''] = good.split('.');
    const flipped = Buffer.from(signature, 'base64url');
    flipped[100] = (flipped[100] ?? 0) ^ 1;
    const pss = { key: signer.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    const small = makeSigner({ modulusLength: 1024 });
    const bare = (input: Buffer) => privateEncrypt({ key: signer.privateKey }, input.subarray(0, 32));
    const tokens = {
      'alg none, nothing after the dot': `${base64url({ alg: 'none' })}.${body}.`,
      'no signature': `${header}.${body}.`,
      'HMAC with the public key as its secret': forge({ alg: 'HS256' }, (input) =>
        createHmac('sha256', signer.publicKeyPem).update(input).digest(),
      ),
      'HMAC under a header that says RS256': forge({ alg: 'RS256' }, (input) =>
        createHmac('sha256', signer.publicKeyPem).update(input).digest(),
      ),
      'SHA-384': forge({ alg: 'RS256' }, (input) => rsaSign('RSA-SHA384', input, signer.privateKey)),
      'SHA-512': forge({ alg: 'RS256' }, (input) => rsaSign('RSA-SHA512', input, signer.privateKey)),
      'SHA-1': forge({ alg: 'RS256' }, (input) => rsaSign('RSA-SHA1', input, signer.privateKey)),
      PSS: forge({ alg: 'RS256' }, (input) => rsaSign('sha256', input, pss)),
      'no DigestInfo': forge({ alg: 'RS256' }, bare),
      'another key': stranger.sign(payload),
      'a smaller key': small.sign(payload),
      'one bit of the signature': `${header}.${body}.${flipped.toString('base64url')}`,
      'another payload': `${header}.${base64url('{"hello":"World"}')}.${signature}`,
      'another header': `${base64url({ alg: 'RS256', typ: 'JWT' })}.${body}.${signature}`,
      'zero bytes before the signature': `${header}.${body}.${Buffer.concat([Buffer.alloc(3), Buffer.from(signature, 'base64url')]).toString('base64url')}`,
      'a signature one byte short': `${header}.${body}.${Buffer.from(signature, 'base64url').subarray(1).toString('base64url')}`,
      'all zero': `${header}.${body}.${Buffer.alloc(256).toString('base64url')}`,
      'all ones, more than the modulus': `${header}.${body}.${Buffer.alloc(256, 255).toString('base64url')}`,
    };
    for (const [name, token] of Object.entries(tokens)) {
      expect({ name, ...refusal(() => verifyCompactJws(token, key)) }).toEqual({ name, ...notGenuine });
    }
  });

  it.each([
    '',
    '.',
    'abc',
    'a.b',
    'eyJhbGciOiJSUzI1NiJ9',
    'eyJhbGciOiJSUzI1NiJ9.e30',
    'a.b.c.d',
    '....',
    '..',
    'ä.ö.ü',
    '\0.\0.\0',
    'null.e30.e30',
    `${base64url('null')}.e30.`,
    `${base64url('[]')}.e30.`,
    `${base64url('"RS256"')}.e30.`,
    `${base64url('{"alg":"RS256"')}.e30.`,
    `${base64url(Uint8Array.of(...Buffer.from('{"alg":"RS256","x":"'), 0xff, ...Buffer.from('"}')))}.e30.`,
    `${base64url('['.repeat(100_000))}.e30.`,
  ])('calls malformed what is no token: %j', (token) => {
    expect(refusal(() => verifyCompactJws(token, key)).code).toBe('notification_malformed');
  });

  it('accepts one spelling of each token only', () => {
    const token = signer.sign('{"some":"payload?>"}');
    expect(verifyCompactJws(token, key).length).toBe(20);
    for (let last = 0; last < 128; last += 1) {
      const spelled = token.slice(0, -1) + String.fromCharCode(last);
      if (spelled === token) continue;
      expect(refusal(() => verifyCompactJws(spelled, key)).code).toMatch(/^notification_(malformed|not_genuine)$/);
    }
  });

  it('never accepts a token in which anything was changed', () => {
    const token = signer.sign(payload);
    const change = fc.tuple(fc.nat(token.length), fc.nat(2), fc.string({ minLength: 1, maxLength: 4 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        let spelled = token;
        for (const [at, removed, added] of changes)
          spelled = spelled.slice(0, at) + added + spelled.slice(at + removed);
        fc.pre(spelled !== token);
        expect(refusal(() => verifyCompactJws(spelled, key)).code).toMatch(/^notification_(malformed|not_genuine)$/);
      }),
      { numRuns: 500 },
    );
  });
});

describe('respellings of one token', () => {
  it('is a list in which every body differs from the usual one', () => {
    const token = signer.sign(payload);
    const bodies = respellings(token).map(({ body }) => body);
    expect(new Set([...bodies, `{"data":"${token}"}`]).size).toBe(19);
  });
});

describe('pinVerificationKey', () => {
  it('takes RSA of 2048 bits and more, as SPKI and as PKCS#1', () => {
    expect(pinVerificationKey(signer.publicKeyPem).asymmetricKeyDetails?.modulusLength).toBe(2048);
    const pkcs1 = signer.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
    expect(pinVerificationKey(`\n${pkcs1}`).type).toBe('public');
    const large = makeSigner({ modulusLength: 3072 });
    const largeKey = pinVerificationKey(large.publicKeyPem);
    expect(verifyCompactJws(large.sign(payload), largeKey).toString()).toBe(payload);
    expect(refusal(() => verifyCompactJws(signer.sign(payload), largeKey))).toEqual(notGenuine);
  });

  const privatePem = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

  it.each([
    ['2047 bits', () => makeSigner({ modulusLength: 2047 }).publicKeyPem, '2047 bits'],
    ['EC', () => spki(generateKeyPairSync('ec', { namedCurve: 'P-256' })), 'ec, not rsa'],
    ['Ed25519', () => spki(generateKeyPairSync('ed25519')), 'ed25519, not rsa'],
    ['RSA-PSS', () => spki(generateKeyPairSync('rsa-pss', { modulusLength: 2048 })), 'rsa-pss, not rsa'],
    ['a private key', () => privatePem, 'PRIVATE KEY'],
    ['a certificate', () => '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n', 'CERTIFICATE'],
    ['nothing', () => '', 'not PEM'],
    ['a URL', () => 'https://example.test/key.pem', 'not PEM'],
    ['garbage in PEM', () => '-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n', 'cannot be decoded'],
  ])('refuses %s', (_name, pem, found) => {
    const { code, message } = refusal(() => pinVerificationKey(pem()));
    expect(code).toBe('configuration_invalid');
    expect(message).toContain(found);
    expect(message).not.toContain('MII');
  });
});
