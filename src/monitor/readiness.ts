import { asCodedError, type ErrorCode, remedyOf } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';

/** Why a notification would not be acknowledged now. */
export interface NotReady {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
  /** The callback that it is about; absent: it is about all. */
  readonly callback?: string;
}

/** What is known of whether notifications would be acknowledged now. */
export interface Readiness {
  /** Why none would be; empty: they would. */
  readonly problems: readonly NotReady[];
  /**
   * Callbacks that nothing can be proven at yet, though others take what comes: each tells its
   * sender to come again. One whose keys cannot be had must not take the others out of service.
   */
  readonly waiting: readonly (NotReady & { readonly callback: string })[];
}

/** How long an answer holds, so that nobody loads the table by asking. */
const holdsMs = 2_000;

/**
 * Whether a notification would be acknowledged now: the table takes writes, and there is a callback
 * that has what proves its sender. Nothing else counts. A backup that is down, or a reconcile
 * that has not been, must not take the receiver out of service: what it acknowledges meanwhile is
 * exactly what would be lost. Never rejects.
 */
export function readiness(options: {
  readonly table: Table;
  readonly callbacks: readonly {
    readonly name: string;
    readonly verificationKeys: () => Promise<{ readonly size: number }>;
  }[];
  readonly runtime: Runtime;
}): () => Promise<Readiness> {
  const { table, callbacks, runtime } = options;
  let checkedAt = Number.NEGATIVE_INFINITY;
  let checking: Promise<Readiness> | undefined;

  async function check(): Promise<Readiness> {
    const written = table
      .update({ partition: 'monitor.1', sort: 'writable' }, { set: { at: runtime.now() } })
      .then(() => [], notReady);
    const keys = callbacks.map(async ({ name, verificationKeys }) => {
      const missing = await verificationKeys().then(({ size }) => (size === 0 ? [keyMissing(name)] : []), notReady);
      return missing.map((problem) => ({ ...problem, callback: name }));
    });
    const [problems, waiting] = await Promise.all([written, Promise.all(keys)]);
    const all = waiting.flat();
    const none = callbacks.length > 0 && new Set(all.map(({ callback }) => callback)).size === callbacks.length;
    return none ? { problems: [...problems, ...all], waiting: [] } : { problems, waiting: all };
  }
  return () => {
    if (checking === undefined || runtime.now() - checkedAt >= holdsMs) {
      checkedAt = runtime.now();
      checking = check();
    }
    return checking;
  };
}

function notReady(thrown: unknown): NotReady[] {
  const { code, message, remedy } = asCodedError(thrown);
  return [{ code, message, remedy }];
}

function keyMissing(callback: string): NotReady {
  const code = 'notification_key_missing';
  return {
    code,
    message: `the key that proves what comes to /callback/${callback} is not here yet`,
    remedy: remedyOf(code),
  };
}
