import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { nonsenseError, parseJson, type ServiceCall } from '../../http/service-failure.ts';
import { trustedProfile } from '../../ibm-cloud/compute-token.ts';
import { iamService } from '../../ibm-cloud/iam-service.ts';
import { Secret } from '../../secret.ts';
import { pinVerificationKey } from '../../sender/jws.ts';
import type { FetchedKey, KeysContext } from '../service.ts';
import { destinationOf } from './address.ts';
import type { EventNotificationsConfig } from './settings.ts';

const keySchema = z.object({ public_key: z.string() });
const requestTimeoutMs = 10_000;

/**
 * The key with which the destination signs now (action `event-notifications.publickey.read`; the
 * route is in IBM's table of actions, and in none of its SDKs). Throws what the exchange for a
 * token throws, what a failure of the service means, and `store_nonsense` for an answer without a
 * key that may verify.
 */
export async function fetchKeys(
  config: EventNotificationsConfig,
  { runtime }: KeysContext,
): Promise<readonly FetchedKey[]> {
  const { name, apiKey, profile, computeToken, iam } = config;
  const { base, path, publicKey } = destinationOf(config);
  const setting = `senders.${name}`;
  const send = iamService({
    ...{ base, runtime, requestTimeoutMs, apiKeySetting: `${setting}.apiKey` },
    apiKey: apiKey instanceof Secret ? apiKey : trustedProfile(profile ?? '', computeToken),
    ...defined({ iamUrl: iam }),
  });
  const rights = `Give whoever asks (${setting}.${apiKey === undefined ? 'profile' : 'apiKey'}) the role Reader, or above, on the Event Notifications instance.`;
  const gone = `There is no destination ${config.destination} in that instance: correct ${setting}.destination and ${setting}.instance.`;
  const call: ServiceCall = {
    store: config.instance,
    operation: `fetch the key of the sender ${name}`,
    writes: false,
    remedies: { store_unauthorized: { 401: rights, 403: rights }, store_refused: { 404: gone } },
  };
  const answer = await send(call, { method: 'GET', path, signal: undefined });
  const { data } = z.safeParse(keySchema, parseJson(answer.text));
  const pem = data?.public_key ?? '';
  try {
    pinVerificationKey(pem);
  } catch {
    throw nonsenseError(call, answer, 'something that is no RSA public key of 2048 bits or more');
  }
  return [{ id: hash('sha256', pem.trim()).slice(0, 16), pem, from: publicKey }];
}
