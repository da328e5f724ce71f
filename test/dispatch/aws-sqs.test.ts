import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { sqsDispatch } from '../../src/dispatch/aws-sqs.ts';
import { readWake } from '../../src/dispatch/wake-message.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type FakeAws, startFakeAws } from '../functions/fake-aws.ts';

let aws: FakeAws;
beforeAll(async () => {
  aws = await startFakeAws({});
});
afterAll(() => aws.close());
beforeEach(() => {
  aws.messages.length = 0;
  aws.down = false;
  aws.refuses = undefined;
});

const credentials = () => ({ accessKeyId: 'test', secretAccessKey: new Secret('test') });
const newDispatch = () =>
  sqsDispatch({ queueUrl: aws.queueUrl, endpoint: aws.endpoint, region: 'eu-west-1', runtime, credentials });
const wakes = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ link: 'shop', certificate: `id-${index}` }));

it('sends every wake-up once, ten in a request, however many there are', async () => {
  for (const count of [0, 1, 10, 11, 257]) {
    aws.messages.length = 0;
    await newDispatch().dispatch(wakes(count));
    const sent = aws.messages.map(({ body }) => readWake(body).certificate);
    expect(sent.toSorted()).toEqual(
      wakes(count)
        .map(({ certificate }) => certificate)
        .toSorted(),
    );
  }
});

it('has one group for each certificate of a link, and a new deduplication id each time', async () => {
  const dispatch = newDispatch();
  const odd = { link: 'shop', certificate: `${'c'.repeat(400)} /ü` };
  await dispatch.dispatch([odd, { ...odd, link: 'other' }, odd]);
  await dispatch.dispatch([odd]);
  expect(aws.messages).toHaveLength(4);
  expect(new Set(aws.messages.map(({ deduplicationId }) => deduplicationId)).size).toBe(4);
  const groups = new Map(aws.messages.map(({ body, group }) => [body, group]));
  expect(new Set(groups.values()).size).toBe(2);
  for (const { body, group } of aws.messages) {
    expect(group).toBe(groups.get(body));
    expect(group).toMatch(/^[\w!"#$%&'()*+,./:;<=>?@[\\\]^`{|}~-]{1,128}$/);
  }
});

it('leaves what is to come later to the sweep: a FIFO queue delays no single message', async () => {
  await newDispatch().dispatch(wakes(3), { delayMs: 1 });
  expect(aws.messages).toEqual([]);
});

it('says when not all could be sent, and has sent the others', async () => {
  aws.refuses = (body) => body.includes('"id-3"');
  await expect(newDispatch().dispatch(wakes(25))).rejects.toMatchObject({
    code: 'dispatch_unavailable',
    fields: { queue: aws.queueUrl, reason: 'InternalError', requests: 1 },
  });
  expect(aws.messages).toHaveLength(24);
});

it('says when none could be sent', async () => {
  aws.down = true;
  await expect(newDispatch().dispatch(wakes(1))).rejects.toMatchObject({ code: 'dispatch_unavailable' });
});
