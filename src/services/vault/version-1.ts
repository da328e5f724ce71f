import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import type { VaultSend } from './client.ts';
import { isOurs } from './custom-metadata.ts';
import type { Capability, VaultCall } from './failure.ts';
import { type Asked, encodePath, type KeyValue, type Live, type PlaceRead } from './key-value.ts';
import type { SecretData } from './layouts.ts';
import { answerIfThere, listNames, removeAt } from './requests.ts';

const readAnswer = z.object({ data: z.record(z.string(), z.unknown()) });

/**
 * Version 1 of the engine: a secret is its fields and nothing more, so that what is ours stands
 * among them, a listing has names alone, and nothing keeps two who write at once apart.
 */
export function version1(options: {
  readonly send: VaultSend;
  readonly mount: string;
  readonly store: string;
  /** Tells versions of a content apart without its key; `undefined` where it is no certificate. */
  readonly revisionOf: (data: SecretData) => string | undefined;
  readonly isOpenBao: boolean;
}): KeyValue {
  const { send, mount, store, revisionOf, isOpenBao } = options;
  const urlOf = (path: string) => `${encodePath(mount)}/${encodePath(path)}`;

  function callFor({ call }: Asked, writes: boolean, path: string, capability: Capability): VaultCall {
    return { ...call, store, writes, path: `${mount}/${path}`, capability };
  }

  async function read(path: string, asked: Asked): Promise<PlaceRead> {
    const call = callFor(asked, false, path, 'read');
    const answer = await answerIfThere(send, call, { method: 'GET', path: urlOf(path), signal: asked.signal });
    if (answer === undefined) return { state: 'absent' };
    const all = z.safeParse(readAnswer, parseJson(answer.text)).data?.data;
    if (all === undefined) throw nonsenseError(call, answer, 'something that is no secret');
    const data = Object.fromEntries(Object.entries(all).filter(([name]) => !isOurs(name)));
    const ours = Object.entries(all).filter(
      (entry): entry is [string, string] => isOurs(entry[0]) && typeof entry[1] === 'string',
    );
    const revision = revisionOf(data) ?? digestOf(Object.keys(data).toSorted());
    return { state: 'live', number: 0, entries: Object.fromEntries(ours), data, revision };
  }

  async function put(path: string, fields: SecretData, capability: Capability, asked: Asked): Promise<void> {
    const call = { ...callFor(asked, true, path, capability), givesContent: true };
    await send(call, { method: 'POST', path: urlOf(path), body: () => fields, signal: asked.signal });
  }

  async function dataAt(path: string, asked: Asked): Promise<Live & { readonly data: SecretData }> {
    const found = await read(path, asked);
    if (found.state === 'live') return found;
    throw new CodedError('store_gone', `there is no ${path} in ${store}`, { fields: { store, certificate: path } });
  }

  return {
    look: read,
    read,

    list(folder, after, asked) {
      const call = callFor(asked, false, folder, 'list');
      return listNames(send, call, { path: urlOf(folder), after, isOpenBao, signal: asked.signal });
    },

    fieldNames: async () => undefined,

    async create(path, data, entries, before, asked) {
      await put(path, { ...data, ...entries }, before.state === 'absent' ? 'create' : 'update', asked);
      const revision = revisionOf(data);
      return revision === undefined ? {} : { revision };
    },

    async write(path, data, before, asked) {
      await put(path, { ...data, ...before.entries }, 'update', asked);
      const revision = revisionOf(data);
      return revision === undefined ? {} : { revision };
    },

    async describe(path, entries, _before, asked) {
      const { data } = await dataAt(path, asked);
      await put(path, { ...data, ...entries }, 'update', asked);
    },

    remove: (path, asked) =>
      removeAt(send, callFor(asked, true, path, 'delete'), { path: urlOf(path), signal: asked.signal }),
  };
}

function digestOf(names: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 32);
}
