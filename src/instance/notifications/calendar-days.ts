import type { CalendarEvent } from './events.ts';

export const dayMs = 86_400_000;

/**
 * Days before expiry on which it is told of (Certificate Manager's documentation, "Notification
 * event types").
 */
const daysBeforeExpiry = { imported: [90, 60, 30, 10, 1], ordered: [30, 10, 1] } as const;
/** Days after the issue on which it is told that nobody has downloaded the certificate. */
const daysAfterIssue = 30;
/**
 * Days before the version before expires on which it is told that nobody has downloaded the renewed
 * one.
 */
const daysBeforePrevious = [30, 10, 1, 0] as const;

/** The farthest day from today on which something that is told of beforehand can expire. */
export const farthestDays: number = daysBeforeExpiry.imported[0];

/** What the calendar looks at of a certificate. Moments are epoch milliseconds. */
export interface CalendarFacts {
  readonly imported: boolean;
  readonly expiresOn: number;
  /**
   * When the content in force came here. What was due before that was due for another content, or
   * for none.
   */
  readonly since: number;
  /** Of an ordered certificate: whether somebody has downloaded what is in force. */
  readonly downloaded?: boolean | undefined;
  /** Of an ordered certificate: when what is in force was issued. */
  readonly issuedAt?: number | undefined;
  /** Of an ordered certificate that was renewed: when the version before expires. */
  readonly previousExpiresOn?: number | undefined;
}

/**
 * The midnights, by UTC, that are looked at in one go: later than `after`, up to `until`. More than
 * one where nobody could look in time.
 */
export interface Midnights {
  readonly after: number;
  readonly until: number;
}

/** The midnight, by UTC, with which the day of a moment begins. */
export function midnightOf(moment: number): number {
  return Math.floor(moment / dayMs) * dayMs;
}

/**
 * What is to be told of a certificate when these midnights are looked at. What was due at a
 * midnight that nobody looked at is told now, once, however many of a kind were missed: of a
 * certificate that has expired meanwhile only that. A content counts from the first midnight after
 * it came, so that one that was never as far away as 90 days is not told of as if it had been.
 */
export function eventsDue(facts: CalendarFacts, midnights: Midnights): readonly CalendarEvent[] {
  const { imported, expiresOn, since, downloaded, issuedAt, previousExpiresOn } = facts;
  const { after, until } = midnights;
  const isDue = (midnight: number) => midnight > after && midnight <= until && midnight >= since;
  const expiryDay = midnightOf(expiresOn);
  if (expiryDay <= until) {
    if (since > until) return [];
    return [imported ? 'cert_expired_reimport_required' : 'cert_expired_renew_required'];
  }
  const due: CalendarEvent[] = [];
  if (isBeforehand(imported, expiresOn, isDue)) {
    due.push(imported ? 'cert_about_to_expire_reimport_required' : 'cert_about_to_expire_renew_required');
  }
  if (imported || downloaded === true) return due;
  if (previousExpiresOn !== undefined) {
    const previousDay = midnightOf(previousExpiresOn);
    if (daysBeforePrevious.some((days) => isDue(previousDay - days * dayMs))) due.push('cert_renewed_not_downloaded');
  } else if (issuedAt !== undefined && isDue(midnightOf(issuedAt) + daysAfterIssue * dayMs)) {
    due.push('cert_issued_not_downloaded');
  }
  return due;
}

/**
 * Whether a certificate that expires then may be told of beforehand at one of these midnights,
 * whatever else is known of it.
 */
export function mayBeDueBeforehand(expiresOn: number, { after, until }: Midnights): boolean {
  const isLookedAt = (midnight: number) => midnight > after && midnight <= until;
  return isBeforehand(true, expiresOn, isLookedAt);
}

function isBeforehand(imported: boolean, expiresOn: number, isDue: (midnight: number) => boolean): boolean {
  const days = daysBeforeExpiry[imported ? 'imported' : 'ordered'];
  return days.some((before) => isDue(midnightOf(expiresOn) - before * dayMs));
}
