import { defined } from '../defined.ts';
import type { Runtime } from '../runtime.ts';
import { sameMark } from './mark.ts';
import type { LongWrite, OperationAsked, OperationState, StoreAbilities } from './store.ts';

/** The writes that a memory store goes on with after it has answered them. */
export interface MemoryOperations {
  /**
   * Lets this take effect later, and answers its handle; `undefined`: such writes are done at once.
   */
  begin(about: Omit<OperationAsked, 'handle'>, effect: () => void): string | undefined;
  /** Lets everything take effect that has come due. What cannot any more has no effect. */
  land(): void;
  /** The handle of such a write that goes on. */
  going(about: { readonly kind: LongWrite; readonly id: string }): string | undefined;
  stateOf(asked: OperationAsked): OperationState;
}

/** `takeMs`: how long each goes on; absent: none does. */
export function memoryOperations(
  { now }: Pick<Runtime, 'now'>,
  { longWrites }: Pick<StoreAbilities, 'longWrites'>,
  takeMs: number | undefined,
): MemoryOperations {
  interface Going extends Omit<OperationAsked, 'handle'> {
    readonly at: number;
    readonly effect: () => void;
  }
  const going = new Map<string, Going>();
  const ended = new Map<string, Pick<OperationAsked, 'kind' | 'id'>>();
  let counter = 0;

  function land(): void {
    for (const [handle, { at, kind, id, effect }] of [...going]) {
      if (at > now()) continue;
      // First: what takes effect looks at the rows, and these let everything land.
      going.delete(handle);
      ended.set(handle, { kind, ...defined({ id }) });
      try {
        effect();
      } catch {
        // It is gone, or its name was taken meanwhile: such an operation ends without effect.
      }
    }
  }

  const handleOf = ({ kind, id, mark }: Omit<OperationAsked, 'handle'>): string | undefined =>
    [...going].find(
      ([, one]) =>
        one.kind === kind && (id === undefined ? mark !== undefined && sameMark(one.mark, mark) : one.id === id),
    )?.[0];

  return {
    begin(about, effect) {
      if (takeMs === undefined || longWrites?.[about.kind] === undefined) return undefined;
      counter += 1;
      const handle = `operation-${counter}`;
      going.set(handle, { ...about, at: now() + takeMs, effect });
      return handle;
    },
    land,
    going: handleOf,
    stateOf({ handle, ...about }) {
      land();
      const found = handle ?? handleOf(about);
      if (found === undefined) return { state: 'unknown' };
      if (going.has(found)) return { state: 'running', handle: found };
      const id = ended.get(found)?.id;
      return ended.has(found) ? { state: 'ended', ...defined({ id }) } : { state: 'unknown' };
    },
  };
}
