import type { EventBridgeConfig } from './settings.ts';

type Of = EventBridgeConfig['of'];

/** What rules let pass, as patterns of EventBridge ("Event patterns"). */
export interface Pattern {
  readonly source: readonly string[];
  readonly 'detail-type': readonly unknown[];
  readonly detail?: object;
}

/** Calls that a trail tells of and whose parameters hold no content. */
const calls: Readonly<Record<Of, readonly string[]>> = {
  acm: ['DeleteCertificate'],
  secretsmanager: ['DeleteSecret', 'RestoreSecret'],
};

const trailType = 'AWS API Call via CloudTrail';

/** What a service tells of itself. */
export const ownPattern = (of: Of): Pattern =>
  of === 'acm'
    ? { source: ['aws.acm'], 'detail-type': [{ prefix: 'ACM Certificate ' }] }
    : {
        source: ['aws.secretsmanager'],
        'detail-type': ['Secret Label Updated'],
        detail: { labelUpdated: ['AWSCURRENT'] },
      };

/** Deletions, where a trail logs. Calls that failed are left out. */
export const trailPattern = (of: Of): Pattern => ({
  source: [`aws.${of}`],
  'detail-type': [trailType],
  detail: { eventName: calls[of], errorCode: [{ exists: false }] },
});

/** Where an event is of. */
export interface Origin {
  readonly of: Of;
  readonly region: string;
  readonly account: string;
  readonly namePrefix?: string | undefined;
  /** How ARNs of that service begin there. */
  readonly stem: string;
}

/** Events of a store as AWS tells them, to ask what a rule lets pass. */
export function sampleEvents(origin: Origin): Readonly<Record<'own' | 'trail' | 'content', object>> {
  const { of, region, account, namePrefix = '', stem } = origin;
  const id = '00000000-0000-4000-8000-000000000000';
  const name = `${namePrefix}example`;
  const arn = of === 'acm' ? `${stem}:certificate/${id}` : `${stem}:secret:${name}-Ab12Cd`;
  const event = (type: string, detail: object, resources: readonly string[] = []) => ({
    ...{ version: '0', id, 'detail-type': type, source: `aws.${of}`, account, region, resources, detail },
    time: '2026-01-01T00:00:00Z',
  });
  const call = (eventName: string) =>
    event(trailType, {
      ...{ eventSource: `${of}.amazonaws.com`, eventName, awsRegion: region, recipientAccountId: account },
      ...{ eventType: 'AwsApiCall', managementEvent: true, readOnly: false },
      ...(of === 'acm'
        ? { requestParameters: { certificateArn: arn } }
        : { requestParameters: { secretId: arn }, responseElements: { arn } }),
    });
  const own =
    of === 'acm'
      ? event('ACM Certificate Available', { Action: 'REIMPORT', CommonName: 'example.test' }, [arn])
      : event('Secret Label Updated', { name, labelUpdated: 'AWSCURRENT', versionId: id }, [arn]);
  const [deleted = ''] = calls[of];
  return { own, trail: call(deleted), content: call(of === 'acm' ? 'ImportCertificate' : 'PutSecretValue') };
}
