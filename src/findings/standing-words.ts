import { remedyOfRecorded } from '../records/replication-record.ts';
import type { Standing } from '../replication/standing.ts';
import { clean } from '../words.ts';

/** How a certificate stands, in one line and, if something has to be done, another. */
export function standingWords(standing: Standing, storeName: (id: string) => string): readonly string[] {
  switch (standing.kind) {
    case 'equal':
      return ['equal in every backup'];
    case 'aside':
      return [asideWords[standing.why]];
    case 'gone':
      return [standing.copies === 0 ? 'gone from the primary' : 'gone from the primary; the copy is kept'];
    case 'refused':
      return [`${standing.error.message} [${standing.error.code}]`, clean(remedyOfRecorded(standing.error))];
    case 'failing': {
      const { error, store, again } = standing;
      const seen = `seen at ${new Date(error.at).toISOString()}`;
      return [
        `${storeName(store)}: ${error.message} [${error.code}], ${seen}${againAt(again)}`,
        clean(remedyOfRecorded(error)),
      ];
    }
    case 'waiting': {
      const { store, again } = standing;
      const what = store === undefined ? 'still to be looked at' : `not yet known to be in ${storeName(store)}`;
      return [`${what}${againAt(again)}`];
    }
  }
}

export const asideWords = {
  excluded: 'not copied: not included',
  marked: 'not copied: itself a copy',
  authority: 'not copied: it is the certificate of an authority; name it exactly in filter.names to have it copied',
  circle: 'not copied: it came from the backup, and a copy there would be a copy of itself',
} as const;

const againAt = (moment: number | undefined) =>
  moment === undefined ? '' : `; looked at again at ${new Date(moment).toISOString()}`;
