import type * as z from 'zod/mini';
import type { Secret, SecretReference } from '../secret.ts';

/**
 * All that is known of one service, as a bundle: its folder beside this file holds the parts. Only the configuration, compose,
 * doctor and the deployment know of it; the rest of the program knows contracts.
 */
export interface Service {
  readonly kind: string;
  /** Loaded with the program: a configuration is parsed at once, and all its mistakes are named together. */
  readonly settings: ServiceSettings;
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

/** A mapping of the file before it was parsed: what stands there may be anything. */
export type Raw = Readonly<Record<string, unknown>>;

/** The settings of a service: its entries, and what follows from them. Imports zod and nothing of what it talks to. */
export interface ServiceSettings {
  /** Of what stands below the name of a store; made by `ofKind`. */
  readonly schema: z.ZodMiniObject;
  /** It lies on this machine: functions do not have it, and to ask it for its identity costs nothing. */
  readonly onThisMachine?: true;
  /**
   * What a store is in itself, so that no other one may be the same; the first is what a link compares. Works on whatever is there,
   * so that all mistakes are named together.
   */
  identities(raw: Raw): readonly Identity[];
  /** Where it lies, as `policy.regions` names regions; `undefined` if the file does not say it. */
  region(raw: Raw): string | undefined;
  /** Mistakes that no schema can see, by the setting that has each. */
  mistakes?(raw: Raw): readonly { readonly setting: string; readonly what: string }[];
  /** The settings as the program takes them. `given` is what `schema` lets pass. */
  toConfig(given: never, context: SettingsContext): StoreConfig;
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
