/** A reason to look at one certificate of one link, or for hints. */
export interface Wake {
  readonly link: string;
  /** The certificate's id in the primary. */
  readonly certificate: string;
  /**
   * `hints`: it is about the hints of the link that are due, and about no certificate. Made by
   * `hintsWake`.
   */
  readonly about?: 'hints';
}

/**
 * The wake-up for the hints of a link. A worker of a version that knows no hints takes it for one
 * of a certificate, finds no record of that, and does nothing.
 */
export const hintsWake = (link: string): Wake => ({ link, certificate: 'hints', about: 'hints' });

/** Tells wake-ups apart: equal for those that ask for the same. */
export const wakeKey = ({ link, certificate, about }: Wake): string =>
  about === undefined ? `${link}\n${certificate}` : `${link}\n${certificate}\n${about}`;

/**
 * The contract of a dispatch: it wakes a worker, nothing more. A wake-up may be lost, doubled or
 * reordered without harm, because what must be done stands in the replication record, and the sweep
 * wakes again what is due.
 */
export interface Dispatch {
  /**
   * Asks that each of these be looked at soon. Resolves when the wake-ups are handed over; throws a
   * coded error when none or not all could be, which the caller logs and forgets. `delayMs` asks
   * for a look not before so many milliseconds; a kind that cannot delay drops such a wake-up and
   * leaves it to the sweep.
   */
  dispatch(wakes: readonly Wake[], options?: { readonly delayMs?: number }): Promise<void>;
}
