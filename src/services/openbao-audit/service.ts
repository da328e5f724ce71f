import type { Service } from '../service.ts';
import { openBaoAuditSettings } from './settings.ts';

/** The `http` audit device of an OpenBao, which tells of every request there. */
export const openBaoAudit: Service = {
  kind: 'openbao-audit',
  senderSettings: openBaoAuditSettings,
  sender: () => import('./sender.ts'),
  senderDiagnosis: () => import('./sender-diagnosis.ts'),
};
