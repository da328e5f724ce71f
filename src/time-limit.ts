/**
 * A signal that aborts after so many milliseconds, with a `TimeoutError`, or as soon as one of the
 * others does, with the reason of that one. In the place of `AbortSignal.any` with an
 * `AbortSignal.timeout`: in Node 20 nothing holds on to that timeout, so that it never comes if
 * memory is collected before. The timer keeps no process from ending.
 */
export function timeLimit(milliseconds: number, ...others: readonly AbortSignal[]): AbortSignal {
  const ending = new AbortController();
  const { signal } = ending;
  const late = () => ending.abort(new DOMException(`not done in ${milliseconds} ms`, 'TimeoutError'));
  const timer = setTimeout(late, milliseconds).unref();
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  for (const other of others) {
    if (other.aborted) ending.abort(other.reason);
    else other.addEventListener('abort', () => ending.abort(other.reason), { once: true, signal });
  }
  return signal;
}
