import { describe, expect, test } from 'vitest';
import { type CalendarFacts, dayMs, eventsDue } from '../../../src/instance/notifications/calendar-days.ts';

const day = (text: string) => Date.parse(`${text}T00:00:00Z`);
const facts = (given: Partial<CalendarFacts>): CalendarFacts => ({
  imported: true,
  expiresOn: Date.parse('2030-06-15T13:14:15Z'),
  since: day('2029-01-01'),
  ...given,
});
const ordered = (given: Partial<CalendarFacts>) =>
  facts({ imported: false, issuedAt: Date.parse('2030-03-17T10:00:00Z'), downloaded: true, ...given });

/**
 * The days, between two, on which something is due, if each midnight is looked at by itself; what
 * is due is due alone.
 */
function dueDays(of: CalendarFacts, from: string, to: string): string[] {
  const found: string[] = [];
  for (let until = day(from); until <= day(to); until += dayMs) {
    const due = eventsDue(of, { after: until - dayMs, until });
    if (due.length > 0) found.push(`${new Date(until).toISOString().slice(0, 10)} ${due.join(' ')}`);
  }
  return found;
}

test('an imported certificate: 90, 60, 30, 10 days and 1 before, and each day from that of the expiry on', () => {
  expect(dueDays(facts({}), '2030-01-01', '2030-06-17')).toEqual([
    '2030-03-17 cert_about_to_expire_reimport_required',
    '2030-04-16 cert_about_to_expire_reimport_required',
    '2030-05-16 cert_about_to_expire_reimport_required',
    '2030-06-05 cert_about_to_expire_reimport_required',
    '2030-06-14 cert_about_to_expire_reimport_required',
    '2030-06-15 cert_expired_reimport_required',
    '2030-06-16 cert_expired_reimport_required',
    '2030-06-17 cert_expired_reimport_required',
  ]);
});

test('an ordered certificate: 30 and 10 days and 1 before, and daily', () => {
  expect(dueDays(ordered({}), '2030-01-01', '2030-06-16')).toEqual([
    '2030-05-16 cert_about_to_expire_renew_required',
    '2030-06-05 cert_about_to_expire_renew_required',
    '2030-06-14 cert_about_to_expire_renew_required',
    '2030-06-15 cert_expired_renew_required',
    '2030-06-16 cert_expired_renew_required',
  ]);
});

test.each([
  ['the first moment of its day', '2030-06-15T00:00:00.000Z'],
  ['the last moment of its day', '2030-06-15T23:59:59.999Z'],
])('the hour of the expiry makes no difference: %s', (_, moment) => {
  expect(dueDays(facts({ expiresOn: Date.parse(moment) }), '2030-06-05', '2030-06-15')).toEqual([
    '2030-06-05 cert_about_to_expire_reimport_required',
    '2030-06-14 cert_about_to_expire_reimport_required',
    '2030-06-15 cert_expired_reimport_required',
  ]);
});

test('issued and not downloaded: once, 30 days after the issue', () => {
  expect(dueDays(ordered({ downloaded: false }), '2030-03-01', '2030-05-15')).toEqual([
    '2030-04-16 cert_issued_not_downloaded',
  ]);
});

test('renewed and not downloaded: 30 and 10 days and 1 before the version before expires, and on the day itself', () => {
  const previousExpiresOn = Date.parse('2030-05-01T08:00:00Z');
  expect(dueDays(ordered({ downloaded: false, previousExpiresOn }), '2030-03-01', '2030-05-15')).toEqual([
    '2030-04-01 cert_renewed_not_downloaded',
    '2030-04-21 cert_renewed_not_downloaded',
    '2030-04-30 cert_renewed_not_downloaded',
    '2030-05-01 cert_renewed_not_downloaded',
  ]);
  expect(dueDays(ordered({ previousExpiresOn }), '2030-03-01', '2030-05-15')).toEqual([]);
});

test('what was ordered and never issued is told of never', () => {
  expect(dueDays(facts({ imported: false, expiresOn: 999_999_999_999_999 }), '2030-01-01', '2030-12-31')).toEqual([]);
});

describe('a content counts from the first midnight after it came', () => {
  test('a certificate of 47 days is not told of as if it had been 90 days away', () => {
    const since = Date.parse('2030-04-29T10:00:00Z');
    expect(dueDays(facts({ since }), '2030-01-01', '2030-06-14').map((line) => line.slice(0, 10))).toEqual([
      '2030-05-16',
      '2030-06-05',
      '2030-06-14',
    ]);
  });

  test.each([
    ['the midnight itself', 0, ['cert_about_to_expire_reimport_required']],
    ['a millisecond later', 1, []],
  ])('%s', (_, later, due) => {
    const until = day('2030-05-16');
    expect(eventsDue(facts({ since: until + later }), { after: until - dayMs, until })).toEqual(due);
    const expired = facts({ since: until + later, expiresOn: until });
    expect(eventsDue(expired, { after: until - dayMs, until })).toHaveLength(due.length);
  });
});

describe('midnights that nobody looked at', () => {
  const after = day('2030-03-01');

  test('are made good once, however many there were', () => {
    const until = day('2030-06-06');
    expect(eventsDue(facts({}), { after, until })).toEqual(['cert_about_to_expire_reimport_required']);
  });

  test('are not made good twice', () => {
    expect(eventsDue(facts({}), { after: day('2030-06-05'), until: day('2030-06-13') })).toEqual([]);
  });

  test('count for nothing where the certificate has expired meanwhile: it is told that it has, once', () => {
    expect(eventsDue(facts({}), { after, until: day('2030-08-01') })).toEqual(['cert_expired_reimport_required']);
    expect(eventsDue(ordered({ downloaded: false }), { after, until: day('2030-08-01') })).toEqual([
      'cert_expired_renew_required',
    ]);
  });

  test('count for nothing before the content came', () => {
    const since = Date.parse('2030-06-05T00:00:01Z');
    expect(eventsDue(facts({ since }), { after, until: day('2030-06-13') })).toEqual([]);
  });

  test('of two kinds are made good for each kind', () => {
    expect(eventsDue(ordered({ downloaded: false }), { after, until: day('2030-06-13') })).toEqual([
      'cert_about_to_expire_renew_required',
      'cert_issued_not_downloaded',
    ]);
  });
});
