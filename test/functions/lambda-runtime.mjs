// Runs a Lambda function as its runtime does: loads the module named first, then answers one event
// after the other with `handler`. Events come and answers go by the channel to the parent process,
// which ends this one where Lambda would.
import { pathToFileURL } from 'node:url';

const clockAheadMs = Number(process.env.LAMBDA_CLOCK_AHEAD_MS ?? 0);
if (clockAheadMs !== 0) {
  const { now } = Date;
  Date.now = () => now() + clockAheadMs;
}

const [, , file = ''] = process.argv;
/** What this process has used. */
const usage = () => {
  const { user, system } = process.cpuUsage();
  return { cpuMs: (user + system) / 1000, rssBytes: process.memoryUsage.rss() };
};

const { handler } = await import(pathToFileURL(file).href);

process.on(
  'message',
  async (/** @type {{ id: number, event: unknown, timeoutMs: number }} */ { id, event, timeoutMs }) => {
    const until = Date.now() + timeoutMs;
    const context = {
      getRemainingTimeInMillis: () => until - Date.now(),
      functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    };
    try {
      const value = event === 'usage' ? usage() : await handler(event, context);
      process.send?.({ id, value });
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
    }
  },
);
process.once('disconnect', () => process.exit());
