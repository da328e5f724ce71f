import type { X509Certificate } from 'node:crypto';
import { saysItSignsCertificates, structureOf } from './structure.ts';

/**
 * Whether a certificate is that of an authority, so that the holder of its key can issue others in
 * its name: its basic constraints say that it is one, and its key usage says that the key signs
 * certificates. Both must be said (RFC 5280 section 4.2.1.3 wants that of every authority): a
 * server's own certificate that `openssl req -x509` made says the first alone, and is none. Throws
 * `certificate_malformed`.
 */
export const isAuthority = (certificate: X509Certificate): boolean =>
  certificate.ca && saysItSignsCertificates(structureOf(certificate));
