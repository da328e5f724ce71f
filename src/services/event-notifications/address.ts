import { CodedError } from '../../errors.ts';
import { serviceBase } from '../../http/client.ts';
import type { EventNotificationsConfig } from './settings.ts';

/**
 * Where the key of a destination is, of an instance that its CRN names. Throws
 * `configuration_invalid`.
 */
export function destinationOf({
  instance,
  destination,
  endpoint,
}: Pick<EventNotificationsConfig, 'instance' | 'destination' | 'endpoint'>) {
  const [, , , , , region = '', , guid = ''] = instance.split(':');
  if (region === '' || guid === '')
    throw new CodedError('configuration_invalid', 'instance: not the CRN of an Event Notifications instance');
  const host = endpoint ?? `https://${region}.event-notifications.cloud.ibm.com`;
  const base = `${serviceBase(host, 'endpoint')}/event-notifications/v1/instances/${guid}`;
  const path = `/destinations/${encodeURIComponent(destination)}/public_key`;
  return { base, path, publicKey: `${base}${path}` };
}
