// Before anything asks a certificate for its legacy form: on Node 24.21 that question, asked first,
// leaves `node:tls` without `createSecureContext` in the whole process, which test files share.
import 'node:tls';
import type { X509Certificate } from 'node:crypto';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { certifyLeaf, newSigner, type Signer } from '../support/bundles.ts';
import { mismatchedKey, testCertificate } from '../support/certificates.ts';

/**
 * Certificates that every seed uses: making them is slow, and what they say does not matter to the
 * protocol.
 */
export interface Pool {
  /** Good ones: by certificate, then by version. The last version of each has other domains. */
  readonly good: readonly (readonly CertificateContent[])[];
  /**
   * The chains of the good ones up to the root, by leaf: what a service makes of them that
   * completes chains.
   */
  readonly whole: ReadonlyMap<X509Certificate, readonly X509Certificate[]>;
  /**
   * Good ones that are each valid from a month later than the one before: by certificate, then by
   * version.
   */
  readonly dated: readonly (readonly CertificateContent[])[];
  /** Signed by themselves: by certificate, then by version. */
  readonly selfSigned: readonly (readonly CertificateContent[])[];
  /** As cert-manager makes them until the real one is issued. */
  readonly temporary: CertificateContent;
  /** With a key that does not belong to it. */
  readonly wrongKey: CertificateContent;
  readonly keyless: CertificateContent;
  /** A leaf without its chain, of the issuer of the good ones. */
  readonly chainless: CertificateContent;
  /** What a stranger keeps in a backup. */
  readonly foreign: CertificateContent;
}

let pool: Promise<Pool> | undefined;

/** The pool, made once per process. */
export function certificatePool(): Promise<Pool> {
  pool ??= makePool();
  return pool;
}

async function makePool(): Promise<Pool> {
  const whole = new Map<X509Certificate, readonly X509Certificate[]>();
  const one = async (domains: readonly string[], validity: { readonly notBefore?: number } = {}) => {
    const made = remembering(parseContent(await testCertificate({ domains, includeRoot: true, ...validity })));
    whole.set(made.leaf, made.chain);
    return { ...made, chain: made.chain.slice(0, -1) };
  };
  const good = await Promise.all(
    ['a', 'b', 'c'].map(async (name) =>
      Promise.all([
        one([`${name}.example.test`]),
        one([`${name}.example.test`]),
        one([`${name}.example.test`]),
        one([`${name}.example.test`, `www.${name}.example.test`]),
      ]),
    ),
  );
  const names = ['a', 'b', 'c'].map((name) => `${name}.example.test`);
  const dated = await Promise.all(
    names.map((name) =>
      Promise.all([0, 1, 2, 3, 4].map((month) => one([name], { notBefore: Date.UTC(2020, month, 1) }))),
    ),
  );
  const unsigned = async (name: string, by?: Signer) => {
    const of = await newSigner(`CN=${name}`);
    return remembering(parseContent(await certifyLeaf(by, { of, names: [{ type: 'dns', value: name }] })));
  };
  const selfSigned = await Promise.all(names.map((name) => Promise.all([unsigned(name), unsigned(name)])));
  const { privateKey: _key, ...keyless } = await one(['keyless.example.test']);
  return {
    good,
    whole,
    dated,
    selfSigned,
    temporary: await unsigned('a.example.test', await newSigner('CN=cert-manager.local')),
    wrongKey: remembering(parseContent(await mismatchedKey())),
    keyless,
    chainless: { ...(await one(['a.example.test'])), chain: [] },
    foreign: await one(['foreign.example.test']),
  };
}

const remembered = new WeakSet<X509Certificate>();

/**
 * The same certificate, which answers the same question about itself once: signatures and dates
 * cannot change, and a simulation asks for them thousands of times. What is asked, and what is made
 * of the answer, stays the program's own.
 */
function remembering(content: CertificateContent): CertificateContent {
  for (const certificate of [content.leaf, ...content.chain]) {
    // Contents share the certificates of their chains.
    if (remembered.has(certificate)) continue;
    remembered.add(certificate);
    remember(certificate, 'verify');
    remember(certificate, 'checkIssued');
    const legacy = certificate.toLegacyObject();
    Object.defineProperty(certificate, 'toLegacyObject', { value: () => legacy });
    for (const name of [
      'raw',
      'validFrom',
      'validTo',
      'subject',
      'issuer',
      'serialNumber',
      'subjectAltName',
      'publicKey',
      'ca',
      'fingerprint256',
    ] as const) {
      Object.defineProperty(certificate, name, { value: certificate[name] });
    }
  }
  return content;
}

function remember(certificate: X509Certificate, method: 'verify' | 'checkIssued'): void {
  const answers = new WeakMap<object, boolean>();
  const original = certificate[method].bind(certificate) as (argument: object) => boolean;
  Object.defineProperty(certificate, method, {
    value: (argument: object) => {
      const answer = answers.get(argument) ?? original(argument);
      answers.set(argument, answer);
      return answer;
    },
  });
}
