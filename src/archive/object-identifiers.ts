/**
 * What algorithms in PKCS#12 files of other programs are called (RFC 8018, RFC 7292, RFC 8103, RFC
 * 9579, NIST's and GOST's registries).
 */
const names: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.5.1': 'PBES1 with MD2 and DES',
  '1.2.840.113549.1.5.3': 'PBES1 with MD5 and DES',
  '1.2.840.113549.1.5.6': 'PBES1 with MD5 and RC2',
  '1.2.840.113549.1.5.10': 'PBES1 with SHA-1 and DES',
  '1.2.840.113549.1.5.11': 'PBES1 with SHA-1 and RC2',
  '1.2.840.113549.1.12.1.1': 'RC4 of 128 bits',
  '1.2.840.113549.1.12.1.2': 'RC4 of 40 bits',
  '1.2.840.113549.3.4': 'RC4',
  '1.2.840.113549.3.9': 'RC5',
  '1.3.14.3.2.7': 'DES',
  '1.3.6.1.4.1.11591.4.11': 'scrypt',
  '1.2.840.113549.1.9.16.3.18': 'ChaCha20-Poly1305',
  '2.16.840.1.101.3.4.1.6': 'AES-128 in GCM',
  '2.16.840.1.101.3.4.1.26': 'AES-192 in GCM',
  '2.16.840.1.101.3.4.1.46': 'AES-256 in GCM',
  '1.2.392.200011.61.1.1.1.4': 'Camellia-256',
  '1.2.410.200004.1.4': 'SEED',
  '1.2.156.10197.1.104.2': 'SM4',
  '1.2.156.10197.1.401': 'SM3',
  '1.2.643.2.2.21': 'GOST 28147-89',
  '1.2.643.7.1.1.2.3': 'GOST R 34.11-2012 of 512 bits',
  '1.3.14.3.2.26': 'SHA-1',
  '1.2.840.113549.2.5': 'MD5',
  '1.3.36.3.2.1': 'RIPEMD-160',
  '2.16.840.1.101.3.4.2.8': 'SHA3-256',
  '2.16.840.1.101.3.4.2.10': 'SHA3-512',
};

/**
 * A text in which each object identifier that has a name here stands with it:
 * `scrypt (1.3.6.1.4.1.11591.4.11)`.
 */
export function withNames(text: string): string {
  return text.replace(/\b\d+(?:\.\d+){3,}\b/g, (oid) => (Object.hasOwn(names, oid) ? `${names[oid]} (${oid})` : oid));
}
