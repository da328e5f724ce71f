import type { CertificateRow } from './certificate-row.ts';
import { certificateCrn } from './crn.ts';
import type { ChannelVersion, Instance } from './instance.ts';

/** Everything known about a kind of event: the first payload version whose channels get it. */
const eventKinds = {
  cert_reimported: { from: 4 },
  test_notification_channel: { from: 4 },
  // Our own: Certificate Manager says nothing when a certificate is imported or deleted.
  cert_imported: { from: 5 },
  cert_deleted: { from: 5 },
} as const satisfies Record<string, { readonly from: ChannelVersion }>;

export type EventType = keyof typeof eventKinds;

/** Something that happened, ready to be told to channels of any version. */
export interface InstanceEvent {
  readonly id: string;
  readonly type: EventType;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly item: EventItem;
}

/** A certificate in a notification. The order of the members is the one that was seen in real ones. */
interface EventItem {
  readonly cert_crn: string;
  /** Comma separated. */
  readonly domains: string;
  /** Epoch milliseconds; in the test event an ISO 8601 text, as it was seen. */
  readonly expires_on: number | string;
  readonly name: string;
}

/** Tells the channels of an instance what happened to a certificate. Returns at once. */
export type Announce = (type: Exclude<EventType, 'test_notification_channel'>, row: CertificateRow) => void;

/** Whether channels of this version get events of this type. */
export function isFor(version: ChannelVersion, type: EventType): boolean {
  return version >= eventKinds[type].from;
}

/** The item of a certificate. */
export function certificateItem(instance: Instance, row: CertificateRow): EventItem {
  return {
    cert_crn: certificateCrn(instance.crn, row.id),
    domains: row.domains.join(','),
    expires_on: row.expiresOn,
    name: row.name,
  };
}

/** The item of the test event: a certificate that does not exist, with values as they were seen. */
export function testItem(instance: Instance, at: number): EventItem {
  return {
    cert_crn: certificateCrn(instance.crn, '12345678-9012-3456-7890-123456789012'),
    domains: 'notification.test.com',
    expires_on: new Date(at).toISOString(),
    name: 'certificate name',
  };
}

/** The claims of a notification. Version 4 has no time and no id of any kind, so two events may give the same bytes; version 5 has both. */
export function claimsOf(instance: Instance, event: InstanceEvent, version: ChannelVersion) {
  return {
    instance_crn: instance.crn,
    certificate_manager_url: `https://cloud.ibm.com/services/cloudcerts/${encodeURIComponent(instance.crn)}`,
    event_type: event.type,
    certificates: [event.item],
    version,
    latestVersion: instance.channelVersion,
    ...(version >= 5 && { event_id: event.id, event_time: event.at }),
  };
}
