import type { Vacancy } from '../../store/store.ts';
import type { Entries } from './custom-metadata.ts';
import type { VaultCall } from './failure.ts';
import type { SecretData } from './layouts.ts';

/**
 * A version of the key/value engine, asked for one secret. Paths are below the mount, not encoded;
 * a folder ends with a slash, and the whole of the mount is the empty one.
 */
export interface KeyValue {
  /** What stands at a path, without its content. */
  look(path: string, asked: Asked): Promise<Place>;
  /** The same with its content. */
  read(path: string, asked: Asked): Promise<PlaceRead>;
  /**
   * Names in a folder after this one, folders with a slash at their ends; with what stands there
   * where the engine says it along. `goesOn`: there are more.
   */
  list(folder: string, after: string | undefined, asked: Asked): Promise<Names>;
  /** Names of the fields of a secret; `undefined` where that cannot be asked. */
  fieldNames(path: string, asked: Asked): Promise<readonly string[] | undefined>;
  /** Makes a secret. Throws `store_conflict` where there is one meanwhile. */
  create(path: string, data: SecretData, entries: Entries, before: Place, asked: Asked): Promise<Version>;
  /**
   * Replaces the content of what `before` says of it. Throws `store_unavailable` where that is not
   * so any more.
   */
  write(path: string, data: SecretData, before: Live, asked: Asked): Promise<Version>;
  /** Replaces our entries. */
  describe(path: string, entries: Entries, before: Live, asked: Asked): Promise<void>;
  /** Removes all of it. Removing what is not there succeeds. */
  remove(path: string, asked: Asked): Promise<void>;
}

/** What is asked for, for errors; and how the caller ends it. */
export interface Asked {
  readonly call: Pick<VaultCall, 'operation' | 'certificate'>;
  readonly signal?: AbortSignal | undefined;
}

export interface Version {
  /** Tells it from every other one of this secret; absent where the engine does not say it. */
  readonly revision?: string;
  /** Epoch milliseconds. */
  readonly changedAt?: number;
}

/** A secret that can be read. */
export interface Live extends Version {
  readonly state: 'live';
  /** 0 in version 1 of the engine, which has none. */
  readonly number: number;
  readonly entries: Entries;
  /** Of the metadata, where the server has one. */
  readonly metadataVersion?: number;
}

export type Place =
  | Live
  | {
      readonly state: 'vacant';
      readonly why: Vacancy['why'];
      readonly number: number;
      readonly entries: Entries;
      readonly metadataVersion?: number;
    }
  | { readonly state: 'absent' };

export type PlaceRead = (Live & { readonly data: SecretData }) | Exclude<Place, Live>;

export interface Names {
  readonly names: readonly string[];
  readonly places: ReadonlyMap<string, Place>;
  readonly goesOn: boolean;
}

/** A path as it stands in a URL: a slash in it makes a folder. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

/** Byte order, in which both products list. */
export function inByteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
