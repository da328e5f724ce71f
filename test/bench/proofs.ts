import { createHmac, generateKeyPairSync, hash, randomBytes, sign, timingSafeEqual, verify } from 'node:crypto';
import { Secret } from '../../src/secret.ts';
import { changedType, changeMessage } from '../../src/sender/change-message.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import type { Sender, VerificationKeys } from '../../src/sender/sender.ts';
import { newKeyPair, publicKey as publicKeyOf, signingKey } from '../../src/sender/standard-webhook-keys.ts';
import { messageHeaders, signedContent } from '../../src/sender/standard-webhook-message.ts';
import { senderOf as tokenSenderOf } from '../../src/services/oidc-token/sender.ts';
import { senderOf as secretSenderOf } from '../../src/services/shared-secret/sender.ts';
import { senderOf as webhookSenderOf } from '../../src/services/standard-webhooks/sender.ts';
import type { Report } from './report.ts';
import { inTurn, microseconds, ratioOf } from './verify.ts';

/** A request that is proven one way, and the one operation that nobody can do without. */
interface Proof {
  readonly name: string;
  readonly sender: Sender;
  readonly keys: VerificationKeys;
  readonly headers: Readonly<Record<string, string>>;
  readonly bare: () => boolean;
}

/**
 * What it costs to get from a request of each kind of sender to its event, against the bare
 * cryptography of its proof. Without targets: a hash takes no longer than the JSON beside it.
 */
export function measureProofs(report: Report): void {
  report.heading('From a request of a sender to its event, microseconds (median), against the bare cryptography');
  const now = Date.now();
  const text = changeMessage({ type: changedType, at: now, certificates: [{ name: 'www.example.com' }] });
  const body = Buffer.from(text);
  for (const { name, sender, keys, headers, bare } of [
    webhookProof('hmac-sha256', `whsec_${randomBytes(32).toString('base64')}`, { text, now }),
    webhookProof('ed25519', newKeyPair(), { text, now }),
    secretProof(),
    tokenProof(now),
  ]) {
    const request = { header: (wanted: string) => headers[wanted.toLowerCase()], body };
    const ours = () => {
      const received = sender.receive(request, keys, now);
      return 'events' in received && received.events.length === 1;
    };
    const times = inTurn(bare, ours);
    const result = `${microseconds(times.oursMs)} against ${microseconds(times.bareMs)}`;
    report.line(name, result, { value: ratioOf(times) });
  }
}

function webhookProof(
  name: string,
  given: string | ReturnType<typeof newKeyPair>,
  { text, now }: { readonly text: string; readonly now: number },
): Proof {
  const [signs, config] =
    typeof given === 'string'
      ? [given, { secret: new Secret(given) }]
      : [given.privateKey, { publicKey: given.publicKey }];
  const sender = webhookSenderOf({ kind: 'standard-webhooks', name: 'hook', store: 'site', ...config });
  const key = signingKey(signs);
  const checks = typeof given === 'string' ? key : publicKeyOf(given.publicKey);
  if (key === undefined || checks === undefined) throw new Error('a new key is none');
  const headers = messageHeaders(key, { id: 'msg_1', body: text, now });
  const content = signedContent('msg_1', headers['webhook-timestamp'] ?? '', Buffer.from(text));
  const signature = Buffer.from(headers['webhook-signature']?.split(',')[1] ?? '', 'base64');
  const bare =
    checks.type === 'secret'
      ? () => timingSafeEqual(createHmac('sha256', checks).update(content).digest(), signature)
      : () => verify(null, content, checks, signature);
  return { name: `Standard Webhooks, ${name}`, sender, keys: sender.keys ?? new Map(), headers, bare };
}

function secretProof(): Proof {
  const secret = randomBytes(32).toString('base64');
  const digest = hash('sha256', secret);
  const sender = secretSenderOf({ kind: 'shared-secret', name: 'hook', store: 'site', digest });
  const known = Buffer.from(digest, 'hex');
  const bare = () => timingSafeEqual(hash('sha256', secret, 'buffer'), known);
  const headers = { authorization: `Bearer ${secret}` };
  return { name: 'a shared secret, sha-256', sender, keys: sender.keys ?? new Map(), headers, bare };
}

function tokenProof(now: number): Proof {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = pinVerificationKey(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString());
  const rules = {
    issuer: 'https://issuer.example.com',
    audience: 'https://standby.example.com',
    bearer: { sub: 'ci' },
  };
  const jwks = 'https://issuer.example.com/keys';
  const sender = tokenSenderOf({ kind: 'oidc-token', name: 'ci', store: 'site', jwks, ...rules });
  const claims = { iss: rules.issuer, aud: rules.audience, sub: 'ci', exp: Math.floor(now / 1_000) + 300 };
  const parts = [{ alg: 'RS256', typ: 'JWT', kid: 'key-1' }, claims];
  const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const signature = sign('RSA-SHA256', Buffer.from(input), pair.privateKey);
  const content = Buffer.from(input);
  return {
    name: 'a token of OpenID Connect, RS256',
    sender,
    keys: new Map([['key-1', key]]),
    headers: { authorization: `Bearer ${input}.${signature.toString('base64url')}` },
    bare: () => verify('RSA-SHA256', content, key, signature),
  };
}
