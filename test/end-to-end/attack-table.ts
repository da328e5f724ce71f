import { constants, createHmac, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import {
  base64url,
  bodyOf,
  certificateCrn,
  payloadTest,
  payloadV4,
  payloadV5,
  respellings,
  type Signer,
} from '../support/notifications.ts';
import { primaryCrn } from './program.ts';

/** What an attacker has: a genuine signer to compare with, one of his own, a server of his own, and the id of a certificate that exists. */
export interface Arms {
  readonly signer: Signer;
  readonly stranger: Signer;
  readonly trapUrl: string;
  readonly certificate: string;
}

export interface CallbackPost {
  readonly body: string | Uint8Array;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Attack {
  readonly name: string;
  readonly status: number;
  readonly post: (arms: Arms) => CallbackPost;
}

let events = 0;
/** A change of the certificate that exists: one that were believed would cost calls. Never the same event twice. */
function change({ certificate }: Arms, more: Record<string, unknown> = {}): Record<string, unknown> {
  events += 1;
  const ids = [certificate];
  return { ...payloadV5({ instance: primaryCrn, type: 'cert_reimported', ids, eventId: `attack-${events}` }), ...more };
}

const attack = (name: string, status: number, post: (arms: Arms) => CallbackPost | string | Uint8Array): Attack => ({
  name,
  status,
  post: (arms) => {
    const made = post(arms);
    return typeof made === 'string' || made instanceof Uint8Array ? { body: made } : made;
  },
});

/** A body whose token is signed in another way than its signer would. */
function otherwiseSigned(header: unknown, payload: unknown, sign: (input: Buffer) => Buffer): Uint8Array {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return bodyOf(`${input}.${sign(Buffer.from(input)).toString('base64url')}`);
}

const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

/** Signs with the genuine key, by another algorithm. */
const byAlgorithm = (name: string, alg: string, digest: string, padding: object = {}): Attack =>
  attack(name, 401, (arms) =>
    otherwiseSigned({ alg }, change(arms), (input) =>
      signBytes(digest, input, { key: arms.signer.privateKey, ...padding }),
    ),
  );

/** The public key, which everybody knows, as the secret of an HMAC. */
const byHmac = (name: string, secret: (signer: Signer) => string | Uint8Array): Attack =>
  attack(`HS256, its secret ${name}`, 401, (arms) =>
    otherwiseSigned({ alg: 'HS256' }, change(arms), (input) =>
      createHmac('sha256', secret(arms.signer)).update(input).digest(),
    ),
  );

/** A header as the attacker wants it, over a genuine change, signed by the genuine key: only its header is wrong. */
const byHeader = (name: string, header: (arms: Arms) => unknown): Attack =>
  attack(`genuine signature, ${name}`, 401, (arms) => arms.signer.body(change(arms), header(arms)));

/** The attacker's own signature, and a header that would have his key used. */
const byOwnKey = (name: string, header: (arms: Arms) => object): Attack =>
  attack(`signature of another key, ${name}`, 401, (arms) =>
    arms.stranger.body(change(arms), { alg: 'RS256', ...header(arms) }),
  );

const jwkOf = (signer: Signer) => signer.publicKey.export({ format: 'jwk' });
const ecKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const otherCrn = primaryCrn.replace('11111111', '99999999');

const algorithms: readonly Attack[] = [
  ...['none', 'None', 'NONE', 'nOnE'].map((alg) =>
    attack(`alg ${alg}, no signature`, 401, (arms) => bodyOf(`${base64url({ alg })}.${base64url(change(arms))}.`)),
  ),
  byHeader('alg none', () => ({ alg: 'none' })),
  byHeader('alg missing', () => ({})),
  byHeader('alg in a list', () => ({ alg: ['RS256'] })),
  byHeader('alg twice, none and RS256', () => '{"alg":"none","alg":"RS256"}'),
  byHeader('alg only inherited', () => '{"__proto__":{"alg":"RS256"}}'),
  byHmac('the public key in PEM', ({ publicKeyPem }) => publicKeyPem),
  byHmac('the PEM without its last line end', ({ publicKeyPem }) => publicKeyPem.trim()),
  byHmac('the public key in DER', ({ publicKey }) => publicKey.export({ type: 'spki', format: 'der' })),
  byHmac('the public key as JWK', (signer) => JSON.stringify(jwkOf(signer))),
  byHmac('empty', () => ''),
  byAlgorithm('RS384 by the genuine key', 'RS384', 'RSA-SHA384'),
  byAlgorithm('RS512 by the genuine key', 'RS512', 'RSA-SHA512'),
  byAlgorithm('PS256 by the genuine key', 'PS256', 'RSA-SHA256', pss),
  byAlgorithm('PS512 by the genuine key', 'PS512', 'RSA-SHA512', pss),
  byAlgorithm('says RS256, signed as RS512', 'RS256', 'RSA-SHA512'),
  byAlgorithm('says RS256, signed as PS256', 'RS256', 'RSA-SHA256', pss),
  byAlgorithm('says RS512, signed as RS256', 'RS512', 'RSA-SHA256'),
  attack('ES256 by a key of its own', 401, (arms) =>
    otherwiseSigned({ alg: 'ES256' }, change(arms), (input) =>
      signBytes('sha256', input, { key: ecKey, dsaEncoding: 'ieee-p1363' }),
    ),
  ),
  attack('RS256, signature of zeros', 401, (arms) =>
    otherwiseSigned({ alg: 'RS256' }, change(arms), () => Buffer.alloc(256)),
  ),
  attack('RS256, empty signature', 401, (arms) =>
    otherwiseSigned({ alg: 'RS256' }, change(arms), () => Buffer.alloc(0)),
  ),
  attack('RS256, signature with a zero before it', 401, (arms) =>
    otherwiseSigned({ alg: 'RS256' }, change(arms), (input) =>
      Buffer.concat([Buffer.alloc(1), signBytes('RSA-SHA256', input, arms.signer.privateKey)]),
    ),
  ),
  attack('genuine signature of another payload', 401, (arms) => {
    const [header, , signature] = arms.signer.sign(change(arms)).split('.');
    return bodyOf([header, base64url(change(arms)), signature].join('.'));
  }),
];

const keys: readonly Attack[] = [
  byOwnKey('no more', () => ({})),
  byOwnKey('jwk with that key', ({ stranger }) => ({ jwk: jwkOf(stranger) })),
  byOwnKey('jku to a server with that key', ({ trapUrl }) => ({ jku: `${trapUrl}/keys` })),
  byOwnKey('x5u to a server with a certificate', ({ trapUrl }) => ({ x5u: `${trapUrl}/chain.pem` })),
  byOwnKey('x5c with a certificate', () => ({ x5c: ['MIIB'] })),
  byOwnKey('kid as a URL', ({ trapUrl }) => ({ kid: `${trapUrl}/keys` })),
  byOwnKey('kid ../../../../proc/self/environ', () => ({ kid: '../../../../proc/self/environ' })),
  byOwnKey("kid ' OR 1=1 --", () => ({ kid: "' OR 1=1 --" })),
  byOwnKey('iss as a URL', ({ trapUrl }) => ({ iss: trapUrl })),
  attack('kid /dev/null, HS256 with an empty secret', 401, (arms) =>
    otherwiseSigned({ alg: 'HS256', kid: '/dev/null' }, change(arms), (input) =>
      createHmac('sha256', '').update(input).digest(),
    ),
  ),
  byHeader('jwk with the genuine key', ({ signer }) => ({ alg: 'RS256', jwk: jwkOf(signer) })),
  byHeader('jwk null', () => ({ alg: 'RS256', jwk: null })),
  byHeader('jwk with its name escaped', () => '{"alg":"RS256","j\\u0077k":{}}'),
  byHeader('jku', ({ trapUrl }) => ({ alg: 'RS256', jku: `${trapUrl}/keys` })),
  byHeader('x5u', ({ trapUrl }) => ({ alg: 'RS256', x5u: `${trapUrl}/chain.pem` })),
  byHeader('x5c', () => ({ alg: 'RS256', x5c: ['MIIB'] })),
  byHeader('crit', () => ({ alg: 'RS256', crit: ['exp'], exp: 1 })),
  byHeader('crit empty', () => ({ alg: 'RS256', crit: [] })),
  byHeader('b64 true', () => ({ alg: 'RS256', b64: true })),
  byHeader('b64 false and crit', () => ({ alg: 'RS256', b64: false, crit: ['b64'] })),
  byHeader('zip', () => ({ alg: 'RS256', zip: 'DEF' })),
  byHeader('enc', () => ({ alg: 'RS256', enc: 'A256GCM' })),
  attack('b64 false, the payload as it is', 400, (arms) => {
    const header = base64url({ alg: 'RS256', b64: false, crit: ['b64'] });
    const payload = JSON.stringify(change(arms));
    const signature = signBytes('RSA-SHA256', Buffer.from(`${header}.${payload}`), arms.signer.privateKey);
    return bodyOf(`${header}.${payload}.${signature.toString('base64url')}`);
  }),
  attack('the key and the CRN of another instance', 401, (arms) =>
    arms.stranger.body({ ...change(arms), instance_crn: otherCrn }),
  ),
];

const shapes: readonly Attack[] = [
  attack('nested: a genuine token signed by another key', 401, (arms) =>
    arms.stranger.body(arms.signer.sign(change(arms)), { alg: 'RS256', cty: 'JWT' }),
  ),
  attack('nested: a genuine token signed again by the genuine key', 400, (arms) =>
    arms.signer.body(arms.signer.sign(change(arms)), { alg: 'RS256', cty: 'JWT' }),
  ),
  attack('nested: data in data', 400, (arms) => JSON.stringify({ data: { data: arms.signer.sign(change(arms)) } })),
  attack('five parts, as an encrypted token', 400, (arms) => bodyOf(`${arms.signer.sign(change(arms))}.e30.e30`)),
  attack('JSON serialisation of a token', 400, (arms) => {
    const [header, payload, signature] = arms.signer.sign(change(arms)).split('.');
    return JSON.stringify({ protected: header, payload, signature });
  }),
  attack('a token without its body', 400, (arms) => arms.signer.sign(change(arms))),
  attack('two data, the first forged', 400, (arms) => {
    const [forged, genuine] = [arms.stranger.sign(change(arms)), arms.signer.sign(change(arms))];
    return `{"data":"${forged}","data":"${genuine}"}`;
  }),
  attack('two data, the second forged', 400, (arms) => {
    const [forged, genuine] = [arms.stranger.sign(change(arms)), arms.signer.sign(change(arms))];
    return `{"data":"${genuine}","data":"${forged}"}`;
  }),
  attack('data only inherited', 400, (arms) => `{"__proto__":{"data":"${arms.signer.sign(change(arms))}"}}`),
  attack('a body of 100,000 brackets', 400, () => '['.repeat(100_000)),
  attack('a body of 40,000 nested data', 400, () => `${'{"data":'.repeat(30_000)}1${'}'.repeat(10_000)}`),
  attack('data as 1e400', 400, () => '{"data":1e400}'),
  attack('data as a number of 100,000 digits', 400, () => `{"data":${'9'.repeat(100_000)}}`),
  attack('a body that is not UTF-8', 400, () => Buffer.from([0xff, 0xfe, 0x00])),
  attack('a genuine token beside a member that is not UTF-8', 400, (arms) =>
    Buffer.concat([
      Buffer.from(`{"data":"${arms.signer.sign(change(arms))}","x":"`),
      Buffer.from([0xc0, 0x80]),
      Buffer.from('"}'),
    ]),
  ),
  attack('a genuine body in UTF-16', 400, (arms) => Buffer.from(arms.signer.body(change(arms)).toString(), 'utf16le')),
  attack('a header of 80,000 brackets', 400, (arms) => arms.signer.body(change(arms), '['.repeat(80_000))),
  attack('a header that is not UTF-8', 400, (arms) =>
    arms.signer.body(change(arms), Buffer.from('{"alg":"RS256","x":"\xff"}', 'latin1')),
  ),
];

/** Signed by the genuine key: what nobody but the primary can send, and is refused all the same. */
const payloads: readonly Attack[] = [
  attack('payload: 80,000 brackets', 400, ({ signer }) => signer.body('['.repeat(80_000))),
  attack('payload: not UTF-8', 400, (arms) =>
    arms.signer.body(Buffer.from(JSON.stringify(change(arms, { x: '\xe9' })), 'latin1')),
  ),
  attack('payload: everything only inherited', 400, (arms) =>
    arms.signer.body(`{"__proto__":${JSON.stringify(change(arms))}}`),
  ),
  attack('payload: version 1e999', 400, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace('"version":5', '"version":1e999')),
  ),
  attack('payload: version of 100,000 digits', 400, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace('"version":5', `"version":${'9'.repeat(100_000)}`)),
  ),
  attack('payload: version 2 ** 53', 400, (arms) => arms.signer.body(change(arms, { version: 2 ** 53 }))),
  attack('payload: event_time 1e308', 400, (arms) => arms.signer.body(change(arms, { event_time: 1e308 }))),
  attack('payload: event_time -1', 400, (arms) => arms.signer.body(change(arms, { event_time: -1 }))),
  attack('payload: 101 certificates', 400, (arms) => arms.signer.body(manyCertificates(101))),
  attack('payload: instance_crn twice, the last of another', 403, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace(/}$/, `,"instance_crn":"${otherCrn}"}`)),
  ),
  attack('payload: certificates twice, the last of another', 403, (arms) => {
    const foreign = JSON.stringify([{ cert_crn: certificateCrn(arms.certificate, otherCrn) }]);
    return arms.signer.body(JSON.stringify(change(arms)).replace(/}$/, `,"certificates":${foreign}}`));
  }),
  ...Object.entries({
    'of another instance': otherCrn,
    'without its last colon': primaryCrn.slice(0, -1),
    'with one colon more': `${primaryCrn}:`,
    'in capitals': primaryCrn.toUpperCase(),
    'of another region': primaryCrn.replace('eu-de', 'eu-gb'),
    'of another account': primaryCrn.replace('a/0', 'a/1'),
    'with a space after': `${primaryCrn} `,
    'with NUL after': `${primaryCrn}\0`,
    'with a line break after': `${primaryCrn}\n`,
    'with a Cyrillic letter': primaryCrn.replace('cloudcerts', 'cl\u043eudcerts'),
    'percent-encoded': encodeURIComponent(primaryCrn),
  }).map(([how, crn]) =>
    attack(`payload: instance CRN ${how}`, 403, (arms) => arms.signer.body(change(arms, { instance_crn: crn }))),
  ),
  ...Object.entries({
    'of another instance': (id: string) => certificateCrn(id, otherCrn),
    'of the instance itself': () => primaryCrn,
    'without an id': () => certificateCrn('', primaryCrn),
    'with ../ in the id': (id: string) => certificateCrn(`../${id}`, primaryCrn),
    'with ? in the id': (id: string) => `${certificateCrn(id, primaryCrn)}?x=1 `,
    'with NUL in the id': (id: string) => certificateCrn(`${id}\0`, primaryCrn),
    'with a line break in the id': (id: string) => certificateCrn(`${id}\r\n`, primaryCrn),
    'with an id of 129 characters': () => certificateCrn('x'.repeat(129), primaryCrn),
    'with both colons kept': (id: string) => `${primaryCrn}certificate:${id}`,
    'of another kind of resource': (id: string) => certificateCrn(id, primaryCrn).replace(':certificate:', ':secret:'),
    'with a space before': (id: string) => ` ${certificateCrn(id, primaryCrn)}`,
    'with a Cyrillic letter': (id: string) => certificateCrn(id, primaryCrn).replace('bluemix', 'blu\u0435mix'),
  }).map(([how, crnOf]) =>
    attack(`payload: certificate CRN ${how}`, 403, (arms) =>
      arms.signer.body(change(arms, { certificates: [{ cert_crn: crnOf(arms.certificate), name: 'shop' }] })),
    ),
  ),
  attack('payload: one certificate of ours, one of another instance', 403, (arms) =>
    arms.signer.body(
      change(arms, {
        certificates: [
          { cert_crn: certificateCrn(arms.certificate, primaryCrn) },
          { cert_crn: certificateCrn(arms.certificate, otherCrn) },
        ],
      }),
    ),
  ),
];

const dressed = (arms: Arms) => ({ body: arms.signer.body(change(arms)) });

const requests: readonly Attack[] = [
  attack('GET', 405, (arms) => ({ ...dressed(arms), method: 'GET' })),
  attack('PUT', 405, (arms) => ({ ...dressed(arms), method: 'PUT' })),
  attack('text/plain', 415, (arms) => ({ ...dressed(arms), headers: { 'content-type': 'text/plain' } })),
  attack('application/jwt', 415, (arms) => ({ ...dressed(arms), headers: { 'content-type': 'application/jwt' } })),
  attack('charset=utf-16', 415, (arms) => ({
    ...dressed(arms),
    headers: { 'content-type': 'application/json; charset=utf-16' },
  })),
  attack('Content-Encoding: gzip', 415, (arms) => ({ ...dressed(arms), headers: { 'content-encoding': 'gzip' } })),
  attack('262,145 bytes', 413, (arms) => Buffer.concat([dressed(arms).body], 262_145)),
  attack('path of another link', 404, (arms) => ({ ...dressed(arms), path: '/callback/other' })),
  attack('path /callback/__proto__', 404, (arms) => ({ ...dressed(arms), path: '/callback/__proto__' })),
  attack('path with ../', 404, (arms) => ({ ...dressed(arms), path: '/callback/x/../main' })),
  attack('path with an escaped letter', 404, (arms) => ({ ...dressed(arms), path: '/callback/%6dain' })),
  attack('path with an escaped NUL', 404, (arms) => ({ ...dressed(arms), path: '/callback/main%00' })),
];

/** Each must be refused, and cost nothing. */
export const refused: readonly Attack[] = [...algorithms, ...keys, ...shapes, ...spellings(), ...payloads, ...requests];

/** Every other spelling of one token; which there are depends on no token. */
function spellings(): Attack[] {
  return respellings('e30.e30.e30').map(({ name }) =>
    attack(`spelling: ${name}`, 400, (arms) => {
      const spelled = respellings(arms.signer.sign(change(arms))).find((other) => other.name === name);
      if (spelled === undefined) throw new Error(`no spelling ${name}`);
      return spelled.body;
    }),
  );
}

export function manyCertificates(count: number): Record<string, unknown> {
  const ids = Array.from({ length: count }, (_, index) => `absent-${index}`);
  return payloadV4({ instance: primaryCrn, ids });
}

/** Genuine ones that look like attacks, or carry something that must be passed over. 202: looked at; 200: only noted. */
export const accepted: readonly Attack[] = [
  attack('genuine', 202, (arms) => arms.signer.body(change(arms))),
  attack('genuine, kid with a path', 202, (arms) =>
    arms.signer.body(change(arms), { alg: 'RS256', kid: '../../../../etc/passwd' }),
  ),
  attack('genuine, kid as a URL', 202, (arms) =>
    arms.signer.body(change(arms), { alg: 'RS256', kid: `${arms.trapUrl}/k` }),
  ),
  attack(
    'genuine, white space of JSON around it',
    202,
    (arms) => `\r\n\t { "data" \n: "${arms.signer.sign(change(arms))}" } \n`,
  ),
  attack('genuine, another member with a URL', 202, (arms) =>
    JSON.stringify({ data: arms.signer.sign(change(arms)), publicKey: `${arms.trapUrl}/keys` }),
  ),
  attack(
    'genuine, 50,000 brackets beside it',
    202,
    (arms) => `{"data":"${arms.signer.sign(change(arms))}","deep":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
  ),
  attack('genuine, query with another key', 202, (arms) => ({
    ...dressed(arms),
    path: `/callback/main?publicKey=${encodeURIComponent(arms.trapUrl)}`,
  })),
  attack('genuine, a name of control characters', 202, (arms) =>
    arms.signer.body(
      change(arms, {
        certificates: [
          {
            cert_crn: certificateCrn(arms.certificate, primaryCrn),
            name: 'a\0\u001b[2J\r\n{"level":"error"}\u202e\u2028',
          },
        ],
      }),
    ),
  ),
  attack('genuine, certificate_manager_url elsewhere', 202, (arms) =>
    arms.signer.body(change(arms, { certificate_manager_url: `${arms.trapUrl}/api` })),
  ),
  attack('genuine, a member __proto__ in the payload', 202, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace(/^{/, '{"__proto__":{"changes":false,"version":1},')),
  ),
  attack('genuine, instance_crn twice, the last ours', 202, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace(/^{/, `{"instance_crn":"${otherCrn}",`)),
  ),
  attack('genuine, event_type __proto__', 200, (arms) => arms.signer.body(change(arms, { event_type: '__proto__' }))),
  attack('genuine, version 6', 200, (arms) => arms.signer.body(change(arms, { version: 6 }))),
  attack('genuine, a test event', 200, (arms) => arms.signer.body(payloadTest({ instance: primaryCrn }))),
];
