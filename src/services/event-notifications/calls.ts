import { defined } from '../../defined.ts';
import type { ServiceCall } from '../../http/service-failure.ts';
import { trustedProfile } from '../../ibm-cloud/compute-token.ts';
import { iamService, type SendToService } from '../../ibm-cloud/iam-service.ts';
import type { Runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import { addressOf } from './address.ts';
import type { EventNotificationsConfig } from './settings.ts';

const requestTimeoutMs = 10_000;

/** Sends to the API of the instance, as whoever the sender says. */
export function sendOf(config: EventNotificationsConfig, runtime: Runtime): SendToService {
  const { name, apiKey, profile, computeToken, iam } = config;
  return iamService({
    ...{ base: addressOf(config).base, runtime, requestTimeoutMs, apiKeySetting: `senders.${name}.apiKey` },
    apiKey: apiKey instanceof Secret ? apiKey : trustedProfile(profile ?? '', computeToken),
    ...defined({ iamUrl: iam }),
  });
}

/**
 * What a call has for its errors. Service roles (IBM Cloud, "Managing IAM access for Event
 * Notifications"): Reader reads all of this, and Manager makes it.
 */
export function callOf(config: EventNotificationsConfig, operation: string, writes: boolean): ServiceCall {
  const { name, instance, apiKey } = config;
  const setting = `senders.${name}`;
  const who = `whoever asks (${setting}.${apiKey === undefined ? 'profile' : 'apiKey'})`;
  const rights = writes
    ? `Give ${who} the role Manager on the Event Notifications instance; afterwards Reader is enough.`
    : `Give ${who} the role Reader, or above, on the Event Notifications instance.`;
  const again = 'Run the same command again: it looks first, and goes on where this one ended.';
  const atIbm =
    'Look at the Event Notifications instance in the console of IBM Cloud: its plan has ended, or it is suspended or deleted.';
  return {
    store: instance,
    operation,
    writes,
    remedies: {
      store_unauthorized: { 401: rights, 403: rights },
      store_refused: {
        402: atIbm,
        404: `What is asked for is not in that instance: correct ${setting}.instance${config.destination === undefined ? '' : ` and ${setting}.destination`}. If somebody has just deleted it there, run the command again.`,
        410: atIbm,
      },
      store_conflict: {
        409: `The service says that there is one already. ${again} If it says so again, the plan of the instance may allow no more: look at it in the console of IBM Cloud.`,
      },
      store_limited: { 429: `The instance takes fewer requests than it is sent. ${again}` },
    },
  };
}
