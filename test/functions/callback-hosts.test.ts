import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { afterAll, describe, expect, it } from 'vitest';
import { type HttpEvent, requestOf, resultOf } from '../../functions/aws/http-api.ts';
import { silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { watchedLink } from '../receiver/links.ts';
import { makeSigner } from '../support/notifications.ts';
import { type CallbackCase, callbackCases, callbackHostContract, type Send } from './callback-cases.ts';
import { httpApiEvent, restApiEvent } from './http-events.ts';

/**
 * Every host of the callback answers the same to the same requests. The one of OpenWhisk, and the
 * bundles, have tests of their own.
 */

const signer = makeSigner();
const stranger = makeSigner();
const key = pinVerificationKey(signer.publicKeyPem);
const cases = callbackCases(signer, stranger);
const runCases = (host: string, send: Send) => callbackHostContract(host, cases, send);
const newReceiver = () => createReceiver({ now: Date.now, callbacks: [watchedLink(async () => key)], log: silentLog });

/** Over a real connection, the headers as they are. */
const overHttp = (url: string): Send =>
  async function send({ method, path, headers, body }) {
    const lines = headers.flat();
    const all = [...lines, 'Host', new URL(url).host, 'Content-Length', String(body.length)];
    const sent = httpRequest(`${url}${path}`, { method, headers: all });
    sent.end(body);
    const [response] = await once(sent, 'response');
    return { status: response.statusCode, headers: response.headers, body: (await buffer(response)).toString() };
  };

const server = await startReceiverServer({ receiver: newReceiver(), host: '127.0.0.1', port: 0, log: silentLog });
afterAll(() => server.close());
runCases('Node', overHttp(server.url));

/** Through the translation of an event and of the answer. */
function onLambda(eventOf: (request: CallbackCase['request']) => HttpEvent): Send {
  const receive = newReceiver();
  return async (request) => {
    const { statusCode, headers, body } = resultOf(await receive(requestOf(eventOf(request))));
    return { status: statusCode, headers, body };
  };
}
runCases(
  'AWS, payload format 2.0',
  onLambda((request) => httpApiEvent(request)),
);
runCases(
  'AWS, payload format 2.0, a stage in the path',
  onLambda((request) => httpApiEvent(request, { stage: 'dev' })),
);
runCases(
  'AWS, payload format 1.0',
  onLambda((request) => restApiEvent(request)),
);

describe('AWS, a body that the platform hands on as text', () => {
  it('is the same bytes', async () => {
    const receive = newReceiver();
    const [{ request }] = cases as [CallbackCase];
    const event = { ...httpApiEvent(request), isBase64Encoded: false, body: request.body.toString('utf8') };
    expect(await receive(requestOf(event))).toMatchObject({ status: 202 });
  });

  it('may be absent', async () => {
    const receive = newReceiver();
    const [{ request }] = cases as [CallbackCase];
    const { body: _body, ...event } = httpApiEvent(request);
    expect(await receive(requestOf(event))).toMatchObject({ status: 400 });
    expect(await receive(requestOf({}))).toMatchObject({ status: 404 });
  });
});
