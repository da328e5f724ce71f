import * as z from 'zod/mini';
import { asCodedError } from '../../errors.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import { storeCalls } from '../../ibm-cloud/store-calls.ts';
import { otherwise } from '../../lenient.ts';
import type { StoreDiagnosis, StoreRight } from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { remedies } from './remedies.ts';
import type { CertificateManagerConfig } from './settings.ts';
import { type CertificateManagerOptions, optionsOf, reached } from './store.ts';

/** The list of channels, read leniently: other kinds of channels have other members. */
const channelsSchema = z.array(
  z.object({ endpoint: otherwise(z.string(), ''), is_active: otherwise(z.boolean(), true) }),
);

/**
 * The service role that has all of these rights (IBM Cloud, "Managing service access roles" of
 * Certificate Manager): Reader sees metadata and settings, Writer private keys too, Manager changes
 * things.
 */
function roleFor(rights: readonly StoreRight[]): 'Reader' | 'Writer' | 'Manager' {
  if (rights.includes('import') || rights.includes('register-channel')) return 'Manager';
  return rights.includes('read-keys') ? 'Writer' : 'Reader';
}

/** The diagnosis of a store of the configuration. */
export function diagnosisOf(config: CertificateManagerConfig, context: StoreContext): StoreDiagnosis {
  return certificateManagerDiagnosis(optionsOf(config, context));
}

/**
 * What a Certificate Manager instance can be asked about itself. Paths as in the list of operations
 * of its API, version 1 of channels. Throws `configuration_invalid` if an option is wrong.
 */
export function certificateManagerDiagnosis(options: CertificateManagerOptions): StoreDiagnosis {
  const { instance: parsed, host: address, send } = reached(options);
  const instance = parsed.crn;
  const path = encodeURIComponent(instance);
  const channelsPath = `/v1/instances/${path}/notifications/channels`;
  const { reads, writes } = storeCalls({ store: instance, remedies });

  return {
    address,

    async clock({ signal } = {}) {
      const keyPath = `/v1/instances/${path}/notifications/publicKey?keyFormat=pem`;
      return (await send(reads('reach'), { method: 'GET', path: keyPath, signal, anonymous: true })).date;
    },

    async mayImport({ signal } = {}) {
      const asked = reads('ask whether it may import');
      const request = { method: 'POST', path: `/v3/${path}/certificates/import`, body: () => ({}), signal } as const;
      try {
        const answer = await send(asked, request);
        throw nonsenseError(asked, answer, 'a success for an import of nothing');
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_unauthorized') return false;
        if (error.code === 'store_refused' && error.fields.status !== 404) return true;
        throw error;
      }
    },

    async channels({ signal } = {}) {
      const asked = reads('list channels');
      const answer = await send(asked, { method: 'GET', path: channelsPath, signal });
      const parsed = channelsSchema.safeParse(parseJson(answer.text));
      if (!parsed.success) throw nonsenseError(asked, answer, 'something that is no list of channels');
      return parsed.data.map(({ endpoint, is_active: active }) => ({ endpoint, active }));
    },

    async registerChannel(endpoint, { signal } = {}) {
      const body = () => ({ type: 'url', endpoint, is_active: true });
      await send(writes('register a channel'), { method: 'PUT', path: channelsPath, body, signal });
    },

    credentialsRemedy: (setting, rights) =>
      `Put a valid API key behind ${setting}.apiKey; its owner needs the service role ${roleFor(rights)} on this instance.`,

    rightsRemedy: (setting, rights) =>
      `Give the owner of ${setting}.apiKey the service role ${roleFor(rights)} (or above) on this instance.`,
  };
}
