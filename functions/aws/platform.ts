import { readFileSync } from 'node:fs';
import { type AwsOptions, type EmbeddedMetrics, embeddedMetrics } from '../../src/compose/aws.ts';
import { jsonLog, type Log } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';

/**
 * The few members of Lambda's context that are used (AWS Lambda, "Using the Lambda context
 * object").
 */
export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

const write = (line: string): void => void process.stdout.write(line);

/** JSON lines, as CloudWatch Logs reads them. */
export const log: Log = jsonLog({ least: 'info', now: runtime.now, write });

/**
 * What every function is made with, the configuration that was deployed beside it. Throws what
 * reading that file throws.
 */
export function awsOptions(): AwsOptions {
  const deployment = readFileSync(new URL('./certstandby.json', import.meta.url), 'utf8');
  return { deployment, env: process.env, runtime, log };
}

export function metrics(): EmbeddedMetrics {
  return embeddedMetrics({ stage: process.env.CERTSTANDBY_STAGE ?? 'unknown', now: runtime.now, write });
}

/** When the time of an invocation ends, epoch milliseconds. */
export const endOf = (context: LambdaContext): number => runtime.now() + context.getRemainingTimeInMillis();

/**
 * Something that is made by the first invocation and kept for the next ones of a warm process. What
 * could not be made is tried again by the next one.
 */
export function kept<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return async () => {
    made ??= make();
    try {
      return await made;
    } catch (thrown) {
      made = undefined;
      throw thrown;
    }
  };
}

/**
 * Lets timers that came due while the platform had frozen the process run first: they close
 * connections that the other side has given up meanwhile, and that nothing may be sent into.
 */
export const afterFreeze = (): Promise<void> => runtime.wait(1);
