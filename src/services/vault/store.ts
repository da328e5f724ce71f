import { isDeepStrictEqual } from 'node:util';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { fingerprintOf } from '../../certificate/fingerprint.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type { HttpSend } from '../../http/client.ts';
import { type Runtime, unlessAborted } from '../../runtime.ts';
import { sameMark } from '../../store/mark.ts';
import type {
  CallOptions,
  CertificateMetadata,
  DescriptiveMetadata,
  ListPage,
  NewCertificate,
  PassedOver,
  Reading,
  Store,
  StoredCertificate,
  UnreadableElement,
  VacantElement,
  WriteAnswer,
} from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { vaultClient } from './client.ts';
import type { ConnectionFiles } from './connection.ts';
import { asKept, type Entries, entriesOf, ourEntries, readEntries } from './custom-metadata.ts';
import { vaultDefaults as defaults } from './defaults.ts';
import { vaultDiagnosis } from './diagnosis.ts';
import { type Facts, factsOfContent, knownFacts } from './facts.ts';
import { failed, orOfThisPath } from './failure.ts';
import type { Asked, KeyValue, Live, Place, PlaceRead, Version } from './key-value.ts';
import {
  companionsAmong,
  type GivenFields,
  looksLikeCertificate,
  readContent,
  rewriteContent,
  type SecretData,
  writeContent,
} from './layouts.ts';
import type { LoginOptions } from './login.ts';
import { derivedId, exactId, isFolder, isId, joined, nameOfId } from './paths.ts';
import { healthOf, type Mount, mountAt, proveNamespaces } from './server.ts';
import type { Layout, VaultConfig } from './settings.ts';
import { type Found, walk } from './tree.ts';
import { version1 } from './version-1.ts';
import { version2 } from './version-2.ts';
import { poll } from './watch.ts';

export interface VaultStoreOptions {
  /** `https://vault.example.test:8200` */
  readonly address: string;
  /** Names it among all stores, for ever. */
  readonly id: string;
  readonly region: string;
  readonly login: LoginOptions;
  readonly runtime: Runtime;
  /** Default: `vaultDefaults`. */
  readonly mount?: string;
  /** A folder below the mount; absent: all of it. */
  readonly prefix?: string;
  readonly namespace?: string;
  /** Of the engine. Default: what the mount says. */
  readonly version?: 1 | 2;
  readonly layout?: Layout;
  readonly fields?: GivenFields;
  readonly files?: ConnectionFiles;
  readonly pollMs?: number;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
  readonly send?: HttpSend;
  /** How long one request may take. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** Secrets on a page of a listing. Default 200. */
  readonly pageSize?: number;
}

/** The store of the configuration. */
export function openStore(config: VaultConfig, context: StoreContext): Store {
  return vaultStore(optionsOf(config, context));
}

function optionsOf(config: VaultConfig, { runtime, secret }: StoreContext): VaultStoreOptions {
  const { certificateField, keyField, chainField, ca, clientCertificate, clientKey, ...given } = config;
  const { token, secretId, jwt, login = defaults.login, loginMount, loginNamespace, namespace } = given;
  const { address, region, mount, prefix, version, layout, pollMs, settlesMs, listingLagMs, readSettlesMs } = given;
  const { tokenFile, role, roleId, secretIdWrapped, jwtFile } = given;
  const fields = certificateField && defined({ certificate: certificateField, key: keyField, chain: chainField });
  return {
    ...defined({ mount, prefix, namespace, version, layout, pollMs, settlesMs, listingLagMs, readSettlesMs }),
    ...(fields && { fields }),
    address,
    region,
    runtime,
    id: given.id ?? address,
    files: defined({ ca, clientCertificate, clientKey }),
    login: defined({
      login,
      mount: loginMount,
      namespace: loginNamespace ?? namespace,
      token: token && secret(token),
      tokenFile,
      role,
      roleId,
      secretId: secretId && secret(secretId),
      secretIdWrapped,
      jwt: jwt && secret(jwt),
      jwtFile,
    }),
  };
}

/** An engine that has been found to be what the configuration says. */
interface Engine {
  readonly kv: KeyValue;
  readonly product: 'vault' | 'openbao';
}

/** One entry of a listing; nothing in it: it is gone by now. */
interface Listed {
  readonly certificate?: CertificateMetadata;
  readonly unreadable?: UnreadableElement;
  readonly vacant?: VacantElement;
  readonly passedOver?: PassedOver;
}

/** So many requests of one listing are under way at once, where each secret has to be asked for. */
const atOnce = 8;
/** A folder whose secrets are one certificate has few of them. */
const mostFolderPages = 20;

/**
 * A key/value engine of HashiCorp Vault or OpenBao, or a folder in it. The id of a certificate is
 * its path below the prefix; that of four secrets which are one certificate together (acme.sh) is
 * the path of their folder, with a slash at its end. A copy is one secret, so that a write is whole
 * or nothing; mark, name and description stand in its custom metadata, in version 1 of the engine
 * among its fields. Throws `configuration_invalid` if an option is wrong.
 */
export function vaultStore(options: VaultStoreOptions): Store {
  const { runtime, prefix, namespace, fields, pageSize = 200 } = options;
  const { settlesMs, listingLagMs, readSettlesMs, layout, mount } = { ...defaults, ...defined(options) };
  const storeId = `vault:${options.id}`;
  const root = prefix === undefined ? '' : `${prefix}/`;
  const client = vaultClient({
    ...defined({ namespace, send: options.send, requestTimeoutMs: options.requestTimeoutMs }),
    address: options.address,
    login: options.login,
    files: options.files ?? {},
    store: storeId,
    runtime,
  });
  const known = knownFacts();
  const mounted = (signal: AbortSignal | undefined): Promise<Mount> =>
    mountAt(client, storeId, { mount, wanted: options.version, signal });
  let opened: Promise<Engine> | undefined;

  async function open(): Promise<Engine> {
    const health = await healthOf(client, storeId);
    if (namespace !== undefined) {
      const nobodys = `certstandby-${runtime.newId()}`;
      await proveNamespaces(client, storeId, { namespace, mount, health, nobodys });
    }
    const { version } = await mounted(undefined);
    const { product } = health;
    const { send } = client;
    const isOpenBao = product === 'openbao';
    const kv =
      version === 1
        ? version1({ send, mount, store: storeId, revisionOf: (data) => revisionOf(data, fields), isOpenBao })
        : version2({ send, mount, store: storeId, pageSize, now: runtime.now, isOpenBao });
    return { kv, product };
  }

  /**
   * What is there is found out once, for all who wait for it: one of them who goes away ends it for
   * no other. A failure is found out again.
   */
  async function engine(signal?: AbortSignal): Promise<Engine> {
    if (signal?.aborted) throw callEnded(signal);
    opened ??= open().catch((thrown: unknown) => {
      opened = undefined;
      throw thrown;
    });
    try {
      return await unlessAborted(signal, opened);
    } catch (thrown) {
      throw signal?.aborted ? callEnded(signal) : thrown;
    }
  }

  const callEnded = ({ reason }: AbortSignal) =>
    new CodedError('store_unavailable', `a call of ${storeId} was ended`, {
      cause: reason,
      fields: { store: storeId },
    });
  const asked = (operation: string, certificate: string | undefined, signal: AbortSignal | undefined): Asked => ({
    call: { operation, ...defined({ certificate }) },
    signal,
  });
  const pathOf = (id: string) => `${root}${id}`;
  /** For people: as commands of the server take it. */
  const placeOf = (id: string) => `${mount}/${pathOf(id)}`;

  /** What stands under an id. */
  async function placeAt(kv: KeyValue, id: string, of: Asked, withContent: true): Promise<PlaceRead>;
  async function placeAt(kv: KeyValue, id: string, of: Asked, withContent: boolean): Promise<Place>;
  async function placeAt(kv: KeyValue, id: string, of: Asked, withContent: boolean): Promise<Place> {
    if (!isFolder(id)) return withContent ? kv.read(pathOf(id), of) : kv.look(pathOf(id), of);
    const names: string[] = [];
    for (let after: string | undefined, pages = 0; pages < mostFolderPages; pages += 1) {
      const page = await kv.list(pathOf(id), after, of);
      names.push(...page.names);
      after = page.names.at(-1);
      if (!page.goesOn || after === undefined) break;
    }
    if (names.length === 0) return { state: 'absent' };
    const members = companionsAmong(names);
    const read = await Promise.all(
      members.map(async (name) => {
        const path = `${pathOf(id)}${name}`;
        return [name, withContent ? await kv.read(path, of) : await kv.look(path, of)] as const;
      }),
    );
    return joined(new Map(read)) ?? { state: 'absent' };
  }

  function contentOf(id: string, data: SecretData): CertificateContent {
    try {
      return readContent(data, isFolder(id) ? undefined : fields);
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      const { code, message, fields: more } = thrown;
      const isOther = code === 'store_layout_unknown';
      throw new CodedError(isOther ? code : 'store_content_unreadable', `${placeOf(id)}: ${message}`, {
        cause: thrown,
        fields: { ...more, store: storeId, certificate: id, ...(!isOther && { reason: code }) },
      });
    }
  }

  /** The content in a secret, whose facts are known from now on; so is that it cannot be read. */
  function learn(id: string, live: Live & { readonly data: SecretData }): CertificateContent {
    try {
      const content = contentOf(id, live.data);
      known.keep(id, live.revision, factsOfContent(content));
      return content;
    } catch (thrown) {
      if (thrown instanceof CodedError) known.keep(id, live.revision, thrown);
      throw thrown;
    }
  }

  function metadataOf(
    id: string,
    live: Version & { readonly entries: Entries },
    facts: Facts | undefined,
  ): CertificateMetadata {
    const { mark, name = nameOfId(id), description } = readEntries(live.entries);
    return {
      id,
      name,
      description,
      tags: [],
      ...(facts ?? { domains: [], domainsUnknown: true }),
      ...defined({ mark, revision: live.revision, lastModified: live.changedAt }),
    };
  }

  /** The answers of a read. What is a fault of ours, and no answer of the server, is thrown. */
  async function reading<T>(
    id: string,
    operation: string,
    { signal }: CallOptions,
    withContent: boolean,
    value: (kv: KeyValue, place: Live, of: Asked) => Promise<T>,
  ): Promise<Reading<T>> {
    if (!isId(id)) return { state: 'absent' };
    let name: string | undefined;
    try {
      const { kv } = await engine(signal);
      const of = asked(operation, id, signal);
      const place = await placeAt(kv, id, of, withContent);
      if (place.state === 'absent') return { state: 'absent' };
      const entries = readEntries(place.entries);
      name = entries.name ?? nameOfId(id);
      if (place.state === 'vacant')
        return { state: 'vacant', why: place.why, name, ...defined({ mark: entries.mark }) };
      return { state: 'present', value: await value(kv, place, of) };
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      return { state: 'unreadable', error: thrown, ...defined({ name }) };
    }
  }

  /** Metadata whose facts are read from the content where this version was never read before. */
  async function described(kv: KeyValue, id: string, place: Live, of: Asked): Promise<CertificateMetadata> {
    const facts = known.of(id, place.revision);
    // What cannot be read may be read with other settings, or by a later version of this program.
    if (facts !== undefined && !(facts instanceof CodedError)) return metadataOf(id, place, facts);
    const whole = await placeAt(kv, id, of, true);
    if (whole.state !== 'live')
      throw failed({ store: storeId, writes: false, ...of.call }, 'store_unavailable', 'it was changed just now', {
        retryAfterMs: 1_000,
      });
    const content = learn(id, whole);
    content.privateKey?.pem.wipe();
    return metadataOf(id, whole, factsOfContent(content));
  }

  /** One entry of a listing; nothing where it is gone by now. */
  async function listed(kv: KeyValue, { id, place: seen }: Found, of: Asked): Promise<Listed> {
    const place = seen ?? (await orOfThisPath(placeAt(kv, id, of, false)));
    const unreadableFor = (error: CodedError): Listed => ({
      unreadable: { id, place: placeOf(id), name: nameOfId(id), error },
    });
    if (place instanceof CodedError) return unreadableFor(place);
    if (place.state === 'absent') return {};
    const { mark, name = nameOfId(id) } = readEntries(place.entries);
    if (place.state === 'vacant') {
      const vacant: VacantElement = { id, why: place.why, name, ...defined({ mark }) };
      return { vacant };
    }
    if ('data' in place && known.of(id, place.revision) === undefined) {
      // Version 1 gives all of it or nothing.
      try {
        learn(id, place as PlaceRead & Live).privateKey?.pem.wipe();
      } catch (thrown) {
        asCodedError(thrown);
      }
    }
    const facts = known.of(id, place.revision);
    if (facts instanceof CodedError) {
      if (facts.code === 'store_layout_unknown' && mark === undefined)
        return { passedOver: { id, place: placeOf(id), reason: 'none of its fields holds a certificate' } };
      const unreadable: UnreadableElement = {
        id,
        place: placeOf(id),
        error: facts,
        name,
        ...defined({ mark }),
        ...(mark && { ours: true }),
      };
      return { unreadable };
    }
    if (facts === undefined && mark === undefined && !isFolder(id)) {
      const other = await orOfThisPath(isOther(kv, id, place, of));
      if (other instanceof CodedError) return unreadableFor(other);
      if (other)
        return { passedOver: { id, place: placeOf(id), reason: 'none of its fields has a name of a certificate’s' } };
    }
    return { certificate: metadataOf(id, place, facts) };
  }

  /** Whether the names of its fields say that it is no certificate: asked once of each version. */
  async function isOther(kv: KeyValue, id: string, place: Live, of: Asked): Promise<boolean> {
    const before = known.looksOther(id, place.revision);
    if (before !== undefined) return before;
    const names = await kv.fieldNames(pathOf(id), of);
    const isOne = names !== undefined && !looksLikeCertificate(names, fields);
    known.keepLook(id, place.revision, isOne);
    return isOne;
  }

  function gone(id: string): CodedError {
    return new CodedError('store_gone', `there is no ${pathOf(id)} in ${storeId}`, {
      fields: { store: storeId, certificate: id },
    });
  }

  function conflict(id: string, words: string): CodedError {
    return new CodedError('store_conflict', `${placeOf(id)} ${words}`, {
      fields: { store: storeId, certificate: id },
    });
  }

  /** Nothing can stand there, or several secrets do, which cannot be written at once. */
  function refuseUnwritable(id: string): void {
    if (!isId(id)) throw gone(id);
    if (!isFolder(id)) return;
    throw new CodedError(
      'store_refused',
      `${placeOf(id)} is a certificate of several secrets, which is read and never written to`,
      {
        fields: {
          store: storeId,
          certificate: id,
          remedy:
            'A write of several secrets is never whole. Have the copy made anew in one secret, and remove the folder.',
        },
      },
    );
  }

  async function liveAt(kv: KeyValue, id: string, of: Asked): Promise<Live> {
    refuseUnwritable(id);
    const place = await kv.look(pathOf(id), of);
    if (place.state !== 'live') throw gone(id);
    return place;
  }

  function answer(id: string, version: Version, entries: Entries, content: CertificateContent): WriteAnswer {
    const facts = factsOfContent(content);
    if (version.revision === undefined) return { id };
    known.keep(id, version.revision, facts);
    return { id, metadata: metadataOf(id, { ...version, entries }, facts) };
  }

  /** Makes a copy in a place that is free or holds nothing but our mark. */
  async function make(kv: KeyValue, id: string, before: Place, entry: NewCertificate, of: Asked): Promise<WriteAnswer> {
    const entries = entriesOf(entry.metadata, entry.mark, { isMade: true });
    const data = writeContent(entry.content, layout);
    try {
      const version = await kv.create(pathOf(id), data, entries, before, of);
      return answer(id, version, entries, entry.content);
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'store_conflict' || entry.mark === undefined) throw thrown;
      const place = await kv.look(pathOf(id), of);
      // Another worker was faster by a moment: a look mends it if it is something else.
      if (place.state === 'live' && sameMark(readEntries(place.entries).mark, entry.mark)) return { id };
      throw conflict(id, 'is there already');
    }
  }

  /** Writes over a place with this mark, whether or not it holds something by now. */
  async function fill(kv: KeyValue, id: string, entry: NewCertificate, of: Asked): Promise<WriteAnswer> {
    const { content, metadata, mark } = entry;
    refuseUnwritable(id);
    const before = await kv.look(pathOf(id), of);
    if (before.state === 'absent') throw gone(id);
    const held = readEntries(before.entries);
    if (mark === undefined || !sameMark(held.mark, mark)) throw conflict(id, 'is not a place for this certificate');
    if (before.state === 'vacant') return make(kv, id, before, entry, of);
    const entries = entriesOf(metadata, mark, held);
    await kv.describe(pathOf(id), entries, before, of);
    const version = await kv.write(pathOf(id), writeContent(content, layout), { ...before, entries }, of);
    return answer(id, version, entries, content);
  }

  async function importNew(kv: KeyValue, entry: NewCertificate, of: Asked): Promise<WriteAnswer> {
    const { metadata, mark, token, exactName = false } = entry;
    const wanted = exactName ? exactId(metadata.name, storeId) : derivedId(metadata.name, mark, runtime);
    const before = await kv.look(pathOf(wanted), of);
    if (before.state === 'absent') return make(kv, wanted, before, entry, of);
    const held = readEntries(before.entries);
    const isOurs = mark !== undefined && sameMark(held.mark, mark);
    if (before.state === 'vacant' && isOurs) return make(kv, wanted, before, entry, of);
    // What was imported once is not imported again: a look mends it if it is something else.
    if (before.state === 'live' && isOurs && token !== undefined) return { id: wanted };
    if (exactName) throw conflict(wanted, 'is there already');
    // A copy that a restore gave another mark keeps its path.
    return make(kv, `${wanted}-${runtime.newId().slice(0, 8)}`, { state: 'absent' }, entry, of);
  }

  async function list({ cursor, signal }: Parameters<Store['list']>[0]): Promise<ListPage> {
    const { kv } = await engine(signal);
    const of = asked('list', undefined, signal);
    const page = await walk({ kv, root, pageSize, store: storeId, placeOf, of, ...defined({ cursor }) });
    const certificates: CertificateMetadata[] = [];
    const unreadable: UnreadableElement[] = [...page.unreadable];
    const vacant: VacantElement[] = [];
    const passedOver: PassedOver[] = [];
    for (let from = 0; from < page.found.length; from += atOnce) {
      const some = page.found.slice(from, from + atOnce);
      for (const entry of await Promise.all(some.map((one) => listed(kv, one, of)))) {
        if (entry.certificate !== undefined) certificates.push(entry.certificate);
        if (entry.unreadable !== undefined) unreadable.push(entry.unreadable);
        if (entry.vacant !== undefined) vacant.push(entry.vacant);
        if (entry.passedOver !== undefined) passedOver.push(entry.passedOver);
      }
    }
    return {
      certificates,
      unreadable,
      passedOver,
      ...(vacant.length > 0 && { vacant }),
      ...defined({ cursor: page.cursor }),
    };
  }

  return {
    id: storeId,
    kind: 'vault',
    region: options.region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: true,
      uniqueNames: false,
      // Programs look for a certificate by its path.
      idsAreReferredTo: true,
      findsMarks: false,
      settlesMs,
      listingLagMs,
      readSettlesMs,
    },

    list,

    readMetadata: (id, call = {}) =>
      reading(id, 'read metadata', call, false, (kv, place, of) => described(kv, id, place, of)),

    read: (id, call = {}) =>
      reading(id, 'read', call, true, async (_kv, place): Promise<StoredCertificate> => {
        const content = learn(id, place as Live & { readonly data: SecretData });
        return { metadata: metadataOf(id, place, factsOfContent(content)), content };
      }),

    async import(entry, { signal } = {}) {
      const { kv } = await engine(signal);
      const of = asked('import', entry.into, signal);
      return entry.into === undefined ? importNew(kv, entry, of) : fill(kv, entry.into, entry, of);
    },

    async reimport(id, content, { signal } = {}) {
      const { kv } = await engine(signal);
      const of = asked('reimport', id, signal);
      refuseUnwritable(id);
      const before = await kv.read(pathOf(id), of);
      if (before.state !== 'live') throw gone(id);
      const { isMade } = readEntries(before.entries);
      const fresh = writeContent(content, layout);
      const data = isMade ? fresh : (rewriteContent(before.data, content, fields) ?? { ...before.data, ...fresh });
      // Each write costs a version, and pushes an old one out: what is there already is not
      // written.
      if (sameData(before.data, data)) return answer(id, before, before.entries, content);
      return answer(id, await kv.write(pathOf(id), data, before, of), before.entries, content);
    },

    async updateMetadata(id, metadata, mark, { signal } = {}) {
      const { kv } = await engine(signal);
      const of = asked('update metadata', id, signal);
      const before = await liveAt(kv, id, of);
      const entries = entriesOf(metadata, mark, readEntries(before.entries));
      if (!sameData(ourEntries(before.entries), entries)) await kv.describe(pathOf(id), entries, before, of);
      const facts = known.of(id, before.revision);
      if (facts === undefined || facts instanceof CodedError) return { id };
      return { id, metadata: metadataOf(id, { ...before, entries }, facts) };
    },

    async delete(id, { signal } = {}) {
      const { kv } = await engine(signal);
      if (!isId(id)) return;
      refuseUnwritable(id);
      await kv.remove(pathOf(id), asked('delete', id, signal));
    },

    asKept: (metadata: DescriptiveMetadata) => asKept(metadata),

    async identity({ signal } = {}) {
      const { uuid } = await mounted(signal);
      return prefix === undefined ? uuid : `${uuid}/${encodeURI(prefix)}`;
    },

    watch: (changed) =>
      poll({
        runtime,
        everyMs: async (signal) => options.pollMs ?? defaults.pollMs[(await engine(signal)).product],
        list,
        changed,
      }),

    diagnosis: vaultDiagnosis({
      client,
      store: storeId,
      address: options.address,
      mount,
      root,
      version: async (signal) => (await mounted(signal)).version,
      readsAtOnce: readSettlesMs === 0,
    }),

    close: () => client.close(),
  };
}

/** Tells versions of a content apart where the engine has none: by what is public of it. */
function revisionOf(data: SecretData, fields: GivenFields | undefined): string | undefined {
  try {
    const content = readContent(data, fields);
    content.privateKey?.pem.wipe();
    return fingerprintOf(content);
  } catch {
    return undefined;
  }
}

const sameData = (a: SecretData, b: SecretData): boolean => isDeepStrictEqual({ ...a }, { ...b });
