import type { X509Certificate } from 'node:crypto';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { factsOf } from '../../certificate/facts.ts';
import { toPem } from '../../certificate/pem.ts';
import { asPkcs8 } from '../../certificate/private-key.ts';
import { keyUsagesOf, publicKeyOf, structureOf } from '../../certificate/structure.ts';

/** Why ACM does not take content, in words that follow "ACM"; `until`: it does from then on. */
export interface Unfit {
  readonly why: string;
  readonly until?: number;
}

const certificateBytes = 32_768;
const keyBytes = 5_120;
const rsaBits: ReadonlySet<number | undefined> = new Set([1024, 2048, 3072, 4096]);
const ecBits: ReadonlySet<number | undefined> = new Set([256, 384, 521]);

/**
 * Why this content is not imported now (ACM, "Prerequisites for importing certificates").
 */
export function unfitForImport(content: CertificateContent, now: number): Unfit | undefined {
  const { leaf, privateKey } = content;
  if (privateKey === undefined) return { why: 'takes no certificate without its private key' };
  if (keyTypeOf(leaf) === undefined)
    return { why: `takes keys of RSA and of the curves P-256, P-384 and P-521, and not ${factsOf(leaf).keyAlgorithm}` };
  const { notBefore, notAfter, domains } = factsOf(leaf);
  if (now < notBefore) return { why: 'takes a certificate from its first day on', until: notBefore };
  if (now > notAfter) return { why: 'takes no expired certificate' };
  if (domains.length === 0) return { why: 'takes no certificate without a name or an address' };
  if (Buffer.byteLength(toPem({ leaf, chain: [] }).certificate) > certificateBytes)
    return { why: `takes a certificate of ${certificateBytes} bytes, and this one is longer` };
  const pkcs8 = asPkcs8(privateKey);
  const bytes = pkcs8.revealBytes();
  pkcs8.wipe();
  const isTooLong = bytes.length > keyBytes;
  bytes.fill(0);
  return isTooLong ? { why: `takes a private key of ${keyBytes} bytes, and this one is longer` } : undefined;
}

/** Type and size of a key as ACM tells them apart; `undefined` for one that it does not take. */
function keyTypeOf(leaf: X509Certificate): string | undefined {
  const { kind, bits } = publicKeyOf(leaf);
  if (kind === 'rsa' && rsaBits.has(bits)) return `RSA ${bits}`;
  return kind === 'ec' && ecBits.has(bits) ? `ECDSA P-${bits}` : undefined;
}

const clientAuthentication = '1.3.6.1.5.5.7.3.2';
const keyEncipherment = 2;
/** Of the bits of a key usage (RFC 5280 section 4.2.1.3), and of the usual extended ones. */
const usageNames = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
];
const extendedNames: Readonly<Record<string, string>> = {
  '1.3.6.1.5.5.7.3.1': 'serverAuth',
  [clientAuthentication]: 'clientAuth',
  '1.3.6.1.5.5.7.3.3': 'codeSigning',
  '1.3.6.1.5.5.7.3.4': 'emailProtection',
};

/**
 * Why a certificate does not take the place of another one under its ARN (ACM, "Reimport a
 * certificate"): type and size of the key stay, and usages may be added and not taken away. Which
 * names may go is not documented clearly enough to foresee it.
 */
export function unfitForReimport(next: X509Certificate, there: X509Certificate): Unfit | undefined {
  const [is, was] = [keyTypeOf(next), keyTypeOf(there)];
  if (is !== was) return { why: `keeps the type of the key under an ARN: that is ${was}, and the new one is ${is}` };
  const usage = keyUsageLost(next, there);
  if (usage !== undefined) return usage;
  const [now, before] = [next.keyUsage, there.keyUsage];
  if (before === undefined)
    return now === undefined ? undefined : { why: 'takes no extended key usage where there was none' };
  const lost = before.filter((oid) => oid !== clientAuthentication && !(now ?? []).includes(oid));
  return lost.length === 0
    ? undefined
    : {
        why: `wants every extended key usage that was there: the new one lacks ${lost.map((oid) => extendedNames[oid] ?? oid).join(', ')}`,
      };
}

function keyUsageLost(next: X509Certificate, there: X509Certificate): Unfit | undefined {
  const [now, before] = [next, there].map((certificate) => keyUsagesOf(structureOf(certificate)));
  if (before === undefined) return now === undefined ? undefined : { why: 'takes no key usage where there was none' };
  const isEcdsa = publicKeyOf(next).kind === 'ec';
  const lost = [...before].filter((bit) => !now?.has(bit) && !(isEcdsa && bit === keyEncipherment));
  if (lost.length === 0) return undefined;
  return {
    why: `wants every key usage that was there: the new one lacks ${lost.map((bit) => usageNames[bit]).join(', ')}`,
  };
}
