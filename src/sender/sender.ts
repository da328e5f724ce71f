import type { KeyObject } from 'node:crypto';
import type { LifecycleEvent } from './event.ts';

/**
 * The keys that prove what one sender sends, by their ids: public keys, or secrets that it shares.
 * None: it cannot be proven yet.
 */
export type VerificationKeys = ReadonlyMap<string, KeyObject>;

/** A request of a sender, as any host can give it. */
export interface SenderRequest {
  /** A header by its name in any case; the values of a repeated one joined by `, `. */
  header(name: string): string | undefined;
  /** As it arrived, at most `limits.notificationBytes`. */
  readonly body: Uint8Array;
}

/** What a genuine request says. */
export type Received =
  | { readonly events: readonly LifecycleEvent[] }
  /**
   * The sender asks whether it is meant to send here. The answer is made of what it sent, and calls
   * nobody.
   */
  | {
      readonly handshake: {
        readonly status: number;
        readonly headers?: Readonly<Record<string, string>>;
        readonly body: string;
      };
    };

/** Who tells of changes of one store, and how that is proven. Nothing it does asks a service. */
export interface Sender {
  /**
   * The store whose certificates it tells of. Links with the same one as primary are reached alike,
   * whichever of its senders told.
   */
  readonly store: string;
  /**
   * The keys that prove it, where the configuration has them. Absent: those of each link, pinned
   * there or fetched by the sweep.
   */
  readonly keys?: VerificationKeys;
  /**
   * Where the keys are served that the sweep fetches for it: one of another place, which the
   * configuration named before, proves nothing. Absent: the store itself serves them.
   */
  readonly keysFrom?: string;
  /**
   * The status that makes this sender try again, for what cannot be proven or made durable yet.
   * With any other one its service may drop the notification for good.
   */
  readonly tryAgain: number;
  /**
   * Nobody says which Content-Type its requests have, and what proves them needs none. Absent: they
   * have one of JSON, or none.
   */
  readonly anyMediaType?: true;
  /**
   * What a request says, if one of these keys proves it at `now` (epoch milliseconds). Throws
   * `notification_malformed`, `_not_genuine`, `_foreign`, or what is proven and not to be taken
   * yet: `notification_key_unknown`, `notification_untimely`.
   */
  receive(request: SenderRequest, keys: VerificationKeys, now: number): Received;
}
