import { seededRandom } from './virtual-time.ts';

/**
 * What may be otherwise in a world, of what the stores and their people are like. Each answers a
 * rule of the protocol.
 */
export const switchNames = [
  /** Reads of a backup lag after writes, by up to half a minute. */
  'laggard',
  /** A backup refuses some content for ever, and some until a day. */
  'choosy',
  /** Others refer to the ids of a backup: a copy must never be replaced by one of another id. */
  'referred-to',
  /**
   * Copies are locked by people, so that they can be neither written to nor removed, for a while or
   * for ever.
   */
  'locked',
  /** Copies are in use, so that they cannot be removed. */
  'in-use',
  /** A backup completes chains: what is read back is another shape of what was given. */
  'completes-chains',
  /** Another deployment, with a table of its own, copies the same pair of stores. */
  'second-deployment',
  /** Events name names and beginnings of ids; names change and repeat. */
  'hints',
  /** Nobody signs what events say: floods of ids that nobody knows, with real ones among them. */
  'unsigned-sender',
  /**
   * A backup keeps private keys to itself, always or for some; now and then a copy loses its key,
   * and the primary withholds one.
   */
  'withholds-keys',
  /**
   * Creation takes two requests at a backup, the mark with the first and the content with the
   * second, and a crash may lie between.
   */
  'two-step',
  /** What is deleted at a backup keeps its place, and its name, until it is purged. */
  'soft-deletion',
  /** The container of a whole store is away for minutes: reads say that nothing is there. */
  'vanishing-container',
  /** Old versions at a backup stay, and one day there is no room for another. */
  'versions-stay',
  /**
   * A backup goes on with imports, reimports and removals after it has answered, for minutes up to
   * an hour.
   */
  'long-operations',
  /**
   * Processes of the version before work on the table too: beside new ones, or a deployment goes to
   * the other version and back.
   */
  'version-before',
  /** The primary is restored from an old state: everything in it is older at once. */
  'restored-primary',
  /** Self-signed and temporary certificates take the place of issued ones in the primary. */
  'stand-ins',
  /** Listings tell nothing of content, and revisions move without a change. */
  'restless-listing',
  /** The primary gives other content the revision that it gave before, as after a restore. */
  'repeated-revisions',
  /** A backup takes few writes in a minute, and few in what stands for its year. */
  'scarce-writes',
  /**
   * Two primaries whose certificates have equal ids and names are copied into one backup, in which
   * names are unique.
   */
  'names-collide',
  /** Links that all copy onward lead back to the primary. */
  'circle',
  /** The listing of a backup takes longer than a look waits for it. */
  'slow-listing',
  /** A backup keeps no more than the digest of a mark. */
  'little-room',
  /**
   * Behind the setting of a store stands another place for a while: an empty one, or one with other
   * certificates.
   */
  'another-place',
  /**
   * Listings and searches show no change of content: what they say of it is of its first version.
   */
  'silent-listing',
  /**
   * Nobody hears the end of many a removal at a backup, which takes effect minutes later; and
   * certificates go back to what they were, for other domains.
   */
  'late-removals',
  /**
   * Many a process freezes for minutes while it writes to a copy or to the row of a certificate,
   * which changes meanwhile; and nobody hears the end of many an import.
   */
  'frozen-processes',
] as const;

export type Switch = (typeof switchNames)[number];

/**
 * The switches of a seed: none for half of them, one alone for a quarter, and a mixture for the
 * rest.
 */
export function switchesOf(seed: number): ReadonlySet<Switch> {
  // Dice of their own: a seed without switches is the world that it always was.
  const random = seededRandom(seed ^ 0x5bd1e995);
  const kind = random();
  if (kind < 0.5) return new Set();
  if (kind < 0.75) return new Set([switchNames[Math.floor(random() * switchNames.length)] as Switch]);
  // The version before knew none of the others.
  return new Set(switchNames.filter((name) => random() < 0.3 && name !== 'version-before'));
}
