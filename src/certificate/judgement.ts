import type { X509Certificate } from 'node:crypto';
import { CodedError } from '../errors.ts';
import type { CertificateContent } from './certificate.ts';
import { isSelfSigned, isSignedBy, isSignedWith, mayIssue } from './chain.ts';
import { factsOf, validityOf } from './facts.ts';
import { linkedTo, type PublicContent, pathUp, validityAt } from './path.ts';
import { signsFor } from './private-key.ts';
import { issuerOf, subjectOf } from './words.ts';

/** What a judgement is told. */
export interface JudgementRules {
  /** The moment at which it must serve, epoch milliseconds. */
  readonly nowMs: number;
  /** Whether a leaf alone is refused, unless it is signed by itself. */
  readonly requireChain: boolean;
}

/**
 * The first reason why a certificate would not serve, or `undefined`: its private key, its chain,
 * its validity, facts that cannot be read. One of `certificate_key_missing`,
 * `certificate_key_mismatch`, those of `publicProblem`.
 */
export function contentProblem(content: CertificateContent, rules: JudgementRules): CodedError | undefined {
  return keyProblem(content) ?? publicProblem(content, rules);
}

/**
 * The same without a look at the private key: one of `certificate_chain_missing`,
 * `certificate_expired`, `certificate_malformed` and those of `pathProblem`.
 */
export function publicProblem(content: PublicContent, rules: JudgementRules): CodedError | undefined {
  const path = pathProblem(content, rules.nowMs);
  // Where the leaf has expired too, renewing it brings the current intermediate: that is the one
  // thing to do.
  const late = path?.code === 'certificate_chain_expired' ? expiryProblem(content, rules.nowMs) : undefined;
  return (
    late ??
    path ??
    (rules.requireChain ? missingChainProblem(content) : undefined) ??
    expiryProblem(content, rules.nowMs) ??
    problemOf(() => factsOf(content.leaf))
  );
}

/** Whether there is a private key, and what it signs is verified by the leaf. */
export function keyProblem({ leaf, privateKey }: CertificateContent): CodedError | undefined {
  if (privateKey === undefined) return new CodedError('certificate_key_missing', 'the certificate has no private key');
  if (signsFor(privateKey, leaf)) return undefined;
  return new CodedError('certificate_key_mismatch', 'what the private key signs does not hold for the certificate');
}

/**
 * Whether a path leads up among what came with the leaf (`pathUp` says which), and if none does,
 * what bars it. A leaf alone is no problem here. Name constraints, extended key usage, path
 * lengths, policies and revocation are not judged. `certificate_chain_broken`,
 * `certificate_issuer_no_authority`, `certificate_chain_expired`, `certificate_malformed`, or
 * `certificate_key_mismatch` where the key made an authority the leaf.
 */
export function pathProblem(content: PublicContent, nowMs: number): CodedError | undefined {
  const { leaf, chain } = content;
  const below = chain.find((candidate) => isSignedBy(candidate, leaf) && !isSignedBy(leaf, candidate));
  if (below !== undefined) return authoritysKeyProblem(leaf, below);
  if (pathUp(content, nowMs) !== undefined) return undefined;
  const signers = chain.filter((candidate) => isSignedBy(leaf, candidate));
  if (signers.length === 0) return unsignedProblem(content);
  const authorities = signers.filter(mayIssue);
  const expired = authorities.filter((authority) => validityAt(authority, nowMs) === 'expired');
  const [last] = expired.toSorted((a, b) => validityOf(b).notAfter - validityOf(a).notAfter);
  if (last !== undefined && expired.length === authorities.length) return expiredIssuerProblem(last);
  const [undated] = authorities.filter((authority) => validityAt(authority, nowMs) === 'unreadable');
  if (undated !== undefined) return undatedIssuerProblem(undated);
  // Above an authority that would do, only a certificate that is no authority can bar the way.
  const linked = linkedTo(content);
  const barring = chain.find((candidate) => linked.has(candidate) && !mayIssue(candidate));
  return noAuthorityProblem(barring ?? leaf);
}

/**
 * Whether the leaf has expired: notAfter itself is still valid (RFC 5280 section 4.1.2.5). What is
 * not yet valid is no problem. `certificate_expired`, or `certificate_malformed` where it is no
 * date.
 */
export function expiryProblem({ leaf }: Pick<CertificateContent, 'leaf'>, nowMs: number): CodedError | undefined {
  return problemOf(() => {
    const { notAfter } = validityOf(leaf);
    if (nowMs <= notAfter) return;
    const expiredAt = new Date(notAfter).toISOString();
    throw new CodedError('certificate_expired', `the certificate expired at ${expiredAt}`, { fields: { expiredAt } });
  });
}

function missingChainProblem({ leaf, chain }: PublicContent): CodedError | undefined {
  if (chain.length > 0 || isSelfSigned(leaf)) return undefined;
  return new CodedError('certificate_chain_missing', 'the certificate came without the certificates that signed it');
}

/**
 * The leaf is the certificate that the key belongs to, and it signed another one: that is the one
 * that was to serve.
 */
function authoritysKeyProblem(leaf: X509Certificate, below: X509Certificate): CodedError {
  const [subject, signed] = [leaf, below].map(subjectOf);
  const message = `the private key is that of ${subject}, which signed ${signed}, and not that of the certificate that is to serve`;
  return new CodedError('certificate_key_mismatch', message, { fields: { subject, signed } });
}

/** None of those that came with the leaf signed it, as OpenSSL looks for an issuer. */
function unsignedProblem({ leaf, chain }: PublicContent): CodedError {
  const issuer = issuerOf(leaf);
  const fields = { issuer, found: chain.length };
  const refused = (reason: string) => new CodedError('certificate_chain_broken', reason, { fields });
  const barred = chain.find((candidate) => leaf.issuer === candidate.subject && isSignedWith(leaf, candidate));
  if (barred !== undefined) {
    return refused(
      `${subjectOf(barred)} signed the certificate, but clients do not take it for the issuer: its key usage does not ` +
        'allow it to sign certificates, or its key identifier is not the one that the certificate names',
    );
  }
  const namesake = chain.some(({ subject }) => subject === leaf.issuer)
    ? `; what is named ${issuer} among them has another key or another content than the one that did`
    : '';
  const which = chain.length === 1 ? 'the certificate that came' : `none of the ${chain.length} certificates that came`;
  const did = chain.length === 1 ? 'did not sign it' : 'signed it';
  return refused(`the certificate was issued by ${issuer}, and ${which} with it ${did}${namesake}`);
}

function expiredIssuerProblem(issuer: X509Certificate): CodedError {
  const expiredAt = new Date(validityOf(issuer).notAfter).toISOString();
  const subject = subjectOf(issuer);
  const message = `${subject}, which signed the certificate, expired at ${expiredAt}, and nothing in the bundle leads around it`;
  return new CodedError('certificate_chain_expired', message, { fields: { subject, expiredAt } });
}

function undatedIssuerProblem(issuer: X509Certificate): CodedError {
  const subject = subjectOf(issuer);
  const message = `${subject}, which signed the certificate, has a date that is none`;
  return new CodedError('certificate_malformed', message, { fields: { subject } });
}

function noAuthorityProblem(issuer: X509Certificate): CodedError {
  const subject = subjectOf(issuer);
  const message =
    `${subject} signed another certificate of the bundle and is no certificate authority (its basic constraints do not say so), ` +
    'and nothing leads around it';
  return new CodedError('certificate_issuer_no_authority', message, { fields: { subject } });
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
