import { awsReplicate, readWake } from '../../src/compose/aws-workers.ts';
import { asCodedError } from '../../src/errors.ts';
import { errorFields } from '../../src/log.ts';
import { afterFreeze, awsOptions, endOf, kept, type LambdaContext, log, metrics } from './platform.ts';

/** Messages of a queue, as far as they are used (AWS Lambda, "Using Lambda with Amazon SQS"). */
export interface SqsEvent {
  readonly Records: readonly { readonly messageId: string; readonly body: string }[];
}

/** Messages that are to be handed out again. */
export interface SqsResult {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

const replicate = kept(() => awsReplicate(awsOptions()));
const measured = metrics();

/**
 * What one pass may take: the lease, and what comes before and after it. A pass that may not have
 * that does not begin again.
 */
const passMs = 65_000;

/**
 * Wake-ups from the queue. A look that recorded its outcome, failure included, is done with the
 * message: what fails is looked at again when the record says. Only a message that cannot be
 * understood, and one whose record could not be written, is handed out again, and after a few times
 * lies in the dead letter queue.
 */
export async function handler(event: SqsEvent, context: LambdaContext): Promise<SqsResult> {
  await afterFreeze();
  const beginBy = endOf(context) - passMs;
  const failed = await Promise.all(
    event.Records.map(async ({ messageId, body }) => {
      try {
        const wake = readWake(body);
        const passes = await (await replicate())(wake, beginBy);
        for (const report of passes) measured.passed(report);
        return [];
      } catch (thrown) {
        const error = asCodedError(thrown);
        log('error', 'wake_failed', { message: messageId, ...errorFields(error) });
        // The record says what to do next, and a person must mend it: handing it out again would
        // not.
        return error.code === 'configuration_link_moved' ? [] : [{ itemIdentifier: messageId }];
      }
    }),
  );
  return { batchItemFailures: failed.flat() };
}
