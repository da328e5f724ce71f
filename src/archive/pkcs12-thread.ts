import { once } from 'node:events';
import { isMainThread, type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads';
import { CodedError, type ErrorCode, type ErrorFields } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Secret } from '../secret.ts';
import type { KeyBag, Pkcs12Bags } from './pkcs12-bags.ts';

/**
 * PKCS#12 files are opened in a thread: the file itself says how many rounds of derivation it
 * takes, and what runs them cannot be stopped otherwise. This module is both sides: the one that
 * asks, and what the thread runs. It is therefore imported by `import()` alone, so that the build
 * gives it a file of its own that loads nothing else.
 */

/** Opens PKCS#12 files, one after the other. */
export interface Pkcs12Opener {
  /**
   * Takes a file apart. The bytes are handed over: they are empty afterwards. Throws what
   * `openBags` does, `archive_costly` when it takes longer than `limits.pkcs12OpenMs`, and the
   * signal's reason.
   */
  open(
    bytes: Uint8Array<ArrayBuffer>,
    options: { readonly passphrase?: Secret; readonly acceptNoMac: boolean },
  ): Promise<Pkcs12Bags>;
  /** Ends the thread, whatever it does. */
  close(): Promise<void>;
}

interface Request {
  readonly bytes: Uint8Array;
  /** UTF-8; overwritten by the thread when it has been read. */
  readonly passphrase: Uint8Array | undefined;
  readonly acceptNoMac: boolean;
}

type Reply =
  | { readonly bags: Pkcs12Bags }
  | {
      readonly failure: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly fields: ErrorFields;
        readonly cause: string;
      };
    };

const threadName = 'certstandby-pkcs12';

/** An opener with a thread that starts with the first file, and again after one that was ended. */
export function pkcs12Opener(signal?: AbortSignal, openMs: number = limits.pkcs12OpenMs): Pkcs12Opener {
  let thread: Worker | undefined;
  const close = async () => {
    const ending = thread;
    thread = undefined;
    await ending?.terminate();
  };
  return {
    close,
    async open(bytes, { passphrase, acceptNoMac }) {
      signal?.throwIfAborted();
      thread ??= startThread();
      const secret = passphrase && ownMemory(passphrase.revealBytes());
      const request: Request = { bytes, passphrase: secret, acceptNoMac };
      try {
        return await answerOf(thread, request, { signal, openMs });
      } catch (thrown) {
        // What the file itself was refused for leaves the thread as it was; whatever else came, it
        // may still be at work.
        if (!(thrown instanceof Refused)) {
          await close();
          throw thrown;
        }
        throw thrown.error;
      }
    },
  };
}

/** What the thread said of a file, as against what became of the thread. */
class Refused extends Error {
  readonly error: CodedError;

  constructor(error: CodedError) {
    super(error.message);
    this.error = error;
  }
}

function startThread(): Worker {
  const thread = new Worker(new URL(import.meta.url), {
    name: threadName,
    workerData: threadName,
    // The passphrase may stand in the environment, and the thread needs nothing of it.
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: limits.pkcs12MemoryMib },
  });
  // Nobody waits for a thread that has nothing to do.
  thread.unref();
  return thread;
}

async function answerOf(
  thread: Worker,
  request: Request,
  { signal, openMs }: { readonly signal: AbortSignal | undefined; readonly openMs: number },
): Promise<Pkcs12Bags> {
  const waiting = new AbortController();
  const stop = () => waiting.abort(signal?.reason);
  signal?.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(() => waiting.abort(tooLong(openMs)), openMs);
  thread.ref();
  try {
    const answer = once(thread, 'message', { signal: waiting.signal });
    thread.postMessage(
      request,
      [request.bytes.buffer, request.passphrase?.buffer].filter((each) => each !== undefined) as ArrayBuffer[],
    );
    const [reply] = (await answer) as [Reply];
    if ('bags' in reply) return reply.bags;
    const { code, message, fields, cause } = reply.failure;
    throw new Refused(new CodedError(code, message, { fields, ...(cause !== '' && { cause: new Error(cause) }) }));
  } catch (thrown) {
    if (waiting.signal.aborted) throw waiting.signal.reason;
    if ((thrown as NodeJS.ErrnoException | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY') throw tooMuchMemory(thrown);
    throw thrown;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
    thread.unref();
  }
}

function tooLong(limitMs: number): CodedError {
  const seconds = limitMs / 1000;
  return new CodedError('archive_costly', `it was not open after ${seconds} s, and longer is not waited here`, {
    fields: { limitMs },
  });
}

function tooMuchMemory(cause: unknown): CodedError {
  return new CodedError('archive_costly', `it takes more than ${limits.pkcs12MemoryMib} MiB of memory to open`, {
    cause,
    fields: { limitMib: limits.pkcs12MemoryMib },
  });
}

/** The same bytes in memory that can be handed over whole. */
function ownMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const own = new Uint8Array(new ArrayBuffer(bytes.length));
  own.set(bytes);
  bytes.fill(0);
  return own;
}

/** What the thread runs: answers each request with one reply. */
async function serve(port: MessagePort): Promise<void> {
  const { openBags } = await import('./pkcs12-bags.ts');
  port.on('message', ({ bytes, passphrase, acceptNoMac }: Request) => {
    const text = passphrase && Buffer.from(passphrase.buffer).toString('utf8');
    passphrase?.fill(0);
    try {
      const { keys, certificates, passedOver } = openBags(bytes, { passphrase: text, acceptNoMac });
      // Handed over and not copied: a copy would take with it whatever else lies in the same
      // memory.
      const owned = <Bag extends KeyBag>(bag: Bag) => ({ ...bag, der: ownMemory(bag.der) });
      const bags = { keys: keys.map(owned), certificates: certificates.map(owned), passedOver };
      const memory = [...bags.keys, ...bags.certificates].map(({ der }) => der.buffer);
      port.postMessage({ bags } satisfies Reply, memory);
    } catch (thrown) {
      port.postMessage({ failure: failureOf(thrown) } satisfies Reply);
    }
  });
}

function failureOf(thrown: unknown) {
  const cause = (thrown as Error).cause instanceof Error ? ((thrown as Error).cause as Error).message : '';
  if (thrown instanceof CodedError) return { code: thrown.code, message: thrown.message, fields: thrown.fields, cause };
  return { code: 'internal' as const, message: `opening it failed: ${(thrown as Error).message}`, fields: {}, cause };
}

if (!isMainThread && parentPort !== null && workerData === threadName) await serve(parentPort);
