import type { ServiceRemedies } from '../../http/service-failure.ts';

const unavailable =
  'An instance that is being made, or moved to another zone, answers so for a while: it is tried again. If it stays, look at the instance and at the status of IBM Cloud.';
const notThere =
  'There is no such instance at that address: correct stores.<name>.instance (its CRN) or stores.<name>.endpoint. One that was deleted answers so, too; what was in it counts as unread, not as deleted.';

/** What mends each refusal of the service, in its own words. */
export const remedies: ServiceRemedies = {
  store_refused: {
    400: 'Read its words. If they name nothing that you have written, the service has changed: it is version 2 of its API that is spoken here.',
    402: 'The plan of this instance has ended, or its account is suspended: look at the instance in the console of IBM Cloud.',
    404: notThere,
    410: 'The service says that this instance is gone or suspended: look at it in the console of IBM Cloud. What is in it counts as unread, not as deleted.',
  },
  // Whatever is not in the service's own shape: a router before it, as of an instance that is gone.
  store_nonsense: { 404: notThere },
  store_content_refused: {
    400: 'Read its words: it takes no certificate that has expired or that is not of its key, nor a group or a name that it does not know. The copy there stays as it is until the certificate changes.',
  },
  store_unauthorized: {
    401: 'The service does not take tokens of this IAM: stores.<name>.iam and stores.<name>.endpoint must be of the same cloud.',
    403: 'Whoever asks has no role here that is enough, or comes from an address that the instance does not let in: a Manager of it may do everything that is needed. Instances are made with their private endpoint alone: then the setting private: true, from within IBM Cloud.',
  },
  store_held: {
    412: 'A version of this secret is locked, and locks are never broken: whoever uses it takes the lock off (secret locks in the console of IBM Cloud, by its name).',
  },
  store_limited: {
    429: 'The instance takes fewer requests than it is sent: set requestsPerSecond lower, or ask fewer other clients.',
  },
  store_unavailable: { 500: unavailable, 502: unavailable, 503: unavailable, 504: unavailable },
  store_unanswered: { 500: unavailable, 502: unavailable, 503: unavailable, 504: unavailable },
};
