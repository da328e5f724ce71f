import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/** A message as it lies in the queue. */
export interface QueuedMessage {
  readonly messageId: string;
  readonly body: string;
  readonly group: string;
  readonly deduplicationId: string;
}

/**
 * The few operations of SQS, Systems Manager, Secrets Manager and Lambda that functions call, over
 * real HTTP and by the SDK's own protocols. What the real services do is tried against emulators
 * that nobody here wrote (test/peers); this one is for tests that need nothing but Node.
 */
export interface FakeAws {
  readonly endpoint: string;
  readonly queueUrl: string;
  readonly messages: QueuedMessage[];
  /** Payloads of asynchronous invocations, and the functions that they were for. */
  readonly invoked: unknown[];
  readonly invokedFunctions: string[];
  /** By `ssm:<name>` and `secretsmanager:<name>`. */
  readonly secrets: Record<string, string>;
  /** Refuses every request from now on, or no longer. */
  down: boolean;
  /** Messages that the queue does not take, by their bodies; it says so of each. */
  refuses: ((body: string) => boolean) | undefined;
  /** Takes up to ten messages, as Lambda's poller hands them to a function. */
  take(): { readonly Records: readonly { readonly messageId: string; readonly body: string }[] };
  close(): Promise<void>;
}

type Body = Readonly<Record<string, unknown>>;

export async function startFakeAws(given: Readonly<Record<string, string>>): Promise<FakeAws> {
  const secrets: Record<string, string> = { ...given };
  const messages: QueuedMessage[] = [];
  const invoked: unknown[] = [];
  const invokedFunctions: string[] = [];
  const seen = new Set<string>();
  const notFound = (type: string) => ({ status: 400, body: { __type: type, message: 'no such thing' } });
  const operations: Readonly<Record<string, (body: Body) => { status: number; body: unknown }>> = {
    'AmazonSQS.SendMessageBatch'({ Entries }) {
      const refused = (entry: Body) => fake.refuses?.(String(entry.MessageBody)) === true;
      const Failed = (Entries as Body[])
        .filter(refused)
        .map(({ Id }) => ({ Id, SenderFault: false, Code: 'InternalError' }));
      const taken = (Entries as Body[]).filter((entry) => !refused(entry));
      const sent = taken.map((entry) => {
        const body = String(entry.MessageBody);
        const deduplicationId = String(entry.MessageDeduplicationId);
        const messageId = randomUUID();
        // Within five minutes a FIFO queue takes an id once, and says yes all the same.
        if (!seen.has(deduplicationId))
          messages.push({ messageId, body, group: String(entry.MessageGroupId), deduplicationId });
        seen.add(deduplicationId);
        return { Id: entry.Id, MessageId: messageId, MD5OfMessageBody: createHash('md5').update(body).digest('hex') };
      });
      return { status: 200, body: { Successful: sent, Failed } };
    },
    'AmazonSSM.GetParameter'({ Name }) {
      const Value = secrets[`ssm:${String(Name)}`];
      return Value === undefined
        ? notFound('ParameterNotFound')
        : { status: 200, body: { Parameter: { Name, Value } } };
    },
    'secretsmanager.GetSecretValue'({ SecretId }) {
      const SecretString = secrets[`secretsmanager:${String(SecretId)}`];
      return SecretString === undefined
        ? notFound('ResourceNotFoundException')
        : { status: 200, body: { Name: SecretId, SecretString } };
    },
  };
  const fake: Pick<FakeAws, 'down' | 'refuses'> = { down: false, refuses: undefined };
  const server = createServer(async (request, response) => {
    const body = (await json(request).catch(() => ({}))) as Body;
    const [, wanted] = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.url ?? '') ?? [];
    const isInvoke = wanted !== undefined;
    const operation = operations[String(request.headers['x-amz-target'])];
    if (isInvoke) {
      invoked.push(body);
      invokedFunctions.push(wanted);
    }
    const answer = fake.down
      ? { status: 503, body: { __type: 'ServiceUnavailable' } }
      : isInvoke
        ? { status: 202, body: {} }
        : (operation?.(body) ?? { status: 400, body: { __type: 'UnknownOperationException' } });
    response.writeHead(answer.status, { 'content-type': request.headers['content-type'] ?? 'application/json' });
    response.end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(fake, {
    endpoint,
    queueUrl: `${endpoint}/000000000000/wakes.fifo`,
    messages,
    invoked,
    invokedFunctions,
    secrets,
    take: () => ({ Records: messages.splice(0, 10).map(({ messageId, body }) => ({ messageId, body })) }),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}
