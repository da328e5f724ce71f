import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { CodedError } from '../errors.ts';
import type { Continuation } from './continuation.ts';

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
      });
    } finally {
      client.destroy();
    }
  }

  return { goOn: invoke, beginAsked: () => invoke({ asked: true }) };
}
