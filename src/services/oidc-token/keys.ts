import { createPublicKey, type JsonWebKey } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { httpClient } from '../../http/client.ts';
import { pinVerificationKey } from '../../sender/jws.ts';
import type { FetchedKey, KeysContext } from '../service.ts';
import type { OidcTokenConfig } from './settings.ts';

const setSchema = z.object({ keys: z.array(z.unknown()) });
/** What is read of a key of a set (RFC 7517, 4). */
const keySchema = z.object({
  kty: z.literal('RSA'),
  kid: z.string().check(z.minLength(1), z.maxLength(256)),
  use: z.optional(z.literal('sig')),
  alg: z.optional(z.literal('RS256')),
  n: z.string(),
  e: z.string(),
});

type ServedKey = Omit<FetchedKey, 'from'>;

const requestTimeoutMs = 10_000;
const answerBytes = 256 * 1024;

/**
 * The keys that the issuer serves now: RSA of at least 2,048 bits, for RS256, with an id. Others of
 * the set are passed over, each by itself. Throws `store_unavailable`, and `store_nonsense` for an
 * answer that is no set, or has none that may verify.
 */
export async function fetchKeys(
  { name, jwks }: OidcTokenConfig,
  { runtime }: KeysContext,
): Promise<readonly FetchedKey[]> {
  const client = httpClient({ runtime, requestTimeoutMs, answerBytes });
  const outcome = await client({ method: 'GET', url: jwks, headers: { accept: 'application/json' } });
  const fields = { sender: name, address: jwks };
  if (!('answer' in outcome)) {
    const reason = 'cause' in outcome && outcome.cause instanceof Error ? outcome.cause : undefined;
    throw new CodedError('store_unavailable', `the keys of the sender ${name} cannot be fetched from ${jwks}`, {
      cause: reason,
      fields: { ...fields, reason: (reason as NodeJS.ErrnoException | undefined)?.code ?? outcome.failure },
    });
  }
  const { status, text } = outcome.answer;
  // A redirect is followed nowhere: what is pinned is this address.
  if (status !== 200)
    throw new CodedError('store_unavailable', `the keys of the sender ${name}: ${jwks} answered ${status}`, {
      fields: { ...fields, status },
    });
  const keys = keysIn(text)?.map((key) => ({ ...key, from: jwks }));
  if (keys !== undefined && keys.length > 0) return keys;
  const found = keys === undefined ? 'no set of keys' : 'no RSA key of 2048 bits or more for RS256 among its keys';
  throw new CodedError('store_nonsense', `the keys of the sender ${name}: ${jwks} answered ${found}`, { fields });
}

function keysIn(text: string): readonly ServedKey[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const set = setSchema.safeParse(value);
  return set.success ? set.data.keys.flatMap(keyOf) : undefined;
}

function keyOf(value: unknown): readonly ServedKey[] {
  const read = keySchema.safeParse(value);
  if (!read.success) return [];
  const { kid, kty, n, e } = read.data;
  try {
    const key = createPublicKey({ key: { kty, n, e } satisfies JsonWebKey, format: 'jwk' });
    const pem = String(key.export({ type: 'spki', format: 'pem' }));
    pinVerificationKey(pem);
    return [{ id: kid, pem }];
  } catch {
    return [];
  }
}
