import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { CloudFormationClient, ListStackResourcesCommand } from '@aws-sdk/client-cloudformation';
import { CloudWatchClient } from '@aws-sdk/client-cloudwatch';
import { CloudWatchLogsClient, FilterLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import {
  CreateAccessKeyCommand,
  CreateUserCommand,
  GetRolePolicyCommand,
  IAMClient,
  PutRolePolicyCommand,
  PutUserPolicyCommand,
} from '@aws-sdk/client-iam';
import { KMSClient } from '@aws-sdk/client-kms';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SNSClient } from '@aws-sdk/client-sns';
import { GetQueueAttributesCommand, ListQueuesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { SSMClient } from '@aws-sdk/client-ssm';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { root } from '../support/root.ts';
import { type Ministack, region } from './ministack.ts';

/** The account that ministack plays for whoever has the key `test`. */
export const ministackAccount = '000000000000';

/** What is deployed to ministack as one stage, and how tests look at it. */
export interface Deployment {
  readonly clients: ReturnType<typeof clientsOf>;
  /** An npm command of ours, with the emulator for AWS. */
  npm(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }>;
  /** Runs a function, and answers what it does. Throws what it throws. */
  invoke(name: string, payload?: object): Promise<unknown>;
  /** Lines that a function has logged. */
  logged(name: string): Promise<readonly Record<string, unknown>[]>;
  /** The last of these of each function, and what the emulator said, for a test that failed. */
  said(...names: readonly string[]): Promise<string>;
  /** What is in a queue, handed out or not. */
  waiting(queue: string): Promise<{ readonly QueueUrl: string; readonly messages: number }>;
  resources(): ReturnType<typeof resourcesOf>;
  /**
   * The emulator takes the right to send many messages for one of its own, and in AWS it is the
   * right to send ("Amazon SQS API permissions"): gives it to these functions.
   */
  letSendMany(...names: readonly string[]): Promise<void>;
  /** A policy of a role of the stack. */
  rolePolicy(role: string, name: string): Promise<{ readonly PolicyDocument?: string | undefined }>;
  /** The key of a user who may do this and nothing else. */
  userWith(statement: object): Promise<{ readonly accessKeyId: string; readonly secretAccessKey: string }>;
  records(): ReturnType<typeof replicationRecords>;
  close(): void;
}

async function resourcesOf({ stacks }: ReturnType<typeof clientsOf>, StackName: string) {
  const { StackResourceSummaries = [] } = await stacks.send(new ListStackResourcesCommand({ StackName }));
  return StackResourceSummaries;
}

/** `home`: a folder for the npm commands. Nothing is deployed yet. */
export function deploymentTo(aws: Ministack, { stack, home }: { readonly stack: string; readonly home: string }) {
  const clients = clientsOf(aws.url);
  const resources = () => resourcesOf(clients, stack);

  async function logged(name: string): Promise<readonly Record<string, unknown>[]> {
    const logGroupName = `/aws/lambda/${stack}-${name}`;
    const lines: Record<string, unknown>[] = [];
    let nextToken: string | undefined;
    do {
      const page = await clients.logs.send(
        new FilterLogEventsCommand({ logGroupName, ...(nextToken !== undefined && { nextToken }) }),
      );
      for (const { message = '' } of page.events ?? []) if (message.startsWith('{')) lines.push(JSON.parse(message));
      nextToken = page.nextToken;
    } while (nextToken !== undefined);
    return lines;
  }

  const deployment: Deployment = {
    clients,
    resources,
    logged,

    npm(...args) {
      const env = { PATH: process.env.PATH, HOME: home, ...aws.env };
      const child = spawn('npm', ['run', '--silent', ...args], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
      return new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (code) => resolve({ code, output }));
      });
    },

    async invoke(name, payload = {}) {
      const FunctionName = `${stack}-${name}`;
      const answer = await clients.lambda.send(
        new InvokeCommand({ FunctionName, Payload: Buffer.from(JSON.stringify(payload)) }),
      );
      const text = Buffer.from(answer.Payload ?? []).toString();
      if (answer.FunctionError !== undefined) throw new Error(`${name} failed: ${text}`);
      return JSON.parse(text);
    },

    async said(...names) {
      const lastOf = async (name: string) => {
        const lines = await logged(name).catch(() => []);
        return [name, ...lines.slice(-5).map((line) => JSON.stringify(line))].join('\n');
      };
      return [...(await Promise.all(names.map(lastOf))), aws.said()].join('\n');
    },

    async waiting(queue) {
      const { QueueUrls = [] } = await clients.sqs.send(new ListQueuesCommand({ QueueNamePrefix: queue }));
      const QueueUrl = QueueUrls.find((url) => url.endsWith(`/${queue}`)) ?? '';
      const AttributeNames = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'] as const;
      const { Attributes = {} } = await clients.sqs.send(
        new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...AttributeNames] }),
      );
      return { QueueUrl, messages: AttributeNames.reduce((sum, name) => sum + Number(Attributes[name]), 0) };
    },

    async letSendMany(...names) {
      const Resource = `arn:aws:sqs:${region}:${ministackAccount}:${stack}.fifo`;
      const Statement = [{ Effect: 'Allow', Action: 'sqs:SendMessageBatch', Resource }];
      const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement });
      const roles = (await resources()).filter(({ LogicalResourceId }) => names.includes(`${LogicalResourceId}`));
      if (roles.length !== names.length) throw new Error(`the stack has not all of ${names.join(', ')}`);
      for (const { PhysicalResourceId: RoleName } of roles)
        await clients.roles.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'emulator', PolicyDocument }));
    },

    async rolePolicy(role, PolicyName) {
      const found = (await resources()).find(({ LogicalResourceId }) => LogicalResourceId === role);
      return clients.roles.send(new GetRolePolicyCommand({ RoleName: found?.PhysicalResourceId, PolicyName }));
    },

    async userWith(statement) {
      const UserName = `user-${randomUUID()}`;
      await clients.roles.send(new CreateUserCommand({ UserName }));
      const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
      await clients.roles.send(new PutUserPolicyCommand({ UserName, PolicyName: 'given', PolicyDocument }));
      const { AccessKey } = await clients.roles.send(new CreateAccessKeyCommand({ UserName }));
      return { accessKeyId: `${AccessKey?.AccessKeyId}`, secretAccessKey: `${AccessKey?.SecretAccessKey}` };
    },

    records: () =>
      replicationRecords(
        dynamodbTable({
          tableName: stack,
          region,
          endpoint: aws.url,
          credentials: { accessKeyId: 'test', secretAccessKey: new Secret('test') },
        }),
      ),

    close() {
      for (const client of Object.values(clients)) client.destroy();
    },
  };
  return deployment;
}

function clientsOf(endpoint: string) {
  const at = { region, endpoint, credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
  return {
    stacks: new CloudFormationClient(at),
    metrics: new CloudWatchClient(at),
    logs: new CloudWatchLogsClient(at),
    tables: new DynamoDBClient(at),
    events: new EventBridgeClient(at),
    keys: new KMSClient(at),
    roles: new IAMClient(at),
    lambda: new LambdaClient(at),
    secrets: new SecretsManagerClient(at),
    sns: new SNSClient(at),
    sqs: new SQSClient(at),
    ssm: new SSMClient(at),
  };
}
