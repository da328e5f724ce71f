import { arnStem } from '../../aws/arn.ts';
import type { PolicyStatement } from '../../aws/policy.ts';
import type { StoreUse } from '../service.ts';
import type { AcmConfig } from './settings.ts';

/** The least that it takes: all that is called. */
export function rightsOf(config: AcmConfig, use: StoreUse): readonly PolicyStatement[] {
  const certificates = `${arnStem('acm', { ...config })}:certificate/*`;
  const on = (actions: readonly string[]): PolicyStatement => ({
    Effect: 'Allow',
    Action: actions.map((action) => `acm:${action}`),
    Resource: certificates,
  });
  // Neither has resources to name.
  const lists: PolicyStatement = { Effect: 'Allow', Action: ['acm:ListCertificates'], Resource: '*' };
  const finds: PolicyStatement = {
    Effect: 'Allow',
    Action: ['acm:ListCertificates', 'tag:GetResources'],
    Resource: '*',
  };
  if (use === 'list') return [lists, on(['ListTagsForCertificate'])];
  const reads = ['DescribeCertificate', 'GetCertificate', 'ListTagsForCertificate'];
  if (use === 'primary') return [lists, on([...reads, ...(config.exports === true ? ['ExportCertificate'] : [])])];
  const writes = ['ImportCertificate', 'AddTagsToCertificate', 'RemoveTagsFromCertificate', 'DeleteCertificate'];
  return [finds, on(reads), on(writes)];
}
