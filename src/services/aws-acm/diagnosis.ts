import { policyRemedies } from '../../aws/policy.ts';
import { asCodedError } from '../../errors.ts';
import type { StoreDiagnosis, StoreRight } from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import type { AcmConfig } from './settings.ts';
import { type AcmOptions, optionsOf, reached } from './store.ts';

/** The diagnosis of a store of the configuration. */
export function diagnosisOf(config: AcmConfig, context: StoreContext): StoreDiagnosis {
  return acmDiagnosis(optionsOf(config, context));
}

/** What ACM can be asked about itself, and what mends each. */
export function acmDiagnosis(options: AcmOptions): StoreDiagnosis {
  const { address, call, clock } = reached(options);

  return {
    address,

    clock: ({ signal } = {}) => clock(signal),

    async mayImport({ signal } = {}) {
      // A certificate and a key of one byte: ACM refuses them, or the caller.
      const nothing = { Certificate: 'IA==', PrivateKey: 'IA==' };
      try {
        await call('ImportCertificate', nothing, { operation: 'import', writes: true, signal });
        return true;
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.code === 'store_unauthorized' && error.fields.right !== undefined) return false;
        if (['store_content_refused', 'store_refused'].includes(error.code)) return true;
        throw error;
      }
    },

    remarks: async () => [{ message: forCloudFront(options.region) }],

    ...policyRemedies(actions),
  };
}

/** What CloudFront serves of a region ("Requirements for using SSL/TLS certificates"). */
const forCloudFront = (region: string): string =>
  region === 'us-east-1'
    ? 'CloudFront reads this region, and takes RSA and P-256 alone'
    : `load balancers and API Gateway in ${region} can serve from it; CloudFront reads us-east-1 and no other region`;

const actions: Readonly<Partial<Record<StoreRight, string>>> = {
  list: 'acm:ListCertificates, acm:ListTagsForCertificate',
  'read-keys': 'acm:ExportCertificate',
  import: 'acm:ImportCertificate',
};
