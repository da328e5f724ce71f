import { defaultTiming, type Timing } from '../../src/replication/timing.ts';
import type { Hint, LifecycleEvent } from '../../src/sender/event.ts';
import type { Table } from '../../src/table/table.ts';
import type { SimulatedStore } from './simulated-store.ts';
import type { Switch } from './switches.ts';

/**
 * Senders that do not tell as Certificate Manager does: they name names in place of ids, or sign
 * nothing of what they say.
 */

/** A budget that a short flood goes beyond, so that a seed stays short too. */
export const floodTiming: Partial<Timing> = { unknownPerMinute: 3 };

/** The timing of a world, by its switches. */
export const timingOf = (switches: ReadonlySet<Switch>): Timing => ({
  ...defaultTiming,
  ...(switches.has('unsigned-sender') && floodTiming),
});

/** Whether senders tell otherwise than Certificate Manager does. */
export const tellOtherwise = (switches: ReadonlySet<Switch>): boolean =>
  switches.has('hints') || switches.has('unsigned-sender');

/** What a sender tells of: ids, and the name that goes with them. */
export interface Told {
  readonly ids: readonly string[];
  readonly name: string;
  readonly digest: string;
}

/** The event as the senders of this world tell it. */
export function eventOf(
  { ids, name, digest }: Told,
  { switches, dice }: { readonly switches: ReadonlySet<Switch>; readonly dice: () => number },
): LifecycleEvent {
  const hinted = switches.has('hints');
  return {
    kind: 'reimported',
    changes: true,
    type: 'cert_reimported',
    version: 4,
    store: 'primary',
    certificates: hinted ? [] : ids.map((id) => ({ id, name: '' })),
    ...(hinted && { hints: ids.map((id) => hintOf(id, name, dice)) }),
    ...(switches.has('unsigned-sender') && { unsigned: true as const }),
    digest,
  };
}

/**
 * What stands in the place of an id: the name, or the id without its last two characters, as other
 * ids may begin too.
 */
function hintOf(id: string, name: string, dice: () => number): Hint {
  return dice() < 0.7 ? { by: 'name', text: name } : { by: 'id-start', text: id.slice(0, -2) };
}

/** The certificates that are in the primary at this moment and that an event means. */
export function meantBy({ certificates, hints = [] }: LifecycleEvent, primary: SimulatedStore): string[] {
  const ids = new Set(certificates.map(({ id }) => id));
  return [...primary.rows().values()].flatMap(({ id, metadata }) => {
    const hinted = hints.some(({ by, text }) => (by === 'name' ? metadata.name === text : id.startsWith(text)));
    return ids.has(id) || hinted ? [id] : [];
  });
}

/**
 * A process's table. Where nobody sends hints or floods, what is kept of them is read and deleted
 * without faults: each call that may fail draws from the dice, and a seed without those switches
 * has to stay the world that it was before there were any.
 */
export function withoutTold(own: Table, kept: Table, switches: ReadonlySet<Switch>): Table {
  if (tellOtherwise(switches)) return own;
  const tableOf = (partition: string) => (/^(hint|intake)\.1\//.test(partition) ? kept : own);
  return {
    ...own,
    delete: (key, condition) => tableOf(key.partition).delete(key, condition),
    queryIndex: (query) => tableOf(query.partition).queryIndex(query),
  };
}

/**
 * One flood of events that nobody signed, and how many faults, and stalls among them, had happened
 * when it began.
 */
interface Flood {
  readonly from: number;
  readonly until: number;
  readonly faultsBefore: number;
  readonly stallsBefore: number;
}
export type Floods = Flood[];
