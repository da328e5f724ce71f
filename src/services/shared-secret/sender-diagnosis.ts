import type { SenderDiagnosis } from '../service.ts';
import type { SharedSecretConfig } from './settings.ts';

/** Of the secret only the digest is here. */
export function senderDiagnosisOf({ header = 'Authorization' }: Pick<SharedSecretConfig, 'header'>): SenderDiagnosis {
  const value = header.toLowerCase() === 'authorization' ? 'Bearer $SECRET' : '$SECRET';
  return {
    trial: (to) =>
      `curl --fail -H "${header}: ${value}" -H 'Content-Type: application/json' -d '{"type": "certificate.test"}' ${to}`,
  };
}
