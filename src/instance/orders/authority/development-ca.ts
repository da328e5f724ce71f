import 'reflect-metadata';

import { createPublicKey, type KeyObject, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import type { CertificatePem } from '../../../certificate/certificate.ts';
import { privateKeyObject } from '../../../private-key-object.ts';
import { Secret } from '../../../secret.ts';
import { type KeyKind, newPrivateKey, newSigner, type Signer } from './development-keys.ts';

const dayMs = 86_400_000;
/**
 * X.520's upper bound of a common name, in characters; a longer first domain stands in the SAN
 * alone.
 */
const commonNameCharacters = 64;

/** How a development CA is made. */
export interface DevelopmentCaOptions {
  /** Its certificates are named `<name> Root` and `<name> Intermediate <n>`. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Intermediates between the root and the leaves. Default 1. */
  readonly intermediates?: number;
  /** Key of the root and of each intermediate. Default `p-256`. */
  readonly keyKind?: KeyKind;
  /**
   * Validity of the root and of each intermediate, epoch milliseconds. Default from a day ago for
   * ten years.
   */
  readonly notBefore?: number;
  readonly notAfter?: number;
}

/** What a leaf shall be. */
export interface LeafRequest {
  /**
   * DNS names, wildcards and IP addresses: the first is the common name too, all stand in the SAN.
   * Taken as they are, unchecked.
   */
  readonly domains: readonly string[];
  /** Default `p-256`. Not looked at if `privateKey` is given. */
  readonly keyKind?: KeyKind;
  /** Use this key (PEM) instead of a new one, as a renewal with the same key does. */
  readonly privateKey?: Secret;
  /** Epoch milliseconds, whole seconds count. Default from an hour ago for 90 days. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Hex. Default 16 random bytes. */
  readonly serial?: string;
  /** Whether the root ends the chain that comes with the leaf. Default no. */
  readonly includeRoot?: boolean;
}

/**
 * A new leaf, its chain from the issuer upwards (absent if there is none), its private key as
 * PKCS#8 PEM.
 */
export interface IssuedCertificate extends CertificatePem {
  readonly privateKey: Secret;
}

/** A certificate authority in memory. */
export interface DevelopmentCa {
  /** The root certificate, PEM. */
  readonly rootPem: string;
  issue(request: LeafRequest): Promise<IssuedCertificate>;
}

interface Authority extends Signer {
  readonly subject: string;
  readonly pem: string;
}

/**
 * A certificate authority for development: demonstrations and tests. Its keys live in this process
 * only and are gone with it; it keeps no register, cannot revoke, and checks nobody's right to a
 * name. Never trust its root outside of a test.
 */
export async function createDevelopmentCa(options: DevelopmentCaOptions): Promise<DevelopmentCa> {
  const { name, now, intermediates = 1, keyKind = 'p-256' } = options;
  const notBefore = options.notBefore ?? now() - dayMs;
  const validity = { notBefore, notAfter: options.notAfter ?? notBefore + 3653 * dayMs };

  const root = await newAuthority({ subject: `${name} Root`, keyKind, validity, pathLength: intermediates });
  const chain: Authority[] = [];
  for (let index = 1; index <= intermediates; index += 1) {
    const subject = `${name} Intermediate ${index}`;
    const issuer = chain[0] ?? root;
    chain.unshift(await newAuthority({ subject, keyKind, validity, pathLength: intermediates - index, issuer }));
  }

  return {
    rootPem: root.pem,
    async issue(request) {
      const privateKey = request.privateKey
        ? privateKeyObject(request.privateKey.reveal())
        : await newPrivateKey(request.keyKind ?? 'p-256');
      const certificate = await newLeaf(request, createPublicKey(privateKey), chain[0] ?? root, now());
      const above = request.includeRoot ? [...chain, root] : chain;
      return {
        certificate,
        ...(above.length > 0 ? { intermediate: above.map(({ pem }) => pem).join('') } : {}),
        privateKey: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' })),
      };
    },
  };
}

async function newAuthority(options: {
  readonly subject: string;
  readonly keyKind: KeyKind;
  readonly validity: { readonly notBefore: number; readonly notAfter: number };
  readonly pathLength: number;
  readonly issuer?: Authority;
}): Promise<Authority> {
  const { subject, validity, pathLength } = options;
  const signer = await newSigner(options.keyKind);
  const pem = await sign({
    subject,
    publicKey: signer.publicKey,
    issuer: options.issuer ?? { ...signer, subject },
    ...validity,
    serial: randomBytes(16).toString('hex'),
    extensions: [
      new x509.BasicConstraintsExtension(true, pathLength, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { ...signer, subject, pem };
}

function newLeaf(request: LeafRequest, publicKey: KeyObject, issuer: Authority, nowMs: number): Promise<string> {
  const notBefore = request.notBefore ?? nowMs - dayMs / 24;
  const [first = ''] = request.domains;
  const names = request.domains.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }));
  return sign({
    subject: first.length <= commonNameCharacters ? first : '',
    publicKey,
    issuer,
    notBefore,
    notAfter: request.notAfter ?? notBefore + 90 * dayMs,
    serial: request.serial ?? randomBytes(16).toString('hex'),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
}

async function sign(certificate: {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: Pick<Authority, 'subject' | 'publicKey' | 'signingKey' | 'algorithm'>;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serial: string;
  readonly extensions: readonly x509.Extension[];
}): Promise<string> {
  const { subject, issuer } = certificate;
  const publicKey = toPublicKey(certificate.publicKey);
  const made = await x509.X509CertificateGenerator.create(
    {
      subject: toName(subject),
      issuer: toName(issuer.subject),
      serialNumber: certificate.serial,
      notBefore: new Date(certificate.notBefore),
      notAfter: new Date(certificate.notAfter),
      publicKey,
      signingKey: issuer.signingKey,
      signingAlgorithm: issuer.algorithm,
      extensions: [
        ...certificate.extensions,
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        await x509.AuthorityKeyIdentifierExtension.create(toPublicKey(issuer.publicKey), false, webcrypto),
      ],
    },
    webcrypto,
  );
  return `${made.toString('pem')}\n`;
}

const toPublicKey = (key: KeyObject) => new x509.PublicKey(key.export({ type: 'spki', format: 'der' }));

const toName = (commonName: string) => new x509.Name(commonName === '' ? [] : [{ CN: [{ utf8String: commonName }] }]);
