import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { apiPartNames, parseContent, toPem } from '../../../src/certificate/pem.ts';
import { defined } from '../../../src/defined.ts';
import { asCodedError, CodedError } from '../../../src/errors.ts';
import { type HttpRequest, httpClient } from '../../../src/http/client.ts';
import { answerError, parseJson, type ServiceCall, unansweredError } from '../../../src/http/service-failure.ts';
import { Secret } from '../../../src/secret.ts';
import type { StoreContext } from '../../../src/services/service.ts';
import { formatMark, type Mark, parseMark, sameMark } from '../../../src/store/mark.ts';
import type {
  CallOptions,
  CertificateMetadata,
  DescriptiveMetadata,
  NewCertificate,
  Reading,
  Store,
  VacantElement,
  WriteAnswer,
} from '../../../src/store/store.ts';
import type { ContentJson, PlaceJson } from './server.ts';
import { type CabinetConfig, cabinetDefaults } from './settings.ts';

/**
 * A cabinet as a store. An import is two requests: one makes the place, with its mark, the other
 * fills it. Whoever comes between the two finds the place half made.
 */
export function openStore(config: CabinetConfig, { runtime, secret }: StoreContext): Store {
  const { label, endpoint, region, uniqueNames = false, settlesMs = cabinetDefaults.settlesMs } = config;
  const id = `cabinet:${label}`;
  const pin = secret(config.pin);
  const client = httpClient({ runtime, requestTimeoutMs: 30_000 });

  /** What is answered with a success. Throws a coded error otherwise. */
  async function ask<T>(
    call: Omit<ServiceCall, 'store'>,
    method: HttpRequest['method'],
    path: string,
    { body, signal }: CallOptions & { readonly body?: object } = {},
  ): Promise<T> {
    const word = pin instanceof Secret ? pin : await pin();
    const outcome = await client({
      method,
      url: `${endpoint}/places${path}`,
      headers: { authorization: `Bearer ${word.reveal()}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    });
    const about = { store: id, ...call };
    if (!('answer' in outcome)) throw unansweredError(about, outcome);
    const { answer } = outcome;
    if (answer.status >= 300) {
      const error = answerError(about, answer);
      const { holder } = (parseJson(answer.text) ?? {}) as { readonly holder?: PlaceJson };
      if (holder === undefined) throw error;
      throw new NameTaken(error, holder);
    }
    return parseJson(answer.text) as T;
  }

  const reads = (operation: string, certificate?: string) => ({
    operation,
    writes: false,
    ...defined({ certificate }),
  });
  const writes = (operation: string, certificate?: string) => ({ ...reads(operation, certificate), writes: true });

  /**
   * A write to a place, on conditions. One that is not as it has to be (412) has changed meanwhile:
   * `unless`.
   */
  async function write(
    operation: string,
    place: string,
    {
      describes,
      body,
      unless,
      signal,
    }: CallOptions & {
      readonly describes?: true;
      readonly body: object;
      readonly unless: 'store_gone' | 'store_conflict';
    },
  ): Promise<WriteAnswer> {
    const path = describes ? `/${place}` : `/${place}/content`;
    try {
      const call = writes(operation, place);
      const said = await ask<PlaceJson>(call, describes ? 'POST' : 'PUT', path, { body, ...defined({ signal }) });
      // One without content is described on its way to be filled.
      return { id: place, ...(said.facts && { metadata: metadataOf(said) }) };
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.fields.status !== 412) throw thrown;
      throw new CodedError(unless, error.message, { cause: error, fields: error.fields });
    }
  }

  /** The second request of an import. Whatever fails now, the first one has left something. */
  async function fill(place: string, { content, mark }: NewCertificate, signal: AbortSignal | undefined) {
    const body = { ...contentOf(content), ...(mark && { ifMark: formatMark(mark) }) };
    try {
      return await write('fill', place, { body, unless: 'store_conflict', ...defined({ signal }) });
    } catch (thrown) {
      const { message, fields } = asCodedError(thrown);
      throw new CodedError('store_unanswered', `${message}, after its place was made`, { cause: thrown, fields });
    }
  }

  async function placeAt(place: string, options: CallOptions): Promise<Reading<CertificateMetadata>> {
    return reading(async () => {
      const said = await ask<PlaceJson>(reads('read metadata', place), 'GET', `/${place}`, options);
      return readingOf(said, () => metadataOf(said));
    });
  }

  /**
   * The first request where the place is there, or has just been found: it is described as it is to
   * be.
   */
  async function importInto(place: string, entry: NewCertificate, { signal }: CallOptions): Promise<WriteAnswer> {
    const { metadata, mark } = entry;
    const said = await ask<PlaceJson>(writes('read before import', place), 'GET', `/${place}`, defined({ signal }));
    if (mark === undefined || !sameMark(parseMark(said.mark ?? ''), mark))
      throw new CodedError('store_conflict', `${place} of ${id} is not for this certificate`);
    const body = { ...wordsOf(metadata, mark), ifMark: said.mark };
    await orConflict(() =>
      write('describe', place, { describes: true, body, unless: 'store_conflict', ...defined({ signal }) }),
    );
    return fill(place, entry, signal);
  }

  return {
    id,
    kind: 'cabinet',
    region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: false,
      uniqueNames,
      idsAreReferredTo: false,
      findsMarks: false,
      settlesMs,
      listingLagMs: 0,
      readSettlesMs: 0,
    },

    async list({ cursor, signal }) {
      const path = cursor === undefined ? '' : `?from=${cursor}`;
      const page = await ask<{ readonly places: readonly PlaceJson[]; readonly next?: number }>(
        reads('list'),
        'GET',
        path,
        defined({ signal }),
      );
      const vacant = page.places.filter(({ facts }) => facts === undefined);
      return {
        certificates: page.places.filter(({ facts }) => facts !== undefined).map(metadataOf),
        ...(vacant.length > 0 && { vacant: vacant.map(vacantPlace) }),
        ...(page.next !== undefined && { cursor: String(page.next) }),
      };
    },

    readMetadata: (place, options = {}) => placeAt(place, options),

    read: (place, options = {}) =>
      reading(async () => {
        const call = reads('read', place);
        const answer = await ask<{ readonly place: PlaceJson; readonly content?: ContentJson }>(
          call,
          'GET',
          `/${place}/content`,
          options,
        );
        return readingOf(answer.place, () => ({
          metadata: metadataOf(answer.place),
          content: contentIn(answer.content),
        }));
      }),

    async import(entry, options = {}) {
      const { metadata, mark, into } = entry;
      if (into !== undefined) return importInto(into, entry, options);
      let made: PlaceJson;
      try {
        made = await ask<PlaceJson>(writes('make a place'), 'POST', '', { body: wordsOf(metadata, mark), ...options });
      } catch (thrown) {
        if (!(thrown instanceof NameTaken)) throw thrown;
        const { holder } = thrown;
        const isOurs = mark !== undefined && sameMark(parseMark(holder.mark ?? ''), mark);
        if (!isOurs || holder.facts !== undefined) throw thrown.asConflict();
        return importInto(holder.id, entry, options);
      }
      return fill(made.id, entry, options.signal);
    },

    async reimport(place, content, { signal } = {}) {
      const body = { ...contentOf(content), ifFilled: true };
      return write('reimport', place, { body, unless: 'store_gone', ...defined({ signal }) });
    },

    async updateMetadata(place, metadata, mark, { signal } = {}) {
      const body = { ...wordsOf(metadata, mark), ifFilled: true };
      return orConflict(() =>
        write('update metadata', place, { describes: true, body, unless: 'store_gone', ...defined({ signal }) }),
      );
    },

    async delete(place, options = {}) {
      await ask(writes('delete', place), 'DELETE', `/${place}`, options).catch((thrown: unknown) => {
        if (asCodedError(thrown).code !== 'store_gone') throw thrown;
      });
    },

    asKept: ({ name, description, tags }) => ({
      name: wellFormed(name),
      description: wellFormed(description),
      tags: [...tags],
    }),
  };
}

/** Another place has the name. */
class NameTaken extends Error {
  readonly error: CodedError;
  readonly holder: PlaceJson;

  constructor(error: CodedError, holder: PlaceJson) {
    super(error.message);
    this.error = error;
    this.holder = holder;
  }

  asConflict(): CodedError {
    const { code, message, fields } = this.error;
    return new CodedError(code, message, { cause: this, fields: { ...fields, certificate: this.holder.id } });
  }
}

async function orConflict<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    throw thrown instanceof NameTaken ? thrown.asConflict() : thrown;
  }
}

function metadataOf({ id, name, description, tags, mark, revision, lastModified, facts }: PlaceJson) {
  const found = mark === undefined ? undefined : parseMark(mark);
  const { domains = [], ...rest } = facts ?? {};
  return { id, name, description, tags, domains, ...rest, revision, lastModified, ...defined({ mark: found }) };
}

function vacantPlace({ id, name, mark }: PlaceJson): VacantElement {
  const found = mark === undefined ? undefined : parseMark(mark);
  return { id, why: 'half-made', name, ...defined({ mark: found }) };
}

function readingOf<T>(place: PlaceJson, value: () => T): Reading<T> {
  if (place.facts !== undefined) return { state: 'present', value: value() };
  const { id: _id, ...vacancy } = vacantPlace(place);
  return { state: 'vacant', ...vacancy };
}

async function reading<T>(read: () => Promise<Reading<T>>): Promise<Reading<T>> {
  try {
    return await read();
  } catch (thrown) {
    const error = asCodedError(thrown);
    return error.code === 'store_gone' ? { state: 'absent' } : { state: 'unreadable', error };
  }
}

function wordsOf({ name, description, tags }: DescriptiveMetadata, mark: Mark | undefined) {
  const text = { name: wellFormed(name), description: wellFormed(description) };
  return { ...text, tags, ...(mark && { mark: formatMark(mark) }) };
}

function contentOf(content: CertificateContent): ContentJson {
  const { certificate, intermediate, privateKey } = toPem(content);
  return {
    content: certificate,
    ...(intermediate !== undefined && { intermediate }),
    ...(privateKey && { priv_key: privateKey.reveal() }),
  };
}

function contentIn(json: ContentJson | undefined): CertificateContent {
  if (json === undefined)
    throw new CodedError('store_content_unreadable', 'a place is said to have content, and has none');
  const { content, intermediate, priv_key: key } = json;
  const privateKey = key === undefined ? undefined : new Secret(key);
  try {
    return parseContent({ certificate: content, ...defined({ intermediate, privateKey }) }, apiPartNames);
  } finally {
    privateKey?.wipe();
  }
}

/** Half a surrogate pair has no UTF-8. */
const wellFormed = (text: string) => text.replace(/\p{Surrogate}/gu, '\uFFFD');
