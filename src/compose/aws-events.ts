import { type AwsOptions, awsParts } from './aws.ts';
import { composeDeliveries } from './function-callback.ts';

/** What takes events that rules put into a queue on AWS. Throws `configuration_invalid`. */
export const awsEvents = async (options: AwsOptions) => composeDeliveries(awsParts(options));
