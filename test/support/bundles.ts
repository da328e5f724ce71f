import 'reflect-metadata';

import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { Secret } from '../../src/secret.ts';
import { validTo } from './certificates.ts';

/** A name and a key that sign: several certificates may vouch for the same one. */
export interface Signer {
  readonly subject: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface CertificateOptions {
  /** Whose certificate it is. */
  readonly of: Signer;
  /** Who signs it; absent: itself. */
  readonly by?: Signer;
  /**
   * What its basic constraints say; absent: that it is an authority; `none`: it has none, nor a key
   * usage.
   */
  readonly authority?: boolean | 'none';
  /**
   * The one thing that its key may do. Default: sign certificates if it is an authority, else sign
   * anything else.
   */
  readonly keyUsage?: 'keyCertSign' | 'cRLSign';
  /** Epoch milliseconds. Default: all of this century. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Alternative names; absent: the extension too. */
  readonly names?: readonly { readonly type: x509.GeneralNameType; readonly value: string }[] | undefined;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };

/**
 * `subject` is one RFC 4514 line, such as `CN=Root`, or a name that says how its strings are
 * encoded.
 */
export async function newSigner(subject: string): Promise<Signer> {
  return { subject, keys: await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) };
}

/** The certificate, PEM. */
export async function certify(options: CertificateOptions): Promise<string> {
  const { of, by = of, authority = true, notBefore = Date.UTC(2000, 0, 1), notAfter = validTo, names } = options;
  const usage = options.keyUsage ?? (authority === true ? 'keyCertSign' : 'digitalSignature');
  const made = await x509.X509CertificateGenerator.create(
    {
      subject: of.subject,
      issuer: by.subject,
      serialNumber: `01${randomBytes(8).toString('hex')}`,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKey: of.keys.publicKey,
      signingKey: by.keys.privateKey,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        ...(authority === 'none'
          ? []
          : [
              new x509.BasicConstraintsExtension(authority, undefined, true),
              new x509.KeyUsagesExtension(x509.KeyUsageFlags[usage], true),
            ]),
        ...(names === undefined ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
      ],
    },
    webcrypto,
  );
  return `${made.toString('pem')}\n`;
}

/** A leaf for `shop.example.test` and its key. */
export async function certifyLeaf(
  by: Signer | undefined,
  options: Partial<CertificateOptions> = {},
): Promise<{ readonly certificate: string; readonly privateKey: Secret }> {
  const of = options.of ?? (await newSigner('CN=shop.example.test'));
  const names = [{ type: 'dns' as const, value: 'shop.example.test' }];
  const certificate = await certify({ authority: false, names, ...options, of, ...(by && { by }) });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', of.keys.privateKey)).toString('base64');
  return { certificate, privateKey: new Secret(`-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`) };
}

/** The bundle of a leaf and these certificates, in this order. */
export const bundle = (leaf: CertificatePem, ...others: readonly string[]): CertificatePem => ({
  ...leaf,
  intermediate: others.join(''),
});
