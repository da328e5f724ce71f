import type { SenderDiagnosis } from '../service.ts';
import { openBaoAuditDefaults as defaults } from './defaults.ts';
import type { OpenBaoAuditConfig } from './settings.ts';

/** Of the secret only the digest is here. */
export function senderDiagnosisOf({ header = defaults.header }: Pick<OpenBaoAuditConfig, 'header'>): SenderDiagnosis {
  const value = header.toLowerCase() === 'authorization' ? 'Bearer $SECRET' : '$SECRET';
  const record = '{"type": "request", "request": {"id": "trial", "operation": "read", "path": "sys/health"}}';
  return {
    trial: (to) => `curl --fail -H "${header}: ${value}" -H 'Content-Type: application/json' -d '${record}' ${to}`,
  };
}
