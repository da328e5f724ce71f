import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { awsRemedies } from '../aws/remedies.ts';
import { CodedError } from '../errors.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { Continuation } from './continuation.ts';

/** What a person does about what the service answers. */
const remedies: RemediesByReason = {
  ...awsRemedies,
  AccessDeniedException: 'Give these credentials lambda:InvokeFunction on the function that goes on.',
  ResourceNotFoundException: 'The function is not there: deploy again, and look who deleted it.',
};

/**
 * Invokes an AWS Lambda function that reconciles, and does not wait for it. API: `Invoke` with
 * `InvocationType: Event`.
 */
export function lambdaContinuation({ functionName }: { readonly functionName: string }): Continuation {
  async function invoke(payload: object): Promise<void> {
    const client = new LambdaClient({ maxAttempts: 3 });
    const Payload = new TextEncoder().encode(JSON.stringify(payload));
    try {
      await client.send(new InvokeCommand({ FunctionName: functionName, InvocationType: 'Event', Payload }));
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.name : typeof thrown;
      throw new CodedError('dispatch_unavailable', `${functionName} could not be invoked: ${reason}`, {
        fields: { function: functionName, reason },
        remedies,
      });
    } finally {
      client.destroy();
    }
  }

  return { goOn: invoke, beginAsked: () => invoke({ asked: true }) };
}
