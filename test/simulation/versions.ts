import { CodedError, type ErrorCode } from '../../src/errors.ts';
import { idempotencyRecords } from '../../src/records/idempotency-records.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { acknowledge } from '../../src/replication/acknowledge.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { sharedListings } from '../../src/replication/shared-listing.ts';
import { sweep } from '../../src/replication/sweep.ts';
import type { Reading, Store } from '../../src/store/store.ts';
import type { Table } from '../../src/table/table.ts';
import * as before from '../version-before/heart.js';
// The version before asks certificates for their legacy form. On Node 24.21 that question, asked
// before `node:tls` is loaded, leaves it without `createSecureContext` in the whole process, which
// test files share.
import 'node:tls';

/** What a worker is made of, in one version of the program. */
export interface Version {
  readonly name: 'now' | 'before';
  readonly heart: {
    readonly idempotencyRecords: typeof idempotencyRecords;
    readonly linkRecords: typeof linkRecords;
    readonly replicationRecords: typeof replicationRecords;
    readonly acknowledge: typeof acknowledge;
    readonly reconcile: typeof reconcile;
    readonly replicate: typeof replicate;
    readonly sharedListings: typeof sharedListings;
    readonly sweep: typeof sweep;
  };
  /** A store and a table as a worker of this version meets them. */
  readonly store: (store: Store) => Store;
  readonly table: (table: Table) => Table;
}

const asItIs = <T>(it: T): T => it;

export const now: Version = {
  name: 'now',
  heart: {
    idempotencyRecords,
    linkRecords,
    replicationRecords,
    acknowledge,
    reconcile,
    replicate,
    sharedListings,
    sweep,
  },
  store: asItIs,
  table: asItIs,
};

/**
 * The one of `test/version-before/`. Its kinds threw errors of their own class, of the codes that
 * there were.
 */
const theOneBefore: Version = {
  name: 'before',
  heart: {
    ...before,
    // One event, for one link.
    acknowledge: async (parts, [link = ''], [event]) => {
      if (event === undefined) throw new Error('an acknowledgement of nothing');
      return before.acknowledge(parts, link, event);
    },
  },
  store: (store) => ({
    ...throwingAsBefore(store),
    readMetadata: async (id, options) => readAsBefore(await store.readMetadata(id, options)),
    read: async (id, options) => readAsBefore(await store.read(id, options)),
  }),
  table: throwingAsBefore,
};

/** The same object, whose methods throw errors of the version before. */
function throwingAsBefore<T extends object>(kind: T): T {
  const members = Object.entries(kind).map(([name, member]) => [
    name,
    typeof member !== 'function'
      ? member
      : (...given: unknown[]) => {
          try {
            const answer = member(...given);
            return answer instanceof Promise ? answer.catch(rethrowAsBefore) : answer;
          } catch (thrown) {
            return rethrowAsBefore(thrown);
          }
        },
  ]);
  return Object.fromEntries(members) as T;
}

function rethrowAsBefore(thrown: unknown): never {
  throw thrown instanceof CodedError ? asBefore(thrown) : thrown;
}

function readAsBefore<T>(reading: Reading<T>): Reading<T> {
  return reading.state === 'unreadable' ? { ...reading, error: asBefore(reading.error) } : reading;
}

/** An error as that version knows it: a code that came later is `store_refused` to it. */
function asBefore({ code, message, cause, fields }: CodedError): CodedError {
  const known: ErrorCode = Object.hasOwn(before.errorRegistry, code) ? code : 'store_refused';
  return new before.CodedError(known, message, { cause, fields });
}

/** All processes are of the version before. */
export const allBefore: Rollout = { next: () => theOneBefore, replacedAt: [] };

/** Which version a process starts with, and when all that run are replaced. */
export interface Rollout {
  readonly next: () => Version;
  readonly replacedAt: readonly number[];
}

/**
 * Old and new side by side, each process as the dice say; or all of one version, all of the other,
 * and back: within this time from the start on, in milliseconds.
 */
export function rollout(dice: () => number, time: { now(): number }, durationMs: number): Rollout {
  const either = (share: number) => (dice() < share ? now : theOneBefore);
  if (dice() < 0.5) return { next: () => either(0.5), replacedAt: [] };
  const first = either(0.5);
  const other = first === now ? theOneBefore : now;
  const there = time.now() + dice() * durationMs;
  const back = there + dice() * (time.now() + durationMs - there);
  return { next: () => (time.now() < there || time.now() >= back ? first : other), replacedAt: [there, back] };
}
