import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { nonsenseError, parseJson, type ServiceCall } from '../../http/service-failure.ts';
import { pinVerificationKey } from '../../sender/jws.ts';
import type { FetchedKey, KeysContext } from '../service.ts';
import { addressOf } from './address.ts';
import { callOf, sendOf } from './calls.ts';
import type { EventNotificationsConfig } from './settings.ts';

const keySchema = z.object({ public_key: z.string() });

/**
 * The key with which the destination signs now (action `event-notifications.publickey.read`; the
 * route is in IBM's table of actions, and in none of its SDKs). Throws what the exchange for a
 * token throws, what a failure of the service means, `store_nonsense` for an answer without a key
 * that may verify, and `channel_missing` while no destination is said.
 */
export async function fetchKeys(
  config: EventNotificationsConfig,
  { runtime }: KeysContext,
): Promise<readonly FetchedKey[]> {
  const { name, destination, instance } = config;
  const setting = `senders.${name}`;
  if (destination === undefined)
    throw new CodedError('channel_missing', `the sender ${name} has no destination yet, so that nobody has a key`, {
      fields: {
        remedy: `certstandby doctor --register https://PUBLIC-ADDRESS makes a destination, and says its id: write that as ${setting}.destination.`,
      },
    });
  const known = callOf(config, `fetch the key of the sender ${name}`, false);
  const gone = `There is no destination ${destination} in that instance: correct ${setting}.destination and ${setting}.instance.`;
  const call: ServiceCall = {
    ...{ ...known, store: instance },
    remedies: { ...known.remedies, store_refused: { ...known.remedies?.store_refused, 404: gone } },
  };
  const { keyPath: path, keyFrom: from } = addressOf(config);
  const answer = await sendOf(config, runtime)(call, { method: 'GET', path, signal: undefined });
  const { data } = z.safeParse(keySchema, parseJson(answer.text));
  const pem = data?.public_key ?? '';
  try {
    pinVerificationKey(pem);
  } catch {
    throw nonsenseError(call, answer, 'something that is no RSA public key of 2048 bits or more');
  }
  return [{ id: hash('sha256', pem.trim()).slice(0, 16), pem, from }];
}
