import type { Wake } from './dispatch.ts';

/**
 * Sends wake-ups in batches, some at one time. Answers what the batches that failed threw; the
 * others were sent.
 */
export async function sendInBatches(
  wakes: readonly Wake[],
  { size, atOnce }: { readonly size: number; readonly atOnce: number },
  send: (batch: readonly Wake[]) => Promise<void>,
): Promise<readonly unknown[]> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async () => {
    while (next < wakes.length) {
      const batch = wakes.slice(next, next + size);
      next += size;
      await send(batch).catch((thrown: unknown) => void failures.push(thrown));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return failures;
}
