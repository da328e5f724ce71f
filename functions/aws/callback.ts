import { awsCallback, type CallbackResponse, refusedWithout } from '../../src/compose/aws-callback.ts';
import { type HttpEvent, type HttpResult, requestOf, resultOf } from './http-api.ts';
import { afterFreeze, awsOptions, kept, log, metrics } from './platform.ts';

const receiver = kept(() => awsCallback(awsOptions()));
const measured = metrics();

/**
 * The callback: an HTTP request by API Gateway, or by a function URL, to the receiver and back.
 * Never rejects.
 */
export async function handler(event: HttpEvent): Promise<HttpResult> {
  await afterFreeze();
  const answer = await answerTo(event);
  if (answer.status >= 400) measured.refused();
  return resultOf(answer);
}

async function answerTo(event: HttpEvent): Promise<CallbackResponse> {
  try {
    return await (await receiver())(requestOf(event));
  } catch (thrown) {
    return refusedWithout(thrown, log);
  }
}
