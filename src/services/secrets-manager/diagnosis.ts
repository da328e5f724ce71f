import { asCodedError } from '../../errors.ts';
import { nonsenseError } from '../../http/service-failure.ts';
import type { StoreDiagnosis, StoreRight } from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { relayOf } from './relay.ts';
import { callsOf, optionsOf, reached, type SecretsManagerOptions } from './service-calls.ts';
import type { SecretsManagerConfig } from './settings.ts';

/**
 * The service role that has all of these rights (IBM Cloud, "Managing IAM access for Secrets
 * Manager"): Reader sees metadata, SecretsReader the content too, Writer makes secrets and
 * versions, and Manager deletes copies and makes groups.
 */
function roleFor(rights: readonly StoreRight[]): string {
  if (rights.includes('import')) return 'Manager';
  return rights.includes('read-keys') ? 'SecretsReader' : 'Reader';
}

/** The diagnosis of a store of the configuration. */
export function diagnosisOf(config: SecretsManagerConfig, context: StoreContext): StoreDiagnosis {
  return secretsManagerDiagnosis(optionsOf(config, context), config.profile);
}

/**
 * What a Secrets Manager instance can be asked about itself. Throws `configuration_invalid` if an
 * option is wrong.
 */
export function secretsManagerDiagnosis(options: SecretsManagerOptions, profile?: string): StoreDiagnosis {
  const { instance } = options;
  const { host: address, send } = reached(options);
  const { reads } = callsOf(instance);
  const relay = relayOf(instance, send);
  const who = (setting: string) =>
    profile === undefined ? `the owner of ${setting}.apiKey` : `the trusted profile ${profile}`;

  return {
    address,

    async clock({ signal } = {}) {
      const path = '/secrets?limit=1';
      try {
        return (await send(reads('reach'), { method: 'GET', path, signal })).date;
      } catch (thrown) {
        // It was reached; whether it takes the credentials is another question.
        if (asCodedError(thrown).code === 'store_unauthorized') return undefined;
        throw thrown;
      }
    },

    async mayImport({ signal } = {}) {
      const asked = reads('ask whether it may import');
      try {
        const answer = await send(asked, { method: 'POST', path: '/secrets', body: () => ({}), signal });
        throw nonsenseError(asked, answer, 'a success for an import of nothing');
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_unauthorized') return false;
        if (error.code === 'store_refused' && error.fields.status === 400) return true;
        throw error;
      }
    },

    relay,

    // What the other stores of its links say, it does not know.
    remarks: async () => (options.carryGroups === true ? [{ message: groupsTravel }] : []),

    credentialsRemedy: (setting, rights) =>
      profile === undefined
        ? `Put a valid API key behind ${setting}.apiKey; its owner needs the service role ${roleFor(rights)} on this instance.`
        : `Let this machine take on the trusted profile ${profile} (its conditions for compute resources), with the service role ${roleFor(rights)} on this instance.`,

    rightsRemedy: (setting, rights) =>
      `Give ${who(setting)} the service role ${roleFor(rights)} (or above) on this instance.`,
  };
}

const groupsTravel =
  'groups travel (carryGroups) where the other store of a link says carryGroups: true, too; one that does not keeps secret-group:<name> as a tag like any other';
