import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type { HttpAnswer } from '../../http/client.ts';
import { foreignWords, nonsenseError, parseJson } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';
import type { VaultSend } from './client.ts';
import { type Entries, isOurs, ourEntries } from './custom-metadata.ts';
import {
  type Capability,
  errorsIn,
  failed,
  orOfThisPath,
  saysNothingThere,
  type VaultCall,
  vaultError,
} from './failure.ts';
import { type Asked, encodePath, type KeyValue, type Names, type Place, type Version } from './key-value.ts';
import type { SecretData } from './layouts.ts';
import { answerIfThere, comesAfter, listNames, noNames, removeAt } from './requests.ts';

const text = otherwise(z.string(), '');
const entriesSchema = otherwise(z.nullable(z.record(z.string(), z.string())), null);
const versionSchema = z.object({ created_time: text, deletion_time: text, destroyed: otherwise(z.boolean(), false) });
const metadataSchema = z.object({
  current_version: z.number(),
  custom_metadata: otherwise(z.optional(entriesSchema), undefined),
  versions: otherwise(z.record(z.string(), versionSchema), {}),
  current_metadata_version: otherwise(z.optional(z.number()), undefined),
});
type Metadata = z.infer<typeof metadataSchema>;
const metadataAnswer = z.object({ data: metadataSchema });
const ofVersion = z.object({
  version: z.number(),
  created_time: text,
  deletion_time: text,
  destroyed: otherwise(z.boolean(), false),
  custom_metadata: otherwise(z.optional(entriesSchema), undefined),
});
const readAnswer = z.object({
  data: z.object({ data: z.nullable(z.record(z.string(), z.unknown())), metadata: ofVersion }),
});
const writeAnswer = z.object({ data: z.object({ version: z.number(), created_time: text }) });
const subkeysAnswer = z.object({ data: z.object({ subkeys: z.record(z.string(), z.unknown()) }) });
const listAnswer = z.object({
  data: z.object({ keys: z.array(z.string()), key_info: otherwise(z.record(z.string(), z.unknown()), {}) }),
});

/** A deletion is not shown to be over by a `Date` header before the next second. */
const dateRoundsMs = 1_000;
/**
 * No request of ours ends a removal under way: some versions of Vault then never find the secret
 * again.
 */
const removalMs = 120_000;

/**
 * Version 2 of the engine: versions, soft deletion, and metadata that is written before content. An
 * OpenBao lists it along, page by page; where that is refused, and on every Vault, names are
 * listed.
 */
export function version2(options: {
  readonly send: VaultSend;
  readonly mount: string;
  readonly store: string;
  readonly pageSize: number;
  readonly now: () => number;
  readonly isOpenBao: boolean;
}): KeyValue {
  const { send, mount, store, pageSize, now, isOpenBao } = options;
  const area = (name: string, path: string) => `${encodePath(mount)}/${name}/${encodePath(path)}`;
  let listsPlaces = isOpenBao;
  let merges = true;

  function callFor(
    { call }: Asked,
    writes: boolean,
    right: { readonly area: string; readonly path: string; readonly capability: Capability },
  ): VaultCall {
    return { ...call, store, writes, path: `${mount}/${right.area}/${right.path}`, capability: right.capability };
  }

  /** Where a moment is behind us by the clock of the server. */
  function hasPassed(moment: string, { date }: Pick<HttpAnswer, 'date'>): boolean {
    const at = Date.parse(moment);
    return !Number.isNaN(at) && at <= (date ?? now()) + dateRoundsMs;
  }

  function placeOf(metadata: Metadata, answer: Pick<HttpAnswer, 'date'>): Place {
    const { current_version: number, custom_metadata, versions, current_metadata_version: metadataVersion } = metadata;
    const entries = custom_metadata ?? {};
    const version = versions[String(number)];
    const more = defined({ metadataVersion });
    const vacant = (why: 'half-made' | 'empty' | 'deleted'): Place => ({
      state: 'vacant',
      why,
      number,
      entries,
      ...more,
    });
    if (number === 0 || version === undefined) return vacant('half-made');
    if (version.destroyed) return vacant('empty');
    if (version.deletion_time !== '' && hasPassed(version.deletion_time, answer)) return vacant('deleted');
    return { state: 'live', number, entries, ...more, ...versionOf(number, version.created_time) };
  }

  async function look(path: string, asked: Asked): Promise<Place> {
    const call = callFor(asked, false, { area: 'metadata', path, capability: 'read' });
    const answer = await answerIfThere(send, call, {
      method: 'GET',
      path: area('metadata', path),
      signal: asked.signal,
    });
    if (answer === undefined) return { state: 'absent' };
    const metadata = z.safeParse(metadataAnswer, parseJson(answer.text)).data?.data;
    if (metadata === undefined) throw nonsenseError(call, answer, 'something that is no metadata of a secret');
    return placeOf(metadata, answer);
  }

  /** Writes one version if the current one is still this. */
  async function put(path: string, data: SecretData, cas: number, asked: Asked): Promise<Version | 'changed'> {
    const capability = cas === 0 ? 'create' : 'update';
    const call = { ...callFor(asked, true, { area: 'data', path, capability }), givesContent: true };
    const body = () => ({ options: { cas }, data });
    const answer = await send(call, {
      method: 'POST',
      path: area('data', path),
      body,
      signal: asked.signal,
      takes: [400],
    });
    if (answer.status === 400) {
      // A wrong version has no code of its own: what there is now decides, never the words.
      const found = await look(path, asked);
      if (found.state !== 'absent' && found.number !== cas) return 'changed';
      const said = foreignWords(errorsIn(answer)?.join('; ')) ?? 'it does not say why';
      throw failed(call, 'store_content_refused', `it answered 400: ${said}`, { status: 400 });
    }
    const written = z.safeParse(writeAnswer, parseJson(answer.text)).data?.data;
    if (written === undefined) throw nonsenseError(call, answer, 'something that is no version of a secret');
    return versionOf(written.version, written.created_time);
  }

  /** Our entries beside what others wrote there. */
  async function putEntries(path: string, entries: Entries, before: Place, asked: Asked): Promise<void> {
    const of = before.state === 'absent' ? {} : before.entries;
    const gone = Object.keys(ourEntries(of)).filter((name) => !(name in entries));
    if (before.state !== 'absent' && merges) {
      const call = callFor(asked, true, { area: 'metadata', path, capability: 'patch' });
      const changes = { ...entries, ...Object.fromEntries(gone.map((name) => [name, null])) };
      try {
        const mediaType = 'application/merge-patch+json';
        const body = () => ({ custom_metadata: changes });
        await send(call, { method: 'PATCH', path: area('metadata', path), body, mediaType, signal: asked.signal });
        return;
      } catch (thrown) {
        // A policy from before there was this right, or a server: the whole map is written instead.
        const { code, fields } = asCodedError(thrown);
        const isRight = code === 'store_unauthorized' && fields.reason === 'no_right';
        if (!isRight && fields.status !== 405) throw thrown;
        merges = false;
      }
    }
    const others = Object.fromEntries(Object.entries(of).filter(([name]) => !isOurs(name)));
    const known = before.state === 'absent' ? 0 : before.metadataVersion;
    // OpenBao then sees that somebody else has written between; Vault passes over it.
    const cas = isOpenBao && known !== undefined ? { metadata_cas: known } : {};
    const capability = before.state === 'absent' ? 'create' : 'update';
    const call = callFor(asked, true, { area: 'metadata', path, capability });
    const body = () => ({ custom_metadata: { ...others, ...entries }, ...cas });
    const answer = await send(call, {
      method: 'POST',
      path: area('metadata', path),
      body,
      signal: asked.signal,
      takes: [400],
    });
    if (answer.status === 400) {
      const words = 'what stands beside it was changed meanwhile, or it does not take it';
      throw failed(call, 'store_unavailable', `it answered 400: ${words}`, { status: 400, retryAfterMs: 1_000 });
    }
  }

  /**
   * With what stands there, page by page; `undefined` where that is not offered or not allowed, and
   * then not asked for again, or where one secret spoils this one list.
   */
  async function listWithPlaces(folder: string, after: string | undefined, asked: Asked): Promise<Names | undefined> {
    const call = callFor(asked, false, { area: 'detailed-metadata', path: folder, capability: 'list' });
    const query = new URLSearchParams({ list: 'true', limit: String(pageSize), ...defined({ after }) });
    const path = `${area('detailed-metadata', folder)}?${query}`;
    const answer = await orOfThisPath(send(call, { method: 'GET', path, signal: asked.signal, takes: [404] }));
    if (answer instanceof CodedError) {
      if (answer.reason === 'no_right') listsPlaces = false;
      return undefined;
    }
    if (saysNothingThere(answer)) return noNames;
    if (answer.status === 404 && errorsIn(answer) !== undefined) throw vaultError(call, answer);
    const found = z.safeParse(listAnswer, parseJson(answer.text)).data?.data;
    if (found === undefined) {
      if (answer.status !== 404) throw nonsenseError(call, answer, 'something that is no list of secrets');
      listsPlaces = false;
      return undefined;
    }
    const places = new Map<string, Place>();
    for (const [name, info] of Object.entries(found.key_info)) {
      const metadata = z.safeParse(metadataSchema, info);
      if (metadata.success) places.set(name, placeOf(metadata.data, answer));
    }
    const names = found.keys.filter(comesAfter(after));
    return { names, places, goesOn: found.keys.length >= pageSize && names.length > 0 };
  }

  async function list(folder: string, after: string | undefined, asked: Asked): Promise<Names> {
    const found = listsPlaces ? await listWithPlaces(folder, after, asked) : undefined;
    if (found !== undefined) return found;
    const call = callFor(asked, false, { area: 'metadata', path: folder, capability: 'list' });
    return listNames(send, call, { path: area('metadata', folder), after, isOpenBao, signal: asked.signal });
  }

  return {
    look,
    list,

    async read(path, asked) {
      const call = callFor(asked, false, { area: 'data', path, capability: 'read' });
      const answer = await send(call, { method: 'GET', path: area('data', path), signal: asked.signal, takes: [404] });
      const found = z.safeParse(readAnswer, parseJson(answer.text)).data?.data;
      if (found === undefined) {
        // Nothing has a version there: whether anything is there at all, its metadata says.
        if (saysNothingThere(answer)) {
          const place = await look(path, asked);
          if (place.state === 'live')
            throw failed(call, 'store_unavailable', 'it was written just now', { retryAfterMs: 1_000 });
          return place;
        }
        if (answer.status === 404) throw vaultError(call, answer);
        throw nonsenseError(call, answer, 'something that is no secret');
      }
      const { version: number, created_time, destroyed, custom_metadata } = found.metadata;
      const entries = custom_metadata ?? {};
      if (found.data === null) return { state: 'vacant', why: destroyed ? 'empty' : 'deleted', number, entries };
      return { state: 'live', number, entries, data: found.data, ...versionOf(number, created_time) };
    },

    async fieldNames(path, asked) {
      const call = callFor(asked, false, { area: 'subkeys', path, capability: 'read' });
      try {
        const answer = await send(call, {
          method: 'GET',
          path: `${area('subkeys', path)}?depth=1`,
          signal: asked.signal,
          takes: [404],
        });
        const found = z.safeParse(subkeysAnswer, parseJson(answer.text)).data?.data.subkeys;
        return found && Object.keys(found);
      } catch (thrown) {
        const { fields } = asCodedError(thrown);
        if (fields.reason === 'no_right' || fields.reason === 'not_offered') return undefined;
        throw thrown;
      }
    },

    async create(path, data, entries, before, asked) {
      const { call } = asked;
      // The mark comes first: what is left half made is ours to fill.
      await putEntries(path, entries, before, asked);
      try {
        const cas = before.state === 'absent' ? 0 : before.number;
        const written = await put(path, data, cas, asked);
        if (written !== 'changed') return written;
      } catch (thrown) {
        throw halfDone(thrown);
      }
      const words = `${call.operation} at ${store}: somebody else made it meanwhile`;
      throw new CodedError('store_conflict', words, { fields: { store, certificate: path } });
    },

    async write(path, data, before, asked) {
      const written = await put(path, data, before.number, asked);
      if (written !== 'changed') return written;
      const call = callFor(asked, true, { area: 'data', path, capability: 'update' });
      throw failed(call, 'store_unavailable', 'somebody else changed it meanwhile', { retryAfterMs: 1_000 });
    },

    describe: (path, entries, before, asked) => putEntries(path, entries, before, asked),

    remove(path, asked) {
      const call = callFor(asked, true, { area: 'metadata', path, capability: 'delete' });
      return removeAt(send, call, { path: area('metadata', path), timeoutMs: removalMs, signal: asked.signal });
    },
  };
}

function versionOf(number: number, createdTime: string): Version {
  const changedAt = Date.parse(createdTime);
  return { revision: `${number}/${createdTime}`, ...(!Number.isNaN(changedAt) && { changedAt }) };
}

/** After the first of two requests half of it is there, whatever the second was answered. */
function halfDone(thrown: unknown): CodedError {
  const error = asCodedError(thrown);
  if (error.code === 'store_conflict' || error.code === 'store_unanswered') return error;
  return new CodedError('store_unanswered', error.message, {
    cause: error,
    fields: { ...error.fields, reason: error.fields.reason ?? error.code },
  });
}
