import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import type { CertificateMetadata } from './store.ts';

/** What only content tells of a certificate, where a service says nothing of it. */
export type ContentFacts = Pick<CertificateMetadata, 'domains' | 'issuer' | 'serial' | 'notBefore' | 'notAfter'>;

/** What one version of an element was found to be when it was read. */
export type KnownContent =
  | { readonly is: 'certificate'; readonly facts: ContentFacts }
  /** `reason` follows its place: `holds no certificate`. */
  | { readonly is: 'something-else'; readonly reason: string };

export interface KnownVersion {
  readonly version: string;
  readonly content: KnownContent;
}

/**
 * Where it is kept what content alone tells of the elements of a store, by their versions: a
 * listing never reads content. Only what was parsed is written there, and of each element what was
 * parsed last.
 */
export interface FactsBook {
  /** What is known of these elements, whatever their version. */
  known(store: string, ids: readonly string[]): Promise<ReadonlyMap<string, KnownVersion>>;
  keep(store: string, id: string, known: KnownVersion): Promise<void>;
}

/** So many elements of a process are remembered: the one that was kept longest ago goes first. */
const mostRemembered = 20_000;

/**
 * What this process remembers, in front of what a table knows, if there is one: versions do not
 * change.
 */
export function rememberedFacts(book?: FactsBook): FactsBook {
  const remembered = new Map<string, KnownVersion>();
  const remember = (key: string, known: KnownVersion) => {
    remembered.delete(key);
    remembered.set(key, known);
    const [oldest] = remembered.keys();
    if (remembered.size > mostRemembered && oldest !== undefined) remembered.delete(oldest);
  };
  const keyOf = (store: string, id: string) => `${store} ${id}`;
  return {
    async known(store, ids) {
      const found = new Map<string, KnownVersion>();
      const others: string[] = [];
      for (const id of ids) {
        const known = remembered.get(keyOf(store, id));
        if (known === undefined) others.push(id);
        else found.set(id, known);
      }
      if (book === undefined || others.length === 0) return found;
      for (const [id, known] of await book.known(store, others)) {
        remember(keyOf(store, id), known);
        found.set(id, known);
      }
      return found;
    },
    async keep(store, id, known) {
      const before = remembered.get(keyOf(store, id));
      remember(keyOf(store, id), known);
      if (before?.version !== known.version) await book?.keep(store, id, known);
    },
  };
}

/** What this content tells. */
export function contentFacts(content: CertificateContent): ContentFacts {
  const { domains, issuer, serial, notBefore, notAfter } = factsOf(content);
  return { domains, issuer, serial, notBefore, notAfter };
}
