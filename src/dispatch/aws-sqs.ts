import { createHash } from 'node:crypto';
import type { AwsCredentials } from '../aws/credentials.ts';
import { awsRemedies } from '../aws/remedies.ts';
import { signedService } from '../aws/signed-service.ts';
import { CodedError } from '../errors.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { Runtime } from '../runtime.ts';
import { sendInBatches } from './batches.ts';
import { type Dispatch, type Wake, wakeKey } from './dispatch.ts';
import { wakeMessage } from './wake-message.ts';

export interface SqsDispatchOptions {
  /** `https://sqs.<region>.amazonaws.com/<account>/<name>.fifo` */
  readonly queueUrl: string;
  readonly region: string;
  readonly endpoint?: string;
  readonly credentials: () => AwsCredentials;
  readonly runtime: Runtime;
  /**
   * Milliseconds for one attempt until its answer, default 2,000. There are two, and the caller
   * waits for both.
   */
  readonly answerTimeoutMs?: number;
}

const mayNot = 'Give these credentials sqs:SendMessage on the queue.';
/** What a person does about what the service answers. */
const remedies: RemediesByReason = {
  ...awsRemedies,
  AccessDenied: mayNot,
  AccessDeniedException: mayNot,
  QueueDoesNotExist: 'The queue is not there: deploy again, and look who deleted it.',
};

/** Messages of one request (API reference, SendMessageBatch). */
const batchMessages = 10;
/** Requests under way at once. */
const batchesAtOnce = 8;

/**
 * Wakes workers by messages in an SQS FIFO queue. The group of a message is its link and
 * certificate, so that one certificate is looked at by one worker at a time; the deduplication id
 * is a new one each time, for SQS swallows an id that it has seen within five minutes, and a change
 * that comes right after another must wake too. FIFO queues cannot delay one message: delayed
 * wake-ups are the sweep's. API: `SendMessageBatch`.
 */
export function sqsDispatch(options: SqsDispatchOptions): Dispatch {
  const { queueUrl, runtime, answerTimeoutMs = 2_000, ...rest } = options;
  const service = signedService({ ...rest, runtime, service: 'sqs', target: 'AmazonSQS', answerTimeoutMs });

  async function send(wakes: readonly Wake[]): Promise<void> {
    const Entries = wakes.map((wake, index) => ({
      Id: String(index),
      MessageBody: wakeMessage(wake),
      MessageGroupId: groupOf(wake),
      MessageDeduplicationId: runtime.newId(),
    }));
    // Sent again it is swallowed where it arrived before: the deduplication ids are the same.
    const answer = await service.call('SendMessageBatch', { QueueUrl: queueUrl, Entries }, { attempts: 2 });
    const [first] = (answer.Failed ?? []) as readonly { readonly Code?: string }[];
    if (first !== undefined) throw Object.assign(new Error(), { name: first.Code ?? 'unknown' });
  }

  return {
    async dispatch(wakes, { delayMs = 0 } = {}) {
      if (delayMs > 0) return;
      const failures = await sendInBatches(wakes, { size: batchMessages, atOnce: batchesAtOnce }, send);
      if (failures.length === 0) return;
      const [thrown] = failures;
      const reason = thrown instanceof Error ? thrown.name : typeof thrown;
      throw new CodedError('dispatch_unavailable', `not every wake-up reached the queue: ${reason}`, {
        fields: { queue: queueUrl, reason, requests: failures.length },
        remedies,
      });
    },
  };
}

/**
 * Certificate ids are opaque and may be longer, or of other characters, than SQS allows in a group.
 */
const groupOf = (wake: Wake): string => createHash('sha256').update(wakeKey(wake)).digest('hex');
