import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
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
}

type Rows = ReadonlyMap<string, Held>;

/** A store whose every state is remembered, so that reads and listings can be as old as its stated bounds allow. */
export interface SimulatedStore extends Store {
  readonly rows: () => Rows;
  /** Whether listings tell versions apart by more than serial and dates. */
  readonly givesRevisions: boolean;
  /** What someone else does at the service's own console: puts, replaces, or removes (`undefined`) a certificate. */
  readonly tamper: (id: string, change: (held: Held | undefined) => Held | undefined) => void;
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
      const id = time.newId();
      const held: Held = { id, content, metadata, ...stamp(), ...(mark === undefined ? {} : { mark }) };
      if (token !== undefined) tokens.set(token, id);
      write('import', id, held);
      return { id, metadata: describe(held) };
    },
    async reimport(id, content) {
      const held = existing(id);
      const domains = (of: CertificateContent) => [...factsOf(of).domains].sort().join();
      if (options.refusesOtherDomains && domains(held.content) !== domains(content)) {
        throw new CodedError('store_refused', 'the domains differ');
      }
      const after: Held = { ...held, content, unreadable: false, ...stamp() };
      write('reimport', id, after);
      return { id, metadata: describe(after) };
    },
    async updateMetadata(id, metadata, mark) {
      const { mark: _mark, ...held } = existing(id);
      refuseTakenName(metadata.name, id);
      const after: Held = { ...held, metadata, ...stamp(), ...(mark === undefined ? {} : { mark }) };
      write('describe', id, after);
      return { id };
    },
    async delete(id) {
      if (current().has(id)) write('delete', id, undefined);
    },
    asKept: ({ name, description, tags }) => ({ name, description, tags }),
  };
  return store;
}

/** A copy whose key lives apart: who reads a certificate, or sends one, overwrites his own when he is done. */
export function ownContent(content: CertificateContent): CertificateContent {
  return content.privateKey === undefined ? content : { ...content, privateKey: ownKey(content.privateKey) };
}
