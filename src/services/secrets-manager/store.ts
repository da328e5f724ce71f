import * as z from 'zod/mini';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { fingerprintOf } from '../../certificate/fingerprint.ts';
import { type PartNames, toPem } from '../../certificate/pem.ts';
import { belongsTo } from '../../certificate/private-key.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type { HttpAnswer } from '../../http/client.ts';
import { nonsenseError, parseJson, type ServiceCall } from '../../http/service-failure.ts';
import { certificateTypes } from '../../ibm-cloud/secrets.ts';
import { contentIn } from '../../ibm-cloud/store-calls.ts';
import { type Mark, sameMark } from '../../store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  FindOptions,
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
import {
  isLabelled,
  metadataOf,
  readPem,
  readRequestKey,
  readSecret,
  readSecretPage,
  type SecretObject,
  secretIn,
} from './answers.ts';
import { secretsManagerDefaults as defaults } from './defaults.ts';
import { secretGroupsOf } from './group.ts';
import { described, groupIn, isSecretName, keptOf, labelOf, ownMember, secretName } from './names.ts';
import { callsOf, optionsOf, reached, type SecretsManagerOptions } from './service-calls.ts';
import type { SecretsManagerConfig } from './settings.ts';

const pageSize = 200;
/** Characters of each of the three texts (the API's description of them). */
const pemCharacters = 100_000;
const partNames: PartNames = { certificate: 'certificate', intermediate: 'intermediate', privateKey: 'private_key' };
const mergePatch = 'application/merge-patch+json';

/** What each state that is not `active` means for who reads. */
const states = { pre_activation: 0, suspended: 2, deactivated: 3, destroyed: 5 } as const;

/** The store of the configuration. */
export function openStore(config: SecretsManagerConfig, context: StoreContext): Store {
  return secretsManagerStore(optionsOf(config, context));
}

/** Where a listing goes on: after what was made at this moment, of which these were seen. */
const positionSchema = z.object({ offset: z.int(), after: z.number(), seen: z.array(z.string()) });
type Position = z.infer<typeof positionSchema>;

/**
 * An instance of IBM Cloud Secrets Manager, or of a server that speaks its API (version 2). Paths
 * and bodies: IBM/secrets-manager-node-sdk, `secrets-manager/v2.ts`. A certificate's id is the UUID
 * of its secret; the mark is in `custom_metadata`, and its digest is a label. Throws
 * `configuration_invalid` if an option is wrong.
 */
export function secretsManagerStore(options: SecretsManagerOptions): Store {
  const { settlesMs, listingLagMs, readSettlesMs, group } = { ...defaults, ...defined(options) };
  const { instance, runtime, carryGroups = false } = options;
  const { region, send } = reached(options);
  const { reads, writes } = callsOf(instance);
  const groups = secretGroupsOf({ make: options.makeGroup ?? false, instance, send, runtime });
  const standing = (secret: SecretObject) => standingOf(instance, secret, carryGroups);
  /** The group in which a copy is made. */
  const groupFor = ({ tags }: DescriptiveMetadata) => (carryGroups ? groupIn(tags) : undefined) ?? group;
  const pathOf = (id: string) => `/secrets/${encodeURIComponent(id)}`;

  async function getMetadata(id: string, signal: AbortSignal | undefined): Promise<SecretObject> {
    return withGroup(await plainMetadata(id, signal), signal);
  }

  /** Without the name of its group. */
  async function plainMetadata(id: string, signal: AbortSignal | undefined): Promise<SecretObject> {
    const call = reads('read metadata', id);
    const answer = await send(call, { method: 'GET', path: `${pathOf(id)}/metadata`, signal });
    return ownSecret(call, answer);
  }

  /** The secret with its group's name, where that travels; a copy knows that of its original. */
  async function withGroup(secret: SecretObject, signal: AbortSignal | undefined): Promise<SecretObject> {
    const { secret_group_id: id } = secret;
    if (!carryGroups || id === undefined || metadataOf(secret).mark !== undefined) return secret;
    return { ...secret, group: await groups.nameOf(id, signal) };
  }

  /** A page of secrets, each as it came. */
  async function page(call: ServiceCall, query: URLSearchParams, signal: AbortSignal | undefined) {
    const answer = await send(call, { method: 'GET', path: `/secrets?${query}`, signal });
    const read = readSecretPage(answer.text);
    if (read === undefined) throw nonsenseError(call, answer, 'something that is no page of secrets');
    return read;
  }

  /**
   * The secret with its custom metadata. Where a list leaves that out, a label says that a direct
   * read is worth its request.
   */
  async function marked(secret: SecretObject, signal: AbortSignal | undefined): Promise<SecretObject> {
    if (secret.custom_metadata !== undefined || !isLabelled(secret)) return secret;
    return plainMetadata(secret.id, signal);
  }

  async function found(secret: SecretObject, signal: AbortSignal | undefined): Promise<Found> {
    try {
      return standing(await withGroup(await marked(secret, signal), signal));
    } catch (thrown) {
      const error = asCodedError(thrown);
      return error.code === 'store_gone' ? {} : { unreadable: { id: secret.id, place: secret.id, error } };
    }
  }

  async function list({
    cursor,
    signal,
  }: {
    readonly cursor?: string;
    readonly signal?: AbortSignal;
  }): Promise<ListPage> {
    const call = reads('list');
    const from = cursor === undefined ? { offset: 0, after: 0, seen: [] } : readPosition(cursor);
    if (from === undefined) throw new CodedError('store_refused', `list at ${instance}: not a cursor of this store`);
    const { elements, isLast, offset } = await pageAfter(from, (query) => page(call, query, signal));
    const listed: Listed = { certificates: [], unreadable: [], vacant: [], passedOver: [] };
    const seen = new Set(from.seen);
    let after = from.after;
    for (const element of elements) {
      const at = madeAt(element);
      const secret = secretIn(element);
      const id = secret?.id ?? idIn(element);
      if ((at !== 0 && at < from.after) || seen.has(id)) continue;
      if (at > after) seen.clear();
      after = Math.max(after, at);
      seen.add(id);
      if (secret === undefined) listed.unreadable.push(strange(instance, element));
      else put(listed, await found(secret, signal));
    }
    const next: Position = { offset: offset + elements.length, after, seen: [...seen] };
    return { ...listed, ...(!isLast && elements.length > 0 && { cursor: JSON.stringify(next) }) };
  }

  /** Every element that this query finds, as it is listed. */
  async function* search(call: ServiceCall, parameters: Record<string, string>, signal: AbortSignal | undefined) {
    let offset = 0;
    for (;;) {
      const query = new URLSearchParams({ ...parameters, limit: String(pageSize), offset: String(offset) });
      const { elements, isLast } = await page(call, query, signal);
      yield* elements;
      offset += elements.length;
      if (isLast || elements.length === 0) return;
    }
  }

  async function read(id: string, signal: AbortSignal | undefined): Promise<Reading<StoredCertificate>> {
    const call = reads('read', id);
    try {
      const answer = await send(call, { method: 'GET', path: pathOf(id), signal });
      const secret = await withGroup(ownSecret(call, answer), signal);
      const stands = readingOf(standing(secret));
      if (stands.state !== 'present') return stands;
      return { state: 'present', value: { metadata: stands.value, content: wholeContent(call, answer) } };
    } catch (thrown) {
      const error = coded(thrown);
      // What the service answers of a secret that it has destroyed, nobody says.
      const isRefused = error.code === 'store_refused' || error.code === 'store_conflict';
      const stands = isRefused ? await readMetadata(id, signal) : undefined;
      if (stands?.state === 'vacant' || stands?.state === 'absent') return stands;
      return error.code === 'store_gone' ? { state: 'absent' } : { state: 'unreadable', error };
    }
  }

  async function readMetadata(id: string, signal: AbortSignal | undefined): Promise<Reading<CertificateMetadata>> {
    try {
      return readingOf(standing(await getMetadata(id, signal)));
    } catch (thrown) {
      const error = coded(thrown);
      return error.code === 'store_gone' ? { state: 'absent' } : { state: 'unreadable', error };
    }
  }

  /**
   * The secret that has this name: looked for in this group, then in all. Whose it is, its mark
   * says: of what is no copy, the group's name is not asked for.
   */
  async function byName(
    name: string,
    inGroup: string,
    signal: AbortSignal | undefined,
  ): Promise<SecretObject | undefined> {
    const call = reads('find by name');
    const path = `/secret_groups/${encodeURIComponent(inGroup)}/secret_types/imported_cert/secrets/${encodeURIComponent(name)}`;
    try {
      const secret = readSecret((await send({ ...call, certificate: name }, { method: 'GET', path, signal })).text);
      if (secret !== undefined) return secret;
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'store_gone') throw thrown;
    }
    for await (const element of search(call, { search: name, secret_types: 'imported_cert' }, signal)) {
      const secret = secretIn(element);
      if (secret?.name === name) return marked(secret, signal);
    }
    return undefined;
  }

  /**
   * What stands where a search by mark has found something. A copy bears the name of its original's
   * group itself, so that groups are not asked for.
   */
  async function foundByMark(element: unknown, signal: AbortSignal | undefined): Promise<Found> {
    const secret = secretIn(element);
    if (secret === undefined) return { unreadable: strange(instance, element) };
    try {
      return standing(await marked(secret, signal));
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'store_gone') throw thrown;
      return {};
    }
  }

  async function create(entry: NewCertificate, given: Placed): Promise<WriteAnswer> {
    const { content, metadata, mark, exactName = false } = entry;
    const { name, secret_group_id, signal } = given;
    const call = { ...writes('import'), givesContent: true };
    const { description, labels, own } = described(metadata, mark, { exactName, carryGroups });
    const body = () => ({
      ...{ secret_type: 'imported_cert', name, description, secret_group_id, labels },
      custom_metadata: { [ownMember]: own },
      ...pemMembers(content),
    });
    const answer = await send(call, { method: 'POST', path: '/secrets', body, signal });
    const read = readSecret(answer.text);
    if (read === undefined) throw nonsenseError(call, answer, 'something that is no secret with a certificate');
    // What has no mark is in the group that was said, and known by that.
    const isOriginal = carryGroups && mark === undefined && secret_group_id !== defaults.group;
    const made = isOriginal ? { ...read, group: groupFor(metadata) } : read;
    return { id: made.id, metadata: metadataOf(made, carryGroups) };
  }

  /**
   * Makes a destroyed copy anew, under the same name and mark: nothing but its deletion works on
   * it, so that its id is lost.
   */
  async function createInstead(id: string, entry: NewCertificate, given: Placed) {
    await remove(id, given.signal);
    try {
      return await create(entry, given);
    } catch (thrown) {
      const { message, fields } = asCodedError(thrown);
      // Half of it is done, whatever this was refused for.
      throw new CodedError('store_unanswered', message, { cause: thrown, fields });
    }
  }

  async function remove(id: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await send(writes('delete', id), { method: 'DELETE', path: pathOf(id), signal });
    } catch (thrown) {
      if (asCodedError(thrown).code !== 'store_gone') throw thrown;
    }
  }

  async function patch(call: ServiceCall, before: SecretObject, given: Patch): Promise<WriteAnswer> {
    const { metadata, mark, signal } = given;
    // What bears this very name was given it exactly, for readers who look for it.
    const { own, ...texts } = described(metadata, mark, { exactName: before.name === metadata.name, carryGroups });
    const custom = before.custom_metadata ?? {};
    // Whether the service merges or replaces, nobody says: so all of it is sent.
    const body = () => ({ ...texts, custom_metadata: { ...custom, [ownMember]: own } });
    const path = `${pathOf(before.id)}/metadata`;
    const answer = await send(call, { method: 'PATCH', path, body, mediaType: mergePatch, signal });
    const after = readSecret(answer.text);
    const found = after === undefined || after.id !== before.id ? undefined : { ...after, group: before.group };
    return { id: before.id, ...(found !== undefined && { metadata: metadataOf(found, carryGroups) }) };
  }

  async function reimport(
    id: string,
    content: CertificateContent,
    signal: AbortSignal | undefined,
  ): Promise<WriteAnswer> {
    const refusal = refusalOf(instance, content);
    if (refusal !== undefined) throw refusal;
    const call = { ...writes('reimport', id), givesContent: true };
    // A version more than needed throws the true previous one away.
    const before = await read(id, signal);
    if (before.state === 'absent' || before.state === 'vacant') throw gone(call);
    if (signal?.aborted && before.state === 'unreadable') throw before.error;
    if (before.state === 'present' && fingerprintOf(before.value.content) === fingerprintOf(content))
      return { id, metadata: before.value.metadata };
    const body = () => pemMembers(content);
    const answer = await send(call, { method: 'POST', path: `${pathOf(id)}/versions`, body, signal });
    const version = parseJson(answer.text);
    if (typeof version !== 'object' || version === null)
      throw nonsenseError(call, answer, 'something that is no version');
    return { id };
  }

  return {
    id: instance,
    kind: 'secrets-manager',
    region,
    abilities: {
      givesKeys: true,
      destroysExpired: true,
      reimportsInPlace: true,
      importIsIdempotent: true,
      uniqueNames: true,
      idsAreReferredTo: true,
      findsMarks: true,
      settlesMs,
      listingLagMs,
      readSettlesMs,
      requestsPerSecond: defaults.requestsPerSecond,
    },

    list,
    read: (id, { signal } = {}) => read(id, signal),
    readMetadata: (id, { signal } = {}) => readMetadata(id, signal),

    async findByMark(mark: Mark, { signal, unreadable, vacant }: FindOptions = {}) {
      const copies: CertificateMetadata[] = [];
      const query = { match_all_labels: labelOf(mark), secret_types: 'imported_cert' };
      for await (const element of search(reads('find by mark'), query, signal)) {
        const stands = await foundByMark(element, signal);
        if (stands.unreadable !== undefined) unreadable?.(stands.unreadable);
        if (stands.vacant !== undefined && sameMark(stands.vacant.mark, mark)) vacant?.(stands.vacant);
        if (stands.certificate !== undefined && sameMark(stands.certificate.mark, mark))
          copies.push(stands.certificate);
      }
      return copies;
    },

    refuses: (content) => refusalOf(instance, content),

    async import(entry, { signal } = {}) {
      const { content, metadata, mark, into, exactName = false } = entry;
      const refusal = refusalOf(instance, content);
      if (refusal !== undefined) throw refusal;
      const name = exactName ? metadata.name : secretName(keptOf(metadata).name);
      if (exactName && !isSecretName(name)) throw unfit(instance, name);
      // Before anything is written: what is wrong with its group is never taken for the copy's.
      const placed = async () => ({ name, secret_group_id: await groups.idOf(groupFor(metadata), signal), signal });
      if (into !== undefined) {
        const call = writes('import', into);
        const there = await readMetadata(into, signal);
        if (there.state === 'absent') throw gone(call);
        if (there.state === 'unreadable') throw there.error;
        const held = there.state === 'vacant' ? there.mark : there.value.mark;
        if (!sameMark(held, mark)) throw conflict(instance, into, name);
        if (there.state === 'vacant') return createInstead(into, entry, await placed());
        await reimport(into, content, signal);
        const before = await getMetadata(into, signal);
        return patch(call, before, { metadata, mark, ...defined({ signal }) });
      }
      const place = await placed();
      try {
        return await create(entry, place);
      } catch (thrown) {
        if (asCodedError(thrown).code !== 'store_conflict') throw thrown;
        const holder = await byName(name, groupFor(metadata), signal);
        if (holder === undefined) throw thrown;
        const { vacant, certificate } = standing(holder);
        if (mark === undefined || !sameMark((vacant ?? certificate)?.mark, mark))
          throw conflict(instance, holder.id, name, thrown);
        if (vacant !== undefined) return createInstead(holder.id, entry, place);
        // Of an import that nobody heard the end of, or of another deployment: what it holds, a
        // look shows.
        return { id: holder.id, ...(certificate !== undefined && { metadata: certificate }) };
      }
    },

    reimport: (id, content, { signal } = {}) => reimport(id, content, signal),

    async updateMetadata(id, metadata, mark, { signal } = {}) {
      const call = writes('update metadata', id);
      const before = await getMetadata(id, signal);
      if (before.state === states.destroyed) throw gone(call);
      try {
        return await patch(call, before, { metadata, mark, ...defined({ signal }) });
      } catch (thrown) {
        if (asCodedError(thrown).code !== 'store_conflict') throw thrown;
        const name = secretName(keptOf(metadata).name);
        throw conflict(instance, (await byName(name, groupFor(metadata), signal))?.id ?? '', name, thrown);
      }
    },

    delete: (id, { signal } = {}) => remove(id, signal),

    asKept: (metadata) => keptOf(metadata, carryGroups),
  };
}

/** What a new secret is called, and the id of the group that it goes into. */
interface Placed {
  readonly name: string;
  readonly secret_group_id: string;
  readonly signal: AbortSignal | undefined;
}

interface Patch {
  readonly metadata: DescriptiveMetadata;
  readonly mark: Mark | undefined;
  readonly signal?: AbortSignal;
}

type Listed = {
  -readonly [K in 'certificates' | 'unreadable' | 'vacant' | 'passedOver']-?: NonNullable<ListPage[K]>[number][];
};

/** What stands where a secret is: one of these, or nothing. */
interface Found {
  readonly certificate?: CertificateMetadata;
  readonly unreadable?: UnreadableElement;
  readonly vacant?: VacantElement;
  readonly passedOver?: PassedOver;
}

function put(listed: Listed, { certificate, unreadable, vacant, passedOver }: Found): void {
  if (certificate !== undefined) listed.certificates.push(certificate);
  if (unreadable !== undefined) listed.unreadable.push(unreadable);
  if (vacant !== undefined) listed.vacant.push(vacant);
  if (passedOver !== undefined) listed.passedOver.push(passedOver);
}

/** What a secret is by its state, and by whether it can be told whose it is. */
function standingOf(instance: string, secret: SecretObject, carryGroups: boolean): Found {
  const metadata = metadataOf(secret, carryGroups);
  const { id, name, mark } = metadata;
  const { state } = secret;
  if (state === states.destroyed) return { vacant: { id, why: 'empty', ...defined({ mark, name }) } };
  // An order, or a signing request, that has come to no certificate yet.
  if (state === states.pre_activation && secret.serial_number === undefined)
    return { passedOver: { id, place: name, reason: 'it has no certificate yet' } };
  const facts = { domains: metadata.domains, ...defined({ issuer: metadata.issuer, serial: metadata.serial }) };
  const isHeld = state === states.suspended || state === states.deactivated;
  const unknowable = isLabelled(secret) && mark === undefined;
  if (!isHeld && !unknowable) return { certificate: metadata };
  const reason = unknowable ? 'mark_lost' : (secret.state_description ?? 'suspended');
  const found = unknowable
    ? 'it has the label of a copy, and no mark that can be read'
    : `it is ${secret.state_description ?? 'suspended or deactivated'} there`;
  const error = new CodedError('store_content_unreadable', `${name} (${id}) at ${instance}: ${found}`, {
    fields: { store: instance, certificate: id, reason },
    remedies: {
      suspended: 'Somebody has suspended this secret: bring it back there, or delete it.',
      deactivated: 'This secret is deactivated there (revoked, or its order failed): renew it or delete it there.',
      mark_lost:
        'Somebody has overwritten custom_metadata of this copy, with its mark (a whole replacement, as Terraform makes it). A copy that the records know needs nobody: it is written anew. Another one is deleted there by a person.',
    },
  });
  return {
    unreadable: { id, place: name, error, name, facts, ...defined({ mark }), ours: mark !== undefined || unknowable },
  };
}

function readingOf({ certificate, unreadable, vacant, passedOver }: Found): Reading<CertificateMetadata> {
  if (certificate !== undefined) return { state: 'present', value: certificate };
  if (vacant !== undefined) {
    const { id: _, ...vacancy } = vacant;
    return { state: 'vacant', ...vacancy };
  }
  const reason = passedOver?.reason ?? 'it cannot be read';
  const error = unreadable?.error ?? new CodedError('store_content_unreadable', `${passedOver?.place}: ${reason}`);
  return { state: 'unreadable', error, ...defined({ name: unreadable?.name ?? passedOver?.place }) };
}

/** An element of a list that is no secret as the service describes them. */
function strange(instance: string, element: unknown): UnreadableElement {
  const id = idIn(element);
  const error = new CodedError(
    'store_nonsense',
    `list at ${instance}: an element that cannot be understood: ${id || 'without an id'}`,
  );
  return { place: id === '' ? 'an element without an id' : id, error, ...(id !== '' && { id }) };
}

const elementSchema = z.object({ id: z.string(), created_at: z.optional(z.string()) });
const idIn = (element: unknown): string => z.safeParse(elementSchema, element).data?.id ?? '';
const madeAt = (element: unknown): number =>
  Date.parse(z.safeParse(elementSchema, element).data?.created_at ?? '') || 0;

function readPosition(cursor: string): Position | undefined {
  return z.safeParse(positionSchema, parseJson(cursor)).data;
}

/**
 * The page that begins with what comes after a position. Lists go by offset: what is deleted
 * meanwhile moves all that comes after it, which would be passed over. So a page begins with one
 * that was seen, in order of creation, and where it does not, some pages before it.
 */
async function pageAfter(
  { offset, after }: Position,
  ask: (query: URLSearchParams) => Promise<{ readonly elements: readonly unknown[]; readonly isLast: boolean }>,
) {
  let from = Math.max(0, offset - 1);
  for (;;) {
    const query = new URLSearchParams({
      ...{ limit: String(pageSize), offset: String(from), sort: 'created_at' },
      secret_types: [...certificateTypes].join(','),
    });
    const { elements, isLast } = await ask(query);
    const [first] = elements;
    const isMoved = from > 0 && (first === undefined || madeAt(first) > after);
    if (!isMoved) return { elements, isLast, offset: from };
    from = Math.max(0, from - pageSize);
  }
}

/** The secret in an answer, which must be the one that was asked for. */
function ownSecret(call: ServiceCall, answer: HttpAnswer): SecretObject {
  const secret = readSecret(answer.text);
  if (secret === undefined || secret.id !== call.certificate)
    throw nonsenseError(call, answer, 'something that is not this certificate');
  return secret;
}

/** The content of an answer, with the key of its signing request where there is no other. */
function wholeContent(call: ServiceCall, { text }: HttpAnswer): CertificateContent {
  const content = contentIn(call, readPem(text), partNames);
  const requestKey = content.privateKey === undefined ? readRequestKey(text) : undefined;
  if (requestKey === undefined) return content;
  try {
    const { privateKey } = contentIn(
      call,
      { certificate: toPem(content).certificate, privateKey: requestKey },
      partNames,
    );
    if (privateKey !== undefined && belongsTo(privateKey, content.leaf)) return { ...content, privateKey };
  } catch (thrown) {
    // What is wrong with a key that may be of another request is no fault of this certificate.
    coded(thrown);
  }
  return content;
}

/** The three texts as the service takes them: what a new version leaves out, it no longer has. */
function pemMembers(content: CertificateContent) {
  const { certificate, intermediate, privateKey } = toPem(content);
  return {
    certificate,
    ...(intermediate && { intermediate }),
    ...(privateKey && { private_key: privateKey.reveal() }),
  };
}

/** Texts that are longer than the service takes. */
function refusalOf(store: string, content: CertificateContent): CodedError | undefined {
  const { certificate, intermediate = '' } = toPem(content);
  const [part, length] =
    certificate.length > pemCharacters ? ['certificate', certificate.length] : ['chain', intermediate.length];
  if (length <= pemCharacters) return undefined;
  const message = `the ${part} has ${length} characters as PEM, and Secrets Manager takes ${pemCharacters}`;
  return new CodedError('store_content_refused', message, { fields: { store } });
}

function conflict(store: string, certificate: string, name: string, cause?: unknown): CodedError {
  const message = `import at ${store}: the name ${name} is taken by what is not this copy: ${certificate}`;
  const remedy = `The secret ${certificate || 'of that name'} is in the way: names are unique in the whole instance. Rename or delete it there; or, if it is meant as this copy, take it over: certstandby adopt`;
  return new CodedError('store_conflict', message, {
    fields: { store, certificate, name, remedy },
    ...defined({ cause }),
  });
}

function unfit(store: string, name: string): CodedError {
  const message = `Secrets Manager takes 2 to 256 letters, digits, "_", "-" and "." as a name, and not ${name}`;
  return new CodedError('store_name_unfit', message, { fields: { store, name } });
}

function gone({ store, operation, certificate }: ServiceCall): CodedError {
  const message = `${operation} at ${store}: there is no such secret, or its content was destroyed when its certificate expired`;
  return new CodedError('store_gone', message, { fields: { store, operation, certificate } });
}

/** What is not an answer of the service, but a fault of ours, is thrown. */
function coded(thrown: unknown): CodedError {
  if (!(thrown instanceof CodedError)) throw thrown;
  return thrown;
}
