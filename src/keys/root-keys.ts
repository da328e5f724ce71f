import { timingSafeEqual } from 'node:crypto';
import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import type { Runtime } from '../runtime.ts';
import type { KeyContext, RootKey } from './root-key.ts';

/** What a failed call to a root key says about it. */
export type RootKeyFailure = 'unavailable' | 'refused' | 'unreadable';

export interface RootKeyState {
  readonly state: 'unasked' | 'opens' | RootKeyFailure;
  readonly since?: number;
}

type Operation = 'wrap' | 'unwrap' | 'rewrap';

/** What was found where one wrap of a data key was opened. */
export interface Opened {
  readonly rootKey: RootKey;
  readonly dataKey: Uint8Array;
  readonly renewed?: string;
}

/** The configured root keys of a tenant: asked, counted and watched. */
export interface RootKeys {
  readonly all: readonly RootKey[];
  /** One call to one of them. Throws what it throws, as a coded error. */
  unwrap(rootKey: RootKey, wrapped: string, context: KeyContext): Promise<Opened>;
  /**
   * A wrap of this data key that was proven to open again; anew from `old`, if the service does
   * that by itself.
   */
  wrap(rootKey: RootKey, dataKey: Uint8Array, context: KeyContext, old?: string): Promise<string>;
  /** Opens one of the wraps: the root keys that worked last come first. Throws when none does. */
  unwrapAny(dataKeyId: string, wraps: ReadonlyMap<string, string>, context: KeyContext): Promise<Opened>;
  states(): readonly (RootKeyState & { readonly id: string })[];
  calls(): Readonly<Record<Operation, number>>;
}

export const dataKeyBytes = 32;
const probeEveryMs = 60_000;

export function failureOf(thrown: unknown): RootKeyFailure {
  const { code } = asCodedError(thrown);
  if (code === 'keys_unavailable') return 'unavailable';
  return code === 'keys_unreadable' ? 'unreadable' : 'refused';
}

export function rootKeySet(options: {
  readonly rootKeys: readonly RootKey[];
  readonly runtime: Runtime;
  readonly log: Log;
}): RootKeys {
  const { rootKeys, runtime, log } = options;
  const states = new Map<string, RootKeyState>();
  const askedAt = new Map<string, number>();
  const calls = { wrap: 0, unwrap: 0, rewrap: 0 };

  function note(rootKey: RootKey, state: RootKeyState['state'], thrown?: unknown): void {
    const before = states.get(rootKey.id)?.state;
    if (before === state) return;
    states.set(rootKey.id, { state, since: runtime.now() });
    const fields = { rootKey: rootKey.id };
    if (state !== 'opens') log('error', 'root_key_failed', { ...fields, ...errorFields(asCodedError(thrown)) });
    else if (before !== undefined) log('info', 'root_key_opens_again', fields);
  }

  async function ask<Result>(rootKey: RootKey, operation: Operation, call: () => Promise<Result>): Promise<Result> {
    calls[operation] += 1;
    askedAt.set(rootKey.id, runtime.now());
    try {
      const result = await call();
      note(rootKey, 'opens');
      return result;
    } catch (thrown) {
      note(rootKey, failureOf(thrown), thrown);
      throw asCodedError(thrown);
    }
  }

  async function unwrap(rootKey: RootKey, wrapped: string, context: KeyContext): Promise<Opened> {
    return ask(rootKey, 'unwrap', async () => {
      const { dataKey, renewed } = await rootKey.unwrap(wrapped, context);
      if (dataKey.length === dataKeyBytes) return { rootKey, dataKey, ...defined({ renewed }) };
      dataKey.fill(0);
      throw new CodedError('keys_unreadable', `what ${rootKey.id} opened is no key of ${dataKeyBytes} bytes`);
    });
  }

  /** Where the old wrap is the damaged one, the data key itself is wrapped. */
  async function rewrap(rootKey: RootKey, old: string, context: KeyContext): Promise<string | undefined> {
    const again = rootKey.rewrap;
    if (again === undefined) return undefined;
    return ask(rootKey, 'rewrap', () => again(old, context)).catch((thrown: unknown) => {
      if (failureOf(thrown) !== 'unreadable') throw thrown;
      return undefined;
    });
  }

  async function wrap(rootKey: RootKey, dataKey: Uint8Array, context: KeyContext, old?: string): Promise<string> {
    const wrapped =
      (old !== undefined && (await rewrap(rootKey, old, context))) ||
      (await ask(rootKey, 'wrap', () => rootKey.wrap(dataKey, context)));
    // Rights to wrap without rights to unwrap would be noticed when it is too late.
    const opened = await unwrap(rootKey, wrapped, context);
    const equal = timingSafeEqual(opened.dataKey, dataKey);
    opened.dataKey.fill(0);
    if (!equal) throw new CodedError('keys_unreadable', `${rootKey.id} did not give back the data key that it wrapped`);
    return opened.renewed ?? wrapped;
  }

  const isTroubled = ({ id }: RootKey) => !['unasked', 'opens'].includes(states.get(id)?.state ?? 'unasked');

  /**
   * Asks those that failed last, beside the work that another one has done: else nobody would
   * notice that they are back.
   */
  function probe(wraps: ReadonlyMap<string, string>, context: KeyContext): void {
    for (const rootKey of rootKeys.filter(isTroubled)) {
      const wrapped = wraps.get(rootKey.id);
      if (wrapped === undefined || runtime.now() < (askedAt.get(rootKey.id) ?? 0) + probeEveryMs) continue;
      unwrap(rootKey, wrapped, context).then(
        ({ dataKey }) => dataKey.fill(0),
        () => {},
      );
    }
  }

  return {
    all: rootKeys,
    unwrap,
    wrap,

    async unwrapAny(dataKeyId, wraps, context) {
      const failures: { readonly rootKey: string; readonly error: CodedError }[] = [];
      for (const rootKey of rootKeys.toSorted((a, b) => Number(isTroubled(a)) - Number(isTroubled(b)))) {
        const wrapped = wraps.get(rootKey.id);
        if (wrapped === undefined) continue;
        try {
          const opened = await unwrap(rootKey, wrapped, context);
          probe(wraps, context);
          return opened;
        } catch (thrown) {
          failures.push({ rootKey: rootKey.id, error: asCodedError(thrown) });
        }
      }
      throw closed(dataKeyId, context, [...wraps.keys()], failures);
    },

    states: () => rootKeys.map(({ id }) => ({ id, ...(states.get(id) ?? { state: 'unasked' }) })),
    calls: () => ({ ...calls }),
  };
}

/**
 * The one error for a data key that no root key opens. What may pass by itself comes first: then it
 * is worth another try.
 */
function closed(
  dataKey: string,
  context: KeyContext,
  wrappedBy: readonly string[],
  failures: readonly { readonly rootKey: string; readonly error: CodedError }[],
): CodedError {
  const order: readonly RootKeyFailure[] = ['unavailable', 'refused', 'unreadable'];
  const [worst] = failures.toSorted((a, b) => order.indexOf(failureOf(a.error)) - order.indexOf(failureOf(b.error)));
  const { tenant } = context;
  const what = `data key ${dataKey} of ${tenant} does not open`;
  if (worst === undefined)
    return new CodedError('keys_unreadable', `${what}: no configured root key wraps it, only ${wrappedBy.join(', ')}`, {
      fields: { tenant, dataKey, wrappedBy },
    });
  const found = failures.map(({ rootKey, error }) => `${rootKey}: ${error.message}`).join('; ');
  return new CodedError(worst.error.code, `${what}: ${found}`, {
    cause: worst.error,
    fields: { tenant, dataKey, rootKeys: failures.map(({ rootKey, error }) => `${rootKey} ${error.code}`) },
  });
}
