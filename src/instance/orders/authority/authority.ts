import type { CodedError } from '../../../errors.ts';
import type { Secret } from '../../../secret.ts';

/**
 * The contract of a certificate authority, as orders need it: acme.ts is one that speaks ACME,
 * development-authority.ts one of our own. An order is known by an address that the authority gave;
 * everything else is asked for anew each time, so that a process that was interrupted goes on.
 * Every method may be called again after any failure. They throw
 * - `acme_unavailable`: no answer, or none that makes sense. The call may have taken effect.
 * - `acme_limited`: too many orders, with `retryAfterMs` if the authority says how long to wait.
 * - `acme_refused`: it does not want to, with its `type` (RFC 8555 section 6.7) and the HTTP
 *   `status`.
 */
export interface Authority {
  /**
   * Tells it from others: the address of its directory, or `development`. Stands on what it issued.
   */
  readonly id: string;
  /** Begins an order for these domains; its address. */
  begin(domains: readonly string[]): Promise<string>;
  /** How an order stands. */
  look(order: string): Promise<OrderStanding>;
  /** Says that the record of a challenge is published. */
  answer(challenge: string): Promise<void>;
  /**
   * Asks for the certificate of an order that is ready, for this key (PKCS#8, PEM). That it is not
   * (any more) is no failure: a look tells.
   */
  finalize(order: string, domains: readonly string[], privateKey: Secret): Promise<void>;
  /** The certificate of an order that was issued, and its chain: PEM, the leaf first. */
  download(order: string): Promise<string>;
}

export type OrderStanding =
  /** These challenges are open. */
  | { readonly state: 'challenged'; readonly challenges: readonly Challenge[] }
  | { readonly state: 'ready' }
  /** The authority is at work. */
  | { readonly state: 'working' }
  | { readonly state: 'issued' }
  /** It will come to nothing: `acme_challenge_failed` or `acme_refused`. */
  | { readonly state: 'refused'; readonly error: CodedError }
  /** The authority knows nothing of it (any more). */
  | { readonly state: 'gone' };

/**
 * A proof by dns-01 (RFC 8555 section 8.4): a TXT record of this value under
 * `_acme-challenge.<domain>`.
 */
export interface Challenge {
  readonly url: string;
  /** Without the asterisk of a wildcard. As the authority says it: unchecked. */
  readonly domain: string;
  readonly value: string;
}
