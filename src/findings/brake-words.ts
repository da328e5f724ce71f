import type { LinkStatus } from '../replication/status.ts';
import { clean, count, duration, linesBelow } from '../words.ts';

/**
 * What the brake keeps from being written, and what to do about it, in words: the first line says
 * what, the others what to do.
 */
export function heldWords(link: string, held: NonNullable<LinkStatus['held']>, now: number): string {
  const { certificates, names, kinds, since, id } = held;
  const rest = certificates > names.length ? ` and ${certificates - names.length} more` : '';
  const whats = [
    ...(kinds['going-back'] > 0 ? [`${count(kinds['going-back'], 'certificate')} would go back in time`] : []),
    ...(kinds.unannounced > 0 ? [`${count(kinds.unannounced, 'certificate')} changed without an event`] : []),
  ];
  const when = since >= now ? '' : `, the first ${duration(now - since)} ago`;
  return (
    `the brake holds: ${whats.join(', ')}${when} (${names.map(clean).join(', ')}${rest}); their copies stay as they are\n` +
    '  Was the primary restored from an old state, or written to by mistake? Mend it there: what is newer is copied at once.\n' +
    `  Meant? certstandby reconcile --link ${link} --accept-changes ${id}`
  );
}

/** The same as lines below what a command says of the link. */
export function heldLines(...given: Parameters<typeof heldWords>): readonly string[] {
  return linesBelow(heldWords(...given));
}
