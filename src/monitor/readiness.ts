import { asCodedError, type ErrorCode, remedyOf } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';

/** Why a notification would not be acknowledged now. */
export interface NotReady {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

/** How long an answer holds, so that nobody loads the table by asking. */
const holdsMs = 2_000;

/**
 * Whether a notification would be acknowledged now: the table takes writes, and each callback has
 * the key that verifies. Empty if so. Nothing else counts. A backup that is down, or a reconcile
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
}): () => Promise<readonly NotReady[]> {
  const { table, callbacks, runtime } = options;
  let checkedAt = Number.NEGATIVE_INFINITY;
  let checking: Promise<readonly NotReady[]> | undefined;

  async function check(): Promise<readonly NotReady[]> {
    const written = table
      .update({ partition: 'monitor.1', sort: 'writable' }, { set: { at: runtime.now() } })
      .then(() => [], notReady);
    const keys = callbacks.map(({ name, verificationKeys }) =>
      verificationKeys().then(({ size }) => (size === 0 ? [keyMissing(name)] : []), notReady),
    );
    return (await Promise.all([written, ...keys])).flat();
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

function keyMissing(link: string): NotReady {
  const code = 'notification_key_missing';
  return { code, message: `the verification key of link ${link} is not here yet`, remedy: remedyOf(code) };
}
