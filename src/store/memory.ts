import type { CertificateContent, CertificateFacts } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf } from '../certificate/fingerprint.ts';
import { ownKey } from '../certificate/private-key.ts';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import {
  cutText,
  type FoundMark,
  formatMarkWithin,
  type Mark,
  parseMark,
  readMarkedDescription,
  sameMark,
  writeMarkedDescription,
} from './mark.ts';
import { memoryOperations } from './memory-operations.ts';
import { memoryRows } from './memory-rows.ts';
import type {
  CallOptions,
  CertificateMetadata,
  DescriptiveMetadata,
  FindOptions,
  NewCertificate,
  OperationAsked,
  Reading,
  Store,
  StoreAbilities,
  UnreadableElement,
  Vacancy,
  VacantElement,
  WriteAnswer,
} from './store.ts';

export interface MemoryStoreOptions {
  readonly id: string;
  readonly region: string;
  readonly runtime: Runtime;
  /**
   * What differs from: gives keys, reimports in place, import not idempotent, names not unique,
   * marks not found, all bounds 0.
   */
  readonly abilities?: Partial<StoreAbilities>;
  /** Whether metadata carries `revision` and `lastModified`. Default true. */
  readonly givesRevisions?: boolean;
  /** Whether write answers carry metadata. Default true. */
  readonly writesAnswerMetadata?: boolean;
  /**
   * Where marks are kept: apart, beside tags, or as the last line of the description, as a service
   * without tags does. Default `apart`.
   */
  readonly marks?: 'apart' | 'description';
  /**
   * Longest mark that is kept apart, in characters: of a longer one its digest is kept.
   * Default 1024.
   */
  readonly markCharacters?: number;
  /** Longest name and description, in characters. Default 256 and 1024. */
  readonly nameCharacters?: number;
  readonly descriptionCharacters?: number;
  /**
   * Keys that a full read does not give back, by the certificate's id, though it gives others.
   * Default: none of them.
   */
  readonly withholds?: (id: string) => boolean;
  /** Certificates on one page of a listing. Default 200. */
  readonly pageSize?: number;
  /**
   * Whether reads and listings lag behind writes, by all of the bounds that `abilities` states.
   * Default false: a test lets them lag as it needs.
   */
  readonly lags?: boolean;
  /**
   * What it does not take, why, and until when (epoch milliseconds) where that ends by itself. It
   * says so beforehand too.
   */
  readonly refuses?: (content: CertificateContent) => { readonly why: string; readonly until?: number } | undefined;
  /**
   * What it makes of a chain that it is given, of which it knows that it is the same. It is given
   * back like that.
   */
  readonly reshapes?: (content: CertificateContent) => CertificateContent['chain'];
  /** What is deleted keeps its place, and its name, until it is purged. Default false. */
  readonly deletesSoftly?: boolean;
  /**
   * Writes that `abilities.longWrites` states take effect so many milliseconds after they are
   * answered, and are asked for by `operation`. Default: at once.
   */
  readonly longWritesTakeMs?: number;
  /** It can prove an identity, once it was given one. Default false. */
  readonly provesIdentity?: boolean;
}

/** Why a memory store does not take a write to one certificate. */
type Hold = 'store_held' | 'store_in_use';

/**
 * A store in memory, for tests and the simulation, with the hands that a person at the service's
 * own console would have.
 */
export interface MemoryStore extends Store {
  /**
   * Puts a certificate there as someone else would: no token, no check of names. Returns its id:
   * the one given, or a new one.
   */
  put(entry: NewCertificate, id?: string): string;
  /**
   * Makes the content under this id unreadable until it is replaced; no revision tells. Throws
   * `store_gone`.
   */
  corrupt(id: string): void;
  /**
   * Makes unreadable what is said of this id, its mark too, as a directory's damaged file does;
   * until it is replaced. Throws `store_gone`.
   */
  obscure(id: string): void;
  /**
   * Holds this certificate: locked (`store_held`) it is neither written to nor removed, used by
   * something (`store_in_use`) it is not removed. `undefined` lets go of it. Throws `store_gone`.
   */
  hold(id: string, why: Hold | undefined): void;
  /**
   * How many more writes of content it takes, before a quota is used up; `undefined`: as many as
   * there are.
   */
  allow(writes: number | undefined): void;
  /** Takes the content out of this certificate and leaves its place. Throws `store_gone`. */
  vacate(id: string, why: Vacancy['why']): void;
  /** What is deleted, or vacant otherwise, loses its place. */
  purge(id: string): void;
  /** How many certificates are there. */
  size(): number;
}

interface Held {
  readonly id: string;
  /** Its place in listings. */
  readonly order: number;
  readonly content: CertificateContent;
  readonly facts: Pick<CertificateFacts, 'domains' | 'issuer' | 'serial' | 'notBefore' | 'notAfter'>;
  readonly metadata: DescriptiveMetadata;
  readonly mark: FoundMark | undefined;
  readonly corrupt: boolean;
  readonly obscured: boolean;
  readonly hold: Hold | undefined;
  /** There is a place, and no content in it. */
  readonly vacant: Vacancy['why'] | undefined;
  readonly revision: number;
  readonly lastModified: number;
  /**
   * What a listing says of the content, where it does not show that it changed: that of the
   * beginning.
   */
  readonly listed: Pick<Held, 'facts' | 'revision' | 'lastModified'>;
}

const defaultAbilities: StoreAbilities = {
  givesKeys: true,
  reimportsInPlace: true,
  importIsIdempotent: false,
  uniqueNames: false,
  idsAreReferredTo: false,
  findsMarks: false,
  settlesMs: 0,
  listingLagMs: 0,
  readSettlesMs: 0,
};

/**
 * A store that forgets everything when the process ends. Listings go by the order of creation, so
 * that paging is stable while certificates come and go. Every write takes effect at once. Of the
 * bounds and limits that it states it keeps those of reads and listings alone, and these only where
 * it is told to; wrap it where a test wants others. A call whose signal is aborted already does
 * nothing.
 */
export function memoryStore(options: MemoryStoreOptions): MemoryStore {
  const { runtime, marks = 'apart', pageSize = 200 } = options;
  const { nameCharacters = 256, descriptionCharacters = 1024, markCharacters = 1024 } = options;
  const abilities: StoreAbilities = { ...defaultAbilities, ...options.abilities };
  const { lags = false, refuses, reshapes } = options;
  const kept = memoryRows<Held>(runtime, lags ? Math.max(abilities.readSettlesMs, abilities.listingLagMs) : 0);
  // What has come due by now takes effect before anybody looks.
  const rows: typeof kept = {
    ...kept,
    get(...asked) {
      operations.land();
      return kept.get(...asked);
    },
    seen(...asked) {
      operations.land();
      return kept.seen(...asked);
    },
  };
  const readLagMs = lags ? abilities.readSettlesMs : 0;
  const listingLagMs = lags ? abilities.listingLagMs : 0;
  const operations = memoryOperations(runtime, abilities, options.longWritesTakeMs);
  const idsByToken = new Map<string, string>();
  let counter = 0;
  let writesLeft: number | undefined;
  let identity: string | undefined;

  function keep(metadata: DescriptiveMetadata, mark: FoundMark | undefined): Pick<Held, 'metadata' | 'mark'> {
    const name = cutText(metadata.name, nameCharacters);
    if (marks === 'description') {
      const text = writeMarkedDescription(metadata.description, mark, descriptionCharacters);
      const read = readMarkedDescription(text);
      return { metadata: { name, description: read.description, tags: [] }, mark: read.mark };
    }
    const description = cutText(metadata.description, descriptionCharacters);
    const kept = mark && parseMark(formatMarkWithin(mark, markCharacters));
    return { metadata: { name, description, tags: [...metadata.tags] }, mark: kept };
  }

  function put(entry: NewCertificate, id = runtime.newId()): string {
    counter += 1;
    const listed = { facts: facts(entry.content), revision: counter, lastModified: runtime.now() };
    rows.set(id, {
      id,
      order: counter,
      content: asStored(entry.content),
      ...keep(entry.metadata, entry.mark),
      corrupt: false,
      obscured: false,
      hold: undefined,
      vacant: undefined,
      ...listed,
      listed: rows.get(id)?.listed ?? listed,
    });
    return id;
  }

  /** The content as this store keeps it. */
  function asStored(content: CertificateContent): CertificateContent {
    const own = ownContent(content, true);
    return reshapes === undefined ? own : { ...own, chain: reshapes(content) };
  }

  /** Why this content is not taken now. */
  function refusalOf(content: CertificateContent, now: number): CodedError | undefined {
    const found = refuses?.(content);
    if (found === undefined || (found.until !== undefined && found.until <= now)) return undefined;
    const { why, until } = found;
    return new CodedError('store_content_refused', `store ${options.id} does not take this: ${why}`, {
      fields: { store: options.id, ...defined({ until }) },
    });
  }

  /** Throws why content is not written now; counts the write, if it is. */
  function admit(content: CertificateContent): void {
    const refusal = refusalOf(content, runtime.now());
    if (refusal !== undefined) throw refusal;
    if (writesLeft === undefined) return;
    if (writesLeft <= 0)
      throw new CodedError('store_quota_used_up', `store ${options.id} takes no more writes: its quota is used up`, {
        fields: { store: options.id },
      });
    writesLeft -= 1;
  }

  function refuseHeld({ id, hold }: Held, kinds: readonly Hold[]): void {
    if (hold === undefined || !kinds.includes(hold)) return;
    const what = hold === 'store_held' ? 'is locked' : 'is in use';
    const fields = { store: options.id, certificate: id };
    throw new CodedError(hold, `certificate ${id} of store ${options.id} ${what}`, { fields });
  }

  function change(id: string, changes: Partial<Held>): WriteAnswer {
    counter += 1;
    const row: Held = { ...(rows.get(id) ?? existing(id)), ...changes, revision: counter, lastModified: runtime.now() };
    rows.set(id, row);
    return answer(row);
  }

  function existing(id: string): Held {
    const row = rows.get(id);
    if (row === undefined || row.vacant !== undefined)
      throw new CodedError('store_gone', `store ${options.id} holds no certificate ${id}`);
    return row;
  }

  function describe(row: Held): CertificateMetadata {
    return {
      id: row.id,
      ...row.metadata,
      ...(row.mark && { mark: row.mark }),
      ...row.facts,
      ...(options.givesRevisions !== false && { revision: String(row.revision), lastModified: row.lastModified }),
    };
  }

  /** What a listing or a search says of it. */
  function describeListed(row: Held): CertificateMetadata {
    return describe(abilities.silentListings === true ? { ...row, ...row.listed } : row);
  }

  /** What is said of a place without content. */
  function vacancyOf({ id, vacant: why = 'empty', mark, metadata }: Held): VacantElement {
    return { id, why, ...defined({ mark }), name: metadata.name };
  }

  /** Does it, or says that it goes on with it; `effect` answers what a write does that is done. */
  function begin(
    about: Omit<OperationAsked, 'handle'> & { readonly id: string },
    effect: () => WriteAnswer,
  ): WriteAnswer {
    const running = operations.begin(about, () => void effect());
    return running === undefined ? effect() : { id: about.id, running };
  }

  /**
   * Brings back what has this mark and no content, and writes over it; and over what has content by
   * now.
   */
  function importInto(id: string, { content, metadata, mark }: NewCertificate): WriteAnswer {
    const row = rows.get(id);
    if (row === undefined) throw new CodedError('store_gone', `store ${options.id} has no place ${id}`);
    if (mark === undefined || !sameMark(row.mark, mark))
      throw new CodedError('store_conflict', `the place ${id} of store ${options.id} is not for this certificate`);
    const kept = keep(metadata, mark);
    refuseTakenName(kept.metadata.name, id);
    refuseHeld(row, ['store_held']);
    admit(content);
    const written = { content: asStored(content), facts: facts(content), corrupt: false, obscured: false };
    return begin({ kind: 'import', id, mark }, () => change(id, { ...kept, ...written, vacant: undefined }));
  }

  /** What a listing and a search by mark say of what nobody can read the description of. */
  function obscuredElement({ id, facts }: Held): UnreadableElement {
    return { id, place: id, error: obscuredError(id), facts, ours: true };
  }

  const obscuredError = (id: string) =>
    new CodedError('store_content_unreadable', `what store ${options.id} says of certificate ${id} cannot be read`);

  function answer(row: Held): WriteAnswer {
    return options.writesAnswerMetadata === false ? { id: row.id } : { id: row.id, metadata: describe(row) };
  }

  function refuseTakenName(name: string, except?: string): void {
    if (!abilities.uniqueNames) return;
    for (const row of rows.seen(0))
      if (row.metadata.name === name && row.id !== except)
        throw new CodedError('store_conflict', `store ${options.id} already holds a certificate of this name`, {
          fields: { certificate: row.id, name },
        });
  }

  function vacantReading(row: Held): Reading<never> {
    const { id: _id, ...vacancy } = vacancyOf(row);
    return { state: 'vacant', ...vacancy };
  }

  /** The vacant place of this mark under the name that an import would take. */
  function ownPlace({ metadata, mark }: NewCertificate): string | undefined {
    const { name } = keep(metadata, mark).metadata;
    const taken = rows.seen(0).find((row) => row.vacant !== undefined && row.metadata.name === name);
    return taken !== undefined && mark !== undefined && sameMark(taken.mark, mark) ? taken.id : undefined;
  }

  return {
    id: options.id,
    kind: 'memory',
    region: options.region,
    abilities,

    async list({ cursor, signal }) {
      refuseAborted(signal);
      const after = cursor === undefined ? 0 : Number(cursor);
      const rest = rows
        .seen(listingLagMs)
        .filter((row) => row.order > after)
        .sort((a, b) => a.order - b.order);
      const page = rest.slice(0, pageSize);
      const last = page.at(-1);
      const living = page.filter((row) => row.vacant === undefined);
      const obscured = living.filter((row) => row.obscured);
      const vacant = page.filter((row) => row.vacant !== undefined);
      return {
        certificates: living.filter((row) => !row.obscured).map(describeListed),
        ...(vacant.length > 0 && { vacant: vacant.map(vacancyOf) }),
        ...(obscured.length > 0 && { unreadable: obscured.map(obscuredElement) }),
        ...(last && rest.length > page.length && { cursor: String(last.order) }),
      };
    },

    async readMetadata(id, { signal } = {}) {
      if (signal?.aborted) return { state: 'unreadable', error: abortedError(signal) };
      const row = rows.get(id, readLagMs);
      if (row?.vacant !== undefined) return vacantReading(row);
      if (row?.obscured) return { state: 'unreadable', error: obscuredError(id) };
      return row === undefined ? { state: 'absent' } : { state: 'present', value: describe(row) };
    },

    async read(id, { signal } = {}) {
      if (signal?.aborted) return { state: 'unreadable', error: abortedError(signal) };
      const row = rows.get(id, readLagMs);
      if (row === undefined) return { state: 'absent' };
      if (row.vacant !== undefined) return vacantReading(row);
      if (row.obscured) return { state: 'unreadable', error: obscuredError(id) };
      if (row.corrupt) {
        const message = `store ${options.id} holds something unreadable as certificate ${id}`;
        return { state: 'unreadable', error: new CodedError('store_content_unreadable', message) };
      }
      const gives = abilities.givesKeys && options.withholds?.(id) !== true;
      const keyWithheld = !gives && row.content.privateKey !== undefined;
      const content = ownContent(row.content, gives);
      return { state: 'present', value: { metadata: describe(row), content, ...(keyWithheld && { keyWithheld }) } };
    },

    ...(abilities.findsMarks && {
      async findByMark(mark: Mark, { signal, unreadable, vacant }: FindOptions = {}) {
        refuseAborted(signal);
        const all = rows.seen(listingLagMs);
        for (const row of all) if (row.vacant !== undefined && sameMark(row.mark, mark)) vacant?.(vacancyOf(row));
        const seen = all.filter((row) => row.vacant === undefined);
        for (const row of seen) if (row.obscured) unreadable?.(obscuredElement(row));
        return seen.filter((row) => !row.obscured && sameMark(row.mark, mark)).map(describeListed);
      },
    }),

    async import(entry, { signal } = {}) {
      refuseAborted(signal);
      if (entry.into !== undefined) return importInto(entry.into, entry);
      const token = abilities.importIsIdempotent ? entry.token : undefined;
      const known = token === undefined ? undefined : idsByToken.get(token);
      const going = known === undefined ? undefined : operations.going({ kind: 'import', id: known });
      if (known !== undefined && going !== undefined) return { id: known, running: going };
      const before = known === undefined ? undefined : rows.get(known);
      if (before !== undefined && before.vacant === undefined) return answer(before);
      const place = abilities.uniqueNames ? ownPlace(entry) : undefined;
      if (place !== undefined) return importInto(place, entry);
      refuseTakenName(keep(entry.metadata, entry.mark).metadata.name);
      admit(entry.content);
      const id = runtime.newId();
      if (token !== undefined) idsByToken.set(token, id);
      const own = { ...entry, content: ownContent(entry.content, true) };
      return begin({ kind: 'import', id, ...defined({ mark: entry.mark }) }, () => answer(existing(put(own, id))));
    },

    async reimport(id, content, { signal } = {}) {
      refuseAborted(signal);
      const { obscured } = existing(id);
      if (!abilities.reimportsInPlace)
        throw new CodedError('store_content_refused', `store ${options.id} does not replace content under the same id`);
      refuseHeld(existing(id), ['store_held']);
      admit(content);
      const said = obscured ? { metadata: { name: id, description: '', tags: [] }, mark: undefined } : {};
      const written = { content: asStored(content), facts: facts(content), corrupt: false, obscured: false };
      return begin({ kind: 'reimport', id }, () => change(id, { ...said, ...written }));
    },

    async updateMetadata(id, metadata, mark, { signal } = {}) {
      refuseAborted(signal);
      refuseHeld(existing(id), ['store_held']);
      const kept = keep(metadata, mark);
      refuseTakenName(kept.metadata.name, id);
      return change(id, { ...kept, obscured: false });
    },

    async delete(id, { signal } = {}) {
      refuseAborted(signal);
      const row = rows.get(id);
      if (row !== undefined) refuseHeld(row, ['store_held', 'store_in_use']);
      const remove = () => {
        const now = rows.get(id);
        if (options.deletesSoftly !== true) rows.delete(id);
        else if (now !== undefined) rows.set(id, { ...now, vacant: 'deleted' });
      };
      const running = row === undefined ? undefined : operations.begin({ kind: 'delete', id }, remove);
      if (running === undefined) remove();
      return running === undefined ? undefined : { running };
    },

    ...(options.longWritesTakeMs !== undefined && {
      async operation(asked: OperationAsked, { signal }: CallOptions = {}) {
        refuseAborted(signal);
        return operations.stateOf(asked);
      },
    }),

    asKept: (metadata, mark) => keep(metadata, mark).metadata,

    ...(refuses && { refuses: refusalOf }),
    ...(reshapes && {
      same: (given: CertificateContent, back: CertificateContent) =>
        isSame({ ...given, chain: reshapes(given) }, back, abilities.givesKeys),
    }),
    ...(options.provesIdentity && {
      async identity({ signal }: CallOptions = {}) {
        refuseAborted(signal);
        return identity;
      },
      async giveIdentity(given: string, { signal, instead }: CallOptions & { readonly instead?: boolean } = {}) {
        refuseAborted(signal);
        if (identity === undefined || instead === true) identity = given;
        return identity;
      },
    }),

    put,
    corrupt(id) {
      rows.set(id, { ...existing(id), corrupt: true });
    },
    obscure(id) {
      rows.set(id, { ...existing(id), obscured: true });
    },
    vacate(id, why) {
      rows.set(id, { ...existing(id), vacant: why });
    },
    purge(id) {
      if (rows.get(id)?.vacant !== undefined) rows.delete(id);
    },
    hold(id, why) {
      rows.set(id, { ...existing(id), hold: why });
    },
    allow(writes) {
      writesLeft = writes;
    },
    size: () => rows.seen(0).filter(({ vacant }) => vacant === undefined).length,
  };
}

/**
 * Equal as far as the store gives content back: a key that it should give and does not is another
 * content.
 */
function isSame({ leaf, chain, privateKey }: CertificateContent, back: CertificateContent, withKey: boolean): boolean {
  return fingerprintOf({ leaf, chain, ...(withKey && privateKey && { privateKey }) }) === fingerprintOf(back);
}

/** A copy whose key lives apart from the caller's, who may wipe his. */
function ownContent({ leaf, chain, privateKey }: CertificateContent, withKey: boolean): CertificateContent {
  if (privateKey === undefined || !withKey) return { leaf, chain };
  return { leaf, chain, privateKey: ownKey(privateKey) };
}

/** What a service would say about this content. */
function facts(content: CertificateContent): Held['facts'] {
  const { domains, issuer, serial, notBefore, notAfter } = factsOf(content);
  return { domains, issuer, serial, notBefore, notAfter };
}

function abortedError(signal: AbortSignal): CodedError {
  return new CodedError('store_unavailable', 'the call was ended before it began', { cause: signal.reason });
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}
