import type { ServiceRemedies } from '../../http/service-failure.ts';

/** What a person does about what the service answers. */
export const remedies: ServiceRemedies = {
  store_unauthorized: {
    401: 'The service does not take tokens of this IAM: stores.<name>.iam and stores.<name>.endpoint must be of the same cloud.',
    403: 'Give the owner of the API key a service role on this instance: Writer for a primary, Manager for a backup.',
  },
  store_refused: {
    404: 'The service knows nothing of this instance: correct stores.<name>.instance (its CRN), or stores.<name>.endpoint.',
    413: 'It is larger than the service takes: leave certificates out of the chain that nobody needs.',
  },
};
