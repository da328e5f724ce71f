import type { CertificateContent } from '../../certificate/certificate.ts';
import { factsOf } from '../../certificate/facts.ts';
import type { CodedError } from '../../errors.ts';
import type { CertificateMetadata } from '../../store/store.ts';

/** What content alone tells, and no listing of the service. */
export type Facts = Pick<CertificateMetadata, 'domains' | 'issuer' | 'serial' | 'notBefore' | 'notAfter'>;

export interface KnownFacts {
  /**
   * Of this version; an error where it was read and is no certificate. `undefined`: not read yet.
   */
  of(id: string, revision: string | undefined): Facts | CodedError | undefined;
  keep(id: string, revision: string | undefined, facts: Facts | CodedError): void;
  /**
   * Whether the names of its fields say that this version is no certificate; `undefined`: not
   * looked at yet.
   */
  looksOther(id: string, revision: string | undefined): boolean | undefined;
  keepLook(id: string, revision: string | undefined, isOther: boolean): void;
}

/** Certificates of an estate, with some to spare; some hundred bytes each. */
const most = 50_000;

/**
 * What has been read of the versions that are in force, so that a listing can say it without
 * reading any content. Bounded: what was kept first is forgotten first, and read again.
 */
export function knownFacts(): KnownFacts {
  const facts = bounded<Facts | CodedError>();
  const looks = bounded<boolean>();
  return { of: facts.get, keep: facts.set, looksOther: looks.get, keepLook: looks.set };
}

/** What is known of the versions in force, by id. */
function bounded<T>() {
  const known = new Map<string, { readonly revision: string; readonly value: T }>();
  return {
    get(id: string, revision: string | undefined): T | undefined {
      const found = known.get(id);
      return found !== undefined && found.revision === revision ? found.value : undefined;
    },
    set(id: string, revision: string | undefined, value: T): void {
      if (revision === undefined) return;
      known.delete(id);
      known.set(id, { revision, value });
      const [first] = known.size > most ? known.keys() : [];
      if (first !== undefined) known.delete(first);
    },
  };
}

export function factsOfContent(content: CertificateContent): Facts {
  const { domains, issuer, serial, notBefore, notAfter } = factsOf(content);
  return { domains, issuer, serial, notBefore, notAfter };
}
