import { slackText } from '../../foreign-text.ts';
import { isIssued } from '../certificates/certificate-row.ts';
import { certificateCrn } from '../rows/crn.ts';
import type { ChannelVersion, Instance } from '../tenants/instance.ts';

const never = Number.POSITIVE_INFINITY;

/**
 * Everything known about a kind of event: the first payload version of each type of channel that
 * gets it, and its words for people.
 */
const eventKinds = {
  test_notification_channel: { url: 1, slack: 1, text: 'This is a test of this notification channel.' },
  cert_about_to_expire_reimport_required: {
    url: 1,
    slack: 1,
    text: 'These certificates are about to expire. Reimport them:',
  },
  cert_expired_reimport_required: { url: 1, slack: 1, text: 'These certificates have expired. Reimport them:' },
  cert_about_to_expire_renew_required: {
    url: 4,
    slack: 3,
    text: 'These certificates are about to expire. Renew them:',
  },
  cert_expired_renew_required: { url: 4, slack: 3, text: 'These certificates have expired. Renew them:' },
  cert_issued_not_downloaded: {
    url: 4,
    slack: 3,
    text: 'These certificates were issued, and nobody has downloaded them:',
  },
  cert_renewed_not_downloaded: {
    url: 4,
    slack: 3,
    text: 'These certificates were renewed, and nobody has downloaded the new version, while the one before expires:',
  },
  cert_reimported: { url: 2, slack: 2, text: 'These certificates were reimported:' },
  cert_issued: { url: 4, slack: 3, text: 'These certificates were issued:' },
  cert_renewed: { url: 4, slack: 3, text: 'These certificates were renewed:' },
  cert_order_failed: { url: 4, slack: 3, text: 'These certificates could not be ordered:' },
  cert_renew_failed: { url: 4, slack: 3, text: 'These certificates could not be renewed:' },
  // Of one domain, in a shape of their own; Slack is never told.
  cert_domain_validation_required: { url: 4, slack: never, text: '' },
  cert_domain_validation_completed: { url: 4, slack: never, text: '' },
  // Our own: Certificate Manager says nothing when a certificate is imported or deleted.
  cert_imported: { url: 5, slack: never, text: 'These certificates were imported:' },
  cert_deleted: { url: 5, slack: never, text: 'These certificates were deleted:' },
  // Certificate Manager confirms to Slack, and to Slack alone, that a channel was saved.
  notification_channel_saved: { url: never, slack: 1, text: 'This notification channel was saved.' },
} as const satisfies Record<string, { readonly url: number; readonly slack: number; readonly text: string }>;

export type EventType = keyof typeof eventKinds;
export const eventTypes = Object.keys(eventKinds) as readonly EventType[];

/** What happens to one certificate by a request, or by an order. */
export type ChangeEvent =
  | 'cert_imported'
  | 'cert_reimported'
  | 'cert_deleted'
  | 'cert_issued'
  | 'cert_renewed'
  | 'cert_order_failed'
  | 'cert_renew_failed';

/** What the calendar tells of. */
export const calendarEvents = [
  'cert_about_to_expire_reimport_required',
  'cert_expired_reimport_required',
  'cert_about_to_expire_renew_required',
  'cert_expired_renew_required',
  'cert_issued_not_downloaded',
  'cert_renewed_not_downloaded',
] as const satisfies readonly EventType[];
export type CalendarEvent = (typeof calendarEvents)[number];

/** A record that proves to the authority whose a domain is. */
export interface DomainValidation {
  readonly domain: string;
  readonly txt_record_name: string;
  readonly txt_record_val: string;
}

/** What happens to a channel; told to it alone, also when it is switched off. */
export type ChannelEvent = 'test_notification_channel' | 'notification_channel_saved';

export const isChannelEvent = (type: EventType): type is ChannelEvent =>
  type === 'test_notification_channel' || type === 'notification_channel_saved';

/** Something that happened, ready to be told to channels of any version. */
export interface InstanceEvent {
  readonly id: string;
  readonly type: EventType;
  /** Epoch milliseconds. */
  readonly at: number;
  /**
   * The certificates concerned. Those of an event about expiry all expire on the same day, by UTC.
   */
  readonly items: readonly EventItem[];
  /** Of an event about the validation of a domain alone. */
  readonly validation?: DomainValidation | undefined;
}

/** What version 4 says of ordered certificates beside the rest. */
export interface ItemExtras {
  /** Why an order or a renewal failed. */
  readonly additional_info?: string | undefined;
  /** Whether the instance itself began a renewal. */
  readonly auto_renewed?: boolean | undefined;
  /** When the version before expires, epoch milliseconds. */
  readonly previous_expires_on?: number | undefined;
}

/**
 * A certificate in a notification. The order of the members is the one that was seen in real ones.
 */
export interface EventItem extends ItemExtras {
  readonly cert_crn: string;
  /** Comma separated. */
  readonly domains: string;
  /**
   * Epoch milliseconds; in the test event an ISO 8601 text, as it was seen; absent while it has not
   * been issued.
   */
  readonly expires_on?: number | string | undefined;
  readonly name: string;
}

/**
 * Types of channels: one that gets signed notifications, and one of Slack, which gets plain words.
 */
export type ChannelType = 'url' | 'slack';

/**
 * The newest payload version of Slack channels: Certificate Manager's third, which tells of ordered
 * certificates too.
 */
export const newestSlackVersion = 3;

/** Whether channels of this type and version get events of this type. */
export function isFor(
  channel: { readonly type: ChannelType; readonly version: ChannelVersion },
  type: EventType,
): boolean {
  return channel.version >= eventKinds[type][channel.type];
}

/** The item of a certificate. */
export function certificateItem(
  instanceCrn: string,
  certificate: {
    readonly id: string;
    readonly domains: readonly string[];
    readonly expiresOn: number;
    readonly name: string;
  },
): EventItem {
  return {
    cert_crn: certificateCrn(instanceCrn, certificate.id),
    domains: certificate.domains.join(','),
    ...(isIssued(certificate) && { expires_on: certificate.expiresOn }),
    name: certificate.name,
  };
}

/** The item of the test event: a certificate that does not exist, with values as they were seen. */
export function testItem(instanceCrn: string, at: number): EventItem {
  return {
    cert_crn: certificateCrn(instanceCrn, '12345678-9012-3456-7890-123456789012'),
    domains: 'notification.test.com',
    expires_on: new Date(at).toISOString(),
    name: 'certificate name',
  };
}

/**
 * The claims of a notification in the payload version of a channel. 1 knows expiry alone, and so no
 * type; 2 has types; 3 says of each certificate when it expires; 4 knows ordered certificates, and
 * the validation of their domains in a shape of its own. Up to there nothing tells two events of
 * the same content apart: 5, our own, has an id and a time.
 */
export function claimsOf(
  instance: Pick<Instance, 'crn' | 'channelVersion'>,
  event: InstanceEvent,
  version: ChannelVersion,
): Readonly<Record<string, unknown>> {
  const items = event.items.map(({ cert_crn, domains, expires_on, name, ...extras }) => ({
    cert_crn,
    domains,
    ...(version >= 3 && { expires_on }),
    name,
    ...(version >= 4 && extras),
  }));
  const dated = version <= 2 || event.type.startsWith('cert_about_to_expire_');
  return {
    instance_crn: instance.crn,
    certificate_manager_url: `https://cloud.ibm.com/services/cloudcerts/${encodeURIComponent(instance.crn)}`,
    ...(version >= 2 && { event_type: event.type }),
    ...(dated && { expiry_date: expiryDay(event.items[0]?.expires_on ?? event.at) }),
    ...(event.validation === undefined
      ? { [version === 1 ? 'expiring_certificates' : 'certificates']: items }
      : validationClaims(event.items[0]?.cert_crn, event.validation)),
    version,
    latestVersion: instance.channelVersion,
    ...(version >= 5 && { event_id: event.id, event_time: event.at }),
  };
}

/** One domain of one certificate, and the record that is to be published, or need no longer be. */
function validationClaims(certificateCRN: string | undefined, { domain, ...challenge }: DomainValidation) {
  return { certificateCRN, domain_validation_method: 'dns-01', domain, challenge };
}

/** Midnight, by UTC, of the day of a moment. */
function expiryDay(moment: number | string): number {
  return new Date(moment).setUTCHours(0, 0, 0, 0);
}

/** What a Slack channel gets: words for people. */
export function slackMessage(instance: Pick<Instance, 'crn'>, event: InstanceEvent): { readonly text: string } {
  const line = ({ name, domains, expires_on, cert_crn, additional_info: why }: EventItem) => {
    const expires = expires_on === undefined ? '' : `, expires ${new Date(expires_on).toISOString().slice(0, 10)}`;
    return `• ${slackText(name)} (${slackText(domains)})${expires}, ${cert_crn}${why === undefined ? '' : `: ${slackText(why)}`}`;
  };
  const lines = isChannelEvent(event.type) ? [] : event.items.map(line);
  return { text: [eventKinds[event.type].text, ...lines, instance.crn].join('\n') };
}
