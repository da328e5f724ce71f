import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import type { LogFields } from '../../../src/log.ts';
import { createReceiver } from '../../../src/receiver/receiver.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { changeMessage } from '../../../src/sender/change-message.ts';
import { pinVerificationKey } from '../../../src/sender/jws.ts';
import { fetchKeys } from '../../../src/services/oidc-token/keys.ts';
import { senderOf } from '../../../src/services/oidc-token/sender.ts';

const now = Date.parse('2026-11-30T08:00:00Z');
const seconds = now / 1_000;
const config = {
  kind: 'oidc-token',
  name: 'ci',
  store: 'site',
  issuer: 'https://token.example.com',
  jwks: 'https://token.example.com/jwks',
  audience: 'https://standby.example.com',
  bearer: { repository: 'example/site', ref: 'refs/heads/main' },
} as const;

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pemOf = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();
const keys = new Map([['key-1', pinVerificationKey(pemOf(pair.publicKey))]]);

const claims = {
  iss: config.issuer,
  aud: config.audience,
  sub: 'repo:example/site:ref:refs/heads/main',
  repository: 'example/site',
  ref: 'refs/heads/main',
  iat: seconds - 10,
  nbf: seconds - 10,
  exp: seconds + 300,
};

/** A token, made by the library that most issuers use. */
const sign = (
  payload: Record<string, unknown> = claims,
  { key = pair.privateKey, kid = 'key-1' as string | null }: { key?: KeyObject; kid?: string | null } = {},
) => new SignJWT(payload).setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...(kid !== null && { kid }) }).sign(key);

/** One whose header is whatever is wanted. */
function signWith(header: object, key = pair.privateKey): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const content = `${encode(header)}.${encode(claims)}`;
  return `${content}.${createSign('RSA-SHA256').update(content).sign(key).toString('base64url')}`;
}

const body = Buffer.from(changeMessage({ type: 'certificate.changed', at: now, certificates: [{ name: 'shop' }] }));

function receive(authorization: string | undefined, given: { readonly body?: Uint8Array; readonly at?: number } = {}) {
  const header = (name: string) => (name === 'authorization' ? authorization : undefined);
  const received = senderOf(config).receive({ header, body: given.body ?? body }, keys, given.at ?? now);
  return 'events' in received ? received.events : [];
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'taken';
  } catch (thrown) {
    return (thrown as { code: string }).code;
  }
};

describe('what is logged of a token that is refused', () => {
  const logOf = async (token: string) => {
    const lines: { level: string; fields: LogFields | undefined }[] = [];
    const receiver = createReceiver({
      callbacks: [
        {
          name: 'ci',
          told: { sender: 'ci' },
          sender: senderOf(config),
          verificationKeys: async () => keys,
          acknowledge: async () => 'new',
        },
      ],
      now: () => now,
      log: (level, _event, fields) => lines.push({ level, fields }),
    });
    const headers: Readonly<Record<string, string>> = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
    };
    const answer = await receiver({ method: 'POST', path: '/callback/ci', header: (name) => headers[name], body });
    return { answer, lines };
  };

  it.each([
    ['iss', { iss: 'https://other.example.com' }],
    ['aud', { aud: 'other' }],
    ['ref', { ref: 'refs/heads/other' }],
    ['exp', { exp: seconds + 31_536_000 }],
  ])('is the claim that differs, %s, which the answer does not name', async (claim, given) => {
    const { answer, lines } = await logOf(await sign({ ...claims, ...given }));
    expect(lines).toMatchObject([{ level: 'warn', fields: { claim, outcome: 'refused' } }]);
    expect(answer).toMatchObject({
      status: 401,
      body: '{"code":"notification_not_genuine","message":"the notification bears no token that is good for this sender","sender":"ci"}',
    });
  });

  it('is no claim of a token that the issuer did not sign', async () => {
    const { lines } = await logOf(await sign({ ...claims, aud: 'other' }, { key: stranger.privateKey }));
    expect(lines).toMatchObject([{ level: 'warn', fields: { outcome: 'refused' } }]);
    expect(lines[0]?.fields).not.toHaveProperty('claim');
  });

  it('is no failure of this side where it names a key that is not known, as anybody can', async () => {
    const { answer, lines } = await logOf(await sign(claims, { kid: 'key-2' }));
    expect(answer.status).toBe(503);
    expect(lines).toMatchObject([{ level: 'warn', fields: { code: 'notification_key_unknown', outcome: 'refused' } }]);
  });
});

describe('a job that bears a token', () => {
  it('tells of changes, and what it tells is not signed', async () => {
    expect(receive(`Bearer ${await sign()}`)).toMatchObject([
      { changes: true, unsigned: true, store: 'site', hints: [{ by: 'name', text: 'shop' }] },
    ]);
  });

  it.each([
    ['an audience among several', { ...claims, aud: ['other', config.audience] }],
    ['no time from which it is good', { ...claims, nbf: undefined, iat: undefined }],
    ['a clock that is five minutes ahead', { ...claims, iat: seconds + 300, nbf: seconds + 300, exp: seconds + 600 }],
    ['a token that ended just under five minutes ago', { ...claims, exp: seconds - 299 }],
  ])('is taken with %s', async (_name, payload) => {
    expect(receive(`Bearer ${await sign(payload)}`)).toHaveLength(1);
  });

  const { aud: _aud, exp: _exp, ...rest } = claims;
  const attacks: readonly (readonly [string, string, () => string | undefined | Promise<string>])[] = [
    ['nothing', 'notification_not_genuine', () => undefined],
    ['another scheme', 'notification_not_genuine', async () => `Basic ${await sign()}`],
    ['no scheme', 'notification_not_genuine', () => sign()],
    ['two tokens', 'notification_not_genuine', async () => `Bearer ${await sign()}, Bearer ${await sign()}`],
    ['100 KB of token', 'notification_not_genuine', () => `Bearer ${'a'.repeat(100_000)}`],
    ['no token', 'notification_not_genuine', () => 'Bearer a.b.c'],
    [
      'a key of somebody else',
      'notification_not_genuine',
      async () => bearer(await sign(claims, { key: stranger.privateKey })),
    ],
    ['no key id', 'notification_not_genuine', async () => bearer(await sign(claims, { kid: null }))],
    [
      'a key that is not known yet',
      'notification_key_unknown',
      async () => bearer(await sign(claims, { kid: 'key-2' })),
    ],
    [
      '100 KB of key id',
      'notification_not_genuine',
      async () => bearer(await sign(claims, { kid: 'k'.repeat(5_000) })),
    ],
    ['no algorithm', 'notification_not_genuine', () => bearer(signWith({ alg: 'none', kid: 'key-1' }))],
    ['another algorithm', 'notification_not_genuine', () => bearer(signWith({ alg: 'PS256', kid: 'key-1' }))],
    [
      'a key that it brings',
      'notification_not_genuine',
      () => bearer(signWith({ alg: 'RS256', kid: 'key-1', jku: 'https://x' })),
    ],
    ['one byte changed', 'notification_not_genuine', async () => bearer(swapped(await sign()))],
    [
      'another issuer',
      'notification_not_genuine',
      async () => bearer(await sign({ ...claims, iss: `${config.issuer}/` })),
    ],
    ['another audience', 'notification_not_genuine', async () => bearer(await sign({ ...claims, aud: 'other' }))],
    ['no audience', 'notification_not_genuine', async () => bearer(await sign({ ...rest, exp: claims.exp }))],
    [
      'another repository',
      'notification_not_genuine',
      async () => bearer(await sign({ ...claims, repository: 'x/y' })),
    ],
    ['no repository', 'notification_not_genuine', async () => bearer(await sign({ ...claims, repository: undefined }))],
    [
      'a list of repositories',
      'notification_not_genuine',
      async () => bearer(await sign({ ...claims, repository: ['example/site'] })),
    ],
    ['no end', 'notification_not_genuine', async () => bearer(await sign({ ...rest, aud: config.audience }))],
    [
      'an end in a year',
      'notification_not_genuine',
      async () => bearer(await sign({ ...claims, exp: seconds + 31_536_000 })),
    ],
    [
      'times that are text',
      'notification_not_genuine',
      () => bearer(signWithClaims({ ...claims, exp: `${claims.exp}` })),
    ],
    ['an old token', 'notification_untimely', async () => bearer(await sign({ ...claims, exp: seconds - 301 }))],
    ['a token of later', 'notification_untimely', async () => bearer(await sign({ ...claims, nbf: seconds + 301 }))],
    [
      'a token issued later',
      'notification_untimely',
      async () => bearer(await sign({ ...claims, iat: seconds + 301, exp: seconds + 600 })),
    ],
  ];

  function bearer(token: string): string {
    return `Bearer ${token}`;
  }

  function swapped(token: string): string {
    const [head, payload = '', signature] = token.split('.');
    return `${head}.${payload.startsWith('eyJ') ? `eyK${payload.slice(3)}` : payload}.${signature}`;
  }

  function signWithClaims(payload: object): string {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const content = `${encode({ alg: 'RS256', kid: 'key-1' })}.${encode(payload)}`;
    return `${content}.${createSign('RSA-SHA256').update(content).sign(pair.privateKey).toString('base64url')}`;
  }

  it.each(attacks)('is refused with %s: %s', async (_name, code, make) => {
    const authorization = await make();
    expect(codeOf(() => receive(authorization))).toBe(code);
  });

  it('is refused for another store, after it was proven', async () => {
    const foreign = Buffer.from('{"type":"certificate.changed","data":{"store":"other"}}');
    const good = `Bearer ${await sign()}`;
    expect(codeOf(() => receive(good, { body: foreign }))).toBe('notification_foreign');
    expect(codeOf(() => receive('Bearer x', { body: foreign }))).toBe('notification_not_genuine');
  });
});

describe('the keys of an issuer', () => {
  const cleanUps: (() => unknown)[] = [];
  afterEach(() => {
    for (const cleanUp of cleanUps.splice(0)) cleanUp();
  });

  /** An issuer that answers with this, and counts how often it was asked. */
  async function issuer(status: number, text: string, headers: Record<string, string> = {}) {
    const asked = { count: 0 };
    const server = createServer((_request, response) => {
      asked.count += 1;
      response.writeHead(status, headers);
      response.end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const jwks = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    return { asked, jwks, fetch: () => fetchKeys({ ...config, jwks }, { runtime: systemRuntime }) };
  }

  const jwkOf = (key: KeyObject, more: object = {}) => ({ ...key.export({ format: 'jwk' }), ...more });
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const good = jwkOf(pair.publicKey, { kid: 'key-1', use: 'sig', alg: 'RS256' });

  it('are taken with their ids; what may not verify hides none of the others', async () => {
    const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const set = {
      keys: [
        7,
        null,
        {},
        jwkOf(small, { kid: 'small' }),
        jwkOf(elliptic, { kid: 'elliptic' }),
        jwkOf(stranger.publicKey),
        jwkOf(stranger.publicKey, { kid: 'for-encryption', use: 'enc' }),
        { kty: 'RSA', kid: 'broken', n: '!', e: 'AQAB' },
        good,
      ],
    };
    const { fetch, jwks } = await issuer(200, JSON.stringify(set));
    expect(await fetch()).toEqual([{ id: 'key-1', pem: pemOf(pair.publicKey), from: jwks }]);
  });

  it.each([
    ['a set with none', 200, '{"keys":[]}', 'store_nonsense'],
    ['a set with small ones alone', 200, JSON.stringify({ keys: [jwkOf(small, { kid: 's' })] }), 'store_nonsense'],
    ['no set', 200, '[]', 'store_nonsense'],
    ['no JSON', 200, 'x', 'store_nonsense'],
    ['a refusal', 403, '', 'store_unavailable'],
    ['a failure', 500, '', 'store_unavailable'],
    ['too much', 200, 'x'.repeat(300_000), 'store_unavailable'],
  ])('are not taken from %s, and never become an empty set', async (_name, status, text, code) => {
    const { fetch } = await issuer(status, text);
    await expect(fetch()).rejects.toMatchObject({ code });
  });

  it('are followed nowhere else', async () => {
    const other = await issuer(200, JSON.stringify({ keys: [good] }));
    const { fetch } = await issuer(302, '', { location: 'http://127.0.0.1:9/jwks' });
    await expect(fetch()).rejects.toMatchObject({ code: 'store_unavailable', fields: { status: 302 } });
    expect(other.asked.count).toBe(0);
  });
});
