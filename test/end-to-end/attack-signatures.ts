import { constants, createHmac, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { base64url, bodyOf, type Signer } from '../support/notifications.ts';
import { type Arms, type Attack, attack, change, otherCrn } from './attack.ts';

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

/**
 * A header as the attacker wants it, over a genuine change, signed by the genuine key: only its
 * header is wrong.
 */
const byHeader = (name: string, header: (arms: Arms) => unknown): Attack =>
  attack(`genuine signature, ${name}`, 401, (arms) => arms.signer.body(change(arms), header(arms)));

/** The attacker's own signature, and a header that would have his key used. */
const byOwnKey = (name: string, header: (arms: Arms) => object): Attack =>
  attack(`signature of another key, ${name}`, 401, (arms) =>
    arms.stranger.body(change(arms), { alg: 'RS256', ...header(arms) }),
  );

const jwkOf = (signer: Signer) => signer.publicKey.export({ format: 'jwk' });
const ecKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
/** Signatures that are none, or of another algorithm. */
export const algorithms: readonly Attack[] = [
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

/** Headers that bring a key, say where one is, or change what the bytes mean. */
export const keys: readonly Attack[] = [
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
