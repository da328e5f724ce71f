import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { derTag } from '../certificate/der.ts';
import { factsOf } from '../certificate/facts.ts';
import { domainsOf } from '../certificate/names.ts';
import { alternativeNamesOf, structureOf } from '../certificate/structure.ts';

/** Octets of a host name, and of each of its labels (RFC 1035 section 2.3.4). */
const nameOctets = 253;
const label = /^[a-z0-9_-]{1,63}$/i;

/** What a client could ask a server for that shows a certificate. */
export interface ClientNames {
  /** Host names and addresses, each once: `drill` stands for the star of a wildcard. */
  readonly names: readonly string[];
  /**
   * How many alternative names the certificate has, of whatever kind; the common name counts only
   * where this is 0.
   */
  readonly alternativeNames: number;
}

/**
 * The names that clients compare with a certificate (RFC 6125 section 6.4, RFC 9525): of its
 * alternative names the host names and the addresses, and its common name only where it has no
 * alternative names at all. What stands there and no client could ask for is left out: static text,
 * mail addresses, an address as a host name, a star where it stands for nothing. Throws
 * `certificate_malformed`.
 */
export function clientNamesOf(certificate: X509Certificate): ClientNames {
  const alternativeNames = alternativeNamesOf(structureOf(certificate));
  const { commonName = '' } = factsOf(certificate);
  const said =
    alternativeNames.length === 0
      ? [hostFor(commonName)]
      : alternativeNames.map((name) => {
          const [text = ''] = domainsOf([name]);
          return name.tag === derTag.primitive(7) ? text : hostFor(text);
        });
  return { names: [...new Set(said)].filter((name) => name !== ''), alternativeNames: alternativeNames.length };
}

/**
 * A host that the name is for, in lower case; empty where there is none. A star stands for the
 * whole first label, and two more must follow: clients take `*.test` for no name.
 */
function hostFor(name: string): string {
  const host = name.toLowerCase().replace(/^\*(?=\.[^.]+\.)/, 'drill');
  const isHost = host.length <= nameOctets && isIP(host) === 0 && host.split('.').every((part) => label.test(part));
  return isHost ? host : '';
}
