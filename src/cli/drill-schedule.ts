import type { Program } from '../compose/program.ts';
import { defaultDrill } from '../config.ts';
import { asCodedError } from '../errors.ts';
import { errorFields, type Log } from '../log.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { every } from './schedule.ts';

/**
 * Drills every link so often, where the configuration says so: the first time a period after the
 * start. A drill with failures is logged as an error; a link that cannot be drilled does not keep
 * the others from theirs.
 */
export function drillEvery(
  program: Pick<Program, 'config' | 'links' | 'drill'>,
  { log, stopping }: { readonly log: Log; readonly stopping: AbortSignal },
): readonly { stop(): Promise<void> }[] {
  const { everyMs: periodMs } = program.config.drill ?? defaultDrill;
  if (periodMs === undefined) return [];
  const drillOne = async (link: Program['links'][number]) => {
    try {
      const { report, signedFile } = await program.drill(link, { signal: stopping });
      const { kept, served, failed, notDrilled } = report;
      const level = failed + notDrilled.length > 0 ? 'error' : 'info';
      const counts = { kept, served, failed, notDrilled: notDrilled.length };
      log(level, 'drilled', { link: link.name, ...counts, report: signedFile });
    } catch (thrown) {
      if (!stopping.aborted) log('error', 'drill_failed', { link: link.name, ...errorFields(asCodedError(thrown)) });
    }
  };
  const drillAll = async () => {
    for (const link of program.links) if (!stopping.aborted) await drillOne(link);
  };
  return [every({ name: 'drill', periodMs, runtime, log }, drillAll)];
}
