import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { arnStem } from '../../aws/arn.ts';
import { CodedError } from '../../errors.ts';
import { visibleWithin } from '../../foreign-text.ts';
import { otherwise } from '../../lenient.ts';
import { limits } from '../../limits.ts';
import { malformedMessage } from '../../sender/change-message.ts';
import type { LifecycleEvent, LifecycleKind } from '../../sender/event.ts';
import { jsonMembers, parseJsonObject } from '../../sender/json.ts';
import type { EventBridgeConfig } from './settings.ts';

const text = otherwise(z.string(), '');

/**
 * An event of EventBridge, as far as it is used ("AWS service event metadata"). Parameters of calls
 * may hold content: of these only the names of what was called are read.
 */
const envelopeSchema = z.object({
  version: z.literal('0'),
  id: z.string().check(z.regex(/^[\w-]{1,128}$/)),
  'detail-type': z.string(),
  source: z.string(),
  account: text,
  region: text,
  time: text,
  resources: otherwise(z.array(z.string()), []),
  detail: otherwise(
    z.optional(
      z.object({
        Action: text,
        labelUpdated: text,
        eventSource: text,
        eventName: text,
        awsRegion: text,
        recipientAccountId: text,
        errorCode: otherwise(z.optional(z.string()), undefined),
        requestParameters: otherwise(z.object({ certificateArn: text, secretId: text }), {
          certificateArn: '',
          secretId: '',
        }),
        responseElements: otherwise(z.object({ arn: text, aRN: text, certificateArn: text }), {
          arn: '',
          aRN: '',
          certificateArn: '',
        }),
      }),
    ),
    undefined,
  ),
});
type Envelope = z.infer<typeof envelopeSchema>;

interface Told {
  readonly kind: LifecycleKind;
  readonly changes: boolean;
  /** What it is about, as it stands there: an ARN, a part of one, a name. */
  readonly about: string;
}

const trail = 'AWS API Call via CloudTrail';

/** ACM's own events, by their detail-type (ACM, "Amazon EventBridge support"). */
const acmKinds: Readonly<Record<string, readonly [LifecycleKind, boolean]>> = {
  'ACM Certificate Available': ['renewed', true],
  'ACM Certificate Rotated': ['other', true],
  'ACM Certificate Approaching Expiration': ['about-to-expire', false],
  'ACM Certificate Expired': ['expired', false],
  'ACM Certificate Renewal Action Required': ['failed', false],
  'ACM Certificate Revoked': ['other', false],
};
const acmActions: Readonly<Record<string, LifecycleKind>> = {
  ISSUANCE: 'issued',
  RENEWAL: 'renewed',
  IMPORT: 'imported',
  REIMPORT: 'reimported',
};
/** Calls that a trail tells of: those whose parameters hold no content. */
const acmCalls: Readonly<Record<string, LifecycleKind>> = {
  DeleteCertificate: 'deleted',
  RenewCertificate: 'other',
  AddTagsToCertificate: 'other',
  RemoveTagsFromCertificate: 'other',
};
const secretCalls: Readonly<Record<string, LifecycleKind>> = {
  DeleteSecret: 'deleted',
  RestoreSecret: 'reimported',
  UpdateSecretVersionStage: 'reimported',
  TagResource: 'other',
  UntagResource: 'other',
};

/** What an envelope tells of, if anything. Deliveries of one event share its id. */
export function eventsIn(body: Uint8Array, config: EventBridgeConfig): readonly LifecycleEvent[] {
  const told = readEnvelope(body, config);
  return told === undefined
    ? []
    : [{ ...told.event, digest: hash('sha256', `eventbridge\n${config.name}\n${told.id}`) }];
}

/**
 * What an envelope says of the certificates of one store, and the id that all its deliveries share;
 * `undefined` where it is none of its concern. Throws `notification_malformed`, and
 * `notification_foreign` for one of another account or region.
 */
function readEnvelope(
  body: Uint8Array,
  config: Omit<EventBridgeConfig, 'digest'>,
): { readonly id: string; readonly event: Omit<LifecycleEvent, 'digest'> } | undefined {
  const envelope = parsed(body);
  const { id, source, account, region, time, 'detail-type': detailType } = envelope;
  const at = Date.parse(time);
  const common = {
    type: visibleWithin(detailType, limits.notificationTextCharacters),
    version: 0,
    store: config.store,
    ...(at >= 0 && { occurredAt: at }),
  };
  if (source === 'certstandby.test')
    return { id, event: { ...common, kind: 'test', changes: false, certificates: [] } };
  if (source !== `aws.${config.of}`) return undefined;
  if (account !== config.account || region !== config.region)
    throw new CodedError(
      'notification_foreign',
      `the event is of ${visibleWithin(`${account} in ${region}`, 60)}, and not of this store`,
    );
  const told = config.of === 'acm' ? toldByAcm(envelope, config) : toldBySecrets(envelope, config);
  if (told === undefined) return undefined;
  const { kind, changes, about } = told;
  const named = certificateOf(about, config);
  return named === undefined ? undefined : { id, event: { ...common, kind, changes, ...named } };
}

function parsed(body: Uint8Array): Envelope {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const whole = isUtf8(bytes) ? bytes.toString('utf8') : '';
  const object = parseJsonObject(whole);
  if (object === undefined) throw malformedMessage('the body is no JSON object in UTF-8');
  const names = jsonMembers(whole).map(({ name }) => name);
  if (new Set(names).size !== names.length) throw malformedMessage('a member stands twice in the event');
  const envelope = z.safeParse(envelopeSchema, object);
  if (!envelope.success) throw malformedMessage('the body is no event of EventBridge');
  return envelope.data;
}

/** Whether a call that a trail tells of was made, here, and of this service. */
function isCall({ detail }: Envelope, { of, region, account }: Omit<EventBridgeConfig, 'digest'>): boolean {
  if (detail === undefined || detail.errorCode !== undefined) return false;
  const { eventSource, awsRegion, recipientAccountId } = detail;
  return eventSource === `${of}.amazonaws.com` && awsRegion === region && recipientAccountId === account;
}

function toldByAcm(envelope: Envelope, config: Omit<EventBridgeConfig, 'digest'>): Told | undefined {
  const { resources, detail, 'detail-type': type } = envelope;
  if (type === trail) {
    const kind = isCall(envelope, config) ? memberOf(acmCalls, detail?.eventName) : undefined;
    return kind && { kind, changes: true, about: detail?.requestParameters.certificateArn ?? '' };
  }
  const [kind, changes] = memberOf(acmKinds, type) ?? [];
  if (kind === undefined || changes === undefined) return undefined;
  return { kind: memberOf(acmActions, detail?.Action) ?? kind, changes, about: onlyOne(resources) };
}

function toldBySecrets(envelope: Envelope, config: Omit<EventBridgeConfig, 'digest'>): Told | undefined {
  const { resources, detail, 'detail-type': type } = envelope;
  if (type === trail) {
    const kind = isCall(envelope, config) ? memberOf(secretCalls, detail?.eventName) : undefined;
    const { arn = '', aRN = '' } = detail?.responseElements ?? {};
    return kind && { kind, changes: true, about: arn || aRN || (detail?.requestParameters.secretId ?? '') };
  }
  if (type !== 'Secret Label Updated' || detail?.labelUpdated !== 'AWSCURRENT') return undefined;
  return { kind: 'reimported', changes: true, about: onlyOne(resources) };
}

function onlyOne(resources: readonly string[]): string {
  const [about, ...others] = resources;
  if (about === undefined || others.length > 0) throw malformedMessage('the event does not name one resource');
  return about;
}

const memberOf = <T>(table: Readonly<Record<string, T>>, name = ''): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

const acmId = /^certificate\/[\w-]{1,64}$/;
const secretId = /^secret:[\w/+=.@-]{1,512}-[A-Za-z0-9]{6}$/;

/**
 * The certificate of a store that an ARN names, or how its id begins where only a name or a part is
 * known: a worker finds out what that means. `undefined` for what is not of the store.
 */
function certificateOf(
  about: string,
  config: Omit<EventBridgeConfig, 'digest'>,
): Pick<LifecycleEvent, 'certificates' | 'hints'> | undefined {
  const { of, namePrefix = '' } = config;
  const stem = arnStem(of, { ...config });
  if (!about.startsWith('arn:')) {
    // A bare name: DeleteSecret takes one.
    if (of !== 'secretsmanager' || !/^[\w/+=.@-]{1,512}$/.test(about)) throw malformedMessage('it names no resource');
    if (!about.startsWith(namePrefix)) return undefined;
    return { certificates: [], hints: [{ by: 'id-start', text: `${stem}:secret:${about}-` }] };
  }
  const parts = about.split(':');
  const resource = parts.slice(5).join(':');
  if (parts.slice(0, 5).join(':') !== stem)
    throw new CodedError('notification_foreign', 'the event names a resource of another account or region');
  if (of === 'acm') {
    if (!acmId.test(resource)) throw malformedMessage('the event names no certificate');
    return { certificates: [{ id: about, name: '' }] };
  }
  if (!resource.startsWith('secret:')) throw malformedMessage('the event names no secret');
  if (!resource.startsWith(`secret:${namePrefix}`)) return undefined;
  // Without the six characters at its end it is a part of an ARN.
  return secretId.test(resource)
    ? { certificates: [{ id: about, name: '' }] }
    : { certificates: [], hints: [{ by: 'id-start', text: about }] };
}
