import { randomBytes } from 'node:crypto';
import { CodedError, type ErrorCode } from '../../src/errors.ts';
import { type Keyring, keyring } from '../../src/keys/keyring.ts';
import type { KeyContext, RootKey } from '../../src/keys/root-key.ts';
import { silentLog } from '../../src/log.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Table } from '../../src/table/table.ts';

/** A root key in this process, counted, and out of order when told so. */
export interface TestRootKey extends RootKey {
  /** What every call throws from now on. */
  fail(code: ErrorCode | undefined): void;
}

export function testRootKey(id = 'test:root-key'): TestRootKey {
  const kept = new Map<string, { readonly dataKey: Uint8Array; readonly context: string }>();
  let failing: ErrorCode | undefined;
  const asked = () => {
    if (failing !== undefined) throw new CodedError(failing, 'the root key of the test is out of order');
  };
  const text = (context: KeyContext) => JSON.stringify(Object.entries(context).sort());
  return {
    id,
    fail: (code) => {
      failing = code;
    },
    async wrap(dataKey, context) {
      asked();
      const wrapped = randomBytes(12).toString('hex');
      kept.set(wrapped, { dataKey: Uint8Array.from(dataKey), context: text(context) });
      return wrapped;
    },
    async unwrap(wrapped, context) {
      asked();
      const found = kept.get(wrapped);
      if (found?.context !== text(context)) throw new CodedError('keys_unreadable', 'not wrapped here');
      return { dataKey: Uint8Array.from(found.dataKey) };
    },
    close: async () => {},
  };
}

/**
 * A keyring with a root key of this process; its data keys lie on a table of their own if none is
 * given.
 */
export function testKeyring(
  tenant: string,
  options: {
    readonly table?: Table;
    readonly rootKey?: RootKey;
    readonly runtime?: Runtime;
    readonly cacheMs?: number;
    readonly outageMs?: number;
  } = {},
): Keyring {
  const { table = memoryTable(), rootKey = testRootKey(), runtime = systemRuntime, ...times } = options;
  return keyring({ table, tenant, rootKeys: [rootKey], runtime, log: silentLog, ...times });
}
