import { asWakes, openwhiskReplicate, type Parameters } from '../../src/compose/openwhisk-workers.ts';
import { asCodedError } from '../../src/errors.ts';
import { errorFields } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { afterPause, deadline, failure, kept, log } from './platform.ts';

const worker = kept(openwhiskReplicate);

/** What one pass may take: the lease, and what comes before and after it. */
const passMs = 65_000;

/**
 * Looks at the certificates of `wakes`, some at one time. A look that recorded its outcome, failure
 * included, is done. What it has no time for, and what could not be recorded, is due in the
 * records: the sweep wakes it again.
 */
export async function main(parameters: Parameters): Promise<object> {
  await afterPause();
  const beginBy = deadline() - passMs;
  try {
    const waiting = [...asWakes(parameters.wakes)];
    const { replicate, concurrency } = await worker(parameters);
    const total = waiting.length;
    const failures: unknown[] = [];
    const look = async () => {
      for (let wake = waiting.shift(); wake !== undefined; wake = waiting.shift()) {
        if (runtime.now() > beginBy) return void waiting.unshift(wake);
        await replicate(wake, beginBy).catch((thrown: unknown) => {
          log('error', 'wake_failed', { ...wake, ...errorFields(asCodedError(thrown)) });
          failures.push(thrown);
        });
      }
    };
    await Promise.all(Array.from({ length: concurrency }, look));
    const counts = { looked: total - waiting.length - failures.length, failed: failures.length, left: waiting.length };
    return failures.length === 0 ? counts : { ...failure(failures[0]), ...counts };
  } catch (thrown) {
    return failure(thrown);
  }
}
