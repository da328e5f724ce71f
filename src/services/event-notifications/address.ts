import { CodedError } from '../../errors.ts';
import { serviceBase } from '../../http/client.ts';
import type { EventNotificationsConfig } from './settings.ts';

/**
 * Where the API of an instance is that its CRN names, and where in it the key of the destination
 * is. Throws `configuration_invalid`.
 */
export function addressOf({
  instance,
  destination,
  endpoint,
}: Pick<EventNotificationsConfig, 'instance' | 'destination' | 'endpoint'>) {
  const [, , , , , region = '', , guid = ''] = instance.split(':');
  if (region === '' || guid === '')
    throw new CodedError('configuration_invalid', 'instance: not the CRN of an Event Notifications instance');
  const host = endpoint ?? `https://${region}.event-notifications.cloud.ibm.com`;
  const base = `${serviceBase(host, 'endpoint')}/event-notifications/v1/instances/${guid}`;
  // Without a destination nobody has a key.
  const keyPath = destination === undefined ? '/destinations' : `${destinationPath(destination)}/public_key`;
  return { base, keyPath, keyFrom: `${base}${keyPath}` };
}

export const destinationPath = (id: string): string => `/destinations/${encodeURIComponent(id)}`;
