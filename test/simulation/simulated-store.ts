import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { ownKey } from '../../src/certificate/private-key.ts';
import { CodedError } from '../../src/errors.ts';
import type { Runtime } from '../../src/runtime.ts';
import { type Mark, sameMark } from '../../src/store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  Reading,
  Store,
  StoreAbilities,
  StoredCertificate,
} from '../../src/store/store.ts';

/** One certificate in a simulated store. Never changed, only replaced: earlier states stay readable. */
export interface Held {
  readonly id: string;
  readonly content: CertificateContent;
  readonly metadata: DescriptiveMetadata;
  readonly mark?: Mark;
  readonly revision: number;
  readonly lastModified: number;
  readonly unreadable?: boolean;
  /** A person has locked it until this moment: it can be neither written to nor removed. */
  readonly lockedUntil?: number;
  /** Something uses it: it cannot be removed. */
  readonly inUse?: boolean;
}

type Rows = ReadonlyMap<string, Held>;

/** A store whose every state is remembered, so that reads and listings can be as old as its stated bounds allow. */
export interface SimulatedStore extends Store {
  readonly rows: () => Rows;
  /** Whether listings tell versions apart by more than serial and dates. */
  readonly givesRevisions: boolean;
  /** What someone else does at the service's own console: puts, replaces, or removes (`undefined`) a certificate. */
  readonly tamper: (id: string, change: (held: Held | undefined) => Held | undefined) => void;
  /** What a read gives back of content that was given. */
  readonly asStored: (content: CertificateContent) => CertificateContent;
  /** Why this content is not taken now; `undefined` if it is. */
  readonly refusesNow: (content: CertificateContent) => CodedError | undefined;
  /** Whether this copy could be given this content: false for other domains, where the store refuses that. */
  readonly takes: (held: Held, content: CertificateContent) => boolean;
  /** Called with everything that takes effect by a request of the program. */
  onWrite?: (
    operation: 'import' | 'reimport' | 'describe' | 'delete',
    id: string,
    before: Held | undefined,
    after: Held | undefined,
  ) => void;
}

/** The same as the fault-free service would be: requests take effect when they arrive. Faults are put around it (see faults.ts). */
export function simulatedStore(options: {
  readonly id: string;
  readonly region: string;
  readonly time: Runtime;
  readonly abilities: StoreAbilities;
  readonly givesRevisions: boolean;
  /** A reimport with other domains is refused, as Certificate Manager does. */
  readonly refusesOtherDomains: boolean;
  /** The chains that this store completes, by leaf: what is read back is another shape of what was given. */
  readonly completed?: ReadonlyMap<CertificateContent['leaf'], CertificateContent['chain']>;
  /** It says so itself, so that what it makes of content is known. */
  readonly saysWhatIsSame?: boolean;
  /** Whether content is refused, and until when; `undefined` if it is taken. */
  readonly choosy?: (content: CertificateContent) => { readonly until: number } | undefined;
  /** It tells beforehand what it refuses. */
  readonly tellsBeforehand?: boolean;
  /** Ids of what is imported; absent: each is greater than the one before. */
  readonly newId?: () => string;
  /** How much older than now a read or a listing is, in milliseconds. */
  readonly staleness: (kind: 'read' | 'list') => number;
}): SimulatedStore {
  const { id: storeId, time, abilities } = options;
  const history: { readonly at: number; readonly rows: Rows }[] = [{ at: Number.NEGATIVE_INFINITY, rows: new Map() }];
  const tokens = new Map<string, string>();
  let revision = 0;

  const current = (): Rows => history.at(-1)?.rows ?? new Map();
  const seen = (kind: 'read' | 'list'): Rows => {
    const moment = time.now() - options.staleness(kind);
    return history.findLast(({ at }) => at <= moment)?.rows ?? new Map();
  };

  function replace(id: string, held: Held | undefined): void {
    const rows = new Map(current());
    if (held === undefined) rows.delete(id);
    else rows.set(id, held);
    history.push({ at: time.now(), rows });
    if (history.length > 64) history.splice(1, 16);
  }

  function write(operation: 'import' | 'reimport' | 'describe' | 'delete', id: string, after: Held | undefined): void {
    const before = current().get(id);
    replace(id, after);
    store.onWrite?.(operation, id, before, after);
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
      ...(options.givesRevisions ? { revision: String(held.revision), lastModified: held.lastModified } : {}),
    };
  }

  const stamp = () => {
    revision += 1;
    return { revision, lastModified: time.now() };
  };

  function existing(id: string): Held {
    const held = current().get(id);
    if (held === undefined) throw new CodedError('store_gone', `${storeId} holds no ${id}`);
    return held;
  }

  function reading<T>(id: string, value: (held: Held) => T): Reading<T> {
    const held = seen('read').get(id);
    return held === undefined ? { state: 'absent' } : { state: 'present', value: value(held) };
  }

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
    for (const held of current().values()) {
      if (held.metadata.name === name && held.id !== except) throw new CodedError('store_conflict', `${name} is taken`);
    }
  }

  const store: SimulatedStore = {
    id: storeId,
    kind: 'simulated',
    region: options.region,
    abilities,
    rows: current,
    givesRevisions: options.givesRevisions,
    asStored,
    takes,
    refusesNow,
    ...(options.choosy && options.tellsBeforehand ? { refuses: refusesNow } : {}),
    ...(options.saysWhatIsSame
      ? { same: (given, back) => fingerprintOf(asStored(given)) === fingerprintOf(back) }
      : {}),
    tamper: (id, change) => replace(id, change(current().get(id))),

    async list({ cursor }) {
      const all = [...seen('list').values()].sort((a, b) => (a.id < b.id ? -1 : 1));
      const rest = cursor === undefined ? all : all.filter(({ id }) => id > cursor);
      const page = rest.slice(0, 3);
      const last = page.at(-1);
      return { certificates: page.map(describe), ...(last && rest.length > page.length ? { cursor: last.id } : {}) };
    },
    readMetadata: async (id) => reading(id, describe),
    async read(id): Promise<Reading<StoredCertificate>> {
      if (seen('read').get(id)?.unreadable) {
        return { state: 'unreadable', error: new CodedError('store_content_unreadable', `${id} is damaged`) };
      }
      return reading(id, (held) => {
        const { privateKey: _key, ...keyless } = held.content;
        return { metadata: describe(held), content: abilities.givesKeys ? ownContent(held.content) : keyless };
      });
    },
    ...(abilities.findsMarks
      ? {
          findByMark: async (mark: Mark) =>
            [...current().values()].filter((held) => sameMark(held.mark, mark)).map(describe),
        }
      : {}),

    async import({ content, metadata, mark, token }) {
      const known =
        abilities.importIsIdempotent && token !== undefined ? current().get(tokens.get(token) ?? '') : undefined;
      if (known !== undefined) return { id: known.id, metadata: describe(known) };
      refuseTakenName(metadata.name);
      refuse(content);
      const id = options.newId?.() ?? time.newId();
      const held: Held = {
        id,
        content: asStored(content),
        metadata,
        ...stamp(),
        ...(mark === undefined ? {} : { mark }),
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
      const after: Held = { ...held, content: asStored(content), unreadable: false, ...stamp() };
      write('reimport', id, after);
      return { id, metadata: describe(after) };
    },
    async updateMetadata(id, metadata, mark) {
      const { mark: _mark, ...held } = existing(id);
      refuseLocked(held);
      refuseTakenName(metadata.name, id);
      const after: Held = { ...held, metadata, ...stamp(), ...(mark === undefined ? {} : { mark }) };
      write('describe', id, after);
      return { id };
    },
    async delete(id) {
      const held = current().get(id);
      if (held === undefined) return;
      refuseLocked(held);
      if (held.inUse === true) throw new CodedError('store_in_use', `${id} is in use`);
      write('delete', id, undefined);
    },
    asKept: ({ name, description, tags }) => ({ name, description, tags }),
  };
  return store;
}

/** A copy whose key lives apart: who reads a certificate, or sends one, overwrites his own when he is done. */
export function ownContent(content: CertificateContent): CertificateContent {
  return content.privateKey === undefined ? content : { ...content, privateKey: ownKey(content.privateKey) };
}
