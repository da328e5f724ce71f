import { openwhiskSweep, type Parameters } from '../../src/compose/openwhisk-workers.ts';
import { afterPause, failure, kept, log } from './platform.ts';

const sweep = kept(openwhiskSweep);

/**
 * Each minute: wakes what is due, and refreshes verification keys. Answers, and logs, what it saw
 * of each link.
 */
export async function main(parameters: Parameters): Promise<object> {
  await afterPause();
  try {
    const links = await (await sweep(parameters))();
    for (const seen of links) log('info', 'swept', { ...seen });
    return { links };
  } catch (thrown) {
    return failure(thrown);
  }
}
