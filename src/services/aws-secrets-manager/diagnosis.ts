import { policyRemedies } from '../../aws/policy.ts';
import { asCodedError } from '../../errors.ts';
import type { StoreDiagnosis, StoreRight } from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { keyRemarks } from './key-remarks.ts';
import type { SecretsManagerConfig } from './settings.ts';
import { optionsOf, reached, type SecretsManagerOptions } from './store.ts';

/** The diagnosis of a store of the configuration. */
export function diagnosisOf(config: SecretsManagerConfig, context: StoreContext): StoreDiagnosis {
  return secretsManagerDiagnosis(optionsOf(config, context));
}

/** What Secrets Manager can be asked about itself, and what mends each. */
export function secretsManagerDiagnosis(options: SecretsManagerOptions): StoreDiagnosis {
  const { runtime, namePrefix = '' } = options;
  const { address, call, clock } = reached(options);

  return {
    address,

    clock: ({ signal } = {}) => clock(signal),

    async mayImport({ signal } = {}) {
      const about = { operation: 'ask whether it may import', writes: true, signal };
      // No secret can have this name, and rights are looked at by how it begins.
      const Name = `${namePrefix}certstandby doctor?`;
      try {
        await call('CreateSecret', { Name, ClientRequestToken: runtime.newId(), SecretString: 'nothing' }, about);
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_unauthorized' && error.fields.right !== undefined) return false;
        if (['store_refused', 'store_conflict'].includes(error.code)) return true;
        throw error;
      }
      // What plays the service took it: it is not left there.
      await call('DeleteSecret', { SecretId: Name, ForceDeleteWithoutRecovery: true }, about);
      return true;
    },

    remarks: ({ limit } = {}) => keyRemarks(options, limit),

    ...policyRemedies(actions),
  };
}

const actions: Readonly<Partial<Record<StoreRight, string>>> = {
  list: 'secretsmanager:ListSecrets',
  'read-keys': 'secretsmanager:GetSecretValue',
  import: 'secretsmanager:CreateSecret',
};
