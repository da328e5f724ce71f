import type { LinkStatus } from '../replication/status.ts';
import { clean, count, duration, linesBelow } from '../words.ts';

/**
 * What is gone from the primary, and what to do about it, in words: the first line says what, the
 * others what to do.
 */
export function vanishedWords(link: string, vanished: NonNullable<LinkStatus['vanished']>, now: number): string {
  const { gone, of, names, since, id } = vanished;
  const rest = gone > names.length ? ` and ${gone - names.length} more` : '';
  const what = gone === of ? `all ${count(gone, 'certificate')}` : `${gone} of ${count(of, 'certificate')}`;
  const when = since === 0 || since >= now ? '' : `, the first ${duration(now - since)} ago`;
  return (
    `${what} of the primary ${gone === 1 ? 'is' : 'are'} gone${when} (${names.map(clean).join(', ')}${rest}); ` +
    'their copies are kept\n' +
    '  Lost, as by a disk that is not mounted, or a wrong folder or account? Bring them back; certstandby reconcile looks again.\n' +
    `  Meant? certstandby reconcile --link ${link} --accept-vanished ${id}`
  );
}

/** The same as lines below what a command says of the link. */
export function vanishedLines(...given: Parameters<typeof vanishedWords>): readonly string[] {
  return linesBelow(vanishedWords(...given));
}
