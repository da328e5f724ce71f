import {
  createDevelopmentCa,
  type DevelopmentCa,
  type DevelopmentCaOptions,
  type IssuedCertificate,
  type LeafRequest,
} from '../../src/instance/orders/authority/development-ca.ts';
import type { KeyKind } from '../../src/instance/orders/authority/development-keys.ts';
import type { Secret } from '../../src/secret.ts';

/**
 * Dates that fit every clock a test may use: real ones, and virtual ones that begin in this
 * century.
 */
export const validFrom = Date.UTC(2000, 0, 1);
export const validTo = Date.UTC(2099, 0, 1);

const authorities = new Map<string, Promise<DevelopmentCa>>();

/**
 * The test CA with so many intermediates (default 1), made once per process. `name` gives another
 * one.
 */
export function testCa(options: Partial<DevelopmentCaOptions> = {}): Promise<DevelopmentCa> {
  const all = {
    name: 'Test',
    intermediates: 1,
    notBefore: validFrom,
    notAfter: validTo,
    now: () => validFrom,
    ...options,
  };
  const key = JSON.stringify(all);
  const made = authorities.get(key) ?? createDevelopmentCa(all);
  authorities.set(key, made);
  return made;
}

/**
 * What a test wants of a certificate. Domains default to `shop.example.test`, the key to P-256,
 * validity to this whole century.
 */
export interface TestCertificateOptions extends Partial<LeafRequest> {
  /** Length of the chain, without the root. Default 1. */
  readonly intermediates?: number;
}

/**
 * A new certificate that is good in every respect. Each call makes another key and serial unless
 * told.
 */
export async function testCertificate(options: TestCertificateOptions = {}): Promise<IssuedCertificate> {
  const { intermediates = 1, ...request } = options;
  const ca = await testCa({ intermediates });
  return ca.issue({ domains: ['shop.example.test'], notBefore: validFrom, notAfter: validTo, ...request });
}

/** A certificate that comes with the private key of another one (of the same kind). */
export async function mismatchedKey(options: TestCertificateOptions = {}): Promise<IssuedCertificate> {
  const [certificate, other] = await Promise.all([testCertificate(options), testCertificate(options)]);
  return { ...certificate, privateKey: other.privateKey };
}

/** A certificate that expired on 1 February 2000. */
export function expired(options: TestCertificateOptions = {}): Promise<IssuedCertificate> {
  return testCertificate({ notAfter: Date.UTC(2000, 1, 1), ...options });
}

/** A certificate whose chain is that of another authority. */
export async function brokenChain(options: TestCertificateOptions = {}): Promise<IssuedCertificate> {
  const other = await testCa({ name: 'Other', intermediates: options.intermediates ?? 1 });
  const [certificate, { intermediate }] = await Promise.all([
    testCertificate(options),
    other.issue({ domains: ['other.example.test'] }),
  ]);
  return { ...certificate, ...(intermediate === undefined ? {} : { intermediate }) };
}

const keys = new Map<KeyKind, Promise<Secret>>();

/** A private key of this kind, made once per process: some kinds take longer than a whole test. */
export function testKey(keyKind: KeyKind): Promise<Secret> {
  const made = keys.get(keyKind) ?? testCertificate({ keyKind }).then(({ privateKey }) => privateKey);
  keys.set(keyKind, made);
  return made;
}
