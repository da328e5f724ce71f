import { remedyOf } from '../errors.ts';
import { asideWords } from '../findings/standing-words.ts';
import { type RecordedError, type ReplicationRecord, remedyOfRecorded } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import type { Standing } from '../replication/standing.ts';
import type { State } from './link-view.ts';

/** What stands in words in one place of a table: of the primary, or of one backup. */
export interface Cell {
  readonly state: State | 'there';
  /** The state in a few words. */
  readonly words: string;
  /** What more there is to say, each a sentence or part of one. */
  readonly more: readonly string[];
  /** A moment that goes with it, epoch milliseconds, and what happens then. */
  readonly moments: readonly { readonly what: string; readonly at: number }[];
}

/** What every state is called. */
export const stateWords: Readonly<Record<State | 'there', string>> = {
  unreadable: 'unreadable',
  refused: 'refused',
  behind: 'behind',
  'on-its-way': 'on its way',
  gone: 'gone',
  same: 'same',
  aside: 'not copied',
  there: 'there',
};

const cell = (state: Cell['state'], more: readonly string[] = [], moments: Cell['moments'] = []): Cell => ({
  state,
  words: stateWords[state],
  more,
  moments,
});

const errorLines = (error: RecordedError): readonly string[] => [
  `${error.message} [${error.code}]`,
  remedyOfRecorded(error),
];

/** What is due already has no moment that would tell anything. */
const againAt = (at: number | undefined, now: number): Cell['moments'] =>
  at === undefined || at <= now ? [] : [{ what: 'tried again', at }];

/** What the primary has of a certificate, as far as its record tells. */
export function primaryCell(link: Link, record: ReplicationRecord, standing: Standing, now: number): Cell {
  const { primary, absentSince } = record;
  if (absentSince !== undefined) return cell('gone', [], [{ what: 'seen gone', at: absentSince }]);
  const ends = primary?.notAfter;
  const valid: Cell['moments'] = ends === undefined ? [] : [{ what: ends < now ? 'expired' : 'valid until', at: ends }];
  if (standing.kind === 'refused' && standing.store === undefined)
    return cell('refused', errorLines(standing.error), valid);
  if (standing.kind === 'failing' && standing.store === link.primary.id)
    return cell(
      'behind',
      ['it could not be looked at', ...errorLines(standing.error)],
      [...valid, ...againAt(standing.again, now)],
    );
  if (standing.kind === 'aside') return cell('aside', [asideWords[standing.why]], valid);
  if (primary === undefined) return cell('on-its-way', ['not looked at yet']);
  return cell('there', [], valid);
}

/** What one backup has of a certificate, as far as its record tells. */
export function backupCell(store: string, record: ReplicationRecord, standing: Standing, now: number): Cell {
  const { primary, absentSince } = record;
  const held = record.backups.find((state) => state.store === store);
  const hasCopy = held?.id !== undefined;
  if (absentSince !== undefined)
    return held?.lastError !== undefined
      ? cell('behind', errorLines(held.lastError), againAt(held.notBefore, now))
      : cell('gone', [hasCopy ? 'the copy is kept' : 'there is no copy']);
  if (held?.aside === 'circle') return cell('aside', ['the original came from here']);
  if (standing.kind === 'aside') return cell('aside', hasCopy ? ['a copy of before is kept'] : []);
  const older = hasCopy && held.fingerprint !== primary?.fingerprint;
  const olderEnds: Cell['moments'] =
    older && held.notAfter !== undefined ? [{ what: 'the older copy ends', at: held.notAfter }] : [];
  if (held?.refusal !== undefined) {
    const { code, since } = held.refusal;
    const why = held.lastError === undefined ? [`${remedyOf(code)} [${code}]`] : errorLines(held.lastError);
    const stays = older ? ['an older copy stays'] : [];
    return cell('refused', [...stays, ...why], [...olderEnds, { what: 'refused since', at: since }]);
  }
  if (held?.lastError !== undefined)
    return cell('behind', errorLines(held.lastError), [...olderEnds, ...againAt(held.notBefore, now)]);
  if (standing.kind === 'refused' && standing.store === undefined)
    return hasCopy
      ? cell('behind', ['an older copy stays'], olderEnds)
      : cell('behind', ['nothing is copied until the original is mended']);
  if (standing.kind === 'failing' && (older || !hasCopy)) return cell('behind', [], olderEnds);
  if (hasCopy && !older && primary !== undefined) {
    const copied: Cell['moments'] = held.replicatedAt === undefined ? [] : [{ what: 'copied', at: held.replicatedAt }];
    // What the primary holds now nobody has seen.
    if (record.lastError !== undefined)
      return cell(
        'behind',
        ['the same as when the primary was last read'],
        [{ what: 'the primary was read', at: primary.lookedAt }, ...copied],
      );
    return record.requested > record.replicated
      ? cell('on-its-way', ['to be looked at again'], copied)
      : cell('same', [], copied);
  }
  return cell('on-its-way', [hasCopy ? 'an older copy is there' : 'no copy yet'], olderEnds);
}
