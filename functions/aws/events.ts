import { awsEvents } from '../../src/compose/aws-events.ts';
import { asCodedError } from '../../src/errors.ts';
import { errorFields } from '../../src/log.ts';
import { afterFreeze, awsOptions, kept, log } from './platform.ts';

/** Messages of a queue, as far as they are used (AWS Lambda, "Using Lambda with Amazon SQS"). */
interface SqsEvent {
  readonly Records: readonly { readonly messageId: string; readonly body: string }[];
}

/** Messages that are to be handed out again. */
interface SqsResult {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

const deliveries = kept(() => awsEvents(awsOptions()));

/**
 * Events that rules of EventBridge have put into the queue: each is made durable, and wakes a
 * worker. Only what could not be made durable is handed out again; what is nobody's concern, or no
 * event, would be that again. Nothing of an event is logged.
 */
export async function handler(event: SqsEvent): Promise<SqsResult> {
  await afterFreeze();
  const failed = await Promise.all(
    event.Records.map(async ({ messageId, body }) => {
      try {
        const outcome = await (await deliveries())(Buffer.from(body));
        log(outcome === 'malformed' ? 'warn' : 'info', 'delivery', { message: messageId, outcome });
        return [];
      } catch (thrown) {
        log('error', 'delivery_failed', { message: messageId, ...errorFields(asCodedError(thrown)) });
        return [{ itemIdentifier: messageId }];
      }
    }),
  );
  return { batchItemFailures: failed.flat() };
}
