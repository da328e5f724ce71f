import { type CertificateRow, isIssued } from '../certificates/certificate-row.ts';

/**
 * Automatic renewal begins so long before a certificate expires, or when a third of its lifetime is
 * left, whichever is less.
 */
export const renewBeforeMs = 31 * 86_400_000;

/** From when on a certificate is renewed by itself. */
export function renewalFrom({ beginsOn, expiresOn }: Pick<CertificateRow, 'beginsOn' | 'expiresOn'>): number {
  return expiresOn - Math.min(renewBeforeMs, Math.floor((expiresOn - beginsOn) / 3));
}

/** Whether the instance is to begin a renewal by itself now. */
export function isDue(row: CertificateRow, nowMs: number): boolean {
  const wanted = row.imported === false && row.autoRenew === true && isIssued(row);
  return (
    wanted &&
    row.issuance?.status !== 'pending' &&
    nowMs >= renewalFrom(row) &&
    nowMs >= (row.renewal?.retryAt ?? Number.NEGATIVE_INFINITY)
  );
}
