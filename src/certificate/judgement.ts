import type { X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import type { CertificateContent } from './certificate.ts';
import { isSelfSigned, isSignedBy } from './chain.ts';
import { factsOf, timeOf } from './facts.ts';
import { signsFor } from './private-key.ts';

/** What a judgement is told. */
export interface JudgementRules {
  /** The moment at which it must serve, epoch milliseconds. */
  readonly nowMs: number;
  /** Whether a leaf alone is refused, unless it is signed by itself. */
  readonly requireChain: boolean;
}

/**
 * The first reason why a certificate would not serve, or `undefined`: its private key, its chain, its validity, facts that cannot
 * be read. One of `certificate_key_missing`, `certificate_key_mismatch`, `certificate_chain_broken`, `certificate_chain_missing`,
 * `certificate_expired`, `certificate_malformed`.
 */
export function contentProblem(content: CertificateContent, rules: JudgementRules): CodedError | undefined {
  return (
    keyProblem(content) ??
    chainProblem(content) ??
    (rules.requireChain ? missingChainProblem(content) : undefined) ??
    expiryProblem(content, rules.nowMs) ??
    problemOf(() => factsOf(content))
  );
}

/** Whether there is a private key, and what it signs is verified by the leaf. */
export function keyProblem({ leaf, privateKey }: CertificateContent): CodedError | undefined {
  if (privateKey === undefined) return new CodedError('certificate_key_missing', 'the certificate has no private key');
  if (signsFor(privateKey, leaf)) return undefined;
  return new CodedError('certificate_key_mismatch', 'what the private key signs does not hold for the certificate');
}

/**
 * Whether each chain certificate signed the one before it, and may: an issuer must be a certificate authority, but for a
 * self-signed root, which old ones do not say of themselves. A leaf alone is no problem here.
 */
export function chainProblem({ leaf, chain }: CertificateContent): CodedError | undefined {
  const broken = chain.findIndex((issuer, index) => {
    const below = chain[index - 1] ?? leaf;
    return !isSignedBy(below, issuer) || !(issuer.ca || isSelfSigned(issuer));
  });
  if (broken === -1) return undefined;
  const position = broken + 1;
  return new CodedError(
    'certificate_chain_broken',
    `chain certificate ${position} of ${chain.length} did not sign the certificate before it`,
    { fields: { position, chainLength: chain.length } },
  );
}

/**
 * Whether the leaf or a chain certificate has expired: notAfter itself is still valid (RFC 5280 section 4.1.2.5). What is not yet
 * valid is no problem, and neither is a self-signed root, which no client looks at.
 */
export function expiryProblem({ leaf, chain }: CertificateContent, nowMs: number): CodedError | undefined {
  return (
    expiredProblem('the certificate', leaf, nowMs) ??
    chain
      .filter((certificate) => !isSelfSigned(certificate))
      .map((certificate) => expiredProblem('a chain certificate', certificate, nowMs))
      .find((problem) => problem !== undefined)
  );
}

function missingChainProblem({ leaf, chain }: CertificateContent): CodedError | undefined {
  if (chain.length > 0 || isSelfSigned(leaf)) return undefined;
  return new CodedError('certificate_chain_missing', 'the certificate came without the certificates that signed it');
}

function expiredProblem(what: string, certificate: X509Certificate, nowMs: number): CodedError | undefined {
  return problemOf(() => {
    const notAfter = timeOf(certificate.validTo);
    if (nowMs <= notAfter) return;
    const expiredAt = new Date(notAfter).toISOString();
    throw new CodedError('certificate_expired', `${what} expired at ${expiredAt}`, { fields: { expiredAt } });
  });
}

/** The coded error that this throws, if it throws one. */
function problemOf(check: () => unknown): CodedError | undefined {
  try {
    check();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof CodedError) return thrown;
    throw thrown;
  }
}
