import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import type { SendToService } from '../../ibm-cloud/iam-service.ts';
import type { Runtime } from '../../runtime.ts';
import { callsOf } from './service-calls.ts';

const groupSchema = z.object({ id: z.string(), name: z.string() });
const groupsSchema = z.object({ secret_groups: z.array(groupSchema) });

/** The group that every instance has: its name is its id. */
const standard = 'default';
/** A name that was read is believed so long: somebody may give a group another one. */
const believedMs = 60_000;

type Signal = AbortSignal | undefined;

/** The secret groups of an instance, asked for when they are wanted. All throw coded errors. */
export interface SecretGroups {
  /**
   * The id of the group of this name, made where that is allowed. Throws `store_refused` where it
   * is missing.
   */
  idOf(name: string, signal: Signal): Promise<string>;
  /** What the group of this id is called; `undefined`: it is the one that every instance has. */
  nameOf(id: string, signal: Signal): Promise<string | undefined>;
}

export function secretGroupsOf(asked: {
  readonly make: boolean;
  readonly instance: string;
  readonly send: SendToService;
  readonly runtime: Pick<Runtime, 'now'>;
}): SecretGroups {
  const { make, instance, send, runtime } = asked;
  const { reads, writes } = callsOf(instance);
  let known: { readonly names: Map<string, string>; readonly readAt: number } | undefined;
  let reading: Promise<ReadonlyMap<string, string>> | undefined;

  /** Names by id, as they are now. Those who ask at once share one answer. */
  function read(signal: Signal): Promise<ReadonlyMap<string, string>> {
    reading ??= readOnce(signal).finally(() => {
      reading = undefined;
    });
    return reading;
  }

  async function readOnce(signal: Signal): Promise<ReadonlyMap<string, string>> {
    const readAt = runtime.now();
    const call = reads('list secret groups');
    const answer = await send(call, { method: 'GET', path: '/secret_groups', signal });
    const { data } = z.safeParse(groupsSchema, parseJson(answer.text));
    if (data === undefined) throw nonsenseError(call, answer, 'something that is no list of secret groups');
    const names = new Map(data.secret_groups.map((group) => [group.id, group.name]));
    known = { names, readAt };
    return names;
  }

  /** Names that were read a moment ago. */
  const fresh = (): ReadonlyMap<string, string> =>
    known !== undefined && runtime.now() - known.readAt < believedMs ? known.names : new Map();

  async function create(name: string, signal: Signal): Promise<string> {
    const call = writes('make a secret group');
    const body = () => ({ name, description: 'copies that certstandby makes' });
    const answer = await send(call, { method: 'POST', path: '/secret_groups', body, signal });
    const { data } = z.safeParse(groupSchema, parseJson(answer.text));
    if (data === undefined) throw nonsenseError(call, answer, 'something that is no secret group');
    return data.id;
  }

  return {
    async idOf(name, signal) {
      if (name === standard) return standard;
      const idIn = (names: ReadonlyMap<string, string>) => [...names].find(([, called]) => called === name)?.[0];
      const there = idIn(fresh()) ?? idIn(await read(signal));
      if (there !== undefined) return there;
      if (make) {
        const id = await create(name, signal);
        known?.names.set(id, name);
        return id;
      }
      throw new CodedError('store_refused', `import at ${instance}: there is no secret group ${name}`, {
        fields: { store: instance, reason: 'no_group', group: name },
        remedies: {
          no_group: `Make the secret group ${name} in this instance, or set makeGroup: true for this store, or name another group.`,
        },
      });
    },

    async nameOf(id, signal) {
      if (id === standard) return undefined;
      const name = fresh().get(id) ?? (await read(signal)).get(id);
      if (name !== undefined) return name;
      throw new CodedError(
        'store_content_unreadable',
        `list secret groups at ${instance}: the group ${id} is not shown`,
        {
          fields: { store: instance, reason: 'hidden_group', group: id },
          remedies: {
            hidden_group:
              'Let whoever asks see all secret groups of this instance (service role Reader on all of it), or leave carryGroups out: what a group is called is not known else.',
          },
        },
      );
    },
  };
}
