import { openwhiskCallback, type Parameters, refusedWithout } from '../../src/compose/openwhisk-callback.ts';
import { afterPause, kept, log } from './platform.ts';
import { requestOf, resultOf, type WebActionResult } from './web-action.ts';

const receiver = kept(openwhiskCallback);

/** The callback: a web action with `raw-http`, from request to response. Never rejects. */
export async function main(parameters: Parameters): Promise<WebActionResult> {
  await afterPause();
  const answer = await receiver(parameters).then(
    (receive) => receive(requestOf(parameters)),
    (thrown: unknown) => refusedWithout(thrown, log),
  );
  return resultOf(answer);
}
