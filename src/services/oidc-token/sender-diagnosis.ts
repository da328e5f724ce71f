import type { SenderDiagnosis } from '../service.ts';

/** Tokens are issued to their bearer alone. */
export const senderDiagnosisOf = (): SenderDiagnosis => ({
  trial: (to) =>
    `curl --fail -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"type": "certificate.test"}' ${to}`,
});
