import { awsReconcile, type ReconcileSummary } from '../../src/compose/aws-workers.ts';
import { afterFreeze, awsOptions, endOf, kept, type LambdaContext, metrics } from './platform.ts';

/** What is left of an earlier invocation; nothing, when the schedule begins a new run. */
interface ReconcileEvent {
  readonly links?: readonly string[];
  readonly continuation?: number;
  /** Only the links of which somebody asked for a reconcile, and only if they are due. */
  readonly asked?: boolean;
}

const reconcile = kept(() => awsReconcile(awsOptions()));
const measured = metrics();

/** What stays of an invocation's time to count records and to have the next one begun. */
const closingMs = 45_000;

/**
 * Each hour, and on demand: compares everything with everything. Goes on in a new invocation before
 * its time runs out.
 */
export async function handler(event: ReconcileEvent, context: LambdaContext): Promise<ReconcileSummary> {
  await afterFreeze();
  // A schedule sends an event of its own form, which says nothing.
  const rest = Array.isArray(event?.links)
    ? { links: event.links, continuation: event.continuation ?? 0 }
    : { asked: event?.asked === true };
  const summary = await (await reconcile())(rest, endOf(context) - closingMs);
  for (const { link, ...figures } of summary.figures) measured.counted(link, figures);
  return summary;
}
