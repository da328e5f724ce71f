import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../src/errors.ts';
import { pinVerificationKey } from '../../../src/sender/jws.ts';
import { verifyCallback } from '../../../src/services/certificate-manager/sender.ts';
import {
  bodyOf,
  certificateCrn,
  certificateId,
  instanceCrn,
  makeSigner,
  otherInstanceCrn,
  payloadBeta,
  payloadDomainValidation,
  payloadTest,
  payloadV1,
  payloadV2,
  payloadV3,
  payloadV4,
  payloadV5,
  respellings,
} from '../../support/notifications.ts';
import { domainValidationV4, domainValidationV4Digest, reimportedV4, reimportedV4Digest } from './golden.ts';

const signer = makeSigner();
const pinned = { instance: instanceCrn, publicKey: pinVerificationKey(signer.publicKeyPem) };
const firstId = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1';

const verifyPayload = (payload: unknown) => verifyCallback(signer.body(payload), pinned);

/** Code and message of a refusal. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof CodedError) return `${thrown.code}: ${thrown.message}`;
    throw thrown;
  }
  return 'not refused';
}

describe('what real notifications say', () => {
  it('a reimport, version 4', () => {
    expect(verifyPayload(reimportedV4)).toEqual({
      kind: 'reimported',
      changes: true,
      type: 'cert_reimported',
      version: 4,
      store:
        'crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:11111111-2222-3333-4444-555555555555::',
      certificates: [{ id: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', name: 'shop' }],
      digest: reimportedV4Digest,
    });
  });

  it('domain validation, version 4', () => {
    expect(verifyPayload(domainValidationV4)).toMatchObject({
      kind: 'other',
      changes: false,
      type: 'cert_domain_validation_required',
      certificates: [{ id: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', name: '' }],
      digest: domainValidationV4Digest,
    });
  });

  it('version 1: expiry, without event_type', () => {
    expect(verifyPayload(payloadV1())).toMatchObject({
      kind: 'about-to-expire',
      changes: false,
      type: 'expiring_certificates',
      version: 1,
      certificates: [{ id: firstId, name: 'shop' }],
    });
  });

  it('the beta of version 1: no version, no names', () => {
    expect(verifyPayload(payloadBeta())).toMatchObject({
      kind: 'about-to-expire',
      version: 0,
      certificates: [{ id: firstId, name: '' }],
    });
  });

  it('a missing version beside an event_type', () => {
    const { version: _, ...payload } = payloadV2();
    expect(verifyPayload(payload)).toMatchObject({ kind: 'reimported', version: 0, certificates: [{ id: firstId }] });
  });

  it('versions 2 and 3', () => {
    expect(verifyPayload(payloadV2())).toMatchObject({ kind: 'reimported', version: 2 });
    expect(verifyPayload(payloadV3({ ids: ['b', 'c'] }))).toMatchObject({
      version: 3,
      certificates: [
        { id: 'b', name: 'shop' },
        { id: 'c', name: 'shop' },
      ],
    });
  });

  it('the test event: a dashed id, and ISO text for a time', () => {
    expect(verifyPayload(payloadTest())).toMatchObject({
      kind: 'test',
      changes: false,
      certificates: [{ id: '12345678-9012-3456-7890-123456789012', name: 'certificate name' }],
    });
  });

  it('version 5, our own: an id and a time', () => {
    expect(verifyPayload(payloadV5({ eventId: 'event-1', eventTime: 1_767_323_045_123 }))).toMatchObject({
      kind: 'imported',
      changes: true,
      version: 5,
      eventId: 'event-1',
      occurredAt: 1_767_323_045_123,
    });
  });

  it('an id and a time only from version 5 on', () => {
    const event = verifyPayload({ ...payloadV4(), event_id: 'event-1', event_time: 1 });
    expect(event.eventId).toBeUndefined();
    expect(event.occurredAt).toBeUndefined();
  });

  it('never the token of the person who ordered', () => {
    const event = verifyPayload(payloadDomainValidation({ userToken: 'eyJ-very-secret' }));
    expect(JSON.stringify(event)).not.toContain('secret');
  });
});

describe('kinds', () => {
  it.each([
    ['test_notification_channel', 'test', false],
    ['cert_about_to_expire_reimport_required', 'about-to-expire', false],
    ['cert_about_to_expire_renew_required', 'about-to-expire', false],
    ['cert_expired_reimport_required', 'expired', false],
    ['cert_expired_renew_required', 'expired', false],
    ['cert_order_failed', 'failed', false],
    ['cert_renew_failed', 'failed', false],
    ['cert_domain_validation_required', 'other', false],
    ['cert_domain_validation_completed', 'other', false],
    ['cert_issued_not_downloaded', 'other', false],
    ['cert_renewed_not_downloaded', 'other', false],
    ['cert_reimported', 'reimported', true],
    ['cert_issued', 'issued', true],
    ['cert_renewed', 'renewed', true],
    ['cert_imported', 'imported', true],
    ['cert_deleted', 'deleted', true],
    ['cert_revoked', 'unknown', false],
    ['constructor', 'unknown', false],
    ['__proto__', 'unknown', false],
    ['CERT_RENEWED', 'unknown', false],
    ['', 'unknown', false],
  ])('%j is %s', (type, kind, changes) => {
    expect(verifyPayload(payloadV5({ type }))).toMatchObject({ kind, changes, type, certificates: [{ id: firstId }] });
  });

  it('takes versions that are not known yet, whatever their shape', () => {
    expect(verifyPayload({ ...payloadV5(), version: 6 })).toMatchObject({
      kind: 'unknown',
      changes: false,
      version: 6,
      certificates: [{ id: firstId }],
    });
    const strange = { instance_crn: instanceCrn, version: 7, certificates: [1, null, { crn: 'x' }], event_type: 5 };
    expect(verifyPayload(strange)).toMatchObject({ kind: 'unknown', type: '', version: 7, certificates: [] });
    expect(verifyPayload({ ...strange, certificates: 'all' })).toMatchObject({ kind: 'unknown', certificates: [] });
  });

  it('holds certificates of unknown kinds to the same rules', () => {
    const elsewhere = payloadV4({ instance: otherInstanceCrn }).certificates;
    expect(refusal(() => verifyPayload({ ...payloadV4({ type: 'new' }), certificates: elsewhere }))).toMatch(/foreign/);
    expect(refusal(() => verifyPayload({ ...payloadV5(), version: 6, certificates: elsewhere }))).toMatch(/foreign/);
  });
});

describe('the body', () => {
  const token = signer.sign(payloadV4());

  it.each([
    ['white space of JSON', `\r\n\t { "data" \n: "${token}" } \n`],
    ['other members', `{"id":1,"data":"${token}","more":{"data":"x","list":[{"data":[]}]}}`],
    ['other members, some repeated', `{"x":1,"x":"}{,\\"\\\\","data":"${token}","x":[",\\"data\\":"]}`],
    ['other members beyond ASCII', `{"ключ":"значение €","data":"${token}"}`],
    ['an escaped name', `{"d\\u0061ta":"${token}"}`],
    ['deep nesting beside it', `{"data":"${token}","deep":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['a member __proto__', `{"__proto__":{"data":"x"},"data":"${token}"}`],
  ])('may have %s', (_name, body) => {
    expect(verifyCallback(Buffer.from(body), pinned).kind).toBe('reimported');
  });

  it('is read where it stands in a larger buffer', () => {
    const larger = Buffer.concat([Buffer.from('xx'), bodyOf(token), Buffer.from('yy')]);
    expect(verifyCallback(new Uint8Array(larger).subarray(2, -2), pinned).kind).toBe('reimported');
  });

  it.each(respellings(token))('must spell the token in the one way: not with $name', ({ body }) => {
    expect(refusal(() => verifyCallback(Buffer.from(body), pinned))).toMatch(/^notification_malformed: /);
  });

  it.each([
    ['nothing', ''],
    ['no JSON', 'data=x'],
    ['half of it', `{"data":"${token}"`],
    ['something after it', `{"data":"${token}"}}`],
    ['a token alone', token],
    ['a JSON string', `"${token}"`],
    ['null', 'null'],
    ['an array', `[{"data":"${token}"}]`],
    ['an empty object', '{}'],
    ['data as null', '{"data":null}'],
    ['data as a number', '{"data":1e999}'],
    ['data as an object', `{"data":{"data":"${token}"}}`],
    ['data as an empty string', '{"data":""}'],
    ['data only inside another', `{"body":{"data":"${token}"}}`],
    ['data only inherited', `{"__proto__":{"data":"${token}"}}`],
    ['data in another case', `{"Data":"${token}"}`],
    ['a control character in it', `{"data":"${token}\n"}`],
    ['deep nesting', '['.repeat(100_000)],
    ['deep nesting of objects', '{"data":'.repeat(30_000)],
    ['a huge number', `{"data":${'9'.repeat(100_000)}}`],
  ])('is refused as malformed: %s', (_name, body) => {
    expect(refusal(() => verifyCallback(Buffer.from(body), pinned))).toMatch(/^notification_malformed: /);
  });

  it.each([
    ['{}', 'the body has no member data'],
    ['{"data":5}', 'the member data of the body is no string'],
    ['{"data":"","data":"","data":""}', 'the body has 3 members data, one is needed'],
    ['{"data":"a.b"}', 'a token has three parts with a dot between them; this one has not'],
    ['{"data":"e30.e30.e30="}', 'a part of the token is not canonical base64url'],
    ['{"data":"W10.e30.e30"}', 'the header of the token is no JSON object'],
  ])('is told what is wrong with it: %s', (body, message) => {
    expect(refusal(() => verifyCallback(Buffer.from(body), pinned))).toBe(`notification_malformed: ${message}`);
  });

  it('must be UTF-8', () => {
    const beside = (bytes: number[]) =>
      Buffer.concat([Buffer.from(`{"data":"${token}","x":"`), Buffer.from(bytes), Buffer.from('"}')]);
    expect(verifyCallback(beside([0xc3, 0xa4]), pinned).kind).toBe('reimported');
    for (const bytes of [[0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
      expect(refusal(() => verifyCallback(beside(bytes), pinned))).toBe(
        'notification_malformed: the body is not UTF-8',
      );
    }
    expect(refusal(() => verifyCallback(Buffer.from(`{"data":"${token}\xE4"}`, 'latin1'), pinned))).toMatch(
      /malformed/,
    );
  });

  it('gives the same digest however the body is dressed, and another for another payload', () => {
    const digestOf = (body: string) => verifyCallback(Buffer.from(body), pinned).digest;
    const other = signer.sign(payloadV4({ name: 'shop2' }));
    expect(digestOf(`{"x":1, "data":"${token}"}`)).toBe(digestOf(`{"data":"${token}"}`));
    expect(digestOf(`{"data":"${other}"}`)).not.toBe(digestOf(`{"data":"${token}"}`));
    const dressed = signer.sign(payloadV4(), { alg: 'RS256', typ: 'JWT' });
    expect(digestOf(`{"data":"${dressed}"}`)).toBe(digestOf(`{"data":"${token}"}`));
  });
});

describe('the payload', () => {
  const without = (member: string, payload = payloadV5()) =>
    Object.fromEntries(Object.entries(payload).filter(([name]) => name !== member));

  it.each([
    ['no JSON', 'hello'],
    ['empty', ''],
    ['null', null],
    ['an array', [payloadV4()]],
    ['deep nesting', '['.repeat(100_000)],
    ['not UTF-8', Buffer.from(JSON.stringify(payloadV4({ name: 'caf\xE9' })), 'latin1')],
    ['a byte order mark', `\uFEFF${JSON.stringify(payloadV4())}`],
    ['no instance', without('instance_crn')],
    ['an instance in a list', { ...payloadV4(), instance_crn: [instanceCrn] }],
    ['an inherited instance', `{"__proto__":${JSON.stringify(payloadV4())}}`],
    ['no event_type in version 2', without('event_type', payloadV2())],
    ['event_type null', { ...payloadV4(), event_type: null }],
    ['event_type an object', { ...payloadV4(), event_type: {} }],
    ['a version in text', { ...payloadV4(), version: '4' }],
    ['half a version', { ...payloadV4(), version: 4.5 }],
    ['a negative version', { ...payloadV4(), version: -1 }],
    ['an infinite version', JSON.stringify(payloadV4()).replace('"version":4', '"version":1e999')],
    ['a version beyond exact numbers', { ...payloadV4(), version: 2 ** 53 }],
    ['version null', { ...payloadV4(), version: null }],
    ['a change of nothing', { ...payloadV4(), certificates: [] }],
    ['a change without a list', without('certificates', payloadV4())],
    ['the list of version 1 in version 2', { ...payloadV1(), version: 2, event_type: 'cert_reimported' }],
    ['a list that is an object', { ...payloadV4(), certificates: { length: 1 } }],
    ['an item that is text', { ...payloadV4(), certificates: [certificateCrn()] }],
    ['an item that is null', { ...payloadV4(), certificates: [null] }],
    ['an item without cert_crn', { ...payloadV4(), certificates: [{ name: 'shop' }] }],
    ['a cert_crn in a list', { ...payloadV4(), certificates: [{ cert_crn: [certificateCrn()] }] }],
    ['a certificateCRN that is no text', { ...payloadDomainValidation(), certificateCRN: 5 }],
    ['version 5 without event_id', without('event_id')],
    ['version 5 with an empty event_id', payloadV5({ eventId: '' })],
    ['version 5 with a number as event_id', { ...payloadV5(), event_id: 5 }],
    ['version 5 without event_time', without('event_time')],
    ['version 5 with event_time in text', { ...payloadV5(), event_time: '2026-01-02T03:04:05Z' }],
    ['version 5 before 1970', payloadV5({ eventTime: -1 })],
    ['version 5 in fractions', payloadV5({ eventTime: 1.5 })],
    ['version 5 after the last moment', payloadV5({ eventTime: 8_640_000_000_000_001 })],
  ])('is refused as malformed: %s', (_name, payload) => {
    expect(refusal(() => verifyPayload(payload))).toMatch(/^notification_malformed: /);
  });

  it('may have the last moment there is', () => {
    expect(verifyPayload(payloadV5({ eventTime: 8_640_000_000_000_000 })).occurredAt).toBe(8_640_000_000_000_000);
    expect(verifyPayload(payloadV5({ eventTime: 0 })).occurredAt).toBe(0);
  });

  it('may inform without naming a certificate', () => {
    expect(verifyPayload(without('certificates', payloadTest())).certificates).toEqual([]);
    expect(verifyPayload({ ...payloadTest(), certificates: [] }).certificates).toEqual([]);
  });

  it('may have members that nobody knows', () => {
    expect(verifyPayload({ ...payloadV4(), iat: 1, exp: 1, certificate_manager_url: 7 }).kind).toBe('reimported');
  });
});

describe('whose it is', () => {
  it.each([
    ['another instance', otherInstanceCrn],
    ['a part of the CRN', instanceCrn.slice(0, -1)],
    ['more than the CRN', `${instanceCrn}:`],
    ['another case', instanceCrn.toUpperCase()],
    ['another region', instanceCrn.replace('eu-de', 'eu-gb')],
    ['a space after', `${instanceCrn} `],
    ['a look-alike letter', instanceCrn.replace('cloudcerts', 'cl\u043eudcerts')],
  ])('refuses as foreign: %s', (_name, instance) => {
    expect(refusal(() => verifyPayload({ ...payloadV4(), instance_crn: instance }))).toMatch(/^notification_foreign: /);
  });

  const longest = 'x'.repeat(128);
  it.each(['a', 'A-z_0.9', '12345678-9012-3456-7890-123456789012', longest])('knows the id %s', (id) => {
    expect(verifyPayload(payloadV4({ ids: [id] })).certificates).toEqual([{ id, name: 'shop' }]);
  });

  it.each([
    ['of another instance', certificateCrn('a', otherInstanceCrn)],
    ['the instance itself', instanceCrn],
    ['no id', certificateCrn('')],
    ['an id alone', certificateId()],
    ['an id with a colon', certificateCrn('a:b')],
    ['an id with a slash', certificateCrn('a/b')],
    ['an id with a space', certificateCrn('a b')],
    ['an id with a line break', certificateCrn('a\n')],
    ['an id with NUL', certificateCrn('a\0')],
    ['an id beyond ASCII', certificateCrn('ä')],
    ['an id of 129 characters', certificateCrn(`${longest}x`)],
    ['something before', ` ${certificateCrn()}`],
    ['both colons kept', `${instanceCrn}certificate:a`],
    ['another resource', certificateCrn().replace(':certificate:', ':secret:')],
    ['another case', certificateCrn().replace('certificate', 'Certificate')],
    ['percent-encoded', encodeURIComponent(certificateCrn())],
    ['a longer account', certificateCrn().replace('a/0', 'a/00')],
  ])('refuses as foreign a certificate CRN: %s', (_name, crn) => {
    expect(refusal(() => verifyPayload({ ...payloadV4(), certificates: [{ cert_crn: crn }] }))).toMatch(
      /^notification_foreign: /,
    );
    const mixed = [{ cert_crn: certificateCrn() }, { cert_crn: crn }];
    expect(refusal(() => verifyPayload({ ...payloadV4(), certificates: mixed }))).toMatch(/^notification_foreign: /);
    expect(refusal(() => verifyPayload({ ...payloadDomainValidation(), certificateCRN: crn }))).toMatch(
      /^notification_foreign: /,
    );
  });

  it('refuses the same notification signed by another instance', () => {
    const stranger = makeSigner();
    expect(refusal(() => verifyCallback(stranger.body(payloadV4()), pinned))).toBe(
      'notification_not_genuine: the notification is not signed by the instance of this link',
    );
  });

  it('says nothing of a payload that is not proven', () => {
    const foreign = makeSigner().body({ ...payloadV4(), instance_crn: otherInstanceCrn });
    expect(refusal(() => verifyCallback(foreign, pinned))).toMatch(/^notification_not_genuine: /);
  });
});

describe('how many certificates', () => {
  const ids = (count: number) => Array.from({ length: count }, (_, index) => certificateId(index + 1));

  it('takes 99 and 100', () => {
    expect(verifyPayload(payloadV4({ ids: ids(99) })).certificates.length).toBe(99);
    expect(verifyPayload(payloadV4({ ids: ids(100) })).certificates.length).toBe(100);
  });

  it.each(['cert_reimported', 'cert_about_to_expire_reimport_required', 'something_new'])(
    'refuses 101 and says so: %s',
    (type) => {
      expect(refusal(() => verifyPayload(payloadV4({ ids: ids(101), type })))).toBe(
        'notification_malformed: the notification names 101 certificates, at most 100 are allowed',
      );
    },
  );

  it('counts the one of domain validation too', () => {
    const payload = { ...payloadV4({ ids: ids(100) }), certificateCRN: certificateCrn() };
    expect(refusal(() => verifyPayload(payload))).toMatch(/101 certificates/);
  });

  it('names each once, in the order given', () => {
    expect(verifyPayload(payloadV4({ ids: ['b', 'a', 'b', 'b'] })).certificates.map(({ id }) => id)).toEqual([
      'b',
      'a',
    ]);
  });
});

describe('text of the sender', () => {
  const nameOf = (name: unknown) =>
    verifyPayload({ ...payloadV4(), certificates: [{ cert_crn: certificateCrn(), name }] }).certificates[0]?.name;

  it.each([
    ['shop', 'shop'],
    ['Größe ☃ 漢字 😀', 'Größe ☃ 漢字 😀'],
    ['a\0b\u001b[31mc\r\nd\u007f\u0085', 'a\\u{0}b\\u{1b}[31mc\\u{d}\\u{a}d\\u{7f}\\u{85}'],
    ['line\u2028paragraph\u2029', 'line\\u{2028}paragraph\\u{2029}'],
    ['abc\u202egnp.exe\u2066', 'abc\\u{202e}gnp.exe\\u{2066}'],
    ['half \ud83d a pair', 'half \\u{d83d} a pair'],
    ['x'.repeat(255), 'x'.repeat(255)],
    ['x'.repeat(256), 'x'.repeat(256)],
    ['x'.repeat(257), `${'x'.repeat(255)}…`],
    [`${'x'.repeat(255)}😀`, `${'x'.repeat(255)}…`],
    [undefined, ''],
    [null, ''],
    [{ toString: 'x' }, ''],
  ])('the name %j is kept as %j', (name, kept) => {
    expect(nameOf(name)).toBe(kept);
  });

  it('is cut and made visible in type and event id too', () => {
    const event = verifyPayload(payloadV5({ type: `new\n${'y'.repeat(1000)}`, eventId: `id\n${'z'.repeat(1000)}` }));
    expect(event.type).toBe(`new\\u{a}${'y'.repeat(247)}…`);
    expect(event.eventId).toBe(`id\\u{a}${'z'.repeat(248)}…`);
  });
});
