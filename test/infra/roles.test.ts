import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { functionPolicies } from '../../src/compose/rights.ts';
import { parseConfig } from '../../src/config.ts';
import { type Right, rightsIn, rightsInTable } from './rights.ts';
import { synthesise, type Template, tenLines } from './template.ts';

/** osls takes some seconds to make a template. */
const timeout = 60_000;

const written = rightsInTable(readFileSync(new URL('../../infra/aws/ROLES.md', import.meta.url), 'utf8'));
const bare = ({ who, may, on, if: condition }: Right): Right => ({ who, may, on, if: condition });
const inOrder = (rights: readonly Right[]) => rights.map((right) => JSON.stringify(bare(right))).sort();

let template: Template;
let said: string;
beforeAll(() => {
  ({ template, said } = synthesise());
}, timeout);

describe('rights on AWS', () => {
  test('the template gives those of ROLES.md, each of them, and no other', () => {
    expect(inOrder(rightsIn(template))).toEqual(inOrder(written));
  });

  test('ROLES.md says why for each', () => {
    expect(written.length).toBeGreaterThan(30);
    expect(written.filter(({ why }) => why.length < 10)).toEqual([]);
  });

  test('no action is a pattern, and no resource is everything', () => {
    const rights = rightsIn(template);
    expect(rights.filter(({ may }) => may.includes('*'))).toEqual([]);
    expect(rights.filter(({ on }) => on.split(', ').includes('*'))).toEqual([]);
    // Where AWS knows a name only when the thing is there: streams of a log, and the characters
    // that it puts behind the name of a secret.
    const patterns = rights.flatMap(({ on }) => on.split(', ')).filter((on) => /[*?]/.test(on));
    expect(
      patterns.filter((on) => !/^logs log-group:[\w/<>-]+:\*$|^secretsmanager secret:[\w/]+-\?{6}$/.test(on)),
    ).toEqual([]);
  });

  test('each function has a role of its own', () => {
    const functions = Object.values(template.Resources).filter(({ Type }) => Type === 'AWS::Lambda::Function');
    const roles = Object.values(template.Resources).filter(({ Type }) => Type === 'AWS::IAM::Role');
    expect(functions).toHaveLength(4);
    expect(roles).toHaveLength(4);
    expect(new Set(functions.map(({ Properties }) => JSON.stringify(Properties.Role))).size).toBe(4);
  });

  test('the callback, which the internet reaches, has no right to a secret, to a store, or to change the key that verifies', () => {
    const its = rightsIn(template).filter(({ who }) => who === 'callback');
    expect(its.filter(({ may }) => /ssm:|secretsmanager:|lambda:|iam:/.test(may))).toEqual([]);
    const writes = its.filter(({ may }) => /UpdateItem|PutItem|DeleteItem/.test(may));
    expect(writes).toHaveLength(2);
    expect(writes.filter((right) => /verification-key|link\.1/.test(right.if))).toEqual([]);
  });

  test('osls finds nothing to warn of', () => {
    expect(said).not.toMatch(/warning|deprecat/i);
  });
});

test(
  'where the configuration has stores in AWS, looks and reconciles get what these take, and nobody else does',
  async () => {
    const config = `version: 1
stores:
  ireland: { kind: aws-secrets-manager, region: eu-west-1, account: "123456789012", namePrefix: certs/ }
  serving: { kind: aws-acm, region: eu-west-1, account: "123456789012" }
links: { shop: { primary: ireland, backups: [serving], policy: { restorable: false } } }
table: { kind: dynamodb, name: certstandby-acceptance, region: eu-west-1 }
`;
    const sources = { path: 'c.yaml', env: {}, readFile: () => '', platform: 'aws' as const };
    const policies = await functionPolicies(parseConfig(config, sources));
    const all = rightsIn(synthesise({ config, ...(policies && { policies }) }).template);
    const stores = all.filter(
      ({ may, if: condition }) => /acm:|secretsmanager:|tag:/.test(may) || /facts\.1/.test(condition),
    );
    expect([...new Set(stores.map(({ who }) => who))].sort()).toEqual(['reconcile', 'replicate']);
    const mayOf = (who: string) =>
      stores
        .filter((right) => right.who === who)
        .map(({ may }) => may)
        .join();
    expect(mayOf('replicate')).toMatch(/acm:ImportCertificate.*secretsmanager:GetSecretValue/);
    expect(mayOf('reconcile')).not.toMatch(/ImportCertificate|GetSecretValue|DeleteCertificate/);
    const onTable = stores.filter(({ if: condition }) => condition.includes('facts.1/*'));
    expect(onTable.map(({ who, may }) => [who, may])).toEqual([
      ['reconcile', 'dynamodb:GetItem'],
      ['replicate', 'dynamodb:GetItem'],
      ['replicate', 'dynamodb:UpdateItem'],
    ]);
  },
  timeout,
);

test(
  'where events of AWS come by a queue, only its rules may put anything there, and a function of its own takes it out',
  async () => {
    const config = `version: 1
stores:
  ireland: { kind: aws-secrets-manager, region: eu-west-1, account: "123456789012", namePrefix: certs/ }
  serving: { kind: aws-acm, region: eu-west-1, account: "123456789012" }
links: { shop: { primary: ireland, backups: [serving], policy: { restorable: false } } }
senders:
  aws: { kind: eventbridge, delivery: queue, store: ireland, of: secretsmanager, region: eu-west-1, account: "123456789012" }
table: { kind: dynamodb, name: certstandby-acceptance, region: eu-west-1 }
`;
    const { template: made, said } = synthesise({ config });
    expect(said).not.toMatch(/warning|deprecat/i);
    const all = rightsIn(made);
    const puts = all.filter(({ may, on }) => may.includes('sqs:SendMessage') && on.includes('-events'));
    expect(puts.map(({ who }) => who)).toEqual(['events.amazonaws.com']);
    expect(puts[0]?.if).toMatch(/^ArnEquals aws:SourceArn = /);
    const groups = Object.values(made.Resources).filter(({ Type }) => Type === 'AWS::Logs::LogGroup');
    expect(groups.map(({ Properties }) => Properties.LogGroupName)).toContainEqual(expect.stringMatching(/-events$/));
    for (const { Properties } of groups) expect(Properties.KmsKeyId).toEqual({ 'Fn::GetAtt': ['Key', 'Arn'] });
    // Not even whoever may send to every queue of the account.
    const policy = made.Resources.EventsQueuePolicy?.Properties.PolicyDocument as {
      readonly Statement: readonly Record<string, unknown>[];
    };
    expect(policy.Statement.filter(({ Effect }) => Effect === 'Deny')).toMatchObject([
      {
        ...{ Principal: '*', Action: 'sqs:SendMessage', Resource: { 'Fn::GetAtt': ['EventsQueue', 'Arn'] } },
        Condition: { ArnNotEquals: policy.Statement[0]?.Condition && { 'aws:SourceArn': expect.any(Array) } },
      },
    ]);
    const its = all.filter(({ who }) => who === 'events');
    expect(its.filter(({ may }) => /ssm:|secretsmanager:|acm:|lambda:|iam:/.test(may))).toEqual([]);
    expect(its.filter(({ may }) => may.includes('sqs:ReceiveMessage')).map(({ on }) => on)).toEqual([
      'sqs certstandby-<stage>-events',
    ]);
    const patterns = Object.values(made.Resources)
      .filter(({ Type, Properties }) => Type === 'AWS::Events::Rule' && Properties.EventPattern !== undefined)
      .map(({ Properties }) => Properties.EventPattern);
    expect(patterns).toHaveLength(2);
    for (const pattern of patterns)
      expect(pattern).toMatchObject({
        source: ['aws.secretsmanager'],
        account: ['123456789012'],
        region: ['eu-west-1'],
      });
    // What may hold content is forwarded by no rule.
    expect(JSON.stringify(patterns)).not.toMatch(/PutSecretValue|CreateSecret|ImportCertificate/);
  },
  timeout,
);

test(
  'rules of another region, for a store there, may put events on the bus of this one, and nothing else',
  async () => {
    const config = `version: 1
stores:
  virginia: { kind: aws-secrets-manager, region: us-east-1, account: "123456789012", namePrefix: certs/ }
  serving: { kind: aws-acm, region: eu-west-1, account: "123456789012" }
links: { shop: { primary: virginia, backups: [serving], policy: { restorable: false } } }
senders:
  a-name-that-is-as-long-as-it-may-be-and-then-some: { kind: eventbridge, delivery: queue, store: virginia, of: secretsmanager, region: us-east-1, account: "123456789012" }
table: { kind: dynamodb, name: certstandby-acceptance, region: eu-west-1 }
`;
    const { template: made } = synthesise({ config });
    const its = rightsIn(made).filter(({ who, on }) => /rules of other regions/.test(who + on));
    expect(its.map(({ who, may, on }) => [who, may, on])).toEqual([
      ['events.amazonaws.com', 'sts:AssumeRole', 'the role of rules of other regions'],
      ['rules of other regions', 'events:PutEvents', 'events event-bus/default'],
    ]);
    expect(its[0]?.if).toMatch(/aws:SourceArn = .*us-east-1.*StringEquals aws:SourceAccount/s);
    // However long a name is, each rule has its own.
    const names = Object.values(made.Resources)
      .filter(({ Type, Properties }) => Type === 'AWS::Events::Rule' && Properties.EventPattern !== undefined)
      .map(({ Properties }) => String(Properties.Name));
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name.length).toBeLessThanOrEqual(64);
  },
  timeout,
);

describe('a policy that is widened', () => {
  type Json = Record<string, never> & { Statement: Record<string, unknown>[] };
  /** Those of a resource, to be changed. */
  const changeable = (wide: Template, id: string): Record<string, unknown> => {
    const resource = wide.Resources[id];
    if (resource === undefined) throw new Error(`there is no ${id}`);
    return resource.Properties;
  };
  const policyOf = (wide: Template, role: string): Json => {
    const policies = changeable(wide, role).Policies as { PolicyDocument: Json; PolicyName: string }[];
    const policy = policies.find(({ PolicyName }) => PolicyName !== 'secrets');
    if (policy === undefined) throw new Error(`${role} has no policy`);
    return policy.PolicyDocument;
  };
  const statement = (wide: Template, role: string, sid: string) => {
    const found = policyOf(wide, role).Statement.find(({ Sid }) => Sid === sid);
    if (found === undefined) throw new Error(`${role} has no statement ${sid}`);
    return found;
  };
  const key = (wide: Template) => (changeable(wide, 'Key').KeyPolicy as Json).Statement;

  /** Ways to give more than is written. */
  const widenings: Record<string, (wide: Template) => void> = {
    'by one action': (wide) => {
      statement(wide, 'CallbackRole', 'WriteRecords').Action = ['dynamodb:UpdateItem', 'dynamodb:PutItem'];
    },
    'by a pattern of actions': (wide) => {
      statement(wide, 'SweepRole', 'ReadRecords').Action = 'dynamodb:*';
    },
    'to every resource': (wide) => {
      statement(wide, 'ReconcileRole', 'GoOn').Resource = '*';
    },
    'to another account': (wide) => {
      statement(wide, 'CallbackRole', 'Wake').Resource =
        'arn:aws:sqs:eu-west-1:999999999999:certstandby-acceptance.fifo';
    },
    'by a condition that is gone': (wide) => {
      delete statement(wide, 'CallbackRole', 'ReadRecords').Condition;
    },
    'by a partition of the table': (wide) => {
      statement(wide, 'CallbackRole', 'WriteRecords').Condition = {
        'ForAllValues:StringLike': {
          'dynamodb:LeadingKeys': ['notification.1/*', 'replication.1/*', 'verification-key.1'],
        },
      };
    },
    'by a statement': (wide) => {
      policyOf(wide, 'ReplicateRole').Statement.push({
        Effect: 'Allow',
        Action: 's3:GetObject',
        Resource: 'arn:aws:s3:::x/y',
      });
    },
    'by a managed policy': (wide) => {
      Object.assign(changeable(wide, 'SweepRole'), {
        ManagedPolicyArns: ['arn:aws:iam::aws:policy/AdministratorAccess'],
      });
    },
    'by another secret': (wide) => {
      const policies = changeable(wide, 'ReplicateRole').Policies as { PolicyDocument: Json; PolicyName: string }[];
      const secrets = policies.find(({ PolicyName }) => PolicyName === 'secrets');
      Object.assign(secrets?.PolicyDocument.Statement[0] ?? {}, { Resource: 'arn:aws:ssm:eu-west-1:1:parameter/*' });
    },
    'to whoever assumes it': (wide) => {
      const { Statement } = changeable(wide, 'SweepRole').AssumeRolePolicyDocument as Json;
      Object.assign(Statement[0] ?? {}, { Principal: { AWS: 'arn:aws:iam::999999999999:root' } });
    },
    'in the key, without the encryption context': (wide) => {
      delete key(wide).find(({ Sid }) => Sid === 'Records')?.Condition;
    },
    'in the key, to everybody': (wide) => {
      key(wide).push({ Effect: 'Allow', Principal: '*', Action: 'kms:Decrypt', Resource: '*' });
    },
    'by whoever may invoke a function': (wide) => {
      delete changeable(wide, 'CallbackLambdaPermissionHttpApi').SourceArn;
    },
  };

  test.each(Object.entries(widenings))('%s is found', (_, widen) => {
    const wide = structuredClone(template);
    widen(wide);
    expect(inOrder(rightsIn(wide))).not.toEqual(inOrder(written));
  });

  test('by a role that no function needs is found', () => {
    const wide = structuredClone(template);
    Object.assign(wide.Resources, { Spare: structuredClone(template.Resources.SweepRole) });
    expect(() => rightsIn(wide)).toThrow('no function has the role Spare');
  });

  test('by a kind of policy that nobody has looked at is found', () => {
    const wide = structuredClone(template);
    Object.assign(wide.Resources, { Spare: { Type: 'AWS::SecretsManager::ResourcePolicy', Properties: {} } });
    expect(() => rightsIn(wide)).toThrow('AWS::SecretsManager::ResourcePolicy');
  });
});

describe('what is deployed', () => {
  const properties = (id: string) => template.Resources[id]?.Properties ?? {};

  test('a message is handed out again only when its function has ended for certain', () => {
    const { Timeout } = properties('ReplicateLambdaFunction');
    expect(properties('Queue').VisibilityTimeout).toBeGreaterThanOrEqual(2 * Number(Timeout));
  });

  test('no secret and no reference to one stands in the environment of a function', () => {
    for (const { Type, Properties } of Object.values(template.Resources)) {
      if (Type !== 'AWS::Lambda::Function') continue;
      const { Variables } = Properties.Environment as { Variables: object };
      expect(Object.keys(Variables).sort()).toEqual([
        'CERTSTANDBY_QUEUE_URL',
        'CERTSTANDBY_STAGE',
        'CERTSTANDBY_TABLE',
        'NODE_OPTIONS',
      ]);
    }
  });

  test('everything at rest lies under the key', () => {
    const key = { 'Fn::GetAtt': ['Key', 'Arn'] };
    expect(properties('Table').SSESpecification).toEqual({ SSEEnabled: true, SSEType: 'KMS', KMSMasterKeyId: key });
    for (const id of ['Queue', 'DeadLetters', 'Alarms']) expect(properties(id).KmsMasterKeyId).toEqual(key);
    const groups = Object.values(template.Resources).filter(({ Type }) => Type === 'AWS::Logs::LogGroup');
    expect(groups).toHaveLength(4);
    for (const { Properties } of groups) expect(Properties).toMatchObject({ KmsKeyId: key, RetentionInDays: 30 });
    expect(properties('Key').EnableKeyRotation).toBe(true);
  });

  test(
    'removal keeps the table and its key, and nobody deletes the table by mistake; but for stage dev',
    () => {
      expect(template.Resources.Table).toMatchObject({ DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
      expect(template.Resources.Key).toMatchObject({ DeletionPolicy: 'Retain' });
      expect(properties('Table')).toMatchObject({ DeletionProtectionEnabled: true });
      const dev = synthesise({ stage: 'dev' }).template.Resources;
      expect(dev.Table).toMatchObject({ DeletionPolicy: 'Delete', Properties: { DeletionProtectionEnabled: false } });
    },
    timeout,
  );

  test(
    'parameters, several links and periods of the configuration reach the template',
    () => {
      const config = `${tenLines}  mail: { primary: london, backups: [frankfurt] }\nworker: { reconcileEvery: 90m }\ntable: { kind: dynamodb, name: records, region: eu-west-1 }\n`;
      const given = [
        'alarmEmail=a@example.com',
        'lookers=7',
        'callbackReserved=3',
        'secretsKey=arn:aws:kms:eu-west-1:1:key/k',
      ];
      const { template: other } = synthesise({ config, args: given.map((param) => `--param=${param}`) });
      const { Resources } = other;
      expect(Resources.Table?.Properties.TableName).toBe('records');
      expect(Resources.Alarms?.Properties.Subscription).toEqual([{ Protocol: 'email', Endpoint: 'a@example.com' }]);
      expect(Resources.CallbackLambdaFunction?.Properties.ReservedConcurrentExecutions).toBe(3);
      expect(Resources.ReplicateEventSourceMappingSQSQueue?.Properties.ScalingConfig).toEqual({
        MaximumConcurrency: 7,
      });
      expect(Resources.ReconcileEventsRuleSchedule1?.Properties.ScheduleExpression).toBe('rate(90 minutes)');
      expect(Resources.SilenceAlarm?.Properties).toMatchObject({
        Threshold: 2 * 90 * 60,
        TreatMissingData: 'breaching',
      });
      expect(JSON.stringify(Resources.Dashboard?.Properties)).toContain('mail');
      const opened = rightsIn(other).filter(({ on }) => on.includes('kms'));
      expect(opened.map(({ who, may }) => `${who} ${may}`).sort()).toEqual(
        ['reconcile', 'reconcile', 'replicate', 'replicate'].map((who) => `${who} kms:Decrypt`),
      );
    },
    timeout,
  );
});
