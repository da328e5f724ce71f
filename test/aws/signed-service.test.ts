import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { type SignedService, signedService } from '../../src/aws/signed-service.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function service(answer: Parameters<typeof createServer>[1], answerTimeoutMs = 10_000) {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  closers.push(stop);
  const made: SignedService = signedService({
    service: 'sqs',
    target: 'AmazonSQS',
    region: 'eu-central-1',
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    credentials: () => ({ accessKeyId: 'AKID', secretAccessKey: new Secret('secret') }),
    runtime: { ...systemRuntime, wait: async () => {} },
    answerTimeoutMs,
  });
  closers.push(made.close);
  return { call: (attempts: number) => made.call('SendMessage', { MessageBody: 'x' }, { attempts }), stop };
}

test('where nobody was reached, nothing was sent', async () => {
  const { call, stop } = await service(() => {});
  await stop();
  await expect(call(2)).rejects.toMatchObject({ sent: false, code: 'ECONNREFUSED' });
});

test('where no answer came in time, nobody knows', async () => {
  let asked = 0;
  const { call } = await service((request) => {
    request.resume();
    asked += 1;
  }, 500);
  await expect(call(2)).rejects.toMatchObject({ sent: true, message: 'no answer within 500 ms' });
  expect(asked).toBe(2);
});

test('a refusal has the name that the service gave it, and is not tried again', async () => {
  let asked = 0;
  const { call } = await service((request, response) => {
    request.resume();
    asked += 1;
    const seen = [request.headers['x-amz-target'], /^AWS4-HMAC-SHA256 /.test(request.headers.authorization ?? '')];
    response.statusCode = 400;
    response.end(JSON.stringify({ __type: 'com.amazonaws.sqs#QueueDoesNotExist', message: JSON.stringify(seen) }));
  });
  const seen = '["AmazonSQS.SendMessage",true]';
  await expect(call(3)).rejects.toMatchObject({ name: 'QueueDoesNotExist', status: 400, message: seen });
  expect(asked).toBe(1);
});
