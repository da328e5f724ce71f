import { dataKeyPartition } from '../../keys/keyring.ts';

/**
 * The partitions of an instance, beside that of its data keys. A new one goes into one of these
 * lists, which says what a snapshot does with its rows; an erasure removes the rows of all of them.
 */
const partitions = {
  /**
   * A snapshot keeps what is in force of these. Of the counter it keeps nothing: a restore counts
   * anew.
   */
  certificates: ['content', 'certificate', 'expiry', 'counter'],
  /** A snapshot keeps these as they are. */
  kept: [
    'api-key',
    'signing-key',
    'acme-account',
    'channel',
    'order',
    'order-domains',
    'calendar',
    'secret-group',
    'secret-name',
  ],
  /**
   * A snapshot leaves these out: what is on its way or did not get there, and how often who asked.
   */
  passing: ['notification', 'dead-letter', 'rate'],
} as const;

/** A partition in which an instance has rows of its own. */
export type PartitionName = (typeof partitions)[keyof typeof partitions][number];

/** What every partition of an instance begins with: no other instance has it. */
export const partitionsOf = (instanceCrn: string): string => `instance.1/${instanceCrn}/`;

export const partitionOf = (instanceCrn: string, name: PartitionName): string => partitionsOf(instanceCrn) + name;

/** The partitions that a snapshot keeps as they are. */
export function keptPartitions(instanceCrn: string): readonly string[] {
  return partitions.kept.map((name) => partitionOf(instanceCrn, name));
}

/** Every partition of an instance, that of its data keys first. */
export function allPartitions(instanceCrn: string): readonly string[] {
  const names = [...partitions.certificates, ...partitions.kept, ...partitions.passing];
  return [dataKeyPartition(instanceCrn), ...names.map((name) => partitionOf(instanceCrn, name))];
}

/** The partitions of the registry, which all instances of a table have together. */
export const registryPartitions = {
  /** One row for each instance. */
  instances: 'instances.1',
  /** CRNs of what was erased, for good. */
  erased: 'instances.1/erased',
  /** A number that goes up with each change. */
  revision: 'instances.1/revision',
  /** Which snapshot an instance is being restored from. */
  restore: 'instances.1/restore',
} as const;
