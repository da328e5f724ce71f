import { createHash, type X509Certificate } from 'node:crypto';
import { limits } from '../limits.ts';

/**
 * Certificates that were read lately, by the digest of their DER. A certificate never changes, and
 * a whole estate stands under a few intermediates: so each is decoded once, and what was found out
 * of it (its facts, whose signature it bears) is found out once. No private key is ever here, and
 * nothing that depends on the clock.
 *
 * Bounded by the bytes of what it holds; what was asked for longest ago goes first.
 */
export interface RecentlyRead {
  /** SHA-256 of the DER, base64. */
  digestOf(der: Uint8Array): string;
  get(digest: string): X509Certificate | undefined;
  set(digest: string, certificate: X509Certificate, bytes: number): void;
}

export function recentlyRead(mostBytes: number = limits.rememberedCertificateBytes): RecentlyRead {
  const held = new Map<string, { readonly certificate: X509Certificate; readonly bytes: number }>();
  let sum = 0;
  return {
    digestOf: (der) => createHash('sha256').update(der).digest('base64'),

    get(digest) {
      const found = held.get(digest);
      if (found === undefined) return undefined;
      // To the end, which is forgotten last.
      held.delete(digest);
      held.set(digest, found);
      return found.certificate;
    },

    set(digest, certificate, bytes) {
      sum += bytes - (held.get(digest)?.bytes ?? 0);
      held.delete(digest);
      held.set(digest, { certificate, bytes });
      for (const [oldest, { bytes: freed }] of held) {
        if (sum <= mostBytes) return;
        held.delete(oldest);
        sum -= freed;
      }
    },
  };
}
