import { certificateManagerSettings } from './certificate-manager/settings.ts';
import { directorySettings } from './directory/settings.ts';
import type { Service } from './service.ts';

/** Every service, in the order in which people are told of them. */
export const services: readonly [Service, ...Service[]] = [
  { kind: 'certificate-manager', settings: certificateManagerSettings },
  { kind: 'directory', settings: directorySettings },
];
