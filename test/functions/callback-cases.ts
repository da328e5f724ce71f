import { describe, expect, it } from 'vitest';
import { limits } from '../../src/limits.ts';
import { otherInstanceCrn, payloadTest, payloadV4, type Signer } from '../support/notifications.ts';

/**
 * A request to the callback, as a sender writes it. Names of headers as they are written; a name
 * may come twice.
 */
export interface CallbackCase {
  readonly name: string;
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly headers: readonly (readonly [string, string])[];
    readonly body: Buffer;
  };
  readonly answer: {
    readonly status: number;
    /** The whole body. */
    readonly body: Readonly<Record<string, string>>;
    /** Headers that are there beside Content-Type: application/json and Cache-Control: no-store. */
    readonly headers?: Readonly<Record<string, string>>;
  };
}

const refusals = {
  malformed: { code: 'notification_malformed' },
  notGenuine: {
    code: 'notification_not_genuine',
    message: 'the notification is not signed by the instance of this link',
  },
  unknownLink: { code: 'notification_unknown_link', message: 'there is no link and no sender at this path' },
  mediaType: { code: 'notification_media_type', message: 'the Content-Type is not application/json in UTF-8' },
  encoding: {
    code: 'notification_media_type',
    message: 'the body has a Content-Encoding; it must come as it is',
  },
  tooLarge: { code: 'notification_too_large', message: 'the body has more than 262144 bytes' },
  method: {
    code: 'notification_method',
    message: 'a notification comes by POST, this request came by another method',
  },
} as const;

/**
 * What is sent to a callback with the one link `shop`, one after the other, and what it answers:
 * the same on every host (design, section 5). `signer` signs for the primary of the link,
 * `stranger` for nobody.
 */
export function callbackCases(signer: Signer, stranger: Signer): readonly CallbackCase[] {
  const good = signer.body(payloadV4());
  const json = [['Content-Type', 'application/json']] as const;
  const request = (given: Partial<CallbackCase['request']> = {}): CallbackCase['request'] => ({
    method: 'POST',
    path: '/callback/shop',
    headers: json,
    body: good,
    ...given,
  });
  const padded = (bytes: number) => Buffer.concat([good, Buffer.alloc(bytes - good.length, ' ')]);
  const acknowledged = { status: 202, body: { status: 'acknowledged' } };
  const repeat = { status: 200, body: { status: 'repeat' } };
  const one = (name: string, given: Partial<CallbackCase['request']>, answer: CallbackCase['answer']) => ({
    name,
    request: request(given),
    answer,
  });
  const refused = (
    status: number,
    body: Readonly<Record<string, string>>,
    headers?: Readonly<Record<string, string>>,
  ) => (headers === undefined ? { status, body } : { status, body, headers });

  return [
    one('a genuine change', {}, acknowledged),
    one('the same again', {}, repeat),
    one(
      'the same, its header in other letters',
      { headers: [['CONTENT-TYPE', 'Application/JSON; charset=UTF-8']] },
      repeat,
    ),
    one('the same, without a Content-Type', { headers: [] }, repeat),
    one(
      'the same with a header that is no business of ours, twice',
      { headers: [...json, ['X-Trace', 'a'], ['X-Trace', 'b']] },
      repeat,
    ),
    one(
      'a name beyond ASCII, byte for byte',
      { body: signer.body(payloadV4({ name: 'büro — 証明書' })) },
      acknowledged,
    ),
    one('informative: a test', { body: signer.body(payloadTest()) }, { status: 200, body: { status: 'noted' } }),
    one(
      'informative: of a kind that nobody knows',
      { body: signer.body(payloadV4({ type: 'cert_revoked' })) },
      { status: 200, body: { status: 'noted', message: 'nothing is known here of the type cert_revoked, version 4' } },
    ),
    one(`a body of ${limits.notificationBytes} bytes`, { body: padded(limits.notificationBytes) }, repeat),
    one('a body of one byte more', { body: padded(limits.notificationBytes + 1) }, refused(413, refusals.tooLarge)),
    one('not JSON', { body: Buffer.from('hello') }, refused(400, refusals.malformed)),
    one('no body', { body: Buffer.alloc(0) }, refused(400, refusals.malformed)),
    one('bytes that are no text', { body: Buffer.from([0xff, 0xfe, 0x00, 0x80]) }, refused(400, refusals.malformed)),
    one('signed by somebody else', { body: stranger.body(payloadV4()) }, refused(401, refusals.notGenuine)),
    one('another algorithm', { body: signer.body(payloadV4(), { alg: 'RS512' }) }, refused(401, refusals.notGenuine)),
    one('no algorithm', { body: signer.body(payloadV4(), { alg: 'none' }) }, refused(401, refusals.notGenuine)),
    one(
      'of another instance',
      { body: signer.body(payloadV4({ instance: otherInstanceCrn })) },
      refused(403, { code: 'notification_foreign' }),
    ),
    one('an unknown link', { path: '/callback/other' }, refused(404, refusals.unknownLink)),
    one('no link', { path: '/callback/' }, refused(404, refusals.unknownLink)),
    one('a link that is a name of the language', { path: '/callback/__proto__' }, refused(404, refusals.unknownLink)),
    one('more behind the link', { path: '/callback/shop/x' }, refused(404, refusals.unknownLink)),
    one('PUT', { method: 'PUT' }, refused(405, refusals.method, { allow: 'POST' })),
    one('GET', { method: 'GET', headers: [], body: Buffer.alloc(0) }, refused(405, refusals.method, { allow: 'POST' })),
    one('another media type', { headers: [['Content-Type', 'text/plain']] }, refused(415, refusals.mediaType)),
    one(
      'another charset',
      { headers: [['Content-Type', 'application/json; charset=latin1']] },
      refused(415, refusals.mediaType),
    ),
    one('packed', { headers: [...json, ['Content-Encoding', 'gzip']] }, refused(415, refusals.encoding)),
    one(
      'packed twice',
      { headers: [...json, ['Content-Encoding', 'identity'], ['Content-Encoding', 'gzip']] },
      refused(415, refusals.encoding),
    ),
  ];
}

export interface CallbackAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Brings a request to a callback by way of a host. */
export type Send = (request: CallbackCase['request']) => Promise<CallbackAnswer>;

/** The contract of a host: sends all cases, one after the other, to one receiver. */
export function callbackHostContract(host: string, cases: readonly CallbackCase[], send: Send): void {
  describe(host, () => {
    it.each(cases)('$name', async ({ request, answer }) => {
      const { status, headers, body } = await send(request);
      expect({ status, body: JSON.parse(body) }).toMatchObject({ status: answer.status, body: answer.body });
      expect(headers).toMatchObject({
        'content-type': 'application/json',
        'cache-control': 'no-store',
        ...answer.headers,
      });
    });
  });
}
