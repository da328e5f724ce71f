import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import { unlessAborted } from '../../runtime.ts';
import type { VaultSend } from './client.ts';
import { isOurs } from './custom-metadata.ts';
import { type Capability, failed, saysNothingThere, type VaultCall, vaultError } from './failure.ts';
import { type Asked, encodePath, inByteOrder, type KeyValue, type Live, type PlaceRead } from './key-value.ts';
import type { SecretData } from './layouts.ts';

const readAnswer = z.object({ data: z.record(z.string(), z.unknown()) });
const listAnswer = z.object({ data: z.object({ keys: z.array(z.string()) }) });
const listingMs = 90_000;

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
    const answer = await send(call, { method: 'GET', path: urlOf(path), signal: asked.signal, takes: [404] });
    if (answer.status === 404) {
      if (saysNothingThere(answer)) return { state: 'absent' };
      throw vaultError(call, answer);
    }
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

    async list(folder, after, asked) {
      const call = callFor(asked, false, folder, 'list');
      const query = new URLSearchParams({ list: 'true', ...defined({ after }) });
      const path = `${urlOf(folder)}?${query}`;
      const answer = await send(call, {
        method: 'GET',
        path,
        signal: asked.signal,
        takes: [404],
        timeoutMs: listingMs,
      });
      if (answer.status === 404) {
        if (saysNothingThere(answer)) return { names: [], places: new Map(), goesOn: false };
        throw vaultError(call, answer);
      }
      const keys = z.safeParse(listAnswer, parseJson(answer.text)).data?.data.keys;
      if (keys === undefined) throw nonsenseError(call, answer, 'something that is no list of secrets');
      const isRest = (name: string) => after === undefined || inByteOrder(name, after) > 0;
      const names = keys.toSorted(inByteOrder).filter(isRest);
      // A policy of OpenBao may cut a listing off without a word: only an empty one is the last.
      return { names, places: new Map(), goesOn: isOpenBao && names.length > 0 };
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

    async remove(path, asked) {
      const call = callFor(asked, true, path, 'delete');
      if (asked.signal?.aborted) throw failed(call, 'store_unavailable', 'it was not reached (the call was ended)');
      const removal = send(call, { method: 'DELETE', path: urlOf(path), takes: [404] });
      try {
        const answer = await unlessAborted(asked.signal, removal);
        if (answer.status === 404 && !saysNothingThere(answer)) throw vaultError(call, answer);
      } catch (thrown) {
        if (thrown instanceof CodedError) throw thrown;
        removal.catch(() => {});
        throw failed(call, 'store_unanswered', 'nobody waited for the answer', {}, thrown);
      }
    },
  };
}

function digestOf(names: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 32);
}
