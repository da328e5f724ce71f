import { createHmac, generateKeyPairSync, hash, type KeyObject, sign as signBytes } from 'node:crypto';
import { changedType, changeMessage } from '../../src/sender/change-message.ts';
import { triedAgain } from '../../src/sender/notify.ts';
import { newKeyPair, signingKey } from '../../src/sender/standard-webhook-keys.ts';
import { messageHeaders } from '../../src/sender/standard-webhook-message.ts';
import { makeSigner, payloadV5 } from '../support/notifications.ts';
import { primaryCrn } from './program.ts';

/** Headers as they are sent: one that is there twice has two values. */
export type Headers = Readonly<Record<string, string | readonly string[]>>;

export interface Post {
  readonly headers: Headers;
  readonly body: string | Uint8Array;
  /** Where it is sent, if not to the callback of its own sender. */
  readonly to?: string;
  /** How far the clock of the receiver is ahead, milliseconds. */
  readonly aheadMs?: number;
}

/** What arrives, and the status and code that it is answered with. */
export interface Case {
  readonly what: string;
  readonly post: Post;
  readonly answer: `${number} ${string}`;
}

export interface ProofUnderAttack {
  readonly name: string;
  /** Kind of the service whose sender it is. */
  readonly kind: string;
  /** Links that hear of what it tells. */
  readonly links: number;
  /** The callback of its sender, and what the configuration says of it and of another sender. */
  readonly callback: string;
  readonly senders: string;
  readonly good: () => Post;
  readonly cases: readonly Case[];
  /** What the sender does after a status that is not 2xx: what its own rules say. */
  readonly after: (status: number) => string;
}

const now = Date.now();
const seconds = Math.floor(now / 1_000);
const minutes = (count: number) => count * 60_000;
let messages = 0;
const message = () => {
  messages += 1;
  return changeMessage({ type: changedType, at: now, certificates: [{ id: `c${messages}` }] });
};
const flipped = (text: string, at: number) =>
  `${text.slice(0, at)}${text[at] === 'a' ? 'b' : 'a'}${text.slice(at + 1)}`;
const bytes100K = 'k'.repeat(100_000);
const notGenuine = '401 notification_not_genuine';
const untimely = '503 notification_untimely';
const malformed = '400 notification_malformed';

const byHook = (status: number) => (triedAgain(status) ? 'tries again' : 'gives up, and the hook fails');
/** `curl --fail --retry 5 --retry-all-errors`, as the pages of these senders say. */
const byCurl = () => 'tries again';

function certificateManager(): ProofUnderAttack {
  const signer = makeSigner();
  const stranger = makeSigner();
  let events = 0;
  const payload = () => {
    events += 1;
    return payloadV5({ instance: primaryCrn, ids: ['c1'], eventId: `e${events}` });
  };
  const post = (body: string | Uint8Array, more: Partial<Post> = {}): Post => ({ headers: {}, body, ...more });
  const token = () => signer.sign(payload());
  const dressed = (text: string) => JSON.stringify({ data: text });
  return {
    name: 'Certificate Manager',
    kind: 'certificate-manager',
    links: 2,
    callback: 'main',
    senders: signer.publicKeyPem,
    good: () => post(signer.body(payload())),
    after: (status) => (status >= 500 ? 'tries again' : 'drops it'),
    cases: [
      { what: 'nothing', post: post(''), answer: malformed },
      { what: 'proven by another key', post: post(stranger.body(payload())), answer: notGenuine },
      { what: 'for another sender', post: post(signer.body(payload()), { to: 'other' }), answer: notGenuine },
      {
        what: '100 KB of key id, by another key',
        post: post(stranger.body(payload(), { alg: 'RS256', kid: bytes100K })),
        answer: notGenuine,
      },
      {
        what: 'twice what proves it',
        post: post(`{"data":"${token()}","data":"${token()}"}`),
        answer: malformed,
      },
      { what: 'another spelling', post: post(dressed(`${token()}=`)), answer: malformed },
      { what: 'one byte of the body changed', post: post(dressed(flipped(token(), 40))), answer: notGenuine },
      { what: 'another algorithm', post: post(signer.body(payload(), { alg: 'RS384' })), answer: notGenuine },
    ],
  };
}

function webhook(name: string, signs: string, config: string): ProofUnderAttack {
  const key = signingKey(signs) as KeyObject;
  const signedBy = (by: KeyObject, at = now, more: Partial<Post> = {}): Post => {
    const body = message();
    return { headers: messageHeaders(by, { id: `msg_${messages}`, body, now: at }), body, ...more };
  };
  const good = () => signedBy(key);
  const other = signingKey(newKeyPair().privateKey) as KeyObject;
  const withHeader = (given: string, value: (of: string) => string | readonly string[]): Post => {
    const { headers, body } = good();
    return { body, headers: { ...headers, [given]: value(headers[given] as string) } };
  };
  const [first, changed] = [good(), good()];
  return {
    name: `Standard Webhooks, ${name}`,
    kind: 'standard-webhooks',
    links: 2,
    callback: name,
    senders: config,
    good,
    after: byHook,
    cases: [
      { what: 'nothing', post: { ...first, headers: {} }, answer: malformed },
      { what: 'proven by another key', post: signedBy(other), answer: notGenuine },
      { what: 'for another sender', post: { ...good(), to: 'renewals' }, answer: notGenuine },
      {
        what: 'another key id (a scheme that nobody knows)',
        post: withHeader('webhook-signature', (value) => value.replace(/^v1a?/, 'v9')),
        answer: notGenuine,
      },
      { what: '100 KB of id', post: withHeader('webhook-id', () => bytes100K), answer: '431 ' },
      {
        what: 'twice what proves it',
        post: withHeader('webhook-signature', (value) => [value, value]),
        answer: malformed,
      },
      {
        what: 'another spelling',
        post: withHeader('webhook-signature', (value) => value.replace(/=+$/, '')),
        answer: notGenuine,
      },
      {
        what: 'one byte of the body changed',
        post: { ...changed, body: flipped(String(changed.body), 60) },
        answer: notGenuine,
      },
      {
        what: 'signed with what is public',
        post: withHeader('webhook-signature', () => `v1,${createHmac('sha256', config).update('x').digest('base64')}`),
        answer: notGenuine,
      },
      { what: 'old', post: signedBy(key, now - minutes(6)), answer: untimely },
      { what: 'of the future', post: signedBy(key, now + minutes(6)), answer: untimely },
      { what: 'our own clock an hour ahead', post: { ...good(), aheadMs: minutes(60) }, answer: untimely },
    ],
  };
}

/** A secret in a header, beside a body that this sender makes. */
function sharedSecret(
  given: Pick<ProofUnderAttack, 'name' | 'kind' | 'callback' | 'after'>,
  secret: string,
  message: () => string,
): ProofUnderAttack {
  const digest = hash('sha256', secret);
  const bearing = (authorization: string | readonly string[], more: Partial<Post> = {}): Post => ({
    headers: { authorization },
    body: message(),
    ...more,
  });
  const good = () => bearing(`Bearer ${secret}`);
  return {
    ...given,
    links: 2,
    senders: digest,
    good,
    cases: [
      { what: 'nothing', post: { headers: {}, body: message() }, answer: notGenuine },
      { what: 'proven by another key', post: bearing(`Bearer ${flipped(secret, 3)}`), answer: notGenuine },
      { what: 'for another sender', post: { ...good(), to: 'ci' }, answer: notGenuine },
      { what: '100 KB of secret', post: bearing(`Bearer ${bytes100K}`), answer: '431 ' },
      { what: '10 KB of secret', post: bearing(`Bearer ${bytes100K.slice(0, 10_000)}`), answer: notGenuine },
      { what: 'twice what proves it', post: bearing([`Bearer ${secret}`, `Bearer ${secret}`]), answer: notGenuine },
      { what: 'another spelling', post: bearing(`Bearer ${secret.toUpperCase()}`), answer: notGenuine },
      { what: 'what is public of it', post: bearing(`Bearer ${digest}`), answer: notGenuine },
    ],
  };
}

function bearerToken(jwks: string): ProofUnderAttack & { readonly publicKey: KeyObject } {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const claims = { iss: 'https://issuer.example', aud: 'here', sub: 'job', iat: seconds, exp: seconds + 300 };
  const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const tokenOf = (more: object = {}, header: object = {}, by: KeyObject = pair.privateKey) => {
    const input = `${base64url({ alg: 'RS256', kid: 'k1', ...header })}.${base64url({ ...claims, ...more })}`;
    return `${input}.${signBytes('RSA-SHA256', Buffer.from(input), by).toString('base64url')}`;
  };
  const bearing = (token: string | readonly string[], more: Partial<Post> = {}): Post => ({
    headers: { authorization: typeof token === 'string' ? `Bearer ${token}` : token.map((one) => `Bearer ${one}`) },
    body: message(),
    ...more,
  });
  const good = () => bearing(tokenOf());
  const hmacOfPublic = () => {
    const input = `${base64url({ alg: 'HS256', kid: 'k1' })}.${base64url(claims)}`;
    const pem = pair.publicKey.export({ type: 'spki', format: 'pem' });
    return `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`;
  };
  return {
    name: 'a token of OpenID Connect',
    kind: 'oidc-token',
    links: 2,
    callback: 'ci',
    senders: jwks,
    publicKey: pair.publicKey,
    good,
    after: byCurl,
    cases: [
      { what: 'nothing', post: { headers: {}, body: message() }, answer: notGenuine },
      { what: 'proven by another key', post: bearing(tokenOf({}, {}, stranger.privateKey)), answer: notGenuine },
      { what: 'for another sender', post: { ...good(), to: 'ci2' }, answer: notGenuine },
      { what: 'another key id', post: bearing(tokenOf({}, { kid: 'k2' })), answer: '503 notification_key_unknown' },
      { what: '100 KB of key id', post: bearing(tokenOf({}, { kid: bytes100K })), answer: '431 ' },
      { what: '7 KB of key id', post: bearing(tokenOf({}, { kid: bytes100K.slice(0, 7_000) })), answer: notGenuine },
      { what: 'twice what proves it', post: bearing([tokenOf(), tokenOf()]), answer: notGenuine },
      { what: 'another spelling', post: bearing(`${tokenOf()}=`), answer: notGenuine },
      { what: 'signed with what is public', post: bearing(hmacOfPublic()), answer: notGenuine },
      {
        what: 'a key of its own in the header',
        post: bearing(tokenOf({}, { jku: `${jwks}/mine` })),
        answer: notGenuine,
      },
      { what: 'old', post: bearing(tokenOf({ iat: seconds - 900, exp: seconds - 400 })), answer: untimely },
      { what: 'of the future', post: bearing(tokenOf({ nbf: seconds + 400 })), answer: untimely },
      { what: 'our own clock an hour ahead', post: { ...good(), aheadMs: minutes(60) }, answer: untimely },
      { what: 'of another issuer', post: bearing(tokenOf({ iss: 'https://other.example' })), answer: notGenuine },
    ],
  };
}

let records = 0;
/** A write as the audit device of an OpenBao tells of it. */
const auditRecord = () => {
  records += 1;
  const request = { id: `r${records}`, operation: 'update', mount_type: 'kv', path: `secret/data/c${records}` };
  return JSON.stringify({ type: 'response', time: new Date(now).toISOString(), request });
};

const awsAccount = '123456789012';
/** A secret that got another version, as Amazon EventBridge tells of it. */
const envelope = () => {
  records += 1;
  const arn = `arn:aws:secretsmanager:eu-west-1:${awsAccount}:secret:certs/c${records}-Ab12Cd`;
  return JSON.stringify({
    version: '0',
    id: `7d5a1f0e-6a52-4b0c-9a39-${String(records).padStart(12, '0')}`,
    ...{ account: awsAccount, time: new Date(now).toISOString(), region: 'eu-west-1', resources: [arn] },
    ...{ 'detail-type': 'Secret Label Updated', source: 'aws.secretsmanager' },
    detail: {
      name: `certs/c${records}`,
      labelUpdated: 'AWSCURRENT',
      versionId: '5f0c7d1e-0000-4000-8000-000000000002',
    },
  });
};
/** Amazon EventBridge: for a day, with growing pauses. */
const byEventBridge = (status: number) =>
  status >= 500 || [401, 407, 409, 429].includes(status) ? 'tries again' : 'drops it';

const secretsManagerCrn =
  'crn:v1:bluemix:public:secrets-manager:eu-de:a/00000000000000000000000000000001:11111111-2222-4333-8444-555555555555::';

function eventNotifications(): ProofUnderAttack & { readonly publicKey: KeyObject } {
  const signer = makeSigner();
  const stranger = makeSigner();
  let events = 0;
  const payload = (more: object = {}) => {
    events += 1;
    const secret = { secret_id: `aaaaaaaa-0000-4000-8000-${String(events).padStart(12, '0')}` };
    const data = { event_type: 'secret_rotated', source_instance_crn: secretsManagerCrn, secrets: [secret] };
    return { id: `n${events}`, notification_id: `n${events}`, data, ...more };
  };
  const post = (body: string | Uint8Array, more: Partial<Post> = {}): Post => ({ headers: {}, body, ...more });
  const token = (more: object = {}) => signer.sign(payload(more), { alg: 'RS256', typ: 'JWT' });
  const dressed = (text: string) => JSON.stringify({ data: text });
  return {
    name: 'Event Notifications',
    kind: 'event-notifications',
    links: 1,
    callback: 'events',
    senders: '',
    publicKey: signer.publicKey,
    good: () => post(dressed(token())),
    // Which statuses make it try again, nobody says for sure; `Retry-After` is honoured.
    after: (status) => (status >= 500 ? 'tries again' : 'drops it'),
    cases: [
      { what: 'nothing', post: post(''), answer: malformed },
      { what: 'not signed', post: post(JSON.stringify({ data: payload() })), answer: malformed },
      { what: 'proven by another key', post: post(stranger.body(payload())), answer: notGenuine },
      { what: 'for another sender', post: post(dressed(token()), { to: 'main' }), answer: notGenuine },
      {
        what: '100 KB of key id, by another key',
        post: post(stranger.body(payload(), { alg: 'RS256', kid: bytes100K })),
        answer: notGenuine,
      },
      { what: 'twice what proves it', post: post(`{"data":"${token()}","data":"${token()}"}`), answer: malformed },
      { what: 'another spelling', post: post(dressed(`${token()}=`)), answer: malformed },
      { what: 'one byte of the body changed', post: post(dressed(flipped(token(), 45))), answer: notGenuine },
      { what: 'another algorithm', post: post(signer.body(payload(), { alg: 'RS384' })), answer: notGenuine },
      { what: 'old', post: post(dressed(token({ exp: seconds - 400 }))), answer: untimely },
      { what: 'of the future', post: post(dressed(token({ iat: seconds + 400 }))), answer: untimely },
    ],
  };
}

/** Every proof, each with its own attacks. `address` serves, and counts, whatever is asked. */
export function proofsUnderAttack(address: string) {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const pair = newKeyPair();
  const manager = certificateManager();
  const token = bearerToken(`${address}/jwks`);
  const events = eventNotifications();
  const proofs: readonly ProofUnderAttack[] = [
    manager,
    webhook('hmac', secret, secret),
    webhook('ed25519', pair.privateKey, pair.publicKey),
    sharedSecret(
      { name: 'a shared secret', kind: 'shared-secret', callback: 'renewals', after: byCurl },
      'a-secret-of-some-thirty-letters',
      message,
    ),
    // A record that is refused is not sent again: the next reconcile finds what it told of.
    sharedSecret(
      { name: 'an audit device of an OpenBao', kind: 'openbao-audit', callback: 'audit', after: () => 'drops it' },
      'another-secret-of-thirty-letters',
      auditRecord,
    ),
    sharedSecret(
      { name: 'Amazon EventBridge', kind: 'eventbridge', callback: 'bus', after: byEventBridge },
      'a-key-of-an-api-destination-of-ours',
      envelope,
    ),
    token,
    events,
  ];
  const [digest, auditDigest, busDigest] = proofs
    .filter(({ cases }) => cases.some(({ what }) => what === '10 KB of secret'))
    .map(({ senders }) => senders);
  const text = `version: 1
stores:
  live: { kind: certificate-manager, instance: "${primaryCrn}", apiKey: env:KEY, endpoint: "${address}", iam: "${address}" }
  copies: { kind: directory, path: copies, id: copies }
  more: { kind: directory, path: more, id: more }
  vault: { kind: secrets-manager, instance: "${secretsManagerCrn}", apiKey: env:KEY, endpoint: "${address}", iam: "${address}" }
  bao: { kind: vault, address: "${address}", token: env:KEY }
links:
  bao: { primary: bao, backups: [copies] }
  bao2: { primary: bao, backups: [more] }
  main: { primary: live, backups: [copies], verificationKey: "file:main.pem" }
  other: { primary: live, backups: [more], verificationKey: "file:other.pem" }
  secrets: { primary: vault, backups: [copies] }
senders:
  hmac: { kind: standard-webhooks, store: live, secret: env:SECRET }
  ed25519: { kind: standard-webhooks, store: live, publicKey: ${pair.publicKey} }
  renewals: { kind: shared-secret, store: live, digest: ${digest} }
  ci: { kind: oidc-token, store: live, issuer: "https://issuer.example", jwks: "${address}/jwks", audience: here, bearer: { sub: job } }
  ci2: { kind: oidc-token, store: live, issuer: "https://issuer.example", jwks: "${address}/jwks", audience: there, bearer: { sub: job } }
  audit: { kind: openbao-audit, store: bao, digest: ${auditDigest} }
  bus: { kind: eventbridge, store: live, of: secretsmanager, region: eu-west-1, account: "${awsAccount}", header: Authorization, digest: ${busDigest} }
  events: { kind: event-notifications, store: vault, source: "${secretsManagerCrn}", instance: "${secretsManagerCrn.replace('secrets-manager', 'event-notifications')}", destination: d1, apiKey: env:KEY, endpoint: "${address}", iam: "${address}" }
`;
  const files: Readonly<Record<string, string>> = {
    'main.pem': manager.senders,
    'other.pem': makeSigner().publicKeyPem,
  };
  const readFile = (path: string) => files[path.split('/').at(-1) ?? ''] ?? '';
  return {
    proofs,
    text,
    env: { KEY: 'key', SECRET: secret },
    readFile,
    publicKey: token.publicKey,
    eventsKey: events.publicKey,
  };
}
