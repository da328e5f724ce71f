import type { X509Certificate } from 'node:crypto';
import type { Secret } from '../secret.ts';

/** A certificate as it serves: the leaf, its chain, its private key. */
export interface CertificateContent {
  readonly leaf: X509Certificate;
  /**
   * A path in issuing order from the leaf upwards, then what is not on it, in the order given. A
   * root is kept if it was given.
   */
  readonly chain: readonly X509Certificate[];
  /** Absent if the certificate came without one. */
  readonly privateKey?: PrivateKey;
}

/** A private key in the encoding in which it came, with its public half. */
export interface PrivateKey {
  /** One PEM block (PKCS#8, PKCS#1 or SEC1), `\n` line ends. */
  readonly pem: Secret;
  /** DER of the SubjectPublicKeyInfo of its public key. */
  readonly publicKeyDer: Uint8Array;
}

/** The same in PEM, as services take it and give it. */
export interface CertificatePem {
  readonly certificate: string;
  readonly intermediate?: string;
  readonly privateKey?: Secret;
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  /** Distinguished name, one RFC 4514 line. */
  readonly subject: string;
  readonly commonName?: string;
  /** Common name first, then DNS names and IP addresses of the SAN, each once. */
  readonly domains: readonly string[];
  /** Common name of the issuer, else its distinguished name. */
  readonly issuer: string;
  /** Lower-case hex without separators or leading zero bytes. */
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** OpenSSL's name, as Certificate Manager uses it: `sha256WithRSAEncryption`. */
  readonly signatureAlgorithm: string;
  /** As Certificate Manager writes it: `rsaEncryption 2048 bit`. */
  readonly keyAlgorithm: string;
}
