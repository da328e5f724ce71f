import { describe, expect, test } from 'vitest';
import { claimsOf, type InstanceEvent, isFor, slackMessage } from '../../../src/instance/notifications/events.ts';
import { instanceCrn } from '../../support/notifications.ts';

const url = `https://cloud.ibm.com/services/cloudcerts/${encodeURIComponent(instanceCrn)}`;
const crn = `${instanceCrn.slice(0, -1)}certificate:ab`;
const instance = { crn: instanceCrn, channelVersion: 5 } as const;
const expiresOn = Date.UTC(2030, 5, 15, 13, 14, 15);
const midnight = Date.UTC(2030, 5, 15);

function event(type: InstanceEvent['type']): InstanceEvent {
  const item = { cert_crn: crn, domains: 'a.example.test,b.example.test', expires_on: expiresOn, name: 'shop' };
  return { id: 'event-1', type, at: Date.UTC(2030, 4, 16), items: [item] };
}

const frame = { instance_crn: instanceCrn, certificate_manager_url: url };
const shortItem = { cert_crn: crn, domains: 'a.example.test,b.example.test', name: 'shop' };
const longItem = { ...shortItem, expires_on: expiresOn };

describe('ordered certificates', () => {
  const failed: InstanceEvent = {
    ...event('cert_renew_failed'),
    items: [{ ...longItem, additional_info: 'the authority <limits>', auto_renewed: true }],
  };

  test('4 says why one failed and whether it was renewed by itself; earlier versions are not told', () => {
    expect(claimsOf(instance, failed, 4)).toStrictEqual({
      ...frame,
      event_type: 'cert_renew_failed',
      certificates: [{ ...longItem, additional_info: 'the authority <limits>', auto_renewed: true }],
      version: 4,
      latestVersion: 5,
    });
    for (const type of ['cert_issued', 'cert_renewed', 'cert_order_failed', 'cert_renew_failed'] as const) {
      const told = ([1, 2, 3, 4, 5] as const).filter((version) => isFor({ type: 'url', version }, type));
      expect([type, told]).toEqual([type, [4, 5]]);
      expect(([1, 2, 3] as const).filter((version) => isFor({ type: 'slack', version }, type))).toEqual([3]);
    }
    expect(slackMessage(instance, failed).text).toContain(`expires 2030-06-15, ${crn}: the authority &lt;limits&gt;`);
  });

  test('one that was never issued has no expiry to tell', () => {
    const { expires_on: _, ...unissued } = longItem;
    const order = { ...event('cert_order_failed'), items: [{ ...unissued, additional_info: 'refused' }] };
    expect(claimsOf(instance, order, 4).certificates).toEqual([{ ...unissued, additional_info: 'refused' }]);
    expect(slackMessage(instance, order).text).toContain(`(a.example.test,b.example.test), ${crn}: refused`);
  });

  test.each(['cert_domain_validation_required', 'cert_domain_validation_completed'] as const)(
    '%s has a shape of its own, and no list of certificates',
    (type) => {
      const validation = { domain: 'a.example.test', txt_record_name: '_acme-challenge', txt_record_val: 'proof' };
      expect(claimsOf(instance, { ...event(type), validation }, 4)).toStrictEqual({
        ...frame,
        event_type: type,
        certificateCRN: crn,
        domain_validation_method: 'dns-01',
        domain: 'a.example.test',
        challenge: { txt_record_name: '_acme-challenge', txt_record_val: 'proof' },
        version: 4,
        latestVersion: 5,
      });
      expect(([1, 2, 3] as const).filter((version) => isFor({ type: 'slack', version }, type))).toEqual([]);
    },
  );
});

describe('payload versions', () => {
  const aboutToExpire = event('cert_about_to_expire_reimport_required');
  const reimported = event('cert_reimported');

  test('1 has no type, calls its list otherwise and says when all of it expires', () => {
    expect(claimsOf(instance, aboutToExpire, 1)).toStrictEqual({
      ...frame,
      expiry_date: midnight,
      expiring_certificates: [shortItem],
      version: 1,
      latestVersion: 5,
    });
  });

  test('2 has types', () => {
    const claims = { ...frame, expiry_date: midnight, certificates: [shortItem], version: 2, latestVersion: 5 };
    expect(claimsOf(instance, reimported, 2)).toStrictEqual({ ...claims, event_type: 'cert_reimported' });
    expect(claimsOf(instance, aboutToExpire, 2)).toStrictEqual({
      ...claims,
      event_type: 'cert_about_to_expire_reimport_required',
    });
  });

  test.each([3, 4] as const)(
    '%i says of each certificate when it expires, and of all of them only beforehand',
    (version) => {
      const claims = { ...frame, certificates: [longItem], version, latestVersion: 5 };
      expect(claimsOf(instance, reimported, version)).toStrictEqual({ ...claims, event_type: 'cert_reimported' });
      const expired = event('cert_expired_reimport_required');
      expect(claimsOf(instance, expired, version)).toStrictEqual({
        ...claims,
        event_type: 'cert_expired_reimport_required',
      });
      expect(claimsOf(instance, aboutToExpire, version)).toStrictEqual({
        ...claims,
        event_type: 'cert_about_to_expire_reimport_required',
        expiry_date: midnight,
      });
    },
  );

  test('5 has an id and a time', () => {
    expect(claimsOf(instance, event('cert_imported'), 5)).toStrictEqual({
      ...frame,
      event_type: 'cert_imported',
      certificates: [longItem],
      version: 5,
      latestVersion: 5,
      event_id: 'event-1',
      event_time: Date.UTC(2030, 4, 16),
    });
  });
});

test('which versions get which events', () => {
  const from = (type: InstanceEvent['type'], channel: 'url' | 'slack') =>
    ([1, 2, 3, 4, 5] as const).filter((version) => isFor({ type: channel, version }, type));
  expect(from('test_notification_channel', 'url')).toEqual([1, 2, 3, 4, 5]);
  expect(from('cert_about_to_expire_reimport_required', 'url')).toEqual([1, 2, 3, 4, 5]);
  expect(from('cert_expired_reimport_required', 'url')).toEqual([1, 2, 3, 4, 5]);
  expect(from('cert_reimported', 'url')).toEqual([2, 3, 4, 5]);
  expect(from('cert_imported', 'url')).toEqual([5]);
  expect(from('cert_deleted', 'url')).toEqual([5]);
  expect(from('notification_channel_saved', 'url')).toEqual([]);
  expect(from('cert_reimported', 'slack')).toEqual([2, 3, 4, 5]);
  expect(from('cert_imported', 'slack')).toEqual([]);
  expect(from('notification_channel_saved', 'slack')).toEqual([1, 2, 3, 4, 5]);
});

test('Slack gets words, in which foreign text is only text', () => {
  const [item] = event('cert_reimported').items;
  const named = { ...event('cert_reimported'), items: [{ ...item, name: '<!channel> & co' }] } as InstanceEvent;
  expect(slackMessage(instance, named)).toEqual({
    text: [
      'These certificates were reimported:',
      `• &lt;!channel&gt; &amp; co (a.example.test,b.example.test), expires 2030-06-15, ${crn}`,
      instanceCrn,
    ].join('\n'),
  });
  expect(slackMessage(instance, event('notification_channel_saved')).text).toBe(
    `This notification channel was saved.\n${instanceCrn}`,
  );
});
