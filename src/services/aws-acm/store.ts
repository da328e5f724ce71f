import { randomBytes } from 'node:crypto';
import { arnStem, ofElsewhere } from '../../aws/arn.ts';
import { accessKeyOf, callerCredentials } from '../../aws/caller.ts';
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
  describedIn,
  descriptionTags,
  isOfAws,
  markIn,
  markTag,
  markTags,
  markValue,
  namedIn,
  nameTags,
  outdatedTags,
  readableTag,
  type Tags,
  tagList,
  tagsKept,
  textKept,
} from '../../aws/tags.ts';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { parseContent, toPem } from '../../certificate/pem.ts';
import { asPkcs8 } from '../../certificate/private-key.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import { privateKeyObject } from '../../private-key-object.ts';
import { Secret } from '../../secret.ts';
import { contentFacts, type FactsBook, type KnownContent, rememberedFacts } from '../../store/content-facts.ts';
import { type FoundMark, type Mark, sameMark } from '../../store/mark.ts';
import type {
  CertificateMetadata,
  DescriptiveMetadata,
  FindOptions,
  PassedOver,
  Reading,
  Store,
  StoredCertificate,
  UnreadableElement,
} from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import {
  type AcmCertificate,
  readCertificateEntry,
  readCertificatePage,
  readFound,
  readPem,
  readTags,
} from './answers.ts';
import { acmDefaults as defaults } from './defaults.ts';
import { type Unfit, unfitForImport, unfitForReimport } from './rules.ts';
import type { AcmConfig } from './settings.ts';

export interface AcmOptions extends AwsStoreOptions {
  /** Keys of certificates that ACM issued as exportable are exported. */
  readonly exports?: boolean;
  readonly importsPerYear?: number;
  /** What content alone tells. Absent: this process remembers what it has read. */
  readonly facts?: FactsBook;
}

/** Without these a listing hides all keys but RSA up to 2,048 bits (ACM, "Filters"). */
const keyTypes = [
  'RSA_1024',
  'RSA_2048',
  'RSA_3072',
  'RSA_4096',
  'EC_prime256v1',
  'EC_secp384r1',
  'EC_secp521r1',
] as const;

const yearMs = 365 * 86_400_000;
const mostOnAPage = 100;
/** Tags may be asked for ten times in a second (ACM, "Quotas"). */
const tagsPauseMs = 100;
const nameless = 'unnamed';
/** The console shows the tag of this key as the name. */
const shownName = 'Name';
const isShownName = (key: string) => key === shownName;
const descriptionParts = 8;

/** The store of the configuration. */
export function openStore(config: AcmConfig, context: StoreContext): Store {
  return acmStore(optionsOf(config, context));
}

/** What the configuration says, as options. */
export function optionsOf(config: AcmConfig, context: StoreContext): AcmOptions {
  const { runtime, secret, facts } = context;
  return { ...config, runtime, ...defined({ key: accessKeyOf(config, secret), facts }) };
}

/** How the service is reached, and the one that finds resources by their tags. */
export function reached(
  options: AcmOptions,
): AwsStoreService & { readonly store: string; readonly tagging: AwsStoreService } {
  const store = arnStem('acm', { ...options }) ?? '';
  const common = { ...options, store, caller: callerCredentials(options), meaningOf };
  const service = awsStoreService({ ...common, service: 'acm', target: 'CertificateManager' });
  const target = 'ResourceGroupsTaggingAPI_20170126';
  return { ...service, store, tagging: awsStoreService({ ...common, service: 'tagging', target }) };
}

const givesContent: ReadonlySet<string> = new Set(['import', 'reimport']);

/** What the service means by its refusals (its reference, "Errors"). */
function meaningOf(name: string, { operation }: AwsCall): Meaning | undefined {
  const content: Meaning | undefined = givesContent.has(operation) ? { code: 'store_content_refused' } : undefined;
  const meanings: Readonly<Record<string, Meaning | undefined>> = {
    ResourceNotFoundException: { code: 'store_gone' },
    ValidationException: content,
    InvalidParameterException: content,
    InvalidArgsException: content,
    LimitExceededException: {
      code: 'store_quota_used_up',
      remedy:
        'ACM takes no more imports: see its quotas in the console of Service Quotas (imported certificates, and imports in 365 days), and have them raised. Removing certificates gives no import back.',
    },
    ConflictException: { code: 'store_limited' },
    RequestInProgressException: { code: 'store_unavailable' },
    ResourceInUseException: {
      code: 'store_in_use',
      remedy:
        'A load balancer, CloudFront or an API uses it: give that another certificate. ACM lets go of it some minutes after the last one has.',
    },
    TagPolicyException: {
      code: 'store_held',
      remedy:
        'A tag policy of the organisation forbids the tags that begin with certstandby: allow them for acm:certificate.',
    },
  };
  return Object.hasOwn(meanings, name) ? meanings[name] : undefined;
}

/**
 * AWS Certificate Manager, of one account and region, as a store. The id is the ARN, which load
 * balancers refer to: nothing is ever replaced under another one. Name, description and mark are
 * tags; they come with the import, and a reimport leaves them. Imported keys are never given back.
 *
 * API: AWS Certificate Manager, version 2015-12-08; Resource Groups Tagging, version 2017-01-26.
 */
export function acmStore(options: AcmOptions): Store {
  const { settlesMs, listingLagMs, readSettlesMs, importsPerYear } = { ...defaults, ...defined(options) };
  const { region, exports = false, runtime, pageSize = mostOnAPage } = options;
  const { store, call, failure, tagging } = reached(options);
  const stem = `${store}:certificate/`;
  const facts = rememberedFacts(options.facts);
  const isId = (id: string) => id.startsWith(stem);
  const nonsense = (about: AwsCall, found: string) => failure('store_nonsense', `it answered ${found}`, about);

  async function describe(arn: string, about: AwsCall): Promise<AcmCertificate> {
    const answer = await call('DescribeCertificate', { CertificateArn: arn }, { ...about, writes: false });
    const entry = readCertificateEntry(answer.Certificate);
    if (entry?.arn !== arn) throw nonsense(about, 'something that is not this certificate');
    return entry;
  }

  async function tagsOf(arn: string, about: AwsCall): Promise<Tags> {
    const tags = readTags(await call('ListTagsForCertificate', { CertificateArn: arn }, { ...about, writes: false }));
    if (tags === undefined) throw nonsense(about, 'something that is no list of tags');
    return tags;
  }

  async function publicContent(arn: string, about: AwsCall) {
    const pem = readPem(await call('GetCertificate', { CertificateArn: arn }, { ...about, writes: false }));
    if (pem === undefined) throw nonsense(about, 'something that is no certificate');
    return parsed(pem, about);
  }

  /** Throws `store_content_unreadable`, with the reason as its cause. */
  function parsed(
    { certificate, chain, privateKey }: { certificate: string; chain?: string | undefined; privateKey?: Secret },
    about: AwsCall,
  ): CertificateContent {
    try {
      return parseContent({ certificate, ...defined({ intermediate: chain, privateKey }) });
    } catch (thrown) {
      const cause = asCodedError(thrown);
      throw failure('store_content_unreadable', cause.message, about, { reason: cause.code }, cause);
    }
  }

  /** With the key, decrypted. */
  async function exported(arn: string, about: AwsCall): Promise<CertificateContent> {
    const phrase = randomBytes(32).toString('hex');
    const input = { CertificateArn: arn, Passphrase: Buffer.from(phrase).toString('base64') };
    const pem = readPem(await call('ExportCertificate', input, about));
    if (pem?.encryptedKey === undefined) throw nonsense(about, 'an export without a key');
    let privateKey: Secret;
    try {
      const opened = privateKeyObject({ key: pem.encryptedKey, passphrase: phrase });
      privateKey = new Secret(opened.export({ type: 'pkcs8', format: 'pem' }).toString());
    } catch {
      throw failure('store_content_unreadable', 'the key of the export does not open with its passphrase', about);
    }
    try {
      return parsed({ certificate: pem.certificate, chain: pem.chain, privateKey }, about);
    } finally {
      privateKey.wipe();
    }
  }

  function people(entry: AcmCertificate, tags: Tags): DescriptiveMetadata {
    return {
      name: namedIn(tags) ?? (tags.get(shownName) || (entry.domain ?? nameless)),
      description: describedIn(tags),
      tags: carriedIn(tags, isShownName),
    };
  }

  function metadataOf(entry: AcmCertificate, tags: Tags, known: KnownContent | undefined): CertificateMetadata {
    const { arn: id, status, revision, lastModified } = entry;
    const mark = markIn(tags);
    const told = known?.is === 'certificate' ? defined(known.facts) : { domains: [], domainsUnknown: true as const };
    return {
      id,
      ...people(entry, tags),
      ...defined({ mark }),
      ...told,
      status,
      revision,
      ...defined({ lastModified }),
    };
  }

  async function knownOf({ arn, revision, serial }: AcmCertificate): Promise<KnownContent | undefined> {
    const known = (await facts.known(store, [arn])).get(arn);
    if (known?.version !== revision || known.content.is !== 'certificate') return undefined;
    // A description says the serial, in case a reimport moves nothing else.
    return serial === undefined || known.content.facts.serial === serial ? known.content : undefined;
  }

  async function keep({ arn, revision: version }: AcmCertificate, content: CertificateContent): Promise<KnownContent> {
    const known: KnownContent = { is: 'certificate', facts: contentFacts(content) };
    await facts.keep(store, arn, { version, content: known });
    return known;
  }

  /** Metadata by direct reads. What is not known yet is asked for, without its key. */
  async function readDescribed(arn: string, about: AwsCall): Promise<CertificateMetadata> {
    const [entry, tags] = await Promise.all([describe(arn, about), tagsOf(arn, about)]);
    const known = (await knownOf(entry)) ?? (await keep(entry, await publicContent(arn, about)));
    return metadataOf(entry, tags, known);
  }

  async function reading<T>(id: string, read: () => Promise<T>): Promise<Reading<T>> {
    try {
      return isId(id) ? { state: 'present', value: await read() } : { state: 'absent' };
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      return thrown.code === 'store_gone' ? { state: 'absent' } : { state: 'unreadable', error: thrown };
    }
  }

  /** Why this content is not taken, as an error. */
  function refusalOf(content: CertificateContent, now: number, over?: CertificateContent): CodedError | undefined {
    const unfit = unfitForImport(content, now);
    if (unfit !== undefined) return contentRefused(unfit);
    const kept = over && unfitForReimport(content.leaf, over.leaf);
    return kept === undefined ? undefined : contentRefused(kept, { remedy: byHand });
  }

  function contentRefused({ why, until }: Unfit, fields: CodedError['fields'] = {}): CodedError {
    return new CodedError('store_content_refused', `ACM ${why}`, {
      fields: { store, ...defined({ until }), ...fields },
    });
  }

  function requestOf(content: CertificateContent) {
    const { privateKey } = content;
    const { certificate, intermediate } = toPem(content);
    const pkcs8 = privateKey && asPkcs8(privateKey);
    const bytes = pkcs8?.revealBytes() ?? Buffer.alloc(0);
    pkcs8?.wipe();
    const request = {
      Certificate: Buffer.from(certificate).toString('base64'),
      PrivateKey: bytes.toString('base64'),
      ...(intermediate !== undefined && { CertificateChain: Buffer.from(intermediate).toString('base64') }),
    };
    bytes.fill(0);
    return request;
  }

  function asKept({ name, description, tags }: DescriptiveMetadata): DescriptiveMetadata {
    const kept = textKept(name.toWellFormed());
    return {
      name: kept === '' ? nameless : kept,
      description: textKept(description.toWellFormed(), descriptionParts),
      tags: tagsKept(tags, isShownName),
    };
  }

  /** The tags of what is given. */
  function tagsFor(given: DescriptiveMetadata, mark: FoundMark | undefined): ReadonlyMap<string, string> {
    const { name, description, tags } = asKept(given);
    const shown = readableTag(name);
    return new Map([
      ...(mark === undefined ? [] : markTags(mark)),
      ...(shown === '' ? [] : [[shownName, shown] as const]),
      ...(shown === name ? [] : nameTags(name)),
      ...descriptionTags(description, descriptionParts),
      ...carriedTags(tags, mark !== undefined, isShownName),
    ]);
  }

  /** Tags come back after a reimport that lost them: the mark is among them. */
  async function ensureTags(arn: string, before: Tags, about: AwsCall): Promise<void> {
    const after = await tagsOf(arn, about);
    const lost = [...before].filter(([key]) => !after.has(key) && !isOfAws(key));
    if (lost.length > 0) await call('AddTagsToCertificate', { CertificateArn: arn, Tags: tagList(lost) }, about);
  }

  return {
    id: store,
    kind: 'aws-acm',
    region,
    abilities: {
      givesKeys: exports,
      reimportsInPlace: true,
      importIsIdempotent: false,
      uniqueNames: false,
      idsAreReferredTo: true,
      findsMarks: true,
      settlesMs,
      listingLagMs,
      readSettlesMs,
      rates: [{ operations: ['import', 'reimport'], count: 1, perMs: 1_000 }],
      quotas: [
        {
          operations: ['import', 'reimport'],
          count: importsPerYear,
          perMs: yearMs,
          reserve: Math.floor(importsPerYear / 10),
        },
      ],
    },

    async list({ cursor, signal }) {
      const about = readCall('list', defined({ signal }));
      const answer = await call(
        'ListCertificates',
        {
          Includes: { keyTypes },
          MaxItems: Math.min(pageSize, mostOnAPage),
          SortBy: 'CREATED_AT',
          SortOrder: 'ASCENDING',
          ...defined({ NextToken: cursor }),
        },
        about,
      );
      const page = readCertificatePage(answer);
      if (page === undefined) throw nonsense(about, 'something that is no page of certificates');
      const certificates: CertificateMetadata[] = [];
      const unreadable: UnreadableElement[] = [];
      const passedOver: PassedOver[] = [];
      for (const [index, entry] of page.certificates.entries()) {
        if (!isId(entry.arn)) {
          unreadable.push({ place: entry.arn, error: nonsense(about, ofElsewhere(entry.arn)) });
          continue;
        }
        const reason = passedOverBecause(entry);
        if (reason !== undefined) {
          passedOver.push({ id: entry.arn, place: entry.arn, reason });
          continue;
        }
        if (index > 0) await runtime.wait(tagsPauseMs, signal);
        const tags = await tagsOf(entry.arn, about).catch((thrown: unknown) => {
          const error = asCodedError(thrown);
          if (error.code === 'store_gone') return undefined;
          // Rights may depend on tags: one that is kept from us hides no other.
          if (error.fields.right !== undefined) return error;
          throw thrown;
        });
        if (tags instanceof CodedError) unreadable.push({ id: entry.arn, place: entry.arn, error: tags });
        else if (tags !== undefined) certificates.push(metadataOf(entry, tags, await knownOf(entry)));
      }
      const next = defined({ cursor: page.cursor });
      return {
        certificates,
        ...(unreadable.length > 0 && { unreadable }),
        ...(passedOver.length > 0 && { passedOver }),
        ...next,
      };
    },

    readMetadata: (id, given = {}) => reading(id, () => readDescribed(id, readCall('read metadata', given, id))),

    read: (id, given = {}) =>
      reading(id, async (): Promise<StoredCertificate> => {
        const about = readCall('read', given, id);
        const [entry, tags] = await Promise.all([describe(id, about), tagsOf(id, about)]);
        const isGiven = exports && entry.type !== 'IMPORTED' && entry.isExportable && !entry.isOfAcmeClient;
        const content = isGiven ? await exported(id, about) : await publicContent(id, about);
        const metadata = metadataOf(entry, tags, await keep(entry, content));
        const isWithheld = content.privateKey === undefined && !entry.isOfAcmeClient;
        return { metadata, content, ...(isWithheld && { keyWithheld: true as const }) };
      }),

    async findByMark(mark, given: FindOptions = {}) {
      const about = readCall('look for copies', given);
      const arns: string[] = [];
      let cursor: string | undefined;
      do {
        const input = {
          ResourceTypeFilters: ['acm'],
          TagFilters: [{ Key: markTag, Values: [markValue(mark)] }],
          ResourcesPerPage: mostOnAPage,
          ...defined({ PaginationToken: cursor }),
        };
        const found = readFound(await tagging.call('GetResources', input, about));
        if (found === undefined) throw nonsense(about, 'something that is no list of resources');
        arns.push(...found.arns.filter(isId));
        cursor = found.cursor;
      } while (cursor !== undefined);
      const copies: CertificateMetadata[] = [];
      // What used to have the tag is found too: each is read.
      for (const arn of new Set(arns)) {
        const metadata = await readDescribed(arn, about).catch((thrown: unknown) => {
          if (asCodedError(thrown).code === 'store_gone') return undefined;
          throw thrown;
        });
        if (metadata !== undefined && sameMark(metadata.mark, mark)) copies.push(metadata);
      }
      return copies;
    },

    refuses: refusalOf,

    same: isSame,

    async import({ content, metadata, mark, into }, given) {
      const about = writeCall('import', given, into);
      const refusal = refusalOf(content, runtime.now());
      if (refusal !== undefined) throw refusal;
      if (into !== undefined) {
        await describe(into, about);
        throw failure('store_conflict', 'it holds a certificate', about, { certificate: into });
      }
      const tags = tagsFor(metadata, mark);
      const input = { ...requestOf(content), ...(tags.size > 0 && { Tags: tagList([...tags]) }) };
      const { CertificateArn: arn } = await call('ImportCertificate', input, about);
      if (typeof arn !== 'string' || !isId(arn)) throw nonsense(about, 'no ARN of a certificate of this account');
      return { id: arn };
    },

    async reimport(id, content, given) {
      const about = writeCall('reimport', given, id);
      const refusal = refusalOf(content, runtime.now());
      if (refusal !== undefined) throw refusal;
      if (!isId(id)) throw failure('store_gone', 'there is no such certificate', about);
      const [entry, before, there] = await Promise.all([
        describe(id, about),
        tagsOf(id, about),
        publicContent(id, about),
      ]);
      if (entry.type !== 'IMPORTED')
        throw failure('store_held', 'ACM issued it, so that nothing can be imported in its place', about);
      const unfit = unfitForReimport(content.leaf, there.leaf);
      if (unfit !== undefined) throw inPlaceRefused(entry, unfit.why);
      try {
        await call('ImportCertificate', { CertificateArn: id, ...requestOf(content) }, about);
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code !== 'store_content_refused') throw thrown;
        throw inPlaceRefused(entry, `refuses it: ${error.message}`, error);
      }
      await ensureTags(id, before, about);
      return { id };
    },

    async updateMetadata(id, metadata, mark: Mark | undefined, given) {
      const about = writeCall('update metadata', given, id);
      if (!isId(id)) throw failure('store_gone', 'there is no such certificate', about);
      const before = await tagsOf(id, about);
      const wanted = tagsFor(metadata, mark);
      const changed = [...wanted].filter(([key, value]) => before.get(key) !== value);
      const gone = outdatedTags(before, wanted);
      // First what makes room: a certificate has fifty at the most.
      if (gone.length > 0) {
        const Tags = gone.map((Key) => ({ Key }));
        await call('RemoveTagsFromCertificate', { CertificateArn: id, Tags }, about);
      }
      if (changed.length > 0) await call('AddTagsToCertificate', { CertificateArn: id, Tags: tagList(changed) }, about);
      return { id };
    },

    async delete(id, given) {
      const about = writeCall('delete', given, id);
      if (!isId(id)) return;
      try {
        await call('DeleteCertificate', { CertificateArn: id }, about);
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_gone') return;
        if (error.code !== 'store_in_use') throw thrown;
        const { inUseBy } = await describe(id, about);
        throw failure('store_in_use', `it is used by ${usersOf(inUseBy)}`, about, { ...error.fields, inUseBy }, error);
      }
    },

    asKept,
  };

  /** A copy that keeps its old content, for a person: under which ARN, who uses it, and why. */
  function inPlaceRefused({ arn, inUseBy }: AcmCertificate, why: string, cause?: CodedError): CodedError {
    const message = `ACM ${why}; ${arn} keeps what it has, and is used by ${usersOf(inUseBy)}`;
    const fields = { store, certificate: arn, inUseBy: [...inUseBy], remedy: byHand };
    return new CodedError('store_content_refused', message, { ...defined({ cause }), fields });
  }
}

const byHand =
  'Nothing is replaced under another ARN by itself. Have the certificate issued anew with what the message names, or import it as a new one by hand, move what uses the old ARN, and remove that: certstandby then makes its copy anew.';

const usersOf = (inUseBy: readonly string[]): string =>
  inUseBy.length === 0 ? 'nothing' : inUseBy.slice(0, 5).map(visible).join(', ');

/** Why nothing of it is copied and nothing is written there, in words that follow its ARN. */
function passedOverBecause({ status, managedBy }: AcmCertificate): string | undefined {
  if (managedBy !== undefined) return `belongs to ${managedBy}`;
  const isIssued = ['ISSUED', 'EXPIRED', 'INACTIVE', 'REVOKED', ''].includes(status);
  return isIssued ? undefined : `is not issued (${status})`;
}

/**
 * Whether a chain may have been completed: ours, and then nothing but issuers of its end. Keys do
 * not come back.
 */
function isSame(given: CertificateContent, back: CertificateContent): boolean {
  if (!given.leaf.raw.equals(back.leaf.raw)) return false;
  const isOurs = given.chain.every((certificate, index) => back.chain[index]?.raw.equals(certificate.raw));
  if (!isOurs) return false;
  const whole = [back.leaf, ...back.chain];
  return whole
    .slice(given.chain.length + 1)
    .every((issuer, index) => whole[given.chain.length + index]?.verify(issuer.publicKey));
}
