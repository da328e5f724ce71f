import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import type { SendToService } from '../../ibm-cloud/iam-service.ts';
import { callsOf } from './service-calls.ts';

const groupSchema = z.object({ id: z.string(), name: z.string() });
const groupsSchema = z.object({ secret_groups: z.array(groupSchema) });

/** The group that every instance has: its name is its id. */
const standard = 'default';

/**
 * The id of the group in which copies are made, found by its name once, and made where that is
 * allowed. Throws `store_refused` where it is missing.
 */
export function secretGroupOf(asked: {
  readonly name: string;
  readonly make: boolean;
  readonly instance: string;
  readonly send: SendToService;
}): (signal: AbortSignal | undefined) => Promise<string> {
  const { name, make, instance, send } = asked;
  const { reads, writes } = callsOf(instance);
  let known: string | undefined;

  async function find(signal: AbortSignal | undefined): Promise<string | undefined> {
    const call = reads('list secret groups');
    const answer = await send(call, { method: 'GET', path: '/secret_groups', signal });
    const { data } = z.safeParse(groupsSchema, parseJson(answer.text));
    if (data === undefined) throw nonsenseError(call, answer, 'something that is no list of secret groups');
    return data.secret_groups.find((group) => group.name === name)?.id;
  }

  async function create(signal: AbortSignal | undefined): Promise<string> {
    const call = writes('make a secret group');
    const body = () => ({ name, description: 'copies that certstandby makes' });
    const answer = await send(call, { method: 'POST', path: '/secret_groups', body, signal });
    const { data } = z.safeParse(groupSchema, parseJson(answer.text));
    if (data === undefined) throw nonsenseError(call, answer, 'something that is no secret group');
    return data.id;
  }

  return async (signal) => {
    if (name === standard) return standard;
    known ??= (await find(signal)) ?? (make ? await create(signal) : undefined);
    if (known !== undefined) return known;
    throw new CodedError('store_refused', `import at ${instance}: there is no secret group ${name}`, {
      fields: { store: instance, reason: 'no_group', group: name },
      remedies: {
        no_group: `Make the secret group ${name} in this instance, or set makeGroup: true for this store, or name another group.`,
      },
    });
  };
}
