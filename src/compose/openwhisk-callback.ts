import { composeCallback } from './function-callback.ts';
import { type OpenwhiskActionOptions, openwhiskParts } from './openwhisk.ts';

export { type CallbackRequest, type CallbackResponse, refusedWithout } from '../receiver/receiver.ts';
export type { OpenwhiskActionOptions, Parameters } from './openwhisk.ts';

/** The callback on OpenWhisk. Throws `configuration_invalid`. */
export const openwhiskCallback = async (options: OpenwhiskActionOptions) => composeCallback(openwhiskParts(options));
