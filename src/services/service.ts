import type * as z from 'zod/mini';
import type { ErrorCode } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret, SecretReference } from '../secret.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import type { Sender } from '../sender/sender.ts';
import type { SettingMistake } from '../settings.ts';
import type { FactsBook } from '../store/content-facts.ts';
import type { Store, StoreDiagnosis, StoreRelay } from '../store/store.ts';

/**
 * All that is known of one service, as a bundle: its folder beside this file holds the parts. Only
 * the configuration, compose, doctor and the deployment know of it; the rest of the program knows
 * contracts.
 */
export interface Service extends ServiceParts {
  /**
   * Of its stores. Loaded with the program: a configuration is parsed at once, and all its mistakes
   * are named together. Absent: it keeps no certificates.
   */
  readonly settings?: ServiceSettings;
  /**
   * Of its senders, which stand under `senders`. Absent: it has none, beside the one that a store
   * of it may be itself.
   */
  readonly senderSettings?: SenderSettings;
}

/**
 * The parts of a service that run, each loaded only when it is wanted. A part lies in the file of
 * its name in the folder of the service: `infra/build-functions.mjs` gives each deployed function
 * the parts that it runs, of the services of its configuration.
 */
export interface ServiceParts {
  /** Names the service in configurations, and its folder. */
  readonly kind: string;
  /** Absent: it keeps no certificates, and does nothing but tell of changes. */
  readonly store?: () => Promise<StorePart>;
  /** Absent: it sends nothing that could be proven genuine. */
  readonly sender?: () => Promise<SenderPart>;
  /** Absent: nothing of it is brought by a platform that proves who sends. */
  readonly delivery?: () => Promise<DeliveryPart>;
  /**
   * What `doctor` asks, and the words about rights. Absent: the store brings what it can say with
   * it, if anything.
   */
  readonly diagnosis?: () => Promise<DiagnosisPart>;
  /** Absent: the keys of its senders are in the configuration, or its stores serve them. */
  readonly keys?: () => Promise<KeysPart>;
  /** Which rights its stores take, written down as policies. Absent: in words alone. */
  readonly rights?: () => Promise<RightsPart>;
  /** What `doctor` says and tries of its senders; no function runs it. Absent: nothing. */
  readonly senderDiagnosis?: () => Promise<SenderDiagnosisPart>;
}

export interface StorePart {
  /**
   * Nothing is asked of the store yet, nor of where its secrets are. `config` is what the settings
   * of the service made.
   */
  openStore(config: never, context: StoreContext): Store;
}

export interface StoreContext {
  readonly runtime: Runtime;
  /**
   * A secret, or the way to read it when it is wanted: one that cannot be read is a failure of this
   * store, and of no other.
   */
  secret(given: Secret | SecretReference): Secret | (() => Promise<Secret>);
  /** Where it is kept what only content tells, if listings do not. Absent: nowhere. */
  readonly facts?: FactsBook;
}

export interface DiagnosisPart {
  /** Nothing is asked yet. As `openStore`: throws what that throws. */
  diagnosisOf(config: never, context: StoreContext): StoreDiagnosis;
}

/** `list`: it is only listed, as by a reconcile. */
export type StoreUse = 'list' | 'primary' | 'backup';

export interface RightsPart {
  /** Statements of a policy, the least that this use takes. Nothing is asked. */
  rightsOf(config: never, use: StoreUse): readonly object[];
}

export interface SenderPart {
  /**
   * `config` is what the settings made: of a store that tells of itself, or of a sender of its own.
   * `undefined`: nothing of it comes to a callback URL.
   */
  senderOf(config: never): Sender | undefined | Promise<Sender | undefined>;
}

export interface DeliveryPart {
  /**
   * What the platform brings of a sender, and proves itself: how events are read from one message,
   * which throws as `Sender.receive` does. `undefined`: nothing of this one comes so.
   */
  deliveredOf(config: never): ((body: Uint8Array) => readonly LifecycleEvent[]) | undefined;
}

/**
 * Where the keys of a sender are that somebody else serves. Only the sweep runs this, by the clock,
 * whatever arrives.
 */
export interface KeysPart {
  /** At least one, or it throws. `config` is what the settings of the sender made. */
  fetchKeys(config: never, context: KeysContext): Promise<readonly FetchedKey[]>;
}

export interface SenderDiagnosisPart {
  /** `undefined`: there is nothing to say or to try. */
  senderDiagnosisOf(config: never, context: SenderDiagnosisContext): SenderDiagnosis | undefined;
}

export interface SenderDiagnosisContext extends KeysContext {
  /** Where the functions are deployed, as far as the table of the configuration says it. */
  readonly deployment?: { readonly region: string; readonly stage?: string };
}

export interface SenderDiagnosis {
  /**
   * How its messages come, in words after "tells of the store". Absent: to its callback URL.
   */
  readonly comes?: string;
  /**
   * What a person types where the sender is, to send a test message to its callback URL. Absent:
   * nothing of it comes there.
   */
  trial?(to: string): string;
  /**
   * Sends a test message to its callback URL, proven as the sender proves its own. Throws what
   * `notify` throws. Absent: what proves it is not here.
   */
  sendTest?(to: string, options: { readonly signal: AbortSignal }): Promise<void>;
  /**
   * What has to stand at the service for its messages to arrive, one step after the other; what
   * follows from a missing one is not looked at. Where the callback URL is known, what is missing
   * is made as far as the service lets us, and a test is sent: each step looks first, so that all
   * may be repeated. Throws coded errors. Absent: nothing of it can be asked for from here.
   */
  setUp?(options: SetUpOptions): AsyncIterable<SetUpStep>;
}

export interface SetUpOptions {
  /** The callback URL. Absent: nobody said where the receiver is, and nothing is made. */
  readonly to?: string;
  /** The path that every such URL ends with. */
  readonly path: string;
  /** Of the store that it tells of. Absent: it cannot be asked. */
  readonly relay?: StoreRelay;
  /** For one question each. */
  readonly signal: () => AbortSignal;
}

/** What a step found or did. */
export interface SetUpStep {
  readonly message: string;
  /** What a person does about it. Absent: all is well. */
  readonly remedy?: string;
  /** Messages do not arrive as long as this is so. */
  readonly code?: ErrorCode;
}

export interface KeysContext {
  readonly runtime: Runtime;
}

/** A public key in PEM, and what its issuer calls it. */
export interface FetchedKey {
  readonly id: string;
  readonly pem: string;
  /** As `keysFrom` of its sender says. */
  readonly from: string;
}

/** What a store of the configuration is for everybody; its service knows what else it has. */
export interface StoreConfig {
  readonly name: string;
  readonly kind: string;
  readonly region: string;
  /** Absent: what the service is known to allow. */
  readonly writesPerCertificatePerMinute?: number | 'unlimited';
  readonly requestsPerSecond?: number;
}

/** A sender of the configuration, as everybody knows it. */
export interface SenderConfig {
  readonly name: string;
  readonly kind: string;
  /** Name of the store whose certificates it tells of. */
  readonly store: string;
}

/** A mapping of the file before it was parsed: what stands there may be anything. */
export type Raw = Readonly<Record<string, unknown>>;

/**
 * The settings of a service: its entries, and what follows from them. Imports zod and nothing of
 * what it talks to.
 */
export interface ServiceSettings {
  /** Of what stands below the name of a store; made by `ofKind`. */
  readonly schema: z.ZodMiniObject;
  /**
   * It lies on this machine: functions do not have it, and to ask it for its identity costs
   * nothing.
   */
  readonly onThisMachine?: true;
  /** Functions do not have it: it needs more of its machine than they are given. */
  readonly notInFunctions?: true;
  /**
   * What a store is in itself, so that no other one may be the same; the first is what a link
   * compares. Works on whatever is there, so that all mistakes are named together.
   */
  identities(raw: Raw): readonly Identity[];
  /**
   * The folder on this machine that it is, as the file says it: no other store may be the same one,
   * or lie in it. Absent: it is none.
   */
  folder?(raw: Raw): string | undefined;
  /**
   * The path of what it is in its service, where another store may be a part of it: no other store
   * may be the same, or lie in it. Absent: it has none.
   */
  tree?(raw: Raw): string | undefined;
  /** Where it lies, as `policy.regions` names regions; `undefined` if the file does not say it. */
  region(raw: Raw): string | undefined;
  /** Mistakes that no schema can see, by the setting that has each. */
  mistakes?(raw: Raw): readonly SettingMistake[];
  /** The settings as the program takes them. `given` is what `schema` lets pass. */
  toConfig(given: never, context: SettingsContext): StoreConfig;
}

/**
 * The settings of what sends and keeps nothing: its entries, `store` among them, and what follows
 * from them.
 */
export interface SenderSettings {
  /** Of what stands below the name of a sender; made by `ofKind`. */
  readonly schema: z.ZodMiniObject;
  /**
   * Mistakes that no schema can see, by the setting that has each. `store` is what the file says of
   * the store that it tells of.
   */
  mistakes?(raw: Raw, store?: Raw): readonly SettingMistake[];
  /**
   * Settings that hold what proves it, or where that is: no other sender of this kind may have the
   * same, for each would take what is meant for the other. Absent: none.
   */
  readonly keySettings?: readonly string[];
  /**
   * What is wrong with a secret that could be read, after "must"; nothing of the secret is in it.
   * `undefined`: nothing is.
   */
  secretMistake?(text: string): string | undefined;
  /** The settings as the program takes them. `given` is what `schema` lets pass. */
  toConfig(given: never, context: SettingsContext): SenderConfig;
}

export interface Identity {
  /** `undefined` where what makes it up is missing. */
  readonly is: string | undefined;
  /** In words, of a second store that is the same: `is the same instance`. */
  readonly same: string;
}

/** What a service is told beside its settings. */
export interface SettingsContext {
  readonly name: string;
  /** A path of the file, from the root. */
  path(given: string): string;
  /** The secret of a setting; a reference where it is read only when it is wanted. */
  secret(setting: string): Secret | SecretReference;
}
