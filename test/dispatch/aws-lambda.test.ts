import { afterEach, expect, it, vi } from 'vitest';
import { lambdaContinuation } from '../../src/dispatch/aws-lambda.ts';
import { startFakeAws } from '../functions/fake-aws.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

it('invokes the function anew with what is left or for what was asked, and says when it could not', async () => {
  const aws = await startFakeAws({});
  vi.stubEnv('AWS_ENDPOINT_URL', aws.endpoint);
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
  const continuation = lambdaContinuation({ functionName: 'certstandby-dev-reconcile' });
  const rest = { links: ['shop'], continuation: 2 };
  await continuation.goOn(rest);
  await continuation.beginAsked();
  expect(aws.invoked).toEqual([rest, { asked: true }]);
  aws.down = true;
  await expect(continuation.goOn(rest)).rejects.toMatchObject({
    code: 'dispatch_unavailable',
    fields: { function: 'certstandby-dev-reconcile' },
  });
  await aws.close();
});
