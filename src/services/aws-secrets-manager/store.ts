import { createHash } from 'node:crypto';
import { ofElsewhere } from '../../aws/arn.ts';
import { accessKeyOf, type CallerCredentials, callerCredentials } from '../../aws/caller.ts';
import {
  type AwsCall,
  type AwsStoreOptions,
  type AwsStoreService,
  awsStoreService,
  type Meaning,
  readCall,
  writeCall,
} from '../../aws/store-service.ts';
import {
  carriedIn,
  carriedTags,
  markIn,
  markTag,
  markTags,
  namedIn,
  nameTags,
  outdatedTags,
  tagList,
  tagsKept,
  textKept,
} from '../../aws/tags.ts';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import { contentFacts, type FactsBook, type KnownContent, rememberedFacts } from '../../store/content-facts.ts';
import { cutText, formatMark, type Mark, markDigest, sameMark } from '../../store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  FindOptions,
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
import { readSecret, readSecrets, readVersion, readWritten, type SecretEntry } from './answers.ts';
import { secretsManagerDefaults as defaults } from './defaults.ts';
import { readValue, writeValue } from './layouts.ts';
import { type SecretLayout, type SecretsManagerConfig, secretsManagerId } from './settings.ts';

export interface SecretsManagerOptions extends AwsStoreOptions {
  /** Only secrets whose names begin so; what copies are called begins so. */
  readonly namePrefix?: string;
  readonly layout?: SecretLayout;
  readonly kmsKey?: string;
  readonly recoveryDays?: number;
  /** What content alone tells. Absent: this process remembers what it has read. */
  readonly facts?: FactsBook;
}

/** The service's limits (its reference, "Quotas"). */
const nameCharacters = 512;
const descriptionCharacters = 2_048;
const valueBytes = 65_536;
const mostOnAPage = 100;
const nameless = 'unnamed';
/** The service gives up no description for an empty one: a blank stands for it. */
const emptyDescription = ' ';

/** The store of the configuration. */
export function openStore(config: SecretsManagerConfig, context: StoreContext): Store {
  return secretsManagerStore(optionsOf(config, context));
}

/** What the configuration says, as options. */
export function optionsOf(config: SecretsManagerConfig, context: StoreContext): SecretsManagerOptions {
  const { runtime, secret, facts } = context;
  return { ...config, runtime, ...defined({ key: accessKeyOf(config, secret), facts }) };
}

/** How the service is reached. */
export function reached(
  options: SecretsManagerOptions,
): AwsStoreService & { readonly store: string; readonly caller: CallerCredentials } {
  const store = secretsManagerId({ ...options }) ?? '';
  const caller = callerCredentials(options);
  const named = { service: 'secretsmanager', target: 'secretsmanager' };
  const service = awsStoreService({ ...options, ...named, store, caller, meaningOf });
  return { ...service, store, caller };
}

/** What the service means by its refusals (its reference, "Errors"). */
function meaningOf(name: string, { writes }: AwsCall): Meaning | undefined {
  const meanings: Readonly<Record<string, Meaning>> = {
    ResourceNotFoundException: { code: 'store_gone' },
    ResourceExistsException: { code: 'store_conflict' },
    LimitExceededException: {
      code: 'store_quota_used_up',
      remedy:
        'A secret keeps about a hundred versions, and none is dropped in its first day: see who writes it so often. Or the account has as many secrets as it may.',
    },
    DecryptionFailure: {
      code: 'store_unauthorized',
      remedy: 'Its KMS key is disabled, gone, or not these credentials’ to use: enable it, or allow kms:Decrypt on it.',
    },
    EncryptionFailure: {
      code: 'store_unauthorized',
      remedy:
        'The KMS key is disabled, gone, or not these credentials’ to use: enable it, or allow kms:GenerateDataKey and kms:Encrypt on it.',
    },
    InternalServiceError: { code: writes ? 'store_unanswered' : 'store_unavailable' },
    InternalServiceErrorException: { code: writes ? 'store_unanswered' : 'store_unavailable' },
  };
  return Object.hasOwn(meanings, name) ? meanings[name] : undefined;
}

/**
 * Secrets of AWS Secrets Manager, of one account and region, as a store. The id is the full ARN: a
 * secret that is made anew has another one. The mark is in tags; a copy's secret has a name that
 * follows from the mark. Its name for people is a tag beside that where it is another one.
 *
 * API: AWS Secrets Manager, version 2017-10-17. Never called: what concerns policies, rotation and
 * replication.
 */
export function secretsManagerStore(options: SecretsManagerOptions): Store {
  const { settlesMs, listingLagMs, readSettlesMs } = { ...defaults, ...defined(options) };
  const { region, namePrefix = '', layout = 'tls', kmsKey, recoveryDays = 7, runtime } = options;
  const { pageSize = mostOnAPage } = options;
  const { store, call, failure } = reached(options);
  const arnStem = `${secretsManagerId({ ...options, namePrefix: undefined })}:secret:`;
  const facts = rememberedFacts(options.facts);
  const isId = (id: string) => id.startsWith(arnStem);
  const isShown = ({ name }: SecretEntry) => name.startsWith(namePrefix);
  const nonsense = (about: AwsCall, found: string) => failure('store_nonsense', `it answered ${found}`, about);

  /** What the service says of a secret, by its ARN or name; `undefined` if there is none. */
  async function describe(id: string, about: AwsCall): Promise<SecretEntry | undefined> {
    try {
      const answer = await call('DescribeSecret', { SecretId: id }, { ...about, writes: false });
      const entry = readSecret(answer);
      if (entry === undefined) throw nonsense(about, 'something that is no secret');
      if (!isId(entry.arn)) throw nonsense(about, ofElsewhere(entry.arn));
      return isShown(entry) ? entry : undefined;
    } catch (thrown) {
      if (asCodedError(thrown).code === 'store_gone') return undefined;
      throw thrown;
    }
  }

  /** A secret that is there and holds a version. Throws `store_gone`. */
  async function living(id: string, about: AwsCall): Promise<SecretEntry & { readonly version: string }> {
    const entry = isId(id) ? await describe(id, about) : undefined;
    const { version } = entry ?? {};
    if (entry !== undefined && version !== undefined && !entry.isDeleted) return { ...entry, version };
    throw failure('store_gone', entry === undefined ? 'there is no such secret' : 'it holds nothing', about);
  }

  const baseOf = (name: string) => name.slice(namePrefix.length);

  function described({ name, description, tags }: SecretEntry): DescriptiveMetadata {
    return {
      name: namedIn(tags) ?? baseOf(name),
      description: description === emptyDescription ? '' : description,
      tags: carriedIn(tags),
    };
  }

  function metadataOf(entry: SecretEntry, known: KnownContent | undefined): CertificateMetadata {
    const mark = markIn(entry.tags);
    const people = described(entry);
    return {
      id: entry.arn,
      ...people,
      ...defined({ mark }),
      ...(known?.is === 'certificate' ? defined(known.facts) : { domains: [], domainsUnknown: true as const }),
      revision: revisionOf(entry.version ?? '', people, mark && formatMark(mark)),
    };
  }

  async function knownOf(entries: readonly SecretEntry[]): Promise<ReadonlyMap<string, KnownContent>> {
    const known = await facts.known(
      store,
      entries.map(({ arn }) => arn),
    );
    const ofVersion = entries.flatMap(({ arn, version }): [string, KnownContent][] => {
      const found = known.get(arn);
      return found !== undefined && found.version === version ? [[arn, found.content]] : [];
    });
    return new Map(ofVersion);
  }

  const vacancyOf = (entry: SecretEntry, why: VacantElement['why']): VacantElement => ({
    id: entry.arn,
    why,
    ...defined({ mark: markIn(entry.tags) }),
    name: described(entry).name,
  });

  async function pageOf(
    request: { readonly cursor?: string | undefined; readonly filters?: readonly object[]; readonly deleted?: boolean },
    about: AwsCall,
  ) {
    const { cursor, filters = [], deleted = false } = request;
    const all = [...filters, ...(namePrefix === '' ? [] : [{ Key: 'name', Values: [namePrefix] }])];
    const answer = await call(
      'ListSecrets',
      {
        MaxResults: Math.min(pageSize, mostOnAPage),
        ...defined({ NextToken: cursor }),
        ...(all.length > 0 && { Filters: all }),
        ...(deleted && { IncludePlannedDeletion: true }),
      },
      about,
    );
    const page = readSecrets(answer);
    if (page === undefined) throw nonsense(about, 'something that is no page of secrets');
    return page;
  }

  /** The three answers of a read, and what holds nothing. */
  async function reading<T>(
    id: string,
    about: AwsCall,
    read: (entry: SecretEntry & { readonly version: string }) => Promise<Reading<T>>,
  ): Promise<Reading<T>> {
    try {
      const entry = isId(id) ? await describe(id, about) : undefined;
      if (entry === undefined) return { state: 'absent' };
      const { version } = entry;
      if (entry.isDeleted || version === undefined) {
        const { id: _id, ...vacancy } = vacancyOf(entry, entry.isDeleted ? 'deleted' : 'empty');
        return { state: 'vacant', ...vacancy };
      }
      return await read({ ...entry, version });
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      return thrown.code === 'store_gone' ? { state: 'absent' } : { state: 'unreadable', error: thrown };
    }
  }

  async function readContent(
    entry: SecretEntry & { readonly version: string },
    about: AwsCall,
  ): Promise<Reading<StoredCertificate>> {
    const { arn, version } = entry;
    const value = readVersion(await call('GetSecretValue', { SecretId: arn, VersionId: version }, about));
    if (value?.version !== version || value.arn !== arn)
      throw nonsense(about, 'something that is not the value of this version');
    try {
      const found = readValue(value);
      if (found.is === 'certificate') {
        const known: KnownContent = { is: 'certificate', facts: contentFacts(found.content) };
        await facts.keep(store, arn, { version, content: known });
        return { state: 'present', value: { metadata: metadataOf(entry, known), content: found.content } };
      }
      const { reason } = found;
      // What held a certificate, or is a copy, does not become nothing by what was written over it.
      const before = (await facts.known(store, [arn])).get(arn);
      if (markIn(entry.tags) === undefined && before?.content.is !== 'certificate') {
        await facts.keep(store, arn, { version, content: { is: 'something-else', reason } });
        return { state: 'absent' };
      }
      throw new CodedError('certificate_malformed', `it ${reason}`);
    } catch (thrown) {
      const cause = asCodedError(thrown);
      if (!cause.code.startsWith('certificate_')) throw thrown;
      throw failure('store_content_unreadable', cause.message, about, { reason: cause.code }, cause);
    } finally {
      value.binary?.fill(0);
    }
  }

  /** Why this content is not written here. */
  function refusalOf(content: CertificateContent): CodedError | undefined {
    const bytes = Buffer.byteLength(writeValue(content, layout));
    if (bytes <= valueBytes) return undefined;
    const message = `Secrets Manager takes ${valueBytes} bytes, and this certificate with its chain and key has ${bytes}`;
    return new CodedError('store_content_refused', message, {
      fields: { store, bytes, remedy: 'Leave certificates out of the chain that nobody needs.' },
    });
  }

  function valueFor(content: CertificateContent): string {
    const refusal = refusalOf(content);
    if (refusal !== undefined) throw refusal;
    return writeValue(content, layout);
  }

  /** The secret a person or another program has taken over: nobody else writes to it. */
  function refuseForeign(entry: SecretEntry, about: AwsCall): void {
    const { owner, primaryRegion, rotates } = entry;
    if (owner !== undefined)
      throw failure('store_held', `it belongs to the service ${visible(owner)}`, about, { reason: 'OwningService' });
    if (primaryRegion !== undefined && primaryRegion !== region)
      throw failure('store_held', `it is a replica of a secret in ${visible(primaryRegion)}`, about, {
        reason: 'PrimaryRegion',
        remedy: 'Copy into the region of the secret itself, or end its replication (StopReplicationToReplica).',
      });
    if (rotates)
      throw failure('store_held', 'its rotation is switched on, so that somebody else writes it', about, {
        reason: 'RotationEnabled',
        remedy: 'Switch the rotation of this secret off (aws secretsmanager cancel-rotate-secret).',
      });
  }

  /**
   * Puts a value, and has it be the current one: a token that names an old version with this value
   * would leave the labels as they are.
   */
  async function put(entry: SecretEntry, value: string, about: AwsCall): Promise<string> {
    const { arn } = entry;
    const token = tokenOf([arn, digestOf(value), entry.version ?? '']);
    const input = { SecretId: arn, ClientRequestToken: token, SecretString: value };
    const written = readWritten(await call('PutSecretValue', input, about));
    if (written?.version === undefined || written.arn !== arn)
      throw nonsense(about, 'something else than the version that it was given');
    const { version, labels = ['AWSCURRENT'] } = written;
    if (!labels.includes('AWSCURRENT')) {
      const move = { SecretId: arn, VersionStage: 'AWSCURRENT', MoveToVersionId: version };
      const from = (await living(arn, about)).version;
      if (from !== version) await call('UpdateSecretVersionStage', { ...move, RemoveFromVersionId: from }, about);
    }
    return version;
  }

  async function answerOf(entry: SecretEntry, version: string, content: CertificateContent): Promise<WriteAnswer> {
    const known: KnownContent = { is: 'certificate', facts: contentFacts(content) };
    await facts.keep(store, entry.arn, { version, content: known });
    return { id: entry.arn, metadata: metadataOf({ ...entry, version }, known) };
  }

  /** Tags and description of what is given, as a secret of this name has them. */
  function written(secretName: string, given: DescriptiveMetadata, mark: Mark | undefined) {
    const { name, description, tags } = keep(given);
    const all = [
      ...(mark === undefined ? [] : markTags(mark)),
      ...(name === baseOf(secretName) ? [] : nameTags(name)),
      ...carriedTags(tags, mark !== undefined),
    ];
    return { description, tags: new Map(all) };
  }

  function keep({ name, description, tags }: DescriptiveMetadata): DescriptiveMetadata {
    const kept = textKept(name.toWellFormed());
    const said = cutText(description.toWellFormed(), descriptionCharacters);
    return {
      name: kept === '' ? nameless : kept,
      description: said === emptyDescription ? '' : said,
      tags: tagsKept(tags),
    };
  }

  /** Writes tags and description where they differ. Answers the secret as it is then. */
  async function writeDescription(
    entry: SecretEntry,
    given: DescriptiveMetadata,
    mark: Mark | undefined,
    about: AwsCall,
  ): Promise<SecretEntry> {
    const { arn } = entry;
    const { description, tags } = written(entry.name, given, mark);
    const isOther = (text: string) => (text === emptyDescription ? '' : text);
    if (isOther(entry.description) !== description)
      await call(
        'UpdateSecret',
        {
          SecretId: arn,
          Description: description === '' ? emptyDescription : description,
          ClientRequestToken: runtime.newId(),
        },
        about,
      );
    const changed = [...tags].filter(([key, value]) => entry.tags.get(key) !== value);
    if (changed.length > 0) await call('TagResource', { SecretId: arn, Tags: tagList(changed) }, about);
    const gone = outdatedTags(entry.tags, tags);
    if (gone.length > 0) await call('UntagResource', { SecretId: arn, TagKeys: gone }, about);
    const kept = new Map([...entry.tags].filter(([key]) => !gone.includes(key)));
    return { ...entry, description, tags: new Map([...kept, ...tags]) };
  }

  /** Brings back what is there with this mark, if it is gone to be, and writes over it. */
  async function importInto(entry: SecretEntry, given: NewCertificate, about: AwsCall): Promise<WriteAnswer> {
    const { content, metadata, mark } = given;
    if (mark === undefined || !sameMark(markIn(entry.tags), mark))
      throw failure('store_conflict', `${visible(entry.name)} is not a place for this certificate`, about, {
        certificate: entry.arn,
      });
    const value = valueFor(content);
    refuseForeign(entry, about);
    let begun = false;
    try {
      if (entry.isDeleted) {
        await call('RestoreSecret', { SecretId: entry.arn }, about);
        begun = true;
      }
      const before = begun ? await describe(entry.arn, about) : entry;
      const version = await put(before ?? entry, value, about);
      begun = true;
      const after = await writeDescription({ ...entry, isDeleted: false, version }, metadata, mark, about);
      return await answerOf(after, version, content);
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (!begun || error.code === 'store_unanswered') throw thrown;
      throw failure('store_unanswered', `half of it is written (${error.message})`, about, error.fields, error);
    }
  }

  /** Makes a secret of this name; `undefined` where the name is taken. */
  async function create(name: string, given: NewCertificate, about: AwsCall): Promise<WriteAnswer | undefined> {
    const { content, metadata, mark, token } = given;
    const value = valueFor(content);
    const { description, tags } = written(name, metadata, mark);
    const by = token ?? runtime.newId();
    const input = {
      Name: name,
      ClientRequestToken: tokenOf([name, digestOf(value), mark === undefined ? '' : markDigest(mark), by]),
      SecretString: value,
      ...(description !== '' && { Description: description }),
      ...defined({ KmsKeyId: kmsKey }),
      ...(tags.size > 0 && { Tags: tagList([...tags]) }),
    };
    let answer: unknown;
    try {
      answer = await call('CreateSecret', input, about);
    } catch (thrown) {
      const { code, fields } = asCodedError(thrown);
      // A name that is scheduled for deletion is answered by a word that has several causes.
      if (code === 'store_conflict' || fields.reason === 'InvalidRequestException') return undefined;
      throw thrown;
    }
    const made = readWritten(answer);
    if (made?.version === undefined || !isId(made.arn))
      throw nonsense(about, 'something that is no secret of this account');
    // A repeated one is answered as the first was, whatever has become of the secret meanwhile.
    const found = await describe(made.arn, about);
    if (found?.isDeleted || (found?.version !== undefined && found.version !== input.ClientRequestToken))
      return importInto(found, given, about);
    const entry = { arn: made.arn, name, description, tags, isDeleted: false, rotates: false };
    return answerOf(entry, made.version, content);
  }

  return {
    id: store,
    kind: 'aws-secrets-manager',
    region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: true,
      uniqueNames: false,
      idsAreReferredTo: false,
      findsMarks: true,
      settlesMs,
      listingLagMs,
      readSettlesMs,
      writesPerCertificatePerMinute: defaults.writesPerCertificatePerMinute,
    },

    async list({ cursor, signal }) {
      const about = readCall('list', defined({ signal }));
      const { secrets, cursor: next } = await pageOf({ cursor }, about);
      const shown = secrets.filter((entry) => isShown(entry) && !entry.isDeleted);
      const own = shown.filter(({ arn }) => isId(arn));
      const unreadable = shown
        .filter(({ arn }) => !isId(arn))
        .map(({ arn }): UnreadableElement => ({ place: arn, error: nonsense(about, ofElsewhere(arn)) }));
      const mine = own.filter(({ owner }) => owner === undefined);
      const full = mine.filter(({ version }) => version !== undefined);
      const known = await knownOf(full);
      const certificates: CertificateMetadata[] = [];
      const passedOver: PassedOver[] = own
        .filter(({ owner }) => owner !== undefined)
        .map(({ arn, name, owner = '' }) => ({ id: arn, place: name, reason: `belongs to the service ${owner}` }));
      for (const entry of full) {
        const content = known.get(entry.arn);
        if (content?.is === 'something-else')
          passedOver.push({ id: entry.arn, place: entry.name, reason: content.reason });
        else certificates.push(metadataOf(entry, content));
      }
      const vacant = mine.filter(({ version }) => version === undefined).map((entry) => vacancyOf(entry, 'empty'));
      return {
        certificates,
        ...(unreadable.length > 0 && { unreadable }),
        ...(vacant.length > 0 && { vacant }),
        ...(passedOver.length > 0 && { passedOver }),
        ...defined({ cursor: next }),
      };
    },

    readMetadata: (id, given = {}) =>
      reading(id, readCall('read metadata', given, id), async (entry): Promise<Reading<CertificateMetadata>> => {
        const known = (await knownOf([entry])).get(entry.arn);
        return { state: 'present', value: metadataOf(entry, known) };
      }),

    read(id, given = {}) {
      const about = readCall('read', given, id);
      return reading(id, about, (entry) => readContent(entry, about));
    },

    async findByMark(mark, given: FindOptions = {}) {
      const about = readCall('look for copies', given);
      const filters = [
        { Key: 'tag-key', Values: [markTag] },
        { Key: 'tag-value', Values: [markDigest(mark)] },
      ];
      const found: SecretEntry[] = [];
      let cursor: string | undefined;
      do {
        given.signal?.throwIfAborted();
        const page = await pageOf({ cursor, filters, deleted: true }, about);
        // Filters match beginnings, and the key of one tag with the value of another.
        const own = page.secrets.filter((entry) => isId(entry.arn) && isShown(entry));
        found.push(...own.filter(({ tags }) => sameMark(markIn(tags), mark)));
        cursor = page.cursor;
      } while (cursor !== undefined);
      for (const entry of found) {
        if (entry.isDeleted) given.vacant?.(vacancyOf(entry, 'deleted'));
        else if (entry.version === undefined) given.vacant?.(vacancyOf(entry, 'empty'));
      }
      const copies = found.filter(({ isDeleted, version }) => !isDeleted && version !== undefined);
      const known = await knownOf(copies);
      return copies.map((entry) => metadataOf(entry, known.get(entry.arn)));
    },

    refuses: (content) => refusalOf(content),

    async import(entry, given) {
      const about = writeCall('import', given, entry.into);
      if (entry.into !== undefined) {
        const there = isId(entry.into) ? await describe(entry.into, about) : undefined;
        if (there === undefined) throw failure('store_gone', 'there is no such secret', about);
        return importInto(there, entry, about);
      }
      const wanted = entry.exactName === true ? exactName(entry.metadata.name) : derivedName(entry);
      const made = await create(wanted, entry, about);
      if (made !== undefined) return made;
      const holder = await describe(wanted, about);
      const isOurs = entry.mark !== undefined && sameMark(markIn(holder?.tags ?? new Map()), entry.mark);
      // What was imported once is not imported again.
      if (holder !== undefined && isOurs && (holder.isDeleted || entry.token !== undefined))
        return importInto(holder, entry, about);
      // A copy that a restore gave another mark keeps its name.
      const second = `${wanted}-${isOurs ? runtime.newId().slice(0, 8) : digestOf(holder?.arn ?? '').slice(0, 12)}`;
      const isTaken = entry.exactName === true || holder === undefined;
      const other = isTaken ? undefined : await create(second, entry, about);
      if (other !== undefined) return other;
      const fields = defined({ certificate: holder?.arn, name: wanted });
      throw failure('store_conflict', `another secret has the name ${visible(wanted)}`, about, fields);
    },

    async reimport(id, content, given) {
      const about = writeCall('reimport', given, id);
      const value = valueFor(content);
      const entry = await living(id, about);
      refuseForeign(entry, about);
      return answerOf(entry, await put(entry, value, about), content);
    },

    async updateMetadata(id, metadata, mark, given) {
      const about = writeCall('update metadata', given, id);
      const entry = await living(id, about);
      refuseForeign(entry, about);
      const after = await writeDescription(entry, metadata, mark, about);
      const known = (await knownOf([after])).get(id);
      return { id, metadata: metadataOf(after, known) };
    },

    async delete(id, given) {
      const about = writeCall('delete', given, id);
      if (!isId(id)) return;
      try {
        await call('DeleteSecret', { SecretId: id, RecoveryWindowInDays: recoveryDays }, about);
      } catch (thrown) {
        const { code, fields } = asCodedError(thrown);
        if (code === 'store_gone') return;
        const { reason } = fields;
        if (reason !== 'InvalidRequestException' && reason !== 'InvalidParameterException') throw thrown;
        // Its words for what is scheduled already, and for what it does not remove.
        const entry = await describe(id, about);
        if (entry === undefined || entry.isDeleted) return;
        throw failure('store_held', 'it is not removed: it has replicas, or belongs to a service', about, {
          ...fields,
          remedy:
            'See its replicas (aws secretsmanager describe-secret); certstandby removes none that it did not make.',
        });
      }
    },

    asKept: (metadata) => keep(metadata),
  };

  /** The name of the secret of a copy: of its mark alone, and of nothing that people change. */
  function derivedName({ metadata, mark }: NewCertificate): string {
    if (mark === undefined) return `${namePrefix}${readable(metadata.name)}-${runtime.newId().slice(0, 8)}`;
    return `${namePrefix}${readable(mark.certificate)}-${markDigest(mark).slice(0, 16)}`;
  }

  /** The name of a copy whose readers look for it. Throws where no secret can have it. */
  function exactName(name: string): string {
    const whole = `${namePrefix}${name}`;
    // It would look like the end of an ARN, and be found by part of it.
    const isLikeArn = /-[A-Za-z0-9]{6}$/.test(whole);
    if (/^[\w/+=.@-]+$/.test(whole) && whole.length <= nameCharacters && !isLikeArn) return whole;
    throw new CodedError('store_name_unfit', `no secret can have the name ${visible(whole)}`, {
      fields: { store, name },
    });
  }
}

/** What tells versions apart: of the content by the service's word, of the rest by its digest. */
function revisionOf(version: string, people: DescriptiveMetadata, mark: string | undefined): string {
  const { name, description, tags } = people;
  return `${version}.${digestOf(JSON.stringify([name, description, tags, mark ?? ''])).slice(0, 12)}`;
}

const digestOf = (text: string) => createHash('sha256').update(text).digest('hex');

/** A token that is the same whenever the same is asked: 64 digits, as many as there may be. */
const tokenOf = (parts: readonly string[]) => digestOf(JSON.stringify(parts));

/** The end of an id or a name as a part of a secret's name, for people who look there. */
function readable(text: string): string {
  const plain = text.replace(/[^A-Za-z0-9._]+/g, '-').slice(-48);
  return plain.replace(/^[-.]+|[-.]+$/g, '') || 'certificate';
}
