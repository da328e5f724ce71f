import { type HttpSend, sendOverNetwork } from '../../../src/http/client.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import type { SecretsManagerOptions } from '../../../src/services/secrets-manager/service-calls.ts';
import { secretsManagerStore } from '../../../src/services/secrets-manager/store.ts';
import type { Store } from '../../../src/store/store.ts';
import type { TestInstance } from '../../support/instance.ts';

/** The CRN by which Secrets Manager's clients know an instance of our own. */
const secretsCrn = (instanceCrn: string): string => instanceCrn.replace(':cloudcerts:', ':secrets-manager:');

/**
 * Pages of three instead of two hundred, so that a listing of several pages needs few certificates.
 */
export const smallPages: HttpSend = (request, options) =>
  sendOverNetwork({ ...request, url: request.url.replace('limit=200', 'limit=3') }, options);

export const storeOf = (
  instance: Pick<TestInstance, 'url' | 'crn' | 'apiKey'>,
  more: Partial<SecretsManagerOptions> = {},
): Store =>
  secretsManagerStore({
    instance: secretsCrn(instance.crn),
    credentials: new Secret(instance.apiKey),
    endpoint: instance.url,
    iamUrl: instance.url,
    runtime: systemRuntime,
    send: smallPages,
    ...more,
  });
