import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { asCodedError } from '../../../src/errors.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import type { Sender } from '../../../src/sender/sender.ts';
import { deliveredOf } from '../../../src/services/eventbridge/delivery.ts';
import { senderOf } from '../../../src/services/eventbridge/sender.ts';
import { senderDiagnosisOf } from '../../../src/services/eventbridge/sender-diagnosis.ts';
import { type EventBridgeConfig, eventBridgeSettings } from '../../../src/services/eventbridge/settings.ts';

const key = 'k'.repeat(43);
const account = '123456789012';
const certificate = `arn:aws:acm:eu-west-1:${account}:certificate/1b2c3d4e-0000-4000-8000-000000000001`;
const secret = `arn:aws:secretsmanager:eu-west-1:${account}:secret:certs/shop-Ab12Cd`;

const config = (given: Partial<EventBridgeConfig> = {}): EventBridgeConfig => ({
  ...{ kind: 'eventbridge', name: 'aws', store: 'ireland', of: 'secretsmanager', region: 'eu-west-1', account },
  digest: hash('sha256', key),
  ...given,
});

/** Events as AWS documents them. */
const envelope = (given: object) => ({
  ...{ version: '0', id: '7d5a1f0e-6a52-4b0c-9a39-0d1c5e1f7a01', account, time: '2026-11-29T10:00:00Z' },
  ...{ region: 'eu-west-1', resources: [], detail: {} },
  ...given,
});
const available = (given: object = {}) =>
  envelope({
    ...{ 'detail-type': 'ACM Certificate Available', source: 'aws.acm', resources: [certificate] },
    detail: { Action: 'REIMPORT', CertificateType: 'IMPORTED', CommonName: 'shop.example.test', InUse: true },
    ...given,
  });
const labelled = (given: object = {}) =>
  envelope({
    ...{ 'detail-type': 'Secret Label Updated', source: 'aws.secretsmanager', resources: [secret] },
    detail: { name: 'certs/shop', labelUpdated: 'AWSCURRENT', versionId: '5f0c7d1e-0000-4000-8000-000000000002' },
    ...given,
  });
const called = (detail: object = {}, given: object = {}) =>
  envelope({
    ...{ 'detail-type': 'AWS API Call via CloudTrail', source: 'aws.secretsmanager' },
    detail: {
      ...{ eventSource: 'secretsmanager.amazonaws.com', eventName: 'DeleteSecret', awsRegion: 'eu-west-1' },
      ...{
        recipientAccountId: account,
        requestParameters: { secretId: 'certs/shop' },
        responseElements: { arn: secret },
      },
      ...detail,
    },
    ...given,
  });

async function told(body: unknown, given: Partial<EventBridgeConfig> = {}, header: string | undefined = key) {
  const sender = (await senderOf(config(given))) as Sender;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  try {
    const received = sender.receive(
      { header: (name) => (name.toLowerCase() === 'x-certstandby-key' ? header : undefined), body: Buffer.from(text) },
      sender.keys ?? new Map(),
      0,
    );
    return 'events' in received ? received.events : [];
  } catch (thrown) {
    return asCodedError(thrown).code;
  }
}

test.each(['ISSUANCE', 'RENEWAL', 'IMPORT', 'REIMPORT'])('ACM’s own event of %s asks for a look', async (Action) => {
  const kinds: Readonly<Record<string, string>> = {
    ...{ ISSUANCE: 'issued', RENEWAL: 'renewed', IMPORT: 'imported', REIMPORT: 'reimported' },
  };
  expect(await told(available({ detail: { Action } }), { of: 'acm' })).toMatchObject([
    { kind: kinds[Action], changes: true, unsigned: true, certificates: [{ id: certificate }] },
  ]);
});

test('what ACM only informs of changes nothing', async () => {
  for (const type of ['ACM Certificate Approaching Expiration', 'ACM Certificate Expired', 'ACM Certificate Revoked'])
    expect(await told(available({ 'detail-type': type }), { of: 'acm' })).toMatchObject([{ changes: false }]);
});

test('another current version of a secret asks for a look, another label does not', async () => {
  expect(await told(labelled())).toMatchObject([{ kind: 'reimported', changes: true, certificates: [{ id: secret }] }]);
  expect(await told(labelled({ detail: { labelUpdated: 'MINE' } }))).toEqual([]);
});

test('a deletion is told by the trail, by the ARN where it is there, else by a hint that a worker resolves', async () => {
  expect(await told(called())).toMatchObject([{ kind: 'deleted', changes: true, certificates: [{ id: secret }] }]);
  const start = `arn:aws:secretsmanager:eu-west-1:${account}:secret:certs/shop-`;
  expect(await told(called({ responseElements: null }))).toMatchObject([
    { certificates: [], hints: [{ by: 'id-start', text: start }] },
  ]);
  const requestParameters = { secretId: start.slice(0, -1) };
  expect(await told(called({ responseElements: null, requestParameters }))).toMatchObject([
    { hints: [{ by: 'id-start', text: start.slice(0, -1) }] },
  ]);
});

test('a call that failed is no change, and neither is one that may hold content', async () => {
  expect(await told(called({ errorCode: 'AccessDenied' }))).toEqual([]);
  for (const eventName of ['PutSecretValue', 'CreateSecret', 'GetSecretValue'])
    expect(await told(called({ eventName }))).toEqual([]);
});

test('what is of another account, region or service is not taken, wherever that stands', async () => {
  expect(await told(labelled({ account: '999999999999' }))).toBe('notification_foreign');
  expect(await told(labelled({ region: 'us-east-1' }))).toBe('notification_foreign');
  expect(await told(labelled({ resources: [secret.replace(account, '999999999999')] }))).toBe('notification_foreign');
  expect(await told(labelled({ resources: [secret.replace('eu-west-1', 'us-east-1')] }))).toBe('notification_foreign');
  expect(await told(labelled({ resources: [secret.replace('arn:aws:', 'arn:aws-cn:')] }))).toBe('notification_foreign');
  expect(await told(labelled({ resources: [certificate] }))).toBe('notification_foreign');
  expect(await told(called({ recipientAccountId: '999999999999' }))).toEqual([]);
  expect(await told(called({ awsRegion: 'us-east-1' }))).toEqual([]);
  expect(await told(called({ eventSource: 'acm.amazonaws.com' }))).toEqual([]);
  expect(await told(available())).toEqual([]);
  expect(await told(labelled({ source: 'aws.s3' }))).toEqual([]);
});

test('secrets outside the prefix are nobody’s concern', async () => {
  expect(await told(labelled(), { namePrefix: 'other/' })).toEqual([]);
  expect(await told(labelled(), { namePrefix: 'certs/' })).toHaveLength(1);
  expect(await told(called({ responseElements: null }), { namePrefix: 'other/' })).toEqual([]);
});

test('what is no event, names none or several resources, or has a member twice, is malformed', async () => {
  const text = JSON.stringify(labelled());
  for (const body of [
    ...['', '[]', 'null', text.slice(0, -1), text.replace('"version":"0"', '"version":"1"')],
    ...[text.replace('{"version"', '{"source":"aws.acm","version"'), JSON.stringify({ ...labelled(), id: '' })],
    ...[labelled({ resources: [] }), labelled({ resources: [secret, secret] })],
    labelled({ resources: [secret.replace(':secret:', ':other:')] }),
    called({ responseElements: null, requestParameters: { secretId: '' } }),
  ])
    expect([body, await told(body)]).toEqual([body, 'notification_malformed']);
});

test('without one of the two keys nothing is read, and during a rotation both are good', async () => {
  const next = 'n'.repeat(43);
  for (const wrong of [undefined, '', 'wrong', `${key}, ${key}`, next])
    expect(await told('{', {}, wrong ?? '')).toBe('notification_not_genuine');
  expect(await told(labelled(), { nextDigest: hash('sha256', next) }, next)).toHaveLength(1);
  expect(await told(labelled(), { nextDigest: hash('sha256', next) })).toHaveLength(1);
});

test('deliveries of one event are one event, whatever their spelling, and another event is another', async () => {
  const digestOf = (events: Awaited<ReturnType<typeof told>>) =>
    typeof events === 'string' ? events : events[0]?.digest;
  const spelled = JSON.stringify(labelled(), undefined, 2);
  expect(digestOf(await told(spelled))).toBe(digestOf(await told(labelled())));
  expect(digestOf(await told(labelled({ id: 'another' })))).not.toBe(digestOf(await told(labelled())));
});

test('what comes by a queue is proven by AWS, and never taken at a callback URL', async () => {
  const { digest: _digest, ...queued } = config({ delivery: 'queue' });
  expect(await senderOf(queued)).toBeUndefined();
  expect(deliveredOf(config())).toBeUndefined();
  const [event] = deliveredOf(queued)?.(Buffer.from(JSON.stringify(labelled()))) ?? [];
  expect(event).toMatchObject({ kind: 'reimported', certificates: [{ id: secret }] });
  expect(event?.unsigned).toBeUndefined();
  expect(() => deliveredOf(queued)?.(Buffer.from('{}'))).toThrow();
});

test('a key is wanted for an API destination, and means nothing for a queue', () => {
  const raw = { of: 'acm', region: 'eu-west-1', account };
  expect(eventBridgeSettings.mistakes?.(raw)).toEqual([{ setting: 'digest', what: 'is missing' }]);
  expect(eventBridgeSettings.mistakes?.({ ...raw, delivery: 'queue' })).toEqual([]);
  expect(eventBridgeSettings.mistakes?.({ ...raw, delivery: 'queue', digest: 'x' })).toMatchObject([
    { setting: 'digest' },
  ]);
});

test('the test that doctor prints is taken as one', async () => {
  expect(senderDiagnosisOf(config({ delivery: 'queue' }), { runtime: systemRuntime }).trial).toBeUndefined();
  const line = senderDiagnosisOf(config(), { runtime: systemRuntime }).trial?.('https://example.test/callback/aws');
  const [, body = ''] = /-d '([^']+)'/.exec(line ?? '') ?? [];
  expect(await told(body)).toMatchObject([{ kind: 'test', changes: false }]);
});

test('the configuration of its page is a good one', () => {
  const page = readFileSync(new URL('../../../src/services/eventbridge/README.md', import.meta.url), 'utf8');
  const [, text = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const read = parseConfig(text, { path: '/etc/c.yaml', env: {}, readFile: () => '' });
  expect(read.senders?.[0]).toMatchObject({ kind: 'eventbridge', of: 'secretsmanager', account });
});
