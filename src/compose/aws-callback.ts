import { type AwsOptions, awsParts } from './aws.ts';
import { composeCallback } from './function-callback.ts';

export { type CallbackRequest, type CallbackResponse, refusedWithout } from '../receiver/receiver.ts';

/** The callback on AWS. Throws `configuration_invalid`. */
export const awsCallback = async (options: AwsOptions) => composeCallback(awsParts(options));
