import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { CodedError } from '../errors.ts';
import type { Continuation } from './continuation.ts';

/** Goes on in a new invocation of an AWS Lambda function, which nobody waits for. API: `Invoke` with `InvocationType: Event`. */
export function lambdaContinuation({ functionName }: { readonly functionName: string }): Continuation {
  return {
    async goOn(rest) {
      const client = new LambdaClient({ maxAttempts: 3 });
      const Payload = new TextEncoder().encode(JSON.stringify(rest));
      try {
        await client.send(new InvokeCommand({ FunctionName: functionName, InvocationType: 'Event', Payload }));
      } catch (thrown) {
        const reason = thrown instanceof Error ? thrown.name : typeof thrown;
        throw new CodedError('dispatch_unavailable', `${functionName} could not be invoked anew: ${reason}`, {
          fields: { function: functionName, reason },
        });
      } finally {
        client.destroy();
      }
    },
  };
}
