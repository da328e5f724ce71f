import type { CertificateContent } from '../certificate/certificate.ts';
import type { CodedError } from '../errors.ts';
import type { FoundMark, Mark } from './mark.ts';

/**
 * The contract of a store: a service that keeps certificates. It says what it can do and how long
 * it may take to be consistent; the rest of the program asks it and never switches on names.
 *
 * Ids are opaque. A kind is one file beside this one, and exports one factory from typed options to
 * this. `test/store/contract.ts` is the suite that every kind runs.
 */
export interface Store {
  /**
   * Names this store among all stores, for ever: in Certificate Manager the instance CRN. Stands in
   * marks. No white space.
   */
  readonly id: string;
  /** The kind, for people: `certificate-manager`. */
  readonly kind: string;
  readonly region: string;
  readonly abilities: StoreAbilities;

  /**
   * One page of metadata, without content. Throws a coded error where the store as a whole cannot
   * be asked, or is not proven to be there. What stands there and cannot be read is on the page as
   * that, by its name, and keeps no other from being listed.
   */
  list(request: { readonly cursor?: string; readonly signal?: AbortSignal }): Promise<ListPage>;

  /**
   * What the service says about one certificate, by direct read. Never throws for what the service
   * did: that is `unreadable`.
   */
  readMetadata(id: string, options?: CallOptions): Promise<Reading<CertificateMetadata>>;

  /**
   * The certificate in full, private key included where the service gives it. Never throws for what
   * the service did.
   */
  read(id: string, options?: CallOptions): Promise<Reading<StoredCertificate>>;

  /**
   * All certificates here with this mark, however it is written; only where the service can be
   * asked directly (`abilities.findsMarks`).
   */
  findByMark?(mark: Mark, options?: FindOptions): Promise<readonly CertificateMetadata[]>;

  /**
   * Why this store would not take this content at this moment (epoch milliseconds), as
   * `store_content_refused`, with `until` among its fields where that ends by itself; `undefined`
   * if it knows no reason. With `over`, why not in the place of that. Pure: no request is made.
   * Absent: only a write tells.
   */
  refuses?(content: CertificateContent, now: number, over?: CertificateContent): CodedError | undefined;

  /**
   * Whether content that was read here is what this store makes of content that it was given:
   * chains completed or put in another order by the service. Pure. Absent: it gives back what it
   * was given, and nothing else is the same. What is equal is the same anywhere.
   */
  same?(given: CertificateContent, back: CertificateContent): boolean;

  /**
   * Makes a new certificate. Repeating it makes another, unless `abilities.importIsIdempotent`. It
   * answers when the content is there. The mark goes with the creation or before the content, never
   * after: a kind that cannot do that is no backup. One that needs several requests throws
   * `store_unanswered` for whatever fails after the first: then half of it is there.
   *
   * With `into` it brings back what is vacant under that id and carries this mark, and writes over
   * it; there content, name and mark are then as given, however often it is repeated, and whether
   * or not it was brought back meanwhile. So does an import without it that meets its own mark in a
   * place that it would take. What is vacant and carries another mark or none is `store_conflict`;
   * where nothing is under that id any more, `store_gone`.
   */
  import(entry: NewCertificate, options?: CallOptions): Promise<WriteAnswer>;

  /**
   * Replaces the content of a certificate, keeping its id, name and description. Repeating it is
   * harmless. Refused because of the content it throws `store_content_refused`; because a quota is
   * used up, `store_quota_used_up`; because a person holds it, `store_held`; because it is in use,
   * `store_in_use`.
   */
  reimport(id: string, content: CertificateContent, options?: CallOptions): Promise<WriteAnswer>;

  /** Replaces name, description, tags and mark. Repeating it is harmless. */
  updateMetadata(
    id: string,
    metadata: DescriptiveMetadata,
    mark: Mark | undefined,
    options?: CallOptions,
  ): Promise<WriteAnswer>;

  /**
   * Removes a certificate. Removing what is not there succeeds. Refused it throws `store_in_use`,
   * `store_held` or `store_refused`.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: where a removal is done when it is answered there is nothing to say
  delete(id: string, options?: CallOptions): Promise<RemovalAnswer | void>;

  /**
   * How an operation stands that a write has begun (`abilities.longWrites`): by its handle, or
   * where that was lost by what the service says of this copy or mark, or in its list of
   * operations. Absent: nobody can be asked, and it may go on for as long as it may take. Throws a
   * coded error if it cannot be asked now.
   */
  operation?(asked: OperationAsked, options?: CallOptions): Promise<OperationState>;

  /**
   * What this store would hold if it were given this metadata with this mark: names cut or
   * rewritten to its rules, descriptions cut to what the mark leaves room for. Pure. Compare with
   * this, not with the original, or a cut name differs for ever.
   */
  asKept(metadata: DescriptiveMetadata, mark: Mark | undefined): DescriptiveMetadata;

  /**
   * Calls this with the id of each certificate that changes, where the store can be watched from
   * this process and sends no notifications. Each is only a reason to look; some may be missed.
   */
  watch?(changed: (certificate: string) => void): { close(): void };

  /**
   * What this place calls itself, by a name that nobody chose, where it has one: the uid of a
   * namespace, a file that was put there when it was first written to. Checked beside the id and
   * never part of it or of a mark (`identified.ts`). `undefined`: it has none yet. Throws a coded
   * error if that cannot be found out.
   */
  identity?(options?: CallOptions): Promise<string | undefined>;

  /**
   * Gives a place that has no identity this one. Answers the one that it has then: somebody else
   * may have been first. `instead` replaces one that it has, where a person said so.
   */
  giveIdentity?(identity: string, options?: CallOptions & { readonly instead?: boolean }): Promise<string>;

  /**
   * PEM of the public key that verifies this store's notifications, where it sends any. Throws a
   * coded error.
   */
  notificationKey?(options?: CallOptions): Promise<string>;

  /**
   * Present where writes are scarce: a turn is taken before the look, so that nobody looks who may
   * not write yet.
   */
  readonly slots?: WriteSlots;

  /**
   * What a person can have checked, or set up; absent where the service offers nothing of it, or
   * nobody asked for it.
   */
  readonly diagnosis?: StoreDiagnosis;

  /**
   * Gives back what it holds there for as long as it is open: a token of a login of ours. Nothing
   * is asked of it afterwards. Never throws. Absent: it holds nothing.
   */
  close?(): Promise<void>;
}

/**
 * For `doctor`: questions to a store about itself and our rights there. None of them changes
 * anything, except `registerChannel`. All throw coded errors. One that sends no notifications has
 * no channels.
 */
export interface StoreDiagnosis {
  /** Where it is, for people: an address or a path. */
  readonly address: string;
  /**
   * What time it is there, epoch milliseconds, by a request that needs no rights; `undefined` if it
   * does not say.
   */
  clock(options?: CallOptions): Promise<number | undefined>;
  /**
   * Whether our credentials may import: asked by an import of nothing, which no service takes; it
   * refuses the content, or the caller.
   */
  mayImport(options?: CallOptions): Promise<boolean>;
  /**
   * Each right that a store of this part takes, by the service's own word; absent where it does not
   * say.
   */
  rights?(
    part: { readonly primary: boolean; readonly backup: boolean },
    options?: CallOptions,
  ): Promise<readonly RightAsked[]>;
  /** What else the service says of itself. `limit` makes the signal that ends one question. */
  remarks?(options?: { readonly limit?: () => AbortSignal }): Promise<readonly StoreRemark[]>;
  /** Where it sends notifications. */
  channels?(options?: CallOptions): Promise<readonly NotificationChannel[]>;
  /** Has it send notifications there too. Repeating it makes a second channel. */
  registerChannel?(endpoint: string, options?: CallOptions): Promise<void>;
  /** How it has another service tell of its changes. Absent: it does not. */
  readonly relay?: StoreRelay;
  /**
   * What a person does so that our credentials are accepted, and have these rights. `setting` is
   * what the configuration calls the store: `stores.nas`. Absent: there are no credentials, and the
   * remedy of the error says all.
   */
  credentialsRemedy?(setting: string, rights: readonly StoreRight[]): string;
  /**
   * What a person does so that our credentials, which are accepted, get these rights. Absent: as
   * above.
   */
  rightsRemedy?(setting: string, rights: readonly StoreRight[]): string;
}

/** The connection of a store to an instance of another service, which tells of its changes. */
export interface StoreRelay {
  /** Id of that instance; `undefined`: it is connected to none. */
  connectedTo(options?: CallOptions): Promise<string | undefined>;
  /** Connects it. Repeating it changes nothing; a store has one such connection at most. */
  connect(instance: string, options?: CallOptions): Promise<void>;
  /** Has it send a test message by that service, to all who are told of it. */
  sendTest(options?: CallOptions): Promise<void>;
}

/** Something that a service says of itself; with a remedy it is a reason to do something. */
export interface StoreRemark {
  readonly message: string;
  readonly remedy?: string;
}

/** What our credentials may be allowed to do in a store. */
export type StoreRight = 'list' | 'read-keys' | 'import' | 'list-channels' | 'register-channel';

/** A right in the terms of its service, and whether our credentials have it. */
export interface RightAsked {
  /** What follows "may", in words: `update secrets of the namespace web`. */
  readonly what: string;
  readonly granted: boolean;
  /** The line that grants it. */
  readonly remedy: string;
  /** Without it the same is done with more requests. Absent: nothing is done without it. */
  readonly isDispensable?: true;
}

export interface NotificationChannel {
  readonly endpoint: string;
  readonly active: boolean;
}

export interface CallOptions {
  /** Ends the call: it then throws or answers as for a service that did not answer. */
  readonly signal?: AbortSignal;
  /**
   * It is one of many that stand in for a listing: like one it leaves half of the requests to
   * others.
   */
  readonly lists?: boolean;
}

export interface FindOptions extends CallOptions {
  /** Called for each copy of which nobody can say whose it is, because its mark cannot be read. */
  readonly unreadable?: (copy: UnreadableElement) => void;
  /** Called for each place with this mark that is occupied and holds no content. */
  readonly vacant?: (element: VacantElement) => void;
}

/**
 * Writes that a service may go on with after it has answered them. An import into a vacant place is
 * an import.
 */
export type LongWrite = 'import' | 'reimport' | 'delete';

/** An operation that somebody asks for. */
export interface OperationAsked {
  readonly kind: LongWrite;
  /** Absent if the answer that had it was lost. */
  readonly handle?: string;
  /** The copy, if its id is known. */
  readonly id?: string;
  /** Absent of what was written without one: then the handle or the id is there. */
  readonly mark?: Mark;
}

/**
 * `unknown`: the service cannot tell. `id` is the copy's. Whether what has ended did what it was to
 * do, a read shows.
 */
export type OperationState =
  | { readonly state: 'running'; readonly handle?: string }
  | { readonly state: 'ended'; readonly id?: string }
  | { readonly state: 'unknown' };

/** What a service can do, and its stated bounds. */
export interface StoreAbilities {
  /**
   * Reading in full gives the private key back: `false` if it gives none, whatever the certificate.
   * See `StoredCertificate.keyWithheld`.
   */
  readonly givesKeys: boolean;
  /**
   * What has expired loses its content there, for good, whoever holds it. Absent: it stays.
   */
  readonly destroysExpired?: true;
  /** Content is replaced under the same id. */
  readonly reimportsInPlace: boolean;
  /** A second import with the same `NewCertificate.token` makes no second certificate. */
  readonly importIsIdempotent: boolean;
  /** Two certificates cannot have the same name. */
  readonly uniqueNames: boolean;
  /**
   * Others refer to certificates here by their id, load balancers for one: a copy must never be
   * replaced by one of another id.
   */
  readonly idsAreReferredTo: boolean;
  /** `findByMark` is there. */
  readonly findsMarks: boolean;
  /** How long an unanswered request may still take effect, in milliseconds. */
  readonly settlesMs: number;
  /** How long a listing may lag behind writes, in milliseconds. */
  readonly listingLagMs: number;
  /** How long a direct read may lag behind writes, in milliseconds. */
  readonly readSettlesMs: number;
  /**
   * Listings and searches do not show that content changed: what they say of revision, serial,
   * dates and domains may be of an earlier version for ever. A direct read of metadata tells.
   * Absent: they show it.
   */
  readonly silentListings?: true;
  /**
   * Writes that go on after they are answered, each with the longest time that it may take until it
   * has taken effect, in milliseconds, whether or not it was answered; absent: every write is done
   * when it is answered.
   */
  readonly longWrites?: Readonly<Partial<Record<LongWrite, number>>>;
  /** Writes of one certificate that the service takes in a minute; absent if it does not say. */
  readonly writesPerCertificatePerMinute?: number;
  /** Requests that the service takes in a second; absent if it does not say. */
  readonly requestsPerSecond?: number;
  /**
   * Rates of writes that are scarce, over all certificates: a few in a minute. Absent: none are.
   */
  readonly rates?: readonly Rate[];
  /**
   * Quotas over so long (a day, a year) that they are counted on the table. Absent: there are none.
   */
  readonly quotas?: readonly Quota[];
}

export type WriteOperation = 'import' | 'reimport' | 'describe' | 'delete';

/** So many of these operations, counted together, in any span of so long (milliseconds). */
export interface Rate {
  readonly operations: readonly WriteOperation[];
  readonly count: number;
  readonly perMs: number;
}

export interface Quota extends Rate {
  /**
   * So many of them are kept for the content of copies that are there and in use; what brings new
   * ones leaves them alone.
   */
  readonly reserve: number;
}

/** What is left of a quota. */
export interface QuotaLeft extends Quota {
  readonly left: number;
  /** When there will be more; absent if all of it is left, or there never will be. */
  readonly moreAt?: number;
}

/** Turns for writes that are scarce: see `Store.slots`. */
export interface WriteSlots {
  /**
   * From when on a write to this certificate, which goes by these names (as an original, as a
   * copy), may be sent: epoch milliseconds, now at the earliest. The turn is kept for it, until it
   * is given back or has not been used for a while.
   */
  take(names: SlotNames): number;
  /**
   * Has the turn that is kept for an original, if there is one, count for writes to this copy too:
   * a look may find others.
   */
  extend(names: SlotNames): void;
  /** Gives back a turn that was not used. */
  giveBack(names: SlotNames): void;
}

export interface SlotNames {
  /** The certificate in the mark: what an import is known by. */
  readonly original: string;
  /** The id of the copy, if there is one: what every other write is known by. */
  readonly copy: string | undefined;
}

/**
 * Four answers to a read, never confused. `absent`: the container (folder, namespace, mount, vault)
 * is proven to be there and whole, and it is not in it. `vacant`: its place is occupied, and holds
 * no content. `unreadable` says why by its code: not reached, limited, or held but not to be read.
 */
export type Reading<T> =
  | { readonly state: 'present'; readonly value: T }
  | { readonly state: 'absent' }
  | ({ readonly state: 'vacant' } & Vacancy)
  /**
   * `name` is there if it is known all the same, as it is where a folder's name is the
   * certificate's.
   */
  | { readonly state: 'unreadable'; readonly error: CodedError; readonly name?: string };

/** What is known of a place that is occupied and holds no content. */
export interface Vacancy {
  /**
   * `deleted`: deleted or scheduled for it, and not gone yet. `half-made`: its creation was begun,
   * and its content has not come. `empty`: its content was taken out.
   */
  readonly why: 'empty' | 'deleted' | 'half-made';
  /** Whose it is, if that can be read. */
  readonly mark?: FoundMark;
  readonly name?: string;
}

/** A place in a listing that is occupied and holds no content. */
export interface VacantElement extends Vacancy {
  readonly id: string;
}

/** What people wrote on a certificate. It travels with it. */
export interface DescriptiveMetadata {
  readonly name: string;
  /** Without our mark. */
  readonly description: string;
  readonly tags: readonly string[];
}

export interface CertificateMetadata extends DescriptiveMetadata {
  readonly id: string;
  /** By its digest where the store has no room for all of it. */
  readonly mark?: FoundMark;
  readonly domains: readonly string[];
  /**
   * The service does not say the domains where it was asked, and nothing has read this revision in
   * full yet: only a look tells. `domains` is empty then.
   */
  readonly domainsUnknown?: true;
  readonly issuer?: string;
  /** Lower-case hex without separators or leading zero bytes, if the service says it. */
  readonly serial?: string;
  /** Epoch milliseconds, if the service says them. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** The service's own word. */
  readonly status?: string;
  /**
   * Who else writes to it, by its name, where that is neither us nor a person: what we wrote would
   * be written over, so it is not adopted.
   */
  readonly keptBy?: string;
  /**
   * Tells versions apart without content (last modified, version id, etag); absent where the
   * service has none.
   */
  readonly revision?: string;
  /** When the service says it changed, epoch milliseconds. */
  readonly lastModified?: number;
}

export interface StoredCertificate {
  readonly metadata: CertificateMetadata;
  readonly content: CertificateContent;
  /**
   * The service has a private key to this one and does not give it back. Absent: the key is in
   * `content`, or there is none. A service that cannot tell says it of what it was given with a
   * key.
   */
  readonly keyWithheld?: true;
}

/**
 * What a full read tells of the private key: three answers, never confused. `none`: it was never
 * there, or it is lost.
 */
export type KeyAnswer = 'given' | 'withheld' | 'none';

export function keyAnswerOf({ content, keyWithheld }: Omit<StoredCertificate, 'metadata'>): KeyAnswer {
  if (content.privateKey !== undefined) return 'given';
  return keyWithheld === true ? 'withheld' : 'none';
}

export interface NewCertificate {
  readonly content: CertificateContent;
  readonly metadata: DescriptiveMetadata;
  readonly mark?: Mark;
  /** Makes the import idempotent where the service can do that. */
  readonly token?: string;
  /** The id of a vacant place with this mark, which is brought back and written over. */
  readonly into?: string;
  /**
   * Readers look for the name: where an id is made of names, it is the name, and neither cut nor
   * changed. Throws `store_conflict` where something else has it, with that id as `certificate`
   * among its fields, and `store_name_unfit` where it cannot be had at all.
   */
  readonly exactName?: boolean;
}

/** What the service says it now holds; `metadata` is absent where its answer says nothing. */
export interface WriteAnswer {
  readonly id: string;
  readonly metadata?: CertificateMetadata;
  /** The service goes on with it, under this handle: nothing of it may show yet. */
  readonly running?: string;
}

/** What the service says of a removal; nothing: it is done. */
export interface RemovalAnswer {
  /** The service goes on with it, under this handle. */
  readonly running?: string;
}

/**
 * Something that is there, looks like a certificate, and cannot be read: it is neither absent nor
 * nothing.
 */
export interface UnreadableElement {
  /** Absent where it can be asked for by none, as a name that is not UTF-8. */
  readonly id?: string;
  /** Where it is, for people: a path, or the id. */
  readonly place: string;
  /** Names the place, what was found there, and by its code what to do. */
  readonly error: CodedError;
  /** What is known of it all the same. */
  readonly name?: string;
  readonly mark?: FoundMark;
  readonly facts?: Pick<CertificateMetadata, 'domains' | 'issuer' | 'serial' | 'notBefore' | 'notAfter'>;
  /** Whether this program made it, so that it is a copy, whatever it is a copy of. */
  readonly ours?: boolean;
}

/** Something that was looked at and is no certificate. */
export interface PassedOver {
  /** The id that it would have as a certificate, and may have had; absent if it could be none. */
  readonly id?: string;
  readonly place: string;
  /** Why, in words that follow its place: `nothing in it looks like a certificate`. */
  readonly reason: string;
}

export interface ListPage {
  readonly certificates: readonly CertificateMetadata[];
  /** Absent: none, or the service has no such thing. */
  readonly unreadable?: readonly UnreadableElement[];
  /** Absent: none, or the service has no such thing, or shows it to direct reads alone. */
  readonly vacant?: readonly VacantElement[];
  /** Absent: none, or the service has no such thing. */
  readonly passedOver?: readonly PassedOver[];
  /** Absent on the last page. */
  readonly cursor?: string;
}
