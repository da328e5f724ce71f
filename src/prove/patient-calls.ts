import { defined } from '../defined.ts';
import { asCodedError } from '../errors.ts';
import { listAll } from '../replication/shared-listing.ts';
import { type GoingOn, seenToEnd } from '../replication/write-to-end.ts';
import type { Runtime } from '../runtime.ts';
import type { CallOptions, CertificateMetadata, LongWrite, Reading, Store, WriteAnswer } from '../store/store.ts';

/**
 * Calls of a proof: what a limit or a bad connection puts off is sent again, a bounded number of
 * times, and all is counted.
 */
export interface PatientCalls {
  readonly runtime: Runtime;
  readonly store: Store;
  /**
   * Sends a write; answers what came back, and when. It is sent again only if it certainly was not
   * done. One that the service goes on with counts as answered when it has ended (`about` says what
   * it is, `copy` where its id is known); throws `store_operation_unfinished`.
   */
  send<T>(
    write: (call: CallOptions) => Promise<T>,
    about: LongWrite | 'describe',
    copy?: string,
  ): Promise<{ readonly answer: T; readonly answeredAt: number }>;
  /** Sends a write once, ended by this signal too. */
  sendOnce<T>(write: (call: CallOptions) => Promise<T>, end: AbortSignal): Promise<T>;
  /** What a read gives; `undefined` if nothing is there. Throws what makes it unreadable. */
  read<T>(ask: (call: CallOptions) => Promise<Reading<T>>): Promise<T | undefined>;
  /** A question, which may be asked as often as one likes. */
  ask<T>(question: (call: CallOptions) => Promise<T>): Promise<T>;
  /** All that the store lists, page by page. */
  list(): AsyncGenerator<CertificateMetadata>;
  /** Requests so far, and how many of them a limit put off. */
  readonly sent: number;
  readonly limited: number;
}

/**
 * How often a request is sent at the most, by what came of it. What is not here is not sent again.
 */
const triesOf: Readonly<Record<string, number>> = { store_limited: 20, store_unavailable: 4, store_unanswered: 4 };
/** The wait before that where nothing names one, in milliseconds. */
const pauseMs = 1_000;

export function patientCalls(
  runtime: Runtime,
  store: Store,
  signal: AbortSignal | undefined,
  goesOn?: (about: GoingOn) => void,
): PatientCalls {
  let sent = 0;
  let limited = 0;
  const call: CallOptions = signal === undefined ? {} : { signal };

  async function again<T>(request: (call: CallOptions) => Promise<T>, isWrite: boolean): Promise<T> {
    for (let tried = 1; ; tried += 1) {
      signal?.throwIfAborted();
      sent += 1;
      try {
        return await request(call);
      } catch (thrown) {
        const { code, entry, retryAfterMs = pauseMs } = asCodedError(thrown);
        // What ended with the signal failed because of it, whatever the store made of that.
        signal?.throwIfAborted();
        if (tried >= (triesOf[code] ?? 1) || (isWrite && entry.applied === 'unknown')) throw thrown;
        if (code === 'store_limited') limited += 1;
        await runtime.wait(retryAfterMs, signal);
      }
    }
  }
  const ask = <T>(question: (call: CallOptions) => Promise<T>) => again(question, false);

  return {
    runtime,
    store,
    ask,
    async send(write, about, copy) {
      const answer = await again(write, true);
      const { id = copy, running: handle } = (answer ?? {}) as Partial<WriteAnswer>;
      if (handle !== undefined && about !== 'describe') {
        const isDone = async (options: CallOptions) =>
          id !== undefined &&
          (await store.readMetadata(id, options)).state === (about === 'delete' ? 'absent' : 'present');
        await seenToEnd({ runtime, store, signal, goesOn }, { kind: about, handle, ...defined({ id }), isDone });
      }
      return { answer, answeredAt: runtime.now() };
    },
    async sendOnce(write, end) {
      signal?.throwIfAborted();
      sent += 1;
      try {
        return await write({ signal: signal === undefined ? end : AbortSignal.any([signal, end]) });
      } catch (thrown) {
        signal?.throwIfAborted();
        throw thrown;
      }
    },
    async read(question) {
      return ask(async (options) => {
        const reading = await question(options);
        if (reading.state === 'unreadable') throw reading.error;
        return reading.state === 'present' ? reading.value : undefined;
      });
    },
    list: () => {
      const patient = { ...store, list: (request: object) => ask((options) => store.list({ ...request, ...options })) };
      // What others have there is not looked at, and what this has made is found by its id.
      return listAll(patient, { unreadable: () => undefined });
    },
    get sent() {
      return sent;
    },
    get limited() {
      return limited;
    },
  };
}
