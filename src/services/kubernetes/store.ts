import { randomUUID } from 'node:crypto';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import type { Runtime } from '../../runtime.ts';
import { type ContentFacts, contentFacts } from '../../store/content-facts.ts';
import { type FoundMark, type Mark, markDigest, sameMark } from '../../store/mark.ts';
import type {
  CallOptions,
  CertificateMetadata,
  FindOptions,
  ListPage,
  NewCertificate,
  Reading,
  Store,
  StoredCertificate,
  UnreadableElement,
  Vacancy,
  VacantElement,
  WriteAnswer,
} from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { accessOf } from './access.ts';
import { type Api, apiOf, metadataOnly } from './api.ts';
import {
  annotated,
  annotatedFacts,
  bytesOf,
  contentIn,
  dataOf,
  described,
  descriptionOf,
  isEmpty,
  isOurs,
  keys,
  label,
  markOf,
} from './copy.ts';
import { kubernetesDefaults as defaults } from './defaults.ts';
import { type ApiCall, heldRemedy, namespaceError, type Right, remedied } from './failure.ts';
import { derivedName, exactObjectName, idOf, isLabel, isSubdomain, pathOf, revisionOf } from './names.ts';
import {
  type ObjectMetadata,
  readList,
  readNamespace,
  readObject,
  readSecret,
  type Secret,
  tlsType,
} from './objects.ts';
import { factsCache, ourManager, untouchedCache } from './remembered.ts';
import type { KubernetesConfig } from './settings.ts';
import { type WatchScope, watchSecrets } from './watch.ts';

export interface KubernetesStoreOptions {
  /** Tells it from every other store, for ever. */
  readonly id: string;
  readonly region: string;
  /** Absent: all of the cluster. */
  readonly namespaces?: readonly string[];
  /** Of copies whose original lies in none of these. */
  readonly into?: string;
  readonly labelSelector?: string;
  readonly caCrt?: boolean;
  readonly settlesMs?: number;
  readonly api: Api;
  readonly runtime: Runtime;
  /** Secrets on a page of a listing. Default: `kubernetesDefaults`. */
  readonly pageSize?: number;
  /** How long a watch may be silent. Default: as `watchSecrets` has it. */
  readonly watchQuietMs?: number;
}

/** Values of a secret together, decoded (Kubernetes, "Restriction on Secret data size"). */
const dataBytes = 1_048_576;
/** So often a change is tried that others come between. */
const attempts = 3;
/** After so long the server ends a watch, and the next one goes on where that was. */
const watchSeconds = 290;
/** The longest identity that is told as it is; beyond, its digest. */
const identityCharacters = 400;

/** The store of the configuration. */
export function openStore(config: KubernetesConfig, context: StoreContext): Store {
  return kubernetesStore(optionsOf(config, context));
}

/** What the configuration says of a cluster, as options. */
export function optionsOf(config: KubernetesConfig, context: StoreContext): KubernetesStoreOptions {
  const { id, region, namespaces, into, labelSelector, caCrt, settlesMs } = config;
  const api = apiOf(accessOf(config.access, context), context.runtime);
  const given = defined({ namespaces, into, labelSelector, caCrt, settlesMs });
  return { ...given, id, region, api, runtime: context.runtime };
}

/**
 * Secrets of type `kubernetes.io/tls` in some namespaces of a cluster, or in all of them, over the
 * REST API of Kubernetes. The id of a certificate is `<namespace>/<name>`. Only `tls.crt` and
 * `tls.key` are read and written, and `ca.crt` where that is said; what people and other tools
 * added to a copy stays. A secret that we did not make is neither changed nor removed. Listings
 * and searches bring no content. A namespace is proven to be there before anything in it is taken
 * for absent: the API server answers for one that is missing as if everything had been deleted.
 */
export function kubernetesStore(options: KubernetesStoreOptions): Store {
  const { api, namespaces, labelSelector, pageSize = defaults.pageSize, caCrt = false } = options;
  const storeId = `kubernetes:${options.id}`;
  const known = factsCache();
  const untouched = untouchedCache();

  const callOf = (operation: string, right: Right, more: Partial<ApiCall> = {}): ApiCall => ({
    store: storeId,
    operation,
    writes: false,
    right,
    ...more,
  });
  const onSecrets = (verb: Right['verb'], namespace: string | undefined): Right => ({
    verb,
    resource: 'secrets',
    ...defined({ namespace: namespaces === undefined ? undefined : namespace }),
  });

  function splitId(id: string): { readonly namespace: string; readonly name: string } | undefined {
    const [namespace = '', name = '', ...more] = id.split('/');
    const isHere = namespaces === undefined ? isLabel(namespace) : namespaces.includes(namespace);
    return isHere && more.length === 0 && isSubdomain(name) ? { namespace, name } : undefined;
  }

  /**
   * The namespace as it is now. Throws `store_root_unusable` where it is missing or ending: nothing
   * is known then of what is in it.
   */
  async function proveNamespace(namespace: string, signal: AbortSignal | undefined): Promise<{ readonly uid: string }> {
    const right = { verb: 'get', resource: 'namespaces', ...(namespaces && { namespace }) } as const;
    const call = callOf('look for the namespace', right);
    let found: ReturnType<typeof readNamespace>;
    try {
      const answer = await api.ask(call, { method: 'GET', path: `/api/v1/namespaces/${namespace}`, signal });
      found = readNamespace(answer.json);
      if (found === undefined) throw nonsenseError(call, answer, 'something that is no namespace');
    } catch (thrown) {
      const error = asCodedError(thrown);
      throw error.fields.status === 404 && error.code === 'store_root_unusable'
        ? namespaceError(storeId, namespace, 'missing', error)
        : error;
    }
    if (found.isEnding) throw namespaceError(storeId, namespace, 'ending');
    return found;
  }

  /**
   * Throws unless the place is there that says of a secret that it is not in it: its namespace, or,
   * where the store is a whole cluster that proves itself, that cluster, whose namespaces go too.
   */
  async function proveAbsence(namespace: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await proveNamespace(namespace, signal);
    } catch (thrown) {
      if (namespaces !== undefined || asCodedError(thrown).fields.missing !== true) throw thrown;
      // Who may not ask who the cluster is does not know that it is the one that was meant.
      await proveNamespace('kube-system', signal).catch(() => {
        throw thrown;
      });
    }
  }

  /** A read that found nothing, where its namespace is there to say so. */
  async function orAbsent<T>(
    namespace: string,
    signal: AbortSignal | undefined,
    read: () => Promise<Reading<T>>,
  ): Promise<Reading<T>> {
    try {
      try {
        return await read();
      } catch (thrown) {
        if (asCodedError(thrown).code !== 'store_gone') throw thrown;
        await proveAbsence(namespace, signal);
        return { state: 'absent' };
      }
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      return { state: 'unreadable', error: thrown };
    }
  }

  /** A secret in full, as it came and as it is understood. Throws `store_gone`. */
  async function getSecret(
    id: string,
    operation: string,
    signal: AbortSignal | undefined,
    more: Partial<ApiCall> = {},
  ) {
    const { namespace, name } = splitId(id) ?? absentId(id);
    const call = callOf(operation, onSecrets('get', namespace), { certificate: id, ...more });
    const answer = await api.ask(call, { method: 'GET', path: pathOf(namespace, name), signal });
    const secret = readSecret(answer.json);
    if (secret === undefined) throw nonsenseError(call, answer, 'something that is no secret');
    return { raw: answer.json as Readonly<Record<string, unknown>>, secret };
  }

  /** An id that no secret here can have. */
  function absentId(id: string): never {
    throw new CodedError('store_gone', `${id} is no secret of ${storeId}`, { fields: { store: storeId } });
  }

  function otherType(id: string, type: string | undefined): CodedError {
    const fields = {
      store: storeId,
      certificate: id,
      remedy: `Its type can never change: delete it and make it anew as ${tlsType}, or leave it out.`,
    };
    return new CodedError('store_layout_unknown', `${id} is a secret of type ${type ?? '(none)'}, not ${tlsType}`, {
      fields,
    });
  }

  function unreadable(id: string, cause: unknown): CodedError {
    const { message, code } = asCodedError(cause);
    const fields = { store: storeId, certificate: id, reason: code };
    return new CodedError('store_content_unreadable', `${id} at ${storeId}: ${message}`, { cause, fields });
  }

  /** Content of a secret; its facts are kept for listings. */
  function contentOf(id: string, secret: Secret): CertificateContent {
    try {
      const content = contentIn(secret, { caCrt });
      known.note(secret.metadata, contentFacts(content));
      return content;
    } catch (thrown) {
      throw unreadable(id, thrown);
    }
  }

  /** Whether the selector of the configuration selects it. What we made is always meant. */
  async function isSelected(object: ObjectMetadata, signal: AbortSignal | undefined): Promise<boolean> {
    if (labelSelector === undefined || isOurs(object)) return true;
    const { namespace, name } = object;
    const call = callOf('look whether it is selected', onSecrets('list', namespace));
    const query = new URLSearchParams({ fieldSelector: `metadata.name=${name}`, labelSelector });
    const answer = await api.ask(call, {
      method: 'GET',
      path: `${pathOf(namespace)}?${query}`,
      accept: metadataOnly.list,
      signal,
    });
    const list = readList(answer.json);
    if (list === undefined) throw nonsenseError(call, answer, 'something that is no list of secrets');
    return list.items.length > 0;
  }

  /** The same of what was read in full: what is not to be there is absent. */
  async function readFully(
    id: string,
    operation: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly secret: Secret } | { readonly vacancy: Vacancy } | undefined> {
    const { secret } = await getSecret(id, operation, signal);
    if (secret.type !== tlsType) throw otherType(id, secret.type);
    if (!(await isSelected(secret.metadata, signal))) return undefined;
    if (!isEmpty(secret)) return { secret };
    known.note(secret.metadata, 'empty');
    return { vacancy: vacancyOf(secret.metadata) };
  }

  /**
   * A search or a listing without content, page by page. `from`: how the page before says to go on.
   */
  async function listMetadata(
    namespace: string | undefined,
    { selector, from, signal }: { selector?: string | undefined; from?: string; signal?: AbortSignal | undefined },
  ) {
    const call = callOf('list', onSecrets('list', namespace));
    const ask = (next: string | undefined) => {
      const query = new URLSearchParams({ limit: String(pageSize), fieldSelector: `type=${tlsType}` });
      if (selector !== undefined) query.set('labelSelector', selector);
      if (next !== undefined) query.set('continue', next);
      return api.ask(call, { method: 'GET', path: `${pathOf(namespace)}?${query}`, accept: metadataOnly.list, signal });
    };
    const answer = await ask(from).catch((thrown: unknown) => {
      // It began too long ago: the server says how to go on with what is there now.
      const { continue: fresh } = asCodedError(thrown).fields;
      if (typeof fresh !== 'string' || fresh === '') throw thrown;
      return ask(fresh);
    });
    const list = readList(answer.json);
    if (list === undefined) throw nonsenseError(call, answer, 'something that is no list of secrets');
    const { continue: next, resourceVersion = '' } = list.metadata;
    return { items: list.items, next: next === '' ? undefined : next, resourceVersion };
  }

  /** What a listing says of one. */
  function listed(json: unknown): {
    readonly certificate?: CertificateMetadata;
    readonly vacant?: VacantElement;
    readonly unreadable?: UnreadableElement;
  } {
    const object = readObject(json);
    if (object === undefined) {
      const error = new CodedError('store_nonsense', `${storeId} lists something that is no object`, {
        fields: { store: storeId },
      });
      return { unreadable: { place: storeId, error } };
    }
    const facts = known.of(object) ?? annotatedFacts(object);
    if (facts === 'empty') return { vacant: { id: idOf(object), ...vacancyOf(object) } };
    return { certificate: metadataOf(object, facts) };
  }

  /** Every copy whose label is the digest of this mark, in whichever namespace. */
  async function findByMark(mark: Mark, { signal, vacant: tellVacant }: FindOptions = {}) {
    const selector = `${label.mark}=${markDigest(mark)}`;
    const found: CertificateMetadata[] = [];
    for (const namespace of namespaces ?? [undefined]) {
      let from: string | undefined;
      let shown = 0;
      do {
        const page = await listMetadata(namespace, { selector, signal, ...defined({ from }) });
        shown += page.items.length;
        for (const item of page.items) {
          const { certificate, vacant } = listed(item);
          if (vacant !== undefined && sameMark(vacant.mark, mark)) tellVacant?.(vacant);
          if (certificate !== undefined && sameMark(certificate.mark, mark)) found.push(certificate);
        }
        from = page.next;
      } while (from !== undefined);
      // What shows something is there.
      if (namespace !== undefined && shown === 0) await proveNamespace(namespace, signal);
    }
    return found;
  }

  /** What is watched by one connection: a namespace, or all. Copies of ours are left out. */
  function watchScope(namespace: string | undefined): WatchScope {
    const selector = [`!${label.mark}`, ...(labelSelector === undefined ? [] : [labelSelector])].join(',');
    return {
      async list(signal) {
        const objects: ObjectMetadata[] = [];
        let from: string | undefined;
        let resourceVersion = '';
        do {
          const page = await listMetadata(namespace, { selector, signal, ...defined({ from }) });
          objects.push(...page.items.flatMap((item) => readObject(item) ?? []));
          ({ next: from, resourceVersion } = page);
        } while (from !== undefined);
        return { objects, resourceVersion };
      },
      open(resourceVersion, signal) {
        const query = new URLSearchParams({
          watch: '1',
          resourceVersion,
          allowWatchBookmarks: 'true',
          timeoutSeconds: String(watchSeconds),
          fieldSelector: `type=${tlsType}`,
          labelSelector: selector,
        });
        return api.stream({ path: `${pathOf(namespace)}?${query}`, accept: metadataOnly.one }, signal);
      },
    };
  }

  /** Where a copy is put. */
  function namespaceFor(mark: Mark | undefined): string {
    const original = mark?.store.startsWith('kubernetes:') ? mark.certificate.split('/')[0] : undefined;
    const isOneOfThese = original !== undefined && (namespaces === undefined || namespaces.includes(original));
    const [first, ...others] = namespaces ?? [];
    const found = isOneOfThese ? original : (options.into ?? (others.length === 0 ? first : undefined));
    if (found !== undefined) return found;
    throw new CodedError('configuration_invalid', `${storeId} does not say in which namespace a copy is put`, {
      fields: { store: storeId, remedy: 'Say into: <namespace> below the store.' },
    });
  }

  async function importNew(
    { content, metadata, mark, token, exactName }: NewCertificate,
    signal: AbortSignal | undefined,
  ): Promise<WriteAnswer> {
    if (labelSelector !== undefined)
      throw new CodedError(
        'configuration_invalid',
        `${storeId} has a labelSelector, and copies would not be selected`,
        {
          fields: { store: storeId, remedy: 'Take labelSelector off a store that is a backup: it is for primaries.' },
        },
      );
    const namespace = namespaceFor(mark);
    const wanted = exactName === true ? exactObjectName(storeId, metadata.name) : derivedName(metadata.name, mark);
    try {
      return await create(namespace, wanted, { content, metadata, mark }, signal);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (error.code !== 'store_conflict') throw thrown;
      const id = `${namespace}/${wanted}`;
      const { secret } = await getSecret(id, 'read what has that name', signal, { writes: true });
      const isSame = mark !== undefined && sameMark(markOf(secret.metadata), mark);
      if (isSame && token !== undefined) {
        if (secret.metadata.deletionTimestamp !== undefined) throw stillEnding(id, secret.metadata);
        if (isEmpty(secret) && secret.type === tlsType) return writeInto(id, { content, metadata, mark }, signal);
        return answered(id, secret);
      }
      if (exactName === true) throw taken(id, secret, error);
      // A copy that a restore gave another mark keeps its name.
      return create(namespace, `${wanted}-${randomUUID().slice(0, 8)}`, { content, metadata, mark }, signal);
    }
  }

  async function create(
    namespace: string,
    name: string,
    { content, metadata, mark }: Pick<NewCertificate, 'content' | 'metadata'> & { readonly mark: Mark | undefined },
    signal: AbortSignal | undefined,
  ): Promise<WriteAnswer> {
    const right = onSecrets('create', namespace);
    const call = callOf('import', right, { certificate: `${namespace}/${name}`, writes: true, givesContent: true });
    const facts = contentFacts(content);
    const body = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, ...annotated({ annotations: {}, labels: {} }, metadata, mark, facts) },
      type: tlsType,
      data: dataOf(content, { caCrt }),
    };
    const path = `${pathOf(namespace)}?fieldManager=${ourManager}`;
    const answer = await api.ask(call, { method: 'POST', path, body, signal });
    const secret = readSecret(answer.json);
    if (secret === undefined) throw nonsenseError(call, answer, 'something that is no secret');
    return answered(`${namespace}/${name}`, secret);
  }

  /** What a write left, from the answer to it. */
  function answered(id: string, secret: Secret): WriteAnswer {
    try {
      contentOf(id, secret).privateKey?.pem.wipe();
    } catch {
      return { id };
    }
    return { id, metadata: metadataOf(secret.metadata, known.of(secret.metadata)) };
  }

  function taken(id: string, { metadata }: Secret, cause: unknown): CodedError {
    const manager = foreignManager(metadata);
    const whose = manager === undefined ? '' : `, and is ${manager}'s`;
    return new CodedError('store_conflict', `${id} is there already${whose}`, {
      cause,
      fields: { store: storeId, certificate: id },
    });
  }

  function stillEnding(id: string, { finalizers }: ObjectMetadata): CodedError {
    const by = finalizers.join(', ');
    const remedy = `Whoever set the finalizers has to take them off: kubectl -n ${id.replace('/', ' get secret ')} -o yaml shows them.`;
    return new CodedError('store_unavailable', `${id} is being deleted, and held by ${by || 'the server'}`, {
      fields: { store: storeId, certificate: id, remedy },
    });
  }

  /**
   * Reads a secret, changes it and puts it back, if nobody came between; else again, three times in
   * all. What is not ours to change stays as it is. Throws what `mayChange` throws.
   */
  async function change(
    id: string,
    operation: string,
    signal: AbortSignal | undefined,
    made: {
      readonly givesContent?: boolean;
      readonly mayChange: (secret: Secret) => void;
      readonly changed: (secret: Secret) => object;
    },
  ): Promise<WriteAnswer> {
    const { namespace } = splitId(id) ?? absentId(id);
    const { mayChange, changed, givesContent = false } = made;
    const call = callOf(operation, onSecrets('update', namespace), { certificate: id, writes: true, givesContent });
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { raw, secret } = await getSecret(id, operation, signal);
        mayChange(secret);
        const { metadata } = raw as { readonly metadata?: object };
        const { metadata: newMetadata, ...rest } = changed(secret) as { readonly metadata?: object };
        const body = { ...raw, ...rest, metadata: { ...metadata, ...newMetadata } };
        return await put(id, call, body, signal);
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_gone') await proveAbsence(namespace, signal);
        if (error.fields.status !== 409) throw thrown;
        if (attempt === attempts) throw rewritten(error);
      }
    }
  }

  const rewritten = (error: CodedError) =>
    remedied(
      error,
      'Somebody else writes to this secret again and again: kubectl get secret -o yaml --show-managed-fields shows who. It is tried again.',
    );

  const fieldsOf = (id: string) => ({ store: storeId, certificate: id });

  /** Throws unless we made it, and it can be changed. */
  function refuseForeign(id: string, secret: Secret): void {
    const { metadata, type, immutable } = secret;
    if (!isOurs(metadata)) {
      const manager = foreignManager(metadata);
      const by = manager === undefined ? '' : `; it is ${manager}'s`;
      throw new CodedError('store_refused', `${id} was not made by certstandby, and is left as it is${by}`, {
        fields: {
          ...fieldsOf(id),
          remedy:
            'If it is to be a copy of ours, adopt it: certstandby adopt. Else give the copy another name or namespace.',
        },
      });
    }
    if (immutable)
      throw new CodedError('store_held', `${id} is immutable`, { fields: { ...fieldsOf(id), remedy: heldRemedy } });
    if (type !== tlsType) throw otherType(id, type);
  }

  /** Throws where somebody else keeps it, whose next write would take ours away. */
  function refuseManaged(id: string, { metadata, type }: Secret): void {
    if (type !== tlsType) throw otherType(id, type);
    const manager = isOurs(metadata) ? undefined : foreignManager(metadata);
    if (manager === undefined) return;
    throw new CodedError('store_refused', `${id} is ${manager}'s, and would be written over`, {
      fields: {
        ...fieldsOf(id),
        remedy: `Have ${manager} let go of it first, or let the copy have another name or namespace.`,
      },
    });
  }

  function refuseEmpty(id: string, secret: Secret): void {
    if (isEmpty(secret))
      throw new CodedError('store_gone', `there is no certificate in ${id}`, { fields: fieldsOf(id) });
  }

  async function reimport(id: string, content: CertificateContent, { signal }: CallOptions = {}): Promise<WriteAnswer> {
    const seen = untouched.take(id);
    const changedMetadata = (metadata: ObjectMetadata) =>
      annotated(metadata, descriptionOf(metadata), markOf(metadata), contentFacts(content));
    if (seen !== undefined)
      try {
        const { raw, object } = seen;
        const metadata = { ...raw, ...changedMetadata(object) };
        const data = dataOf(content, { caCrt });
        const call = callOf('reimport', onSecrets('update', object.namespace), {
          certificate: id,
          writes: true,
          givesContent: true,
        });
        return await put(id, call, { apiVersion: 'v1', kind: 'Secret', metadata, type: tlsType, data }, signal);
      } catch (thrown) {
        // Somebody came between: it is read, and what they did stays.
        if (![404, 409].includes(Number(asCodedError(thrown).fields.status))) throw thrown;
      }
    return change(id, 'reimport', signal, {
      givesContent: true,
      mayChange(secret) {
        refuseForeign(id, secret);
        refuseEmpty(id, secret);
      },
      changed: ({ metadata, data }) => ({
        metadata: changedMetadata(metadata),
        data: dataWith(content, data),
      }),
    });
  }

  /** Writes a secret that is there, whole. */
  async function put(id: string, call: ApiCall, body: object, signal: AbortSignal | undefined): Promise<WriteAnswer> {
    const { namespace, name } = splitId(id) ?? absentId(id);
    const path = `${pathOf(namespace, name)}?fieldManager=${ourManager}`;
    const answer = await api.ask(call, { method: 'PUT', path, body, signal });
    const after = readSecret(answer.json);
    if (after === undefined) throw nonsenseError(call, answer, 'something that is no secret');
    return answered(id, after);
  }

  /**
   * Fills a place of ours that is vacant, or was; with the name and the mark that it is to have.
   */
  function writeInto(
    id: string,
    { content, metadata, mark }: Pick<NewCertificate, 'content' | 'metadata'> & { readonly mark: Mark | undefined },
    signal: AbortSignal | undefined,
  ): Promise<WriteAnswer> {
    return change(id, 'import', signal, {
      givesContent: true,
      mayChange(secret) {
        if (mark === undefined || !sameMark(markOf(secret.metadata), mark))
          throw new CodedError('store_conflict', `${id} is not a place for this certificate`, { fields: fieldsOf(id) });
        refuseForeign(id, secret);
      },
      changed: (secret) => ({
        metadata: annotated(secret.metadata, metadata, mark, contentFacts(content)),
        data: dataWith(content, secret.data),
      }),
    });
  }

  /** Values with ours among them. `ca.crt` is ours only where the configuration says so. */
  function dataWith(content: CertificateContent, before: Secret['data']): Record<string, string> {
    const { [keys.authority]: _authority, ...others } = before;
    return { ...(caCrt ? others : before), ...dataOf(content, { caCrt }) };
  }

  async function remove(id: string, signal: AbortSignal | undefined): Promise<void> {
    const place = splitId(id);
    if (place === undefined) return;
    const { namespace, name } = place;
    const call = callOf('delete', onSecrets('delete', namespace), { certificate: id, writes: true });
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { secret } = await getSecret(id, 'delete', signal);
        refuseForeign(id, secret);
        const { uid, resourceVersion } = secret.metadata;
        const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } };
        await api.ask(call, { method: 'DELETE', path: pathOf(namespace, name), body, signal });
        return;
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_gone') {
          await proveAbsence(namespace, signal);
          return;
        }
        if (error.fields.status !== 409) throw thrown;
        if (attempt === attempts) throw rewritten(error);
      }
    }
  }

  /**
   * Who it is: the uid of each namespace; of a whole cluster that of `kube-system`, where it may be
   * read.
   */
  async function identity({ signal }: CallOptions = {}): Promise<string | undefined> {
    if (namespaces === undefined) {
      try {
        return `cluster=${(await proveNamespace('kube-system', signal)).uid}`;
      } catch (thrown) {
        if (asCodedError(thrown).fields.status === 403) return undefined;
        throw thrown;
      }
    }
    const proven = await Promise.all(
      namespaces.toSorted().map(async (namespace) => `${namespace}=${(await proveNamespace(namespace, signal)).uid}`),
    );
    const whole = proven.join(',');
    return whole.length <= identityCharacters ? whole : `namespaces=${markDigest({ store: whole, certificate: '' })}`;
  }

  return {
    id: storeId,
    kind: 'kubernetes',
    region: options.region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: true,
      uniqueNames: false,
      idsAreReferredTo: true,
      findsMarks: true,
      settlesMs: options.settlesMs ?? defaults.settlesMs,
      listingLagMs: 0,
      readSettlesMs: 0,
    },

    async list({ cursor, signal }) {
      const at = readCursor(cursor);
      const namespace = namespaces?.[at.index];
      if (namespaces !== undefined && namespace === undefined)
        throw new CodedError('store_refused', `list at ${storeId}: not a cursor of this store`);
      const page = await listMetadata(namespace, { selector: labelSelector, signal, ...defined({ from: at.from }) });
      const found = page.items.map(listed);
      const isLastOfNamespace = page.next === undefined;
      if (isLastOfNamespace && namespace !== undefined) await proveNamespace(namespace, signal);
      const vacant = found.flatMap((one) => one.vacant ?? []);
      const answer: ListPage = {
        certificates: found.flatMap(({ certificate }) => certificate ?? []),
        unreadable: found.flatMap((one) => one.unreadable ?? []),
        ...(vacant.length > 0 && { vacant }),
      };
      if (!isLastOfNamespace) return { ...answer, cursor: JSON.stringify({ index: at.index, from: page.next }) };
      const isLast = namespaces === undefined || at.index + 1 >= namespaces.length;
      return isLast ? answer : { ...answer, cursor: JSON.stringify({ index: at.index + 1 }) };
    },

    readMetadata(id, { signal } = {}) {
      const place = splitId(id);
      if (place === undefined) return Promise.resolve({ state: 'absent' });
      return orAbsent(place.namespace, signal, async (): Promise<Reading<CertificateMetadata>> => {
        const call = callOf('read metadata', onSecrets('get', place.namespace), { certificate: id });
        const path = pathOf(place.namespace, place.name);
        const answer = await api.ask(call, { method: 'GET', path, accept: metadataOnly.one, signal });
        const object = readObject(answer.json);
        if (object === undefined) throw nonsenseError(call, answer, 'something that is no secret');
        untouched.note(object, answer.json);
        const facts = known.of(object);
        if (facts === 'empty') return { state: 'vacant', ...vacancyOf(object) };
        if (facts !== undefined && (labelSelector === undefined || isOurs(object)))
          return { state: 'present', value: metadataOf(object, facts) };
        // What it says of itself, and what type it is, only the content tells.
        const full = await readFully(id, 'read metadata', signal);
        if (full === undefined) return { state: 'absent' };
        if ('vacancy' in full) return { state: 'vacant', ...full.vacancy };
        try {
          contentOf(id, full.secret).privateKey?.pem.wipe();
        } catch {
          // It cannot be understood; what stands beside it can.
          return { state: 'present', value: metadataOf(full.secret.metadata, undefined) };
        }
        return { state: 'present', value: metadataOf(full.secret.metadata, known.of(full.secret.metadata)) };
      });
    },

    read(id, { signal } = {}) {
      const place = splitId(id);
      if (place === undefined) return Promise.resolve({ state: 'absent' });
      return orAbsent(place.namespace, signal, async (): Promise<Reading<StoredCertificate>> => {
        const full = await readFully(id, 'read', signal);
        if (full === undefined) return { state: 'absent' };
        if ('vacancy' in full) return { state: 'vacant', ...full.vacancy };
        const content = contentOf(id, full.secret);
        return {
          state: 'present',
          value: { metadata: metadataOf(full.secret.metadata, known.of(full.secret.metadata)), content },
        };
      });
    },

    findByMark,

    refuses(content) {
      const bytes = bytesOf(dataOf(content, { caCrt }));
      if (bytes <= dataBytes) return undefined;
      const message = `it takes ${bytes} bytes, and a secret holds ${dataBytes} at most`;
      return new CodedError('store_content_refused', message, { fields: { store: storeId, bytes, limit: dataBytes } });
    },

    import(entry, { signal } = {}) {
      return entry.into === undefined
        ? importNew(entry, signal)
        : writeInto(entry.into, { ...entry, mark: entry.mark }, signal);
    },

    reimport,

    updateMetadata: (id, described, mark, { signal } = {}) =>
      change(id, 'update metadata', signal, {
        mayChange(secret) {
          // What somebody else made is described only by adoption, a person's act.
          refuseManaged(id, secret);
          refuseEmpty(id, secret);
        },
        changed: ({ metadata }) => ({ metadata: annotated(metadata, described, mark, annotatedFacts(metadata)) }),
      }),

    delete: (id, { signal } = {}) => remove(id, signal),

    asKept: (metadata) => described(metadata),

    identity,

    watch: (changed) =>
      watchSecrets({
        runtime: options.runtime,
        scopes: (namespaces ?? [undefined]).map(watchScope),
        changed,
        ...defined({ quietMs: options.watchQuietMs }),
      }),
  };
}

function vacancyOf(object: ObjectMetadata): Vacancy {
  return { why: 'empty', name: descriptionOf(object).name, ...defined({ mark: markOf(object) }) };
}

function metadataOf(object: ObjectMetadata, facts: ContentFacts | 'empty' | undefined): CertificateMetadata {
  const { creationTimestamp, deletionTimestamp, managedFields } = object;
  const moments = [creationTimestamp, ...managedFields.map(({ time }) => time)].map((time) => Date.parse(time ?? ''));
  const lastModified = Math.max(...moments.filter((moment) => !Number.isNaN(moment)));
  const mark: FoundMark | undefined = markOf(object);
  return {
    id: idOf(object),
    ...descriptionOf(object),
    ...(facts === undefined || facts === 'empty' ? { domains: [], domainsUnknown: true } : facts),
    ...defined({ mark }),
    ...(deletionTimestamp !== undefined && { status: 'deleting' }),
    ...defined({ keptBy: isOurs(object) ? undefined : foreignManager(object) }),
    revision: revisionOf(object),
    ...(Number.isFinite(lastModified) && { lastModified }),
  };
}

/** What else writes to a secret, so that it is not ours to change; `undefined` if nothing does. */
function foreignManager({ annotations, ownerReferences, managedFields }: ObjectMetadata): string | undefined {
  if (annotations['cert-manager.io/certificate-name'] !== undefined) return 'cert-manager';
  if (managedFields.some(({ manager }) => manager.startsWith('cert-manager'))) return 'cert-manager';
  const [owner] = ownerReferences;
  return owner && `${owner.kind} ${owner.name}`;
}

function readCursor(cursor: string | undefined): { readonly index: number; readonly from?: string } {
  const found = (cursor === undefined ? {} : (parseJson(cursor) ?? {})) as { index?: unknown; from?: unknown };
  const index = typeof found.index === 'number' ? found.index : cursor === undefined ? 0 : -1;
  return { index, ...(typeof found.from === 'string' && { from: found.from }) };
}
