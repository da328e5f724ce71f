import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import type { Operation } from '../../records/replication-record.ts';
import type { Runtime } from '../../runtime.ts';
import { type Mark, sameMark } from '../../store/mark.ts';
import { isOwnLimit } from '../../store/own-limit.ts';
import type { CertificateMetadata, Reading, Store, StoredCertificate, Vacancy } from '../../store/store.ts';
import { withDeadline } from '../deadline.ts';
import type { KeysRead } from '../keys-read.ts';
import { refusesRemoval } from '../refusal.ts';
import { vacancyError } from '../vacancy.ts';
import { readBy } from './look.ts';
import { type NoteOperation, Running } from './operations.ts';

/**
 * The calls of one pass to one backup: each ends before the lease does, and what was sent is
 * remembered.
 */
export interface BackupCalls {
  /**
   * A full read; `undefined` if nothing is there. Throws if it cannot be read, and
   * `store_copy_vacant`.
   */
  read(id: string): Promise<StoredCertificate | undefined>;
  /** The same, of metadata. */
  readMetadata(id: string): Promise<CertificateMetadata | undefined>;
  /**
   * What there is under an id that holds no content; `living` if it holds some, `undefined` if
   * nothing is there. Throws if it cannot be read.
   */
  vacancyOf(id: string): Promise<Vacancy | 'living' | undefined>;
  /** Sends a write. One that is not answered by the end is doubtful. */
  send<T>(write: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /**
   * Sends a write that the service may go on with. Then it is written down before it is started,
   * and once more with its handle. Throws `Running` where the service goes on with it.
   */
  begin<T>(about: Omit<Operation, 'at' | 'handle' | 'until'>, write: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /**
   * Removes these copies, each after a direct read has shown that it still carries our mark.
   * Answers how many, and which the service refuses to remove; throws what is no such refusal.
   */
  removeMarked(copies: readonly Pick<CertificateMetadata, 'id'>[], mark: Mark): Promise<Removals>;
  /**
   * The same of places that hold no content, each after a direct read has shown that it still holds
   * none. What is deleted already is left.
   */
  removeVacant(places: readonly Pick<CertificateMetadata, 'id'>[], mark: Mark): Promise<Removals>;
  /**
   * Whether this was thrown by a write: what a service says of a read is not what it says of
   * content.
   */
  answeredWrite(thrown: unknown): boolean;
  /**
   * An operation that was begun and may go on; the one that the record knew, until its end has been
   * seen.
   */
  operation: Operation | undefined;
  /**
   * A write was sent (a delete is one), whatever came of it; one that a limit of ours kept back was
   * not.
   */
  readonly wrote: boolean;
  /** A write got no answer that says what became of it. */
  readonly doubtful: boolean;
}

export interface Removals {
  readonly removed: number;
  readonly refused: readonly { readonly id: string; readonly error: CodedError }[];
}

/** `writeBy`: no call is sent or waited for after this moment. */
export function backupCalls(
  runtime: Runtime,
  store: Store,
  task: {
    readonly writeBy: number;
    readonly keys: KeysRead;
    readonly noteOperation: NoteOperation;
    readonly operation: Operation | undefined;
  },
): BackupCalls {
  const { writeBy, keys } = task;
  let { operation } = task;
  const fields = { store: store.id };
  let wrote = false;
  let doubtful = false;
  const byWrites = new WeakSet<object>();

  async function send<T>(write: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (runtime.now() >= writeBy) {
      throw new CodedError('store_unavailable', 'no time was left in the lease to send a write', { fields });
    }
    try {
      const answer = await withDeadline(runtime, writeBy, write, () => {
        throw new CodedError('store_unanswered', `${store.id} did not answer a write in time`, { fields });
      });
      wrote = true;
      return answer;
    } catch (thrown) {
      if (typeof thrown === 'object' && thrown !== null) byWrites.add(thrown);
      if (asCodedError(thrown).entry.applied === 'unknown') doubtful = true;
      if (!isOwnLimit(asCodedError(thrown))) wrote = true;
      throw thrown;
    }
  }

  async function begin<T>(
    about: Omit<Operation, 'at' | 'handle' | 'until'>,
    write: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (store.abilities.longWrites?.[about.kind] === undefined) return send(write);
    const intent: Operation = { ...about, at: runtime.now() };
    // Before it is started: a process that takes over then knows that it may go on.
    await task.noteOperation(store.id, intent);
    operation = intent;
    let answer: T;
    try {
      answer = await send(write);
    } catch (thrown) {
      if (asCodedError(thrown).entry.applied !== 'unknown') operation = undefined;
      throw thrown;
    }
    const begun = (answer ?? {}) as { readonly id?: string; readonly running?: string };
    if (begun.running === undefined) {
      operation = undefined;
      return answer;
    }
    const { running: handle, id } = begun;
    operation = { ...intent, ...defined({ id }), handle };
    // The commit writes it too: this is for the case that no commit comes.
    await task.noteOperation(store.id, operation).catch(() => undefined);
    throw new Running(operation);
  }

  /** What a read has answered. Throws where it cannot be read. */
  async function answered<T>(read: (signal: AbortSignal) => Promise<Reading<T>>) {
    const reading = await readBy(runtime, writeBy, store, read);
    if (reading.state === 'unreadable') throw reading.error;
    return reading;
  }
  const metadataAt = (id: string) => answered((signal) => store.readMetadata(id, { signal }));

  async function held<T>(id: string, read: (signal: AbortSignal) => Promise<Reading<T>>): Promise<T | undefined> {
    const reading = await answered(read);
    if (reading.state === 'vacant') throw vacancyError(store.id, id, reading);
    return reading.state === 'present' ? reading.value : undefined;
  }

  async function vacancyOf(id: string): Promise<Vacancy | 'living' | undefined> {
    const reading = await metadataAt(id);
    if (reading.state === 'vacant') return reading;
    return reading.state === 'present' ? 'living' : undefined;
  }

  /** Removes what a direct read still finds to be so. */
  async function remove(
    copies: readonly Pick<CertificateMetadata, 'id'>[],
    isStillSo: (id: string) => Promise<boolean>,
  ): Promise<Removals> {
    let removed = 0;
    const refused: { readonly id: string; readonly error: CodedError }[] = [];
    for (const { id } of copies) {
      if (!(await isStillSo(id))) continue;
      try {
        await begin({ kind: 'delete', id }, (signal) => store.delete(id, { signal }));
        removed += 1;
      } catch (thrown) {
        if (thrown instanceof Running) throw thrown;
        const error = asCodedError(thrown);
        if (!refusesRemoval.has(error.code)) throw thrown;
        refused.push({ id, error });
      }
    }
    return { removed, refused };
  }

  return {
    send,
    begin,
    get operation() {
      return operation;
    },
    set operation(seen) {
      operation = seen;
    },
    read: (id) => held(id, async (signal) => keys.keep(await store.read(id, { signal }))),
    readMetadata: (id) => held(id, (signal) => store.readMetadata(id, { signal })),
    vacancyOf,
    removeMarked: (copies, mark) =>
      remove(copies, async (id) => {
        const reading = await metadataAt(id);
        return reading.state === 'present' && sameMark(reading.value.mark, mark);
      }),
    removeVacant: (places, mark) =>
      remove(places, async (id) => {
        const found = await vacancyOf(id);
        return typeof found === 'object' && found.why !== 'deleted' && sameMark(found.mark, mark);
      }),
    answeredWrite: (thrown) => typeof thrown === 'object' && thrown !== null && byWrites.has(thrown),
    get wrote() {
      return wrote;
    },
    get doubtful() {
      return doubtful;
    },
  };
}
