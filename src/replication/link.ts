import { CodedError } from '../errors.ts';
import type { BrakeKind } from '../records/brake-records.ts';
import type { CertificateMetadata, Store } from '../store/store.ts';

/**
 * Which certificates of the primary a link copies. Patterns: `*` stands for any run of characters,
 * case does not matter. Empty lists allow all.
 */
export interface Filter {
  readonly names: readonly string[];
  readonly domains: readonly string[];
}

/** What a link allows. */
export interface Policy {
  /** Regions in which a copy may lie; absent: any. */
  readonly regions?: readonly string[];
  /** A leaf without its chain is refused. */
  readonly requireChain: boolean;
  /** Certificates that are copies themselves (they carry a mark) are copied onward. */
  readonly onward: boolean;
  /**
   * A copy that cannot be written because of the content is never replaced by a new one, wherever
   * that would be possible.
   */
  readonly neverReplace?: boolean;
  /**
   * `false`: it is meant that no backup gives private keys back, so that nothing can be restored
   * from any.
   */
  readonly restorable?: boolean;
  /** When copies of certificates that are gone from the primary are removed; absent: never. */
  readonly removal?: Removal;
  /**
   * The share of the copies that may change so that a person should have a look first, 0 to 1;
   * absent: `limits.brakeShare`.
   */
  readonly brakeShare?: number;
  /** So many may always, for each thing that is counted; absent: `limits.brakeLeast`. */
  readonly brakeLeast?: Readonly<Partial<Record<BrakeKind | 'listed', number>>>;
  /**
   * Self-signed and temporary certificates are copied like any other, and may replace what an
   * authority has issued.
   */
  readonly standIns?: boolean;
}

export interface Removal {
  /** How long a certificate must have been gone, in milliseconds. */
  readonly afterMs: number;
  /** The share of the copies that one reconcile may remove, 0 to 1. One at least. */
  readonly maxShare: number;
}

/**
 * What copies are called where a name or an id is ours to choose: `derived` from their mark, so
 * that no two copies meet, or `exact`, as the original is called, where readers look for the name.
 * A name that something else has is then left to it, and told.
 */
export type Naming = 'derived' | 'exact';

/** One primary and its backups. */
export interface Link {
  readonly name: string;
  readonly primary: Store;
  readonly backups: readonly Store[];
  readonly filter: Filter;
  readonly policy: Policy;
  /** Absent: `derived`. */
  readonly naming?: Naming;
  /** Who tells of changes in the primary, by their names. Absent: nobody does. */
  readonly toldBy?: readonly string[];
}

/**
 * Why a link cannot be what its policy says, by what its stores are able to do; `undefined` if it
 * can: a link whose backups all keep private keys to themselves is not one to restore from.
 */
export function linkMistake({
  name,
  backups,
  policy,
}: Pick<Link, 'name' | 'backups' | 'policy'>): CodedError | undefined {
  if (policy.restorable === false || backups.some(({ abilities }) => abilities.givesKeys)) return undefined;
  return new CodedError(
    'configuration_invalid',
    `links.${name}: no backup gives private keys back, so nothing could be restored from them; if that is meant, say so by ` +
      'policy.restorable: false',
    { fields: { link: name } },
  );
}

/**
 * Whether the filter includes a certificate: a name pattern fits its name, and a domain pattern
 * fits one of its domains. One whose domains are not known yet may be meant by any of them.
 */
export function includes(
  filter: Filter,
  metadata: Pick<CertificateMetadata, 'name' | 'domains' | 'domainsUnknown'>,
): boolean {
  const fits = (patterns: readonly string[], texts: readonly string[]) =>
    patterns.length === 0 || patterns.some((pattern) => texts.some((text) => matches(pattern, text)));
  const mayFit = metadata.domainsUnknown === true || fits(filter.domains, metadata.domains);
  return fits(filter.names, [metadata.name]) && mayFit;
}

/** Whether the filter may include a certificate of this name, whatever its domains are. */
export function includesName({ names }: Filter, name: string): boolean {
  return names.length === 0 || names.some((pattern) => matches(pattern, name));
}

/**
 * Whether the filter names a certificate to the letter: by a pattern without `*`. Case does not
 * matter.
 */
export function namesExactly({ names }: Filter, name: string): boolean {
  return names.some((pattern) => !pattern.includes('*') && matches(pattern, name));
}

function matches(pattern: string, text: string): boolean {
  const parts = pattern.toLowerCase().split('*');
  const lower = text.toLowerCase();
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (parts.length === 1) return lower === first;
  if (lower.length < first.length + last.length || !lower.startsWith(first) || !lower.endsWith(last)) return false;
  // Greedy from the left, within what the last part leaves: linear, unlike a pattern turned into a
  // regular expression.
  let position = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = lower.indexOf(part, position);
    if (found < 0 || found + part.length > lower.length - last.length) return false;
    position = found + part.length;
  }
  return true;
}

/**
 * Serial and dates as a listing tells them: what stands in for a revision where the service has
 * none.
 */
export function listedFacts({ serial, notBefore, notAfter }: CertificateMetadata): string {
  return `${serial ?? ''}|${notBefore ?? ''}|${notAfter ?? ''}`;
}
