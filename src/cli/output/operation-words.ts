import type { GoingOn } from '../../replication/write-to-end.ts';
import { duration } from './text.ts';

const words = { import: 'an import', reimport: 'a replacement', delete: 'a deletion' } as const;

/** That a write is waited for which its service goes on with. `store`: its name, for people. */
export const goingOnWords = ({ kind, longestMs }: GoingOn, store: string): string =>
  `${store} goes on with ${words[kind]}; waiting until it has ended, ${duration(longestMs)} at most`;
