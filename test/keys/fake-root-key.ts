import { CodedError, type ErrorCode } from '../../src/errors.ts';
import type { KeyContext, RootKey } from '../../src/keys/root-key.ts';

type Operation = 'wrap' | 'unwrap' | 'rewrap';

/**
 * A root key of this process that does what a test wants. What it wrapped is hexadecimal, and not
 * secret at all.
 */
export interface FakeRootKey extends RootKey {
  readonly calls: Record<Operation, number>;
  /** Every data key that it gave out, as given: wiped, once whoever got it has wiped it. */
  readonly given: Uint8Array[];
  /** Every data key that it was given to wrap. */
  readonly taken: Uint8Array[];
  /** What calls throw from now on. */
  fail(code: ErrorCode | undefined, operation?: Operation): void;
  /** From now on another version wraps; what older ones wrapped is renewed when it is opened. */
  rotate(): void;
  /** Calls wait from now on until the function that this gives is called. */
  hold(): () => void;
}

export function fakeRootKey(id: string, options: { readonly rewraps?: boolean } = {}): FakeRootKey {
  const calls = { wrap: 0, unwrap: 0, rewrap: 0 };
  const given: Uint8Array[] = [];
  const taken: Uint8Array[] = [];
  let version = 1;
  let failing: { readonly code: ErrorCode; readonly operation?: Operation | undefined } | undefined;
  let held: Promise<void> | undefined;

  async function ask(operation: Operation): Promise<void> {
    calls[operation] += 1;
    await held;
    if (failing !== undefined && (failing.operation ?? operation) === operation)
      throw new CodedError(failing.code, `${id} fails, as the test wants`);
  }

  const bound = (context: KeyContext) => JSON.stringify(Object.entries(context).sort());
  const textOf = (dataKey: Uint8Array, context: KeyContext) =>
    JSON.stringify([id, version, Buffer.from(dataKey).toString('hex'), bound(context)]);

  function opened(wrapped: string, context: KeyContext): { dataKey: Uint8Array; old: boolean } {
    const [maker, by, hex, boundTo] = wrapped.startsWith('["')
      ? (JSON.parse(wrapped) as [string, number, string, string])
      : [];
    if (maker !== id || boundTo !== bound(context)) throw new CodedError('keys_unreadable', `${id} did not wrap this`);
    return { dataKey: Uint8Array.from(Buffer.from(hex ?? '', 'hex')), old: by !== version };
  }

  return {
    id,
    calls,
    given,
    taken,
    fail(code, operation) {
      failing = code && { code, operation };
    },
    rotate() {
      version += 1;
    },
    hold() {
      let release = () => {};
      held = new Promise((resolve) => {
        release = () => {
          held = undefined;
          resolve();
        };
      });
      return () => release();
    },
    async wrap(dataKey, context) {
      taken.push(dataKey);
      await ask('wrap');
      return textOf(dataKey, context);
    },
    async unwrap(wrapped, context) {
      await ask('unwrap');
      const { dataKey, old } = opened(wrapped, context);
      given.push(dataKey);
      return { dataKey, ...(old && { renewed: textOf(dataKey, context) }) };
    },
    ...(options.rewraps && {
      async rewrap(wrapped: string, context: KeyContext) {
        await ask('rewrap');
        return textOf(opened(wrapped, context).dataKey, context);
      },
    }),
    async close() {},
  };
}
