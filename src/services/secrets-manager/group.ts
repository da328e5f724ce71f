import * as z from 'zod/mini';
import { asCodedError, CodedError } from '../../errors.ts';
import { nonsenseError, parseJson, type ServiceCall, unansweredError } from '../../http/service-failure.ts';
import type { SendToService } from '../../ibm-cloud/iam-service.ts';
import { type Runtime, unlessAborted } from '../../runtime.ts';
import { callsOf } from './service-calls.ts';

const groupSchema = z.object({ id: z.string(), name: z.string() });
const groupsSchema = z.object({ secret_groups: z.array(groupSchema) });

/** The group that every instance has: its name is its id. */
const standard = 'default';
/** A name that was read is believed so long: somebody may give a group another one. */
const believedMs = 60_000;
/** So long a list is believed that does not have a group: each secret of a hidden one would ask. */
const lackBelievedMs = 5_000;

type Signal = AbortSignal | undefined;

/**
 * The secret groups of an instance, asked for when they are wanted. All throw coded errors, and
 * none that speaks of a secret: neither `store_gone` nor `store_conflict`.
 */
export interface SecretGroups {
  /**
   * The id of the group of this name, made where that is allowed. Throws `store_refused` where it
   * is missing, or is there and not shown.
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
  const { instance, send, runtime } = asked;
  const { reads, writes } = callsOf(instance);
  const listing = aboutGroups(reads('list secret groups'));
  const creation = aboutGroups(writes('make a secret group'));
  let known: { readonly names: Map<string, string>; readonly readAt: number } | undefined;
  let reading: Promise<ReadonlyMap<string, string>> | undefined;
  const making = new Map<string, Promise<string>>();

  /** Names by id, as they are now. Those who ask at once share one answer. */
  function read(signal: Signal): Promise<ReadonlyMap<string, string>> {
    reading ??= readOnce().finally(() => {
      reading = undefined;
    });
    return within(signal, listing, reading);
  }

  async function readOnce(): Promise<ReadonlyMap<string, string>> {
    const readAt = runtime.now();
    const answer = await send(listing, { method: 'GET', path: '/secret_groups', signal: undefined });
    const { data } = z.safeParse(groupsSchema, parseJson(answer.text));
    if (data === undefined) throw nonsenseError(listing, answer, 'something that is no list of secret groups');
    const names = new Map(data.secret_groups.map((group) => [group.id, group.name]));
    known = { names, readAt };
    return names;
  }

  /** Names that were read no longer ago than this. */
  const readWithin = (ms: number): ReadonlyMap<string, string> | undefined =>
    known !== undefined && runtime.now() - known.readAt < ms ? known.names : undefined;

  /** The id of the group of this name, which was not there a moment ago. One making for all. */
  function make(name: string, signal: Signal): Promise<string> {
    const made =
      making.get(name) ??
      makeOnce(name).finally(() => {
        making.delete(name);
      });
    making.set(name, made);
    return within(signal, creation, made);
  }

  async function makeOnce(name: string): Promise<string> {
    // By whoever was faster since the list was read.
    const there = idIn(readWithin(believedMs), name);
    if (there !== undefined) return there;
    try {
      const id = await create(name);
      known?.names.set(id, name);
      return id;
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'store_conflict') throw thrown;
      const made = idIn(await read(undefined), name);
      if (made !== undefined) return made;
      throw new CodedError('store_refused', `import at ${instance}: the secret group ${name} is there, and not shown`, {
        cause: thrown,
        fields: { store: instance, reason: 'hidden_group', group: name },
        remedies: { hidden_group: `${letSee}, or name another group.` },
      });
    }
  }

  async function create(name: string): Promise<string> {
    const body = () => ({ name, description: 'copies that certstandby makes' });
    const answer = await send(creation, { method: 'POST', path: '/secret_groups', body, signal: undefined });
    const { data } = z.safeParse(groupSchema, parseJson(answer.text));
    if (data === undefined) throw nonsenseError(creation, answer, 'something that is no secret group');
    return data.id;
  }

  return {
    async idOf(name, signal) {
      if (name === standard) return standard;
      const there = idIn(readWithin(believedMs), name) ?? idIn(await read(signal), name);
      if (there !== undefined) return there;
      if (asked.make) return make(name, signal);
      throw new CodedError('store_refused', `import at ${instance}: there is no secret group ${name}`, {
        fields: { store: instance, reason: 'no_group', group: name },
        remedies: {
          no_group: `Make the secret group ${name} in this instance, or set makeGroup: true for this store, or name another group.`,
        },
      });
    },

    async nameOf(id, signal) {
      if (id === standard) return undefined;
      const name = readWithin(believedMs)?.get(id) ?? (readWithin(lackBelievedMs) ?? (await read(signal))).get(id);
      if (name !== undefined) return name;
      throw new CodedError(
        'store_content_unreadable',
        `list secret groups at ${instance}: the group ${id} is not shown`,
        {
          fields: { store: instance, reason: 'hidden_group', group: id },
          remedies: {
            hidden_group: `${letSee}, or leave carryGroups out: what a group is called is not known else.`,
          },
        },
      );
    },
  };
}

const letSee = 'Let whoever asks see all secret groups of this instance (service role Reader on all of it)';

const idIn = (names: ReadonlyMap<string, string> | undefined, name: string): string | undefined =>
  [...(names ?? [])].find(([, called]) => called === name)?.[0];

/** That something about groups is not there says nothing of a secret. */
function aboutGroups(call: ServiceCall): ServiceCall {
  return {
    ...call,
    means: (answer, said) => (answer.status === 404 ? 'store_nonsense' : call.means?.(answer, said)),
  };
}

/** What several wait for, as long as this one may: it goes on for the others. */
async function within<T>(signal: Signal, call: ServiceCall, work: Promise<T>): Promise<T> {
  try {
    return await unlessAborted(signal, work);
  } catch (thrown) {
    if (thrown instanceof CodedError || signal?.aborted !== true) throw thrown;
    throw unansweredError(call, { failure: 'ended', sent: true, cause: thrown });
  }
}
