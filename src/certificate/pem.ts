import type { X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { CertificateContent, CertificatePem, PrivateKey } from './certificate.ts';
import { inIssuingOrder, leafCandidates } from './chain.ts';
import { factsOf } from './facts.ts';
import { derOf, formatBlock, type PemBlock, readBlocks } from './pem-blocks.ts';
import { belongsTo, isPrivateKey, readPrivateKey } from './private-key.ts';
import { readCertificate } from './structure.ts';
import { subjectOf } from './words.ts';

const certificateLabels: ReadonlySet<string> = new Set(['CERTIFICATE', 'X509 CERTIFICATE']);

/**
 * What the caller calls the three texts, for the errors: the members of an API, the names of files.
 */
export type PartNames = Readonly<Record<keyof CertificatePem, string>>;
const partNames: PartNames = {
  certificate: 'the certificate text',
  intermediate: 'the chain text',
  privateKey: 'the private key text',
};
/** As Certificate Manager calls them, in requests and in downloads. */
export const apiPartNames: PartNames = { certificate: 'content', intermediate: 'intermediate', privateKey: 'priv_key' };

/**
 * A certificate from PEM texts. Which text a block stands in, and in which order, makes no
 * difference: the leaf is the certificate that the private key belongs to; without a key, or if it
 * belongs to none or to several, the one (of these) that signed none of the others. Blocks of other
 * kinds (`EC PARAMETERS`, ...) are passed over, a certificate that is there twice counts once, an
 * empty text is none. Whether the key belongs to the leaf and the chain holds is not judged here.
 *
 * Throws `certificate_too_large`, `certificate_chain_too_long`, `certificate_key_encrypted`,
 * `certificate_key_unsupported`, and `certificate_malformed` for anything that cannot be read, for
 * several leaves and for several private keys.
 */
export function parseContent(pem: CertificatePem, names: PartNames = partNames): CertificateContent {
  const blocks = [
    ...blocksOf(names.certificate, pem.certificate),
    ...blocksOf(names.intermediate, pem.intermediate),
    ...blocksOf(names.privateKey, pem.privateKey?.reveal()),
  ];
  const certificates = readCertificates(blocks.filter(isCertificate));
  const privateKey = onlyKey(blocks.filter(isPrivateKey).map(readPrivateKey));
  const leaf = findLeaf(certificates, privateKey);
  // Everybody asks for them next: a leaf whose dates or names cannot be read is not content.
  factsOf(leaf);
  const chain = inIssuingOrder(
    leaf,
    certificates.filter((certificate) => certificate !== leaf),
  );
  return { leaf, chain, ...(privateKey ? { privateKey } : {}) };
}

/**
 * A certificate as PEM texts: 64 characters in a line, `\n` line ends, the last line too;
 * `intermediate` only if there is a chain.
 */
export function toPem({ leaf, chain, privateKey }: CertificateContent): CertificatePem {
  return {
    certificate: formatBlock('CERTIFICATE', leaf.raw),
    ...(chain.length > 0 ? { intermediate: chain.map(({ raw }) => formatBlock('CERTIFICATE', raw)).join('') } : {}),
    ...(privateKey ? { privateKey: privateKey.pem } : {}),
  };
}

const isCertificate = (block: PemBlock): boolean => certificateLabels.has(block.label);

function blocksOf(part: string, text = ''): readonly PemBlock[] {
  // No character takes less than a byte, so a text that is too long by characters need not be
  // measured.
  const bytes = text.length > limits.pemBytes ? text.length : Buffer.byteLength(text);
  if (bytes > limits.pemBytes) {
    throw new CodedError('certificate_too_large', `${part} is longer than ${limits.pemBytes} bytes`, {
      fields: { part, limit: limits.pemBytes },
    });
  }
  const blocks = readBlocks(text).filter((block) => isCertificate(block) || isPrivateKey(block));
  if (blocks.length === 0 && text.trim() !== '') {
    throw new CodedError('certificate_malformed', `${part} holds neither a certificate nor a private key in PEM`, {
      fields: { part, reason: 'no_pem' },
    });
  }
  return blocks;
}

/** The different certificates among the blocks, in order. */
function readCertificates(blocks: readonly PemBlock[]): readonly X509Certificate[] {
  const byDer = new Map<string, X509Certificate>();
  for (const block of blocks) {
    const der = derOf(block);
    byDer.set(der.toString('latin1'), readCertificate(der));
  }
  // The leaf is one of them.
  if (byDer.size > limits.chainCertificates + 1) {
    const found = byDer.size - 1;
    const message = `${found} certificates came with the leaf, and at most ${limits.chainCertificates} are taken`;
    throw new CodedError('certificate_chain_too_long', message, {
      fields: { found, limit: limits.chainCertificates },
    });
  }
  return [...byDer.values()];
}

/** The one private key, in the encoding that came first. */
function onlyKey(keys: readonly PrivateKey[]): PrivateKey | undefined {
  const [first, ...others] = keys;
  if (others.some(({ publicKeyDer }) => Buffer.compare(publicKeyDer, first?.publicKeyDer ?? publicKeyDer) !== 0)) {
    throw new CodedError('certificate_malformed', 'several different private keys were found', {
      fields: { reason: 'several_keys' },
    });
  }
  return first;
}

function findLeaf(certificates: readonly X509Certificate[], privateKey: PrivateKey | undefined): X509Certificate {
  const owners = privateKey ? certificates.filter((certificate) => belongsTo(privateKey, certificate)) : [];
  // A key may belong to an authority too, where a root's own key was used again.
  const candidates = leafCandidates(owners.length > 0 ? owners : certificates);
  // Certificate authorities that signed none of the others are not leaves; the first of them is as
  // good as any.
  if (candidates.length > 1 && (owners.length > 0 || candidates.some(({ ca }) => !ca))) {
    const subjects = candidates.map(subjectOf).join(' and ');
    throw new CodedError(
      'certificate_malformed',
      `${candidates.length} different leaf certificates were found: ${subjects}`,
      {
        fields: { found: candidates.length, reason: 'several_leaves' },
      },
    );
  }
  const leaf = candidates[0] ?? certificates[0];
  if (leaf === undefined) throw new CodedError('certificate_malformed', 'no certificate was found');
  return leaf;
}
