import { awsCallback, refusedWithout } from '../../src/compose/aws-callback.ts';
import { type HttpEvent, type HttpResult, requestOf, resultOf } from './http-api.ts';
import { afterFreeze, awsOptions, kept, log, metrics } from './platform.ts';

const receiver = kept(() => awsCallback(awsOptions()), Number.POSITIVE_INFINITY);
const measured = metrics();

/** The callback: an HTTP request by API Gateway, or by a function URL, to the receiver and back. Never rejects. */
export async function handler(event: HttpEvent): Promise<HttpResult> {
  await afterFreeze();
  const answer = await receiver().then(
    (receive) => receive(requestOf(event)),
    (thrown: unknown) => refusedWithout(thrown, log),
  );
  if (answer.status >= 400) measured.refused();
  return resultOf(answer);
}
