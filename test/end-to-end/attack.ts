import { payloadV5, type Signer } from '../support/notifications.ts';
import { primaryCrn } from './program.ts';

/** Another instance of the account. */
export const otherCrn = primaryCrn.replace('11111111', '99999999');

/**
 * What an attacker has: a genuine signer to compare with, one of his own, a server of his own, and
 * the id of a certificate that exists.
 */
export interface Arms {
  readonly signer: Signer;
  readonly stranger: Signer;
  readonly trapUrl: string;
  readonly certificate: string;
}

export interface CallbackPost {
  readonly body: string | Uint8Array;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Attack {
  readonly name: string;
  readonly status: number;
  readonly post: (arms: Arms) => CallbackPost;
}

let events = 0;
/**
 * A change of the certificate that exists: one that were believed would cost calls. Never the same
 * event twice.
 */
export function change({ certificate }: Arms, more: Record<string, unknown> = {}): Record<string, unknown> {
  events += 1;
  const ids = [certificate];
  return { ...payloadV5({ instance: primaryCrn, type: 'cert_reimported', ids, eventId: `attack-${events}` }), ...more };
}

export const attack = (
  name: string,
  status: number,
  post: (arms: Arms) => CallbackPost | string | Uint8Array,
): Attack => ({
  name,
  status,
  post: (arms) => {
    const made = post(arms);
    return typeof made === 'string' || made instanceof Uint8Array ? { body: made } : made;
  },
});
