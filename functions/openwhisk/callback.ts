import {
  type CallbackResponse,
  openwhiskCallback,
  type Parameters,
  refusedWithout,
} from '../../src/compose/openwhisk-callback.ts';
import { afterPause, kept, log } from './platform.ts';
import { requestOf, resultOf, type WebActionResult } from './web-action.ts';

const receiver = kept(openwhiskCallback);

/** The callback: a web action with `raw-http`, from request to response. Never rejects. */
export async function main(parameters: Parameters): Promise<WebActionResult> {
  await afterPause();
  return resultOf(await answerTo(parameters));
}

async function answerTo(parameters: Parameters): Promise<CallbackResponse> {
  try {
    return await (await receiver(parameters))(requestOf(parameters));
  } catch (thrown) {
    return refusedWithout(thrown, log);
  }
}
