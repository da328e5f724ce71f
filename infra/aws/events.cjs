// Events of AWS, where the configuration has senders of the kind eventbridge that come by a queue:
// rules on the default bus, a standard queue that takes nothing else, its dead letters, and the
// function that makes events durable. Without such a sender there is nothing of it.

const { createHash } = require('node:crypto');

/** @typedef {{ kind: string, name: string, delivery?: string, of: string, region: string, account: string }} Sender */

/** @param {string} resource */
const arnOf = (resource) => ({ 'Fn::GetAtt': [resource, 'Arn'] });
/** @param {string} service @param {string} resource */
const arnHere = (service, resource) => ({
  'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`,
});

/** @param {string} service */
const viaService = (service) => ({ 'Fn::Sub': `${service}.\${AWS::Region}.amazonaws.com` });

/**
 * What the rules of a sender let pass: what a service says of itself, and, where a trail logs,
 * calls whose parameters hold no content.
 * @type {Record<string, { own: object, calls: string[] }>}
 */
const told = {
  acm: { own: { 'detail-type': [{ prefix: 'ACM Certificate ' }] }, calls: ['DeleteCertificate'] },
  secretsmanager: {
    own: { 'detail-type': ['Secret Label Updated'], detail: { labelUpdated: ['AWSCURRENT'] } },
    calls: ['DeleteSecret', 'RestoreSecret'],
  },
};

/** @param {Sender} sender */
function patternsOf({ of, region, account }) {
  const { own = {}, calls = [] } = told[of] ?? {};
  const from = { source: [`aws.${of}`], account: [account], region: [region] };
  return [
    { ...from, ...own },
    {
      ...from,
      'detail-type': ['AWS API Call via CloudTrail'],
      // Calls that failed are told too.
      detail: { eventName: calls, errorCode: [{ exists: false }] },
    },
  ];
}

/**
 * The name of a rule, of which EventBridge takes 64 characters: what is longer ends in a digest.
 * @param {string} name
 */
function ruleName(name) {
  if (name.length <= 64) return name;
  return `${name.slice(0, 55)}-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
}

/**
 * @param {readonly Sender[]} senders
 * @param {string} name of the deployment
 * @param {string} region of the deployment
 */
function events(senders, name, region) {
  const queued = senders.filter(({ kind, delivery }) => kind === 'eventbridge' && delivery === 'queue');
  if (queued.length === 0) return { functions: {}, resources: {} };
  const rules = queued.flatMap((sender) =>
    patternsOf(sender).map((pattern, index) => ({
      Type: 'AWS::Events::Rule',
      Properties: {
        Name: ruleName(`${name}-${sender.name}-${index === 0 ? 'own' : 'trail'}`),
        Description: 'Changes in a store of certstandby',
        EventPattern: pattern,
        Targets: [{ Id: 'queue', Arn: arnOf('EventsQueue'), DeadLetterConfig: { Arn: arnOf('EventsDeadLetters') } }],
      },
    })),
  );
  const named = Object.fromEntries(rules.map((rule, index) => [`EventsRule${index + 1}`, rule]));
  const functions = {
    events: {
      description: 'Makes events of AWS durable, and wakes a worker',
      handler: 'index.handler',
      role: 'EventsRole',
      timeout: 20,
      package: { artifact: 'dist/aws/events.zip' },
      events: [{ sqs: { arn: arnOf('EventsQueue'), batchSize: 10, functionResponseType: 'ReportBatchItemFailures' } }],
    },
  };
  const elsewhere = queued.filter((sender) => sender.region !== region);
  const forward = elsewhere.length === 0 ? {} : { ForwardEventsRole: forwardRole(elsewhere, name, region) };
  return {
    functions,
    resources: {
      Resources: { ...queues(name, Object.keys(named)), ...named, EventsRole: role(name), ...forward },
      // Its log lies under the key, as those of the other functions.
      extensions: { EventsLogGroup: { Properties: { KmsKeyId: arnOf('Key') } } },
    },
  };
}

/**
 * What rules of other regions, which no stack of this one can make, put events here by.
 * @param {readonly Sender[]} senders
 * @param {string} name
 * @param {string} region of the deployment: names of roles are those of all regions
 */
function forwardRole(senders, name, region) {
  const rules = senders.map((sender) => ({
    'Fn::Sub': `arn:\${AWS::Partition}:events:${sender.region}:\${AWS::AccountId}:rule/*`,
  }));
  const assumed = {
    ...{ Effect: 'Allow', Principal: { Service: 'events.amazonaws.com' }, Action: 'sts:AssumeRole' },
    Condition: {
      StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } },
      ArnLike: { 'aws:SourceArn': rules },
    },
  };
  const Statement = [{ Effect: 'Allow', Action: 'events:PutEvents', Resource: arnHere('events', 'event-bus/default') }];
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      // doctor names it in the line that makes such a rule. IAM takes 64 characters.
      RoleName: `${name}-fwd-${region}`,
      Description: `Rules of other regions, for ${name}`,
      AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [assumed] },
      Policies: [{ PolicyName: 'forward', PolicyDocument: { Version: '2012-10-17', Statement } }],
    },
  };
}

/** @param {string} name @param {readonly string[]} rules */
function queues(name, rules) {
  const common = { MessageRetentionPeriod: 1_209_600, SqsManagedSseEnabled: true };
  const kept = { Type: 'AWS::SQS::Queue', DeletionPolicy: 'Delete', UpdateReplacePolicy: 'Delete' };
  return {
    EventsQueue: {
      ...kept,
      Properties: {
        ...common,
        QueueName: `${name}-events`,
        VisibilityTimeout: 60,
        RedrivePolicy: { deadLetterTargetArn: arnOf('EventsDeadLetters'), maxReceiveCount: 5 },
      },
    },
    EventsDeadLetters: { ...kept, Properties: { ...common, QueueName: `${name}-events-dead-letters` } },
    // Nobody but these rules puts anything there: that is what proves an event.
    EventsQueuePolicy: {
      Type: 'AWS::SQS::QueuePolicy',
      Properties: {
        Queues: [{ Ref: 'EventsQueue' }, { Ref: 'EventsDeadLetters' }],
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Sid: 'Rules',
              Effect: 'Allow',
              Principal: { Service: 'events.amazonaws.com' },
              Action: 'sqs:SendMessage',
              Resource: [arnOf('EventsQueue'), arnOf('EventsDeadLetters')],
              Condition: { ArnEquals: { 'aws:SourceArn': rules.map(arnOf) } },
            },
            // Who may send to any queue of the account may not send to this one.
            {
              Sid: 'NobodyElse',
              Effect: 'Deny',
              Principal: '*',
              Action: 'sqs:SendMessage',
              Resource: arnOf('EventsQueue'),
              Condition: { ArnNotEquals: { 'aws:SourceArn': rules.map(arnOf) } },
            },
          ],
        },
      },
    },
    EventsDeadLettersAlarm: {
      Type: 'AWS::CloudWatch::Alarm',
      Properties: {
        AlarmName: `${name}-events-dead-letters`,
        AlarmDescription: 'Events of AWS could not be made durable. A reconcile finds what they told of.',
        Namespace: 'AWS/SQS',
        MetricName: 'ApproximateNumberOfMessagesVisible',
        Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': ['EventsDeadLetters', 'QueueName'] } }],
        ...{ Statistic: 'Maximum', Period: 60, EvaluationPeriods: 1, Threshold: 0 },
        ...{ ComparisonOperator: 'GreaterThanThreshold', TreatMissingData: 'notBreaching' },
        ...{ AlarmActions: [{ Ref: 'Alarms' }], OKActions: [{ Ref: 'Alarms' }] },
      },
    },
  };
}

/** What the callback may do, of its own log and queue. @param {string} name */
function role(name) {
  /** @param {string} Sid @param {string} Action @param {readonly string[]} partitions */
  const onTable = (Sid, Action, partitions) => ({
    ...{ Sid, Effect: 'Allow', Action, Resource: arnOf('Table') },
    Condition: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': partitions } },
  });
  /** @param {string} Sid @param {string | string[]} Action @param {Record<string, unknown>} where */
  const withKey = (Sid, Action, where) => ({
    ...{ Sid, Effect: 'Allow', Action, Resource: arnOf('Key') },
    Condition: { StringEquals: where },
  });
  const Statement = [
    onTable('ReadRecords', 'dynamodb:GetItem', ['notification.1/*', 'replication.1/*', 'intake.1/*']),
    onTable('WriteRecords', 'dynamodb:UpdateItem', ['notification.1/*', 'replication.1/*', 'hint.1/*', 'intake.1/*']),
    onTable('ForgetNotification', 'dynamodb:DeleteItem', ['notification.1/*']),
    withKey('OpenRecords', 'kms:Decrypt', {
      'kms:ViaService': viaService('dynamodb'),
      'kms:EncryptionContext:aws:dynamodb:tableName': { Ref: 'Table' },
    }),
    { Sid: 'Wake', Effect: 'Allow', Action: 'sqs:SendMessage', Resource: arnOf('Queue') },
    withKey('SealWakeUps', ['kms:Decrypt', 'kms:GenerateDataKey'], {
      'kms:ViaService': viaService('sqs'),
      'kms:EncryptionContext:aws:sqs:arn': arnHere('sqs', `${name}.fifo`),
    }),
    {
      ...{ Sid: 'TakeEvents', Effect: 'Allow', Resource: arnOf('EventsQueue') },
      Action: ['sqs:DeleteMessage', 'sqs:GetQueueAttributes', 'sqs:ReceiveMessage'],
    },
    {
      ...{ Sid: 'Log', Effect: 'Allow', Action: ['logs:CreateLogStream', 'logs:PutLogEvents'] },
      Resource: arnHere('logs', `log-group:/aws/lambda/${name}-events:*`),
    },
  ];
  const assumed = { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' };
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      Description: `Events of ${name}`,
      AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [assumed] },
      Policies: [{ PolicyName: 'events', PolicyDocument: { Version: '2012-10-17', Statement } }],
    },
  };
}

module.exports = { events };
