import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { ownKey } from '../../src/certificate/private-key.ts';
import { CodedError } from '../../src/errors.ts';
import type { Runtime } from '../../src/runtime.ts';
import { type FoundMark, formatMarkWithin, type Mark, parseMark, sameMark } from '../../src/store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  FindOptions,
  LongWrite,
  NewCertificate,
  Reading,
  Store,
  StoreAbilities,
  StoredCertificate,
  Vacancy,
  VacantElement,
  WriteAnswer,
} from '../../src/store/store.ts';

/**
 * One certificate in a simulated store. Never changed, only replaced: earlier states stay readable.
 */
export interface Held {
  readonly id: string;
  readonly content: CertificateContent;
  readonly metadata: DescriptiveMetadata;
  readonly mark?: FoundMark;
  readonly revision: number;
  readonly lastModified: number;
  readonly unreadable?: boolean;
  /** A person has locked it until this moment: it can be neither written to nor removed. */
  readonly lockedUntil?: number;
  /** Something uses it: it cannot be removed. */
  readonly inUse?: boolean;
  /** The service has its private key and does not give it back. */
  readonly withheld?: boolean;
  /**
   * There is a place, and no content in it that anybody could read; `content` is what it was, or is
   * to be.
   */
  readonly vacant?: Vacancy['why'];
  /** When it was deleted, of a place that was, and when that place is gone for good. */
  readonly deletedAt?: number;
  readonly purgedAt?: number;
  /** Versions that it has had, where old ones stay. */
  readonly versions?: number;
  /**
   * As it was at the beginning, which is what listings say of its content where they are silent.
   */
  readonly first?: Held;
}

type Rows = ReadonlyMap<string, Held>;

/**
 * A store whose every state is remembered, so that reads and listings can be as old as its stated
 * bounds allow.
 */
export interface SimulatedStore extends Store {
  readonly rows: () => Rows;
  /** Whether listings tell versions apart by more than serial and dates. */
  readonly givesRevisions: boolean;
  /**
   * What someone else does at the service's own console: puts, replaces, or removes (`undefined`) a
   * certificate.
   */
  readonly tamper: (id: string, change: (held: Held | undefined) => Held | undefined) => void;
  /** What a read gives back of content that was given. */
  readonly asStored: (content: CertificateContent) => CertificateContent;
  /** Why this content is not taken now; `undefined` if it is. */
  readonly refusesNow: (content: CertificateContent) => CodedError | undefined;
  /** Places that hold no content, and the same with those that are gone for good. */
  readonly vacant: () => readonly Held[];
  readonly places: () => readonly Held[];
  /** The two requests of an import, where it takes two; absent where it is one. */
  readonly twoSteps?: {
    readonly begin: (entry: NewCertificate) => Promise<{ readonly id: string }>;
    readonly fill: (id: string, entry: NewCertificate) => Promise<WriteAnswer>;
  };
  /** Lets the whole container go, and come back. */
  readonly leave: (away: boolean) => void;
  /**
   * Puts another container in the place of its own, with an identity of its own or none;
   * `undefined`: its own is back.
   */
  readonly replaceContainer: (other: OtherContainer | undefined) => void;
  /** Whether there is room for another version of this copy. */
  readonly hasRoom: (held: Held) => boolean;
  /**
   * Whether this copy could be given this content: false for other domains, where the store refuses
   * that.
   */
  readonly takes: (held: Held, content: CertificateContent) => boolean;
  /** Called with everything that takes effect by a request of the program. */
  onWrite?: (
    operation: 'import' | 'reimport' | 'describe' | 'delete',
    id: string,
    before: Held | undefined,
    after: Held | undefined,
  ) => void;
  /**
   * Called with everything that takes effect in another container than its own, once its own has an
   * identity.
   */
  onStray?: (operation: 'import' | 'reimport' | 'describe' | 'delete', id: string) => void;
}

/** What stands behind the setting of a store and is not its container. */
export interface OtherContainer {
  readonly rows: Rows;
  /** Absent: it has none, as an empty mount point. */
  readonly identity?: string;
}

/** What there is at one place, as it is and as it was. */
interface Container {
  readonly history: { readonly at: number; readonly rows: Rows }[];
  identity?: string | undefined;
}

const containerOf = ({ rows, identity }: OtherContainer): Container => ({
  history: [{ at: Number.NEGATIVE_INFINITY, rows }],
  identity,
});

/**
 * The same as the fault-free service would be: requests take effect when they arrive. Faults are
 * put around it (see faults.ts).
 */
export function simulatedStore(options: {
  readonly id: string;
  readonly region: string;
  readonly time: Runtime;
  readonly abilities: StoreAbilities;
  readonly givesRevisions: boolean;
  /** A reimport with other domains is refused, as Certificate Manager does. */
  readonly refusesOtherDomains: boolean;
  /**
   * The chains that this store completes, by leaf: what is read back is another shape of what was
   * given.
   */
  readonly completed?: ReadonlyMap<CertificateContent['leaf'], CertificateContent['chain']>;
  /** It says so itself, so that what it makes of content is known. */
  readonly saysWhatIsSame?: boolean;
  /** Whether content is refused, and until when; `undefined` if it is taken. */
  readonly choosy?: (content: CertificateContent) => { readonly until: number } | undefined;
  /** It tells beforehand what it refuses. */
  readonly tellsBeforehand?: boolean;
  /**
   * Keys that it does not give back, by the copy's id; absent: none, or all, as its abilities say.
   */
  readonly withholds?: (id: string) => boolean;
  /** An import takes two requests. */
  readonly inTwoSteps?: boolean;
  /**
   * What is deleted keeps its place for so long, in listings too if `lists`; absent: it is gone at
   * once.
   */
  readonly deletesSoftly?: { readonly keepMs: () => number; readonly lists: boolean };
  /** Versions of one copy that fit; absent: as many as there are. */
  readonly mostVersions?: number;
  /** It proves an identity: this one, or one that it is given. */
  readonly provesIdentity?: boolean | string;
  /**
   * It goes on with each write after its answer, for `forMs()`. `tells`: whether it can be asked
   * how a write stands, and without its handle too.
   */
  readonly goesOn?: { readonly forMs: () => number; readonly tells: 'nothing' | 'by-handle' | 'all' };
  /** Listings tell nothing of content, and revisions move without a change. */
  readonly restless?: boolean;
  /** Listings and searches do not show that content changed: they say what was there first. */
  readonly silent?: boolean;
  /** Ids of what is imported; absent: each is greater than the one before. */
  readonly newId?: () => string;
  /** How long each page of a listing takes, in milliseconds; absent: no longer than any request. */
  readonly listingPageMs?: number;
  /** How long each page is on its way back, while what it shows may change; absent: no time. */
  readonly listingAnswerMs?: number;
  /** How many characters of a mark are kept; absent: all. */
  readonly markCharacters?: number;
  /** How much older than now a read or a listing is, in milliseconds. */
  readonly staleness: (kind: 'read' | 'list') => number;
}): SimulatedStore {
  const { id: storeId, time, abilities } = options;
  const { provesIdentity = false } = options;
  const own = containerOf({ rows: new Map(), ...(typeof provesIdentity === 'string' && { identity: provesIdentity }) });
  let container = own;
  const tokens = new Map<string, string>();
  let revision = 0;

  let away = false;
  const isThere = ({ purgedAt = Number.POSITIVE_INFINITY }: Held) => purgedAt > time.now();
  const everything = (): Rows => container.history.at(-1)?.rows ?? new Map();
  const hasVacant = () => [...everything().values()].some(({ vacant }) => vacant !== undefined);
  /** What lives. */
  const current = (): Rows =>
    hasVacant() ? new Map([...everything()].filter(([, held]) => held.vacant === undefined)) : everything();
  const seen = (kind: 'read' | 'list'): Rows => {
    // Who asks a container that is away as if it were there finds nothing in it.
    if (away) return new Map();
    const moment = time.now() - options.staleness(kind);
    return container.history.findLast(({ at }) => at <= moment)?.rows ?? new Map();
  };

  function replace(id: string, held: Held | undefined): void {
    const rows = new Map(everything());
    if (held === undefined) rows.delete(id);
    else rows.set(id, options.silent === true ? { ...held, first: held.first ?? held } : held);
    const { history } = container;
    history.push({ at: time.now(), rows });
    if (history.length > 64) history.splice(1, 16);
  }

  /** Does something in one container, whichever stands there now. */
  function within<T>(one: Container, act: () => T): T {
    const there = container;
    container = one;
    try {
      return act();
    } finally {
      container = there;
    }
  }

  /** What is left of one that is deleted. */
  function deleted(held: Held): Held | undefined {
    if (options.deletesSoftly === undefined) return undefined;
    return { ...held, vacant: 'deleted', deletedAt: time.now(), purgedAt: time.now() + options.deletesSoftly.keepMs() };
  }

  function write(operation: 'import' | 'reimport' | 'describe' | 'delete', id: string, after: Held | undefined): void {
    const before = current().get(id);
    replace(id, after === undefined && before !== undefined ? deleted(before) : after);
    if (container === own) store.onWrite?.(operation, id, before, after);
    else if (own.identity !== undefined) store.onStray?.(operation, id);
  }

  function describe(held: Held): CertificateMetadata {
    const { domains, serial, notBefore, notAfter } = factsOf(held.content);
    return {
      id: held.id,
      ...held.metadata,
      domains,
      serial,
      notBefore,
      notAfter,
      ...(held.mark === undefined ? {} : { mark: held.mark }),
      ...(options.givesRevisions ? { revision: revisionOf(held), lastModified: held.lastModified } : {}),
    };
  }

  /** A restless one moves every ten minutes, whether anything has changed or not. */
  function revisionOf({ revision: own }: Held): string {
    return options.restless === true ? `${own}.${Math.floor(time.now() / 600_000)}` : String(own);
  }

  /** What a listing or a search says of it. */
  function listed(held: Held): CertificateMetadata {
    const { content, revision: own, lastModified } = held.first ?? held;
    const whole = describe({ ...held, content, revision: own, lastModified });
    if (options.restless !== true) return whole;
    const { serial: _serial, notBefore: _from, notAfter: _until, ...rest } = whole;
    return rest;
  }

  function kept(mark: FoundMark | undefined): Pick<Held, 'mark'> {
    const { markCharacters } = options;
    const found = mark && markCharacters !== undefined ? parseMark(formatMarkWithin(mark, markCharacters)) : mark;
    return found === undefined ? {} : { mark: found };
  }

  const stamp = () => {
    revision += 1;
    return { revision, lastModified: time.now() };
  };

  function existing(id: string): Held {
    const held = away ? undefined : current().get(id);
    if (held === undefined) throw new CodedError('store_gone', `${storeId} holds no ${id}`);
    return held;
  }

  function reading<T>(id: string, value: (held: Held) => T): Reading<T> {
    const held = seen('read').get(id);
    if (held === undefined || !isThere(held)) return { state: 'absent' };
    if (held.vacant === undefined) return { state: 'present', value: value(held) };
    const { id: _id, ...vacancy } = placeOf(held, held.vacant);
    return { state: 'vacant', ...vacancy };
  }

  function placeOf({ id, mark, metadata }: Held, why: Vacancy['why']): VacantElement {
    return { id, why, name: metadata.name, ...(mark === undefined ? {} : { mark }) };
  }

  /** The places in these rows that a listing shows. */
  function placesIn(rows: Rows): readonly VacantElement[] {
    return [...rows.values()].flatMap((held) => {
      const { vacant } = held;
      return vacant !== undefined && isShown(held) && isThere(held) ? [placeOf(held, vacant)] : [];
    });
  }

  /** Whether listings and searches show this place, which holds no content. */
  function isShown({ vacant }: Held): boolean {
    return vacant !== 'deleted' || options.deletesSoftly?.lists === true;
  }

  function refuseAway(): void {
    if (away) throw new CodedError('store_unavailable', `${storeId} is not there`);
  }

  /**
   * The place that an import is to write into: the one that was named. What has been deleted and is
   * shown nowhere nobody could name: it is taken by its name, where it has the same mark.
   */
  function placeFor({ into, metadata, mark }: NewCertificate): Held | undefined {
    const named = (held: Held) =>
      abilities.uniqueNames && held.vacant === 'deleted' && !isShown(held) && held.metadata.name === metadata.name;
    const place = [...everything().values()].find(
      (held) => isThere(held) && (into === undefined ? named(held) : held.id === into),
    );
    if (place === undefined) {
      if (into !== undefined) throw new CodedError('store_gone', `${storeId} has no place ${into}`);
      return undefined;
    }
    if (mark === undefined || !sameMark(place.mark, mark))
      throw new CodedError('store_conflict', `${place.id} is not for this certificate`);
    return place;
  }

  function refuseFull(held: Held): void {
    if (!hasRoom(held)) throw new CodedError('store_quota_used_up', `${held.id} has as many versions as fit`);
  }
  const hasRoom = ({ versions = 1 }: Held) => versions < (options.mostVersions ?? Number.POSITIVE_INFINITY);
  const oneMore = ({ versions = 1 }: Held) => (options.mostVersions === undefined ? {} : { versions: versions + 1 });

  function asStored(content: CertificateContent): CertificateContent {
    const whole = content.chain.length > 0 ? options.completed?.get(content.leaf) : undefined;
    return whole === undefined ? content : { ...content, chain: whole };
  }

  function refusesNow(content: CertificateContent): CodedError | undefined {
    const refusal = options.choosy?.(content);
    if (refusal === undefined || refusal.until <= time.now()) return undefined;
    const fields = Number.isFinite(refusal.until) ? { until: refusal.until } : {};
    return new CodedError('store_content_refused', `${storeId} does not take this`, { fields });
  }

  const domains = (of: CertificateContent) => [...factsOf(of).domains].sort().join();
  function takes({ content: there }: Held, content: CertificateContent): boolean {
    return !options.refusesOtherDomains || domains(there) === domains(content);
  }

  function refuse(content: CertificateContent): void {
    const refusal = refusesNow(content);
    if (refusal !== undefined) throw refusal;
  }

  function refuseLocked({ id, lockedUntil = 0 }: Held): void {
    if (lockedUntil > time.now()) throw new CodedError('store_held', `${id} is locked`);
  }

  function refuseTakenName(name: string, except?: string): void {
    if (!abilities.uniqueNames) return;
    for (const held of everything().values()) {
      if (isThere(held) && held.metadata.name === name && held.id !== except)
        throw new CodedError('store_conflict', `${name} is taken`);
    }
  }

  /** What goes on, by its handle. */
  const going = new Map<
    string,
    { readonly kind: LongWrite; readonly id: string; readonly mark: FoundMark | undefined }
  >();
  const ended = new Map<string, string>();

  /**
   * Answers at once, and lets the write take effect when its time has come; it is what the service
   * says of it until then.
   */
  function goOn(kind: LongWrite, id: string, mark: FoundMark | undefined, land: () => unknown): string {
    const handle = `operation-${time.newId()}`;
    const where = container;
    going.set(handle, { kind, id, mark });
    void time.wait(options.goesOn?.forMs() ?? 0).then(() => {
      going.delete(handle);
      ended.set(handle, id);
      try {
        within(where, land);
      } catch {
        // What it was to write to is not there any more.
      }
    });
    return handle;
  }

  /** The first request of an import: the place, with its mark. */
  function begin(entry: NewCertificate): { readonly id: string } {
    refuseAway();
    const { content, metadata, mark } = entry;
    refuse(content);
    const place = placeFor(entry);
    if (place !== undefined) {
      const { purgedAt: _purgedAt, deletedAt: _deletedAt, ...rest } = place;
      if (place.vacant === 'deleted') replace(place.id, { ...rest, vacant: 'half-made', ...stamp() });
      return { id: place.id };
    }
    refuseTakenName(metadata.name);
    const id = options.newId?.() ?? time.newId();
    replace(id, { id, content, metadata, vacant: 'half-made', ...stamp(), ...kept(mark) });
    return { id };
  }

  /**
   * The second one, and the only one where there is one: the content, into a place that has the
   * mark.
   */
  function fill(id: string, { content, metadata, mark }: NewCertificate): WriteAnswer {
    refuseAway();
    const place = everything().get(id);
    if (place === undefined || !isThere(place)) throw new CodedError('store_gone', `${storeId} has no place ${id}`);
    if (mark === undefined || !sameMark(place.mark, mark))
      throw new CodedError('store_conflict', `${id} is not for this certificate`);
    refuseLocked(place);
    refuse(content);
    refuseTakenName(metadata.name, id);
    const { vacant: _vacant, purgedAt: _purgedAt, deletedAt: _at, unreadable: _unreadable, ...rest } = place;
    const held: Held = { ...rest, metadata, content: asStored(content), ...stamp() };
    write('import', id, held);
    return { id, metadata: describe(held) };
  }

  const store: SimulatedStore = {
    id: storeId,
    kind: 'simulated',
    region: options.region,
    abilities,
    rows: () => within(own, current),
    givesRevisions: options.givesRevisions,
    asStored,
    takes,
    refusesNow,
    ...(options.choosy && options.tellsBeforehand ? { refuses: refusesNow } : {}),
    ...(options.saysWhatIsSame
      ? { same: (given, back) => fingerprintOf(asStored(given)) === fingerprintOf(back) }
      : {}),
    vacant: () => store.places().filter(isThere),
    places: () => within(own, () => [...everything().values()].filter(({ vacant }) => vacant !== undefined)),
    ...(options.inTwoSteps && {
      twoSteps: { begin: async (entry) => begin(entry), fill: async (id, entry) => fill(id, entry) },
    }),
    leave(isAway) {
      away = isAway;
    },
    replaceContainer(other) {
      container = other === undefined ? own : containerOf(other);
    },
    hasRoom,
    tamper(id, change) {
      within(own, () => {
        const before = current().get(id);
        const after = change(before);
        replace(id, after === undefined && before !== undefined ? deleted(before) : after);
      });
    },
    ...(options.goesOn !== undefined &&
      options.goesOn.tells !== 'nothing' && {
        async operation({ kind, handle, id, mark }) {
          const [found] = [...going].find(([one, what]) =>
            handle === undefined
              ? what.kind === kind &&
                (id === undefined ? what.mark !== undefined && sameMark(what.mark, mark) : what.id === id)
              : one === handle,
          ) ?? [undefined];
          if (handle === undefined && options.goesOn?.tells === 'by-handle') return { state: 'unknown' };
          if (found !== undefined) return { state: 'running', handle: found };
          const made = ended.get(handle ?? '');
          return { state: 'ended', ...(made !== undefined && { id: made }) };
        },
      }),
    ...(provesIdentity !== false && {
      identity: async () => (away ? undefined : container.identity),
      async giveIdentity(given: string) {
        refuseAway();
        container.identity ??= given;
        return container.identity;
      },
    }),

    async list({ cursor }) {
      if (options.listingPageMs !== undefined) await time.wait(options.listingPageMs);
      const rows = seen('list');
      if (options.listingAnswerMs !== undefined) await time.wait(options.listingAnswerMs);
      const vacant = placesIn(rows);
      const all = [...rows.values()].filter((held) => held.vacant === undefined).sort((a, b) => (a.id < b.id ? -1 : 1));
      const rest = cursor === undefined ? all : all.filter(({ id }) => id > cursor);
      const page = rest.slice(0, 3);
      const last = page.at(-1);
      return {
        certificates: page.map(listed),
        ...(cursor === undefined && vacant.length > 0 ? { vacant } : {}),
        ...(last && rest.length > page.length ? { cursor: last.id } : {}),
      };
    },
    readMetadata: async (id) => reading(id, describe),
    async read(id): Promise<Reading<StoredCertificate>> {
      if (seen('read').get(id)?.unreadable) {
        return { state: 'unreadable', error: new CodedError('store_content_unreadable', `${id} is damaged`) };
      }
      return reading(id, (held) => {
        const { privateKey: _key, ...keyless } = held.content;
        const gives = abilities.givesKeys && held.withheld !== true && options.withholds?.(id) !== true;
        if (gives) return { metadata: describe(held), content: ownContent(held.content) };
        const hasKey = held.content.privateKey !== undefined;
        return { metadata: describe(held), content: keyless, ...(hasKey ? { keyWithheld: true as const } : {}) };
      });
    },
    ...(abilities.findsMarks
      ? {
          async findByMark(mark: Mark, { vacant: tell }: FindOptions = {}) {
            const rows = away ? new Map<string, Held>() : everything();
            for (const place of placesIn(rows)) if (sameMark(place.mark, mark)) tell?.(place);
            const living = [...rows.values()].filter(({ vacant }) => vacant === undefined);
            return living.filter((held) => sameMark(held.mark, mark)).map(options.silent === true ? listed : describe);
          },
        }
      : {}),

    async import(entry) {
      refuseAway();
      const { content, metadata, mark, token } = entry;
      const place = placeFor(entry);
      if (place !== undefined) return fill(place.id, entry);
      const known =
        abilities.importIsIdempotent && token !== undefined ? current().get(tokens.get(token) ?? '') : undefined;
      if (known !== undefined) return { id: known.id, metadata: describe(known) };
      refuseTakenName(metadata.name);
      refuse(content);
      const id = options.newId?.() ?? time.newId();
      if (options.goesOn !== undefined) {
        const running = goOn('import', id, mark, () => {
          refuseTakenName(metadata.name);
          write('import', id, { id, content: asStored(content), metadata, ...stamp(), ...kept(mark) });
        });
        return { id, running };
      }
      const held: Held = {
        id,
        content: asStored(content),
        metadata,
        ...stamp(),
        ...kept(mark),
      };
      if (token !== undefined) tokens.set(token, id);
      write('import', id, held);
      return { id, metadata: describe(held) };
    },
    async reimport(id, content) {
      const held = existing(id);
      refuseLocked(held);
      refuse(content);
      if (!takes(held, content)) {
        throw new CodedError('store_content_refused', 'the domains differ');
      }
      refuseFull(held);
      if (options.goesOn !== undefined) {
        const running = goOn('reimport', id, held.mark, () => {
          const then = existing(id);
          write('reimport', id, {
            ...then,
            content: asStored(content),
            unreadable: false,
            ...oneMore(then),
            ...stamp(),
          });
        });
        return { id, running };
      }
      const after: Held = { ...held, content: asStored(content), unreadable: false, ...oneMore(held), ...stamp() };
      write('reimport', id, after);
      return { id, metadata: describe(after) };
    },
    async updateMetadata(id, metadata, mark) {
      const { mark: _mark, ...held } = existing(id);
      refuseLocked(held);
      refuseTakenName(metadata.name, id);
      const after: Held = { ...held, metadata, ...stamp(), ...kept(mark) };
      write('describe', id, after);
      return { id };
    },
    async delete(id) {
      const held = away ? undefined : everything().get(id);
      if (held === undefined || held.vacant === 'deleted') return;
      if (held.vacant !== undefined) return replace(id, undefined);
      refuseLocked(held);
      if (held.inUse === true) throw new CodedError('store_in_use', `${id} is in use`);
      if (options.goesOn === undefined) return write('delete', id, undefined);
      const running = goOn('delete', id, held.mark, () => {
        const then = current().get(id);
        if (then !== undefined && then.inUse !== true) write('delete', id, undefined);
      });
      return { running };
    },
    asKept: ({ name, description, tags }) => ({ name, description, tags }),
  };
  return store;
}

/**
 * A copy whose key lives apart: who reads a certificate, or sends one, overwrites his own when he
 * is done.
 */
export function ownContent(content: CertificateContent): CertificateContent {
  return content.privateKey === undefined ? content : { ...content, privateKey: ownKey(content.privateKey) };
}
