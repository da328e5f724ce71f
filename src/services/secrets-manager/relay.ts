import * as z from 'zod/mini';
import { asCodedError } from '../../errors.ts';
import { nonsenseError, parseJson, type ServiceCall } from '../../http/service-failure.ts';
import type { SendToService } from '../../ibm-cloud/iam-service.ts';
import type { StoreRelay } from '../../store/store.ts';
import { callsOf } from './service-calls.ts';

const path = '/notifications/registration';
const registrationSchema = z.object({ event_notifications_instance_crn: z.string() });

const again = 'Run the same command again: it looks first, and goes on where this one ended.';
const rights =
  'Give whoever asks as this store the service role Manager on the Secrets Manager instance: the connection belongs to it.';
const authorization =
  'Secrets Manager may not be a source there yet: give it an authorization in IAM (from Secrets Manager to Event Notifications, role Event Source Manager). Both instances must be of one account.';

const noRelay =
  'An instance of your own has no such connection: it tells of changes itself, to a link whose primary is of the kind certificate-manager.';

/** How a Secrets Manager instance has Event Notifications tell of its secrets. */
export function relayOf(instance: string, send: SendToService): StoreRelay {
  const { reads, writes } = callsOf(instance);
  const withRights = (call: ServiceCall): ServiceCall => ({
    ...call,
    remedies: {
      ...call.remedies,
      store_unauthorized: { 401: rights, 403: `${rights} ${authorization}` },
      store_refused: { ...call.remedies?.store_refused, 400: authorization, 404: `${authorization} ${noRelay}` },
      store_conflict: { 409: again },
    },
  });

  return {
    async connectedTo({ signal } = {}) {
      // Its name stands for a certificate: 404 means then that there is none.
      const call = withRights(reads('read the connection to Event Notifications', 'registration'));
      try {
        const answer = await send(call, { method: 'GET', path, signal });
        const { data } = z.safeParse(registrationSchema, parseJson(answer.text));
        if (data === undefined) throw nonsenseError(call, answer, 'something that is no registration');
        return data.event_notifications_instance_crn;
      } catch (thrown) {
        if (asCodedError(thrown).code === 'store_gone') return undefined;
        throw thrown;
      }
    },

    async connect(crn, { signal } = {}) {
      const call = withRights(writes('connect with Event Notifications'));
      const body = () => ({
        event_notifications_instance_crn: crn,
        event_notifications_source_name: 'Secrets Manager',
        event_notifications_source_description: 'changes of secrets, for certstandby',
      });
      await send(call, { method: 'POST', path, body, signal });
    },

    async sendTest({ signal } = {}) {
      // One document says 200, another 204: any success will do.
      const call = withRights(writes('send a test event'));
      await send(call, { method: 'GET', path: `${path}/test`, signal });
    },
  };
}
