import { openwhiskReconcile, type Parameters } from '../../src/compose/openwhisk-workers.ts';
import { afterPause, deadline, failure, kept, log } from './platform.ts';

const reconcile = kept(openwhiskReconcile);

/** What stays of an activation's time to count records and to have the next one begun. */
const closingMs = 30_000;

/**
 * Each hour, and on demand: compares everything with everything. Goes on in a new activation before
 * its time runs out.
 */
export async function main(parameters: Parameters): Promise<object> {
  await afterPause();
  try {
    const { links, continuation } = parameters;
    // A trigger brings what it likes, and says nothing of links.
    const rest = Array.isArray(links)
      ? { links: links.map(String), continuation: Number(continuation ?? 0) }
      : { asked: parameters.asked === true };
    const summary = await (await reconcile(parameters))(rest, deadline() - closingMs);
    for (const figures of summary.figures) log('info', 'reconciled', figures);
    return summary;
  } catch (thrown) {
    return failure(thrown);
  }
}
