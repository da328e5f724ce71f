import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import { type Mark, sameMark } from '../store/mark.ts';
import type { CertificateMetadata, Reading, Store, StoredCertificate } from '../store/store.ts';
import { withDeadline } from './deadline.ts';
import type { KeysRead } from './keys-read.ts';
import { readBy } from './look.ts';

/** The calls of one pass to one backup: each ends before the lease does, and what was sent is remembered. */
export interface BackupCalls {
  /** A full read; `undefined` if nothing is there. Throws if it cannot be read. */
  read(id: string): Promise<StoredCertificate | undefined>;
  /** The same, of metadata. */
  readMetadata(id: string): Promise<CertificateMetadata | undefined>;
  /** Sends a write. One that is not answered by the end is doubtful. */
  send<T>(write: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /**
   * Removes these copies, each after a direct read has shown that it still carries our mark. Answers how many, and which the
   * service refuses to remove; throws what is no such refusal.
   */
  removeMarked(copies: readonly CertificateMetadata[], mark: Mark): Promise<Removals>;
  /** Whether this was thrown by a write: what a service says of a read is not what it says of content. */
  answeredWrite(thrown: unknown): boolean;
  /** A write was sent (a delete is one), whatever came of it. */
  readonly wrote: boolean;
  /** A write got no answer that says what became of it. */
  readonly doubtful: boolean;
}

export interface Removals {
  readonly removed: number;
  readonly refused: readonly { readonly id: string; readonly error: CodedError }[];
}

/** Why a service does not let a copy go. */
const refusesRemoval: ReadonlySet<ErrorCode> = new Set(['store_in_use', 'store_held', 'store_refused']);

/** `writeBy`: no call is sent or waited for after this moment. */
export function backupCalls(runtime: Runtime, store: Store, writeBy: number, keys: KeysRead): BackupCalls {
  const fields = { store: store.id };
  let wrote = false;
  let doubtful = false;
  const byWrites = new WeakSet<object>();

  async function send<T>(write: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (runtime.now() >= writeBy) {
      throw new CodedError('store_unavailable', 'no time was left in the lease to send a write', { fields });
    }
    wrote = true;
    try {
      return await withDeadline(runtime, writeBy, write, () => {
        throw new CodedError('store_unanswered', `${store.id} did not answer a write in time`, { fields });
      });
    } catch (thrown) {
      if (typeof thrown === 'object' && thrown !== null) byWrites.add(thrown);
      if (asCodedError(thrown).entry.applied === 'unknown') doubtful = true;
      throw thrown;
    }
  }

  async function held<T>(read: (signal: AbortSignal) => Promise<Reading<T>>): Promise<T | undefined> {
    const reading = await readBy(runtime, writeBy, store, read);
    if (reading.state === 'unreadable') throw reading.error;
    return reading.state === 'present' ? reading.value : undefined;
  }
  const readMetadata = (id: string) => held((signal) => store.readMetadata(id, { signal }));

  return {
    send,
    read: (id) => held(async (signal) => keys.keep(await store.read(id, { signal }))),
    readMetadata,
    async removeMarked(copies, mark) {
      let removed = 0;
      const refused: { readonly id: string; readonly error: CodedError }[] = [];
      for (const { id } of copies) {
        if (!sameMark((await readMetadata(id))?.mark, mark)) continue;
        try {
          await send((signal) => store.delete(id, { signal }));
          removed += 1;
        } catch (thrown) {
          const error = asCodedError(thrown);
          if (!refusesRemoval.has(error.code)) throw thrown;
          refused.push({ id, error });
        }
      }
      return { removed, refused };
    },
    answeredWrite: (thrown) => typeof thrown === 'object' && thrown !== null && byWrites.has(thrown),
    get wrote() {
      return wrote;
    },
    get doubtful() {
      return doubtful;
    },
  };
}
