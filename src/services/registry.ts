/**
 * Every service, a line each: to add one takes its folder and a line here. To have all of them,
 * import this file as a whole. `infra/build-functions.mjs` puts another one in its place, with what
 * a deployed function has of them.
 */
export { awsAcm } from './aws-acm/service.ts';
export { awsSecretsManager } from './aws-secrets-manager/service.ts';
export { certificateManager } from './certificate-manager/service.ts';
export { directory } from './directory/service.ts';
export { eventNotifications } from './event-notifications/service.ts';
export { eventBridge } from './eventbridge/service.ts';
export { kubernetes } from './kubernetes/service.ts';
export { oidcToken } from './oidc-token/service.ts';
export { openBaoAudit } from './openbao-audit/service.ts';
export { secretsManager } from './secrets-manager/service.ts';
export { sharedSecret } from './shared-secret/service.ts';
export { standardWebhooks } from './standard-webhooks/service.ts';
export { vault } from './vault/service.ts';
