import type { Resource, Template } from './template.ts';

/**
 * One right: who may do what on what, under which conditions. All in words that can stand in a
 * table.
 */
export interface Right {
  readonly who: string;
  readonly may: string;
  readonly on: string;
  readonly if: string;
}

interface Statement {
  readonly Effect: string;
  readonly Action: unknown;
  readonly Resource: unknown;
  readonly Principal?: Readonly<Record<string, unknown>> | '*';
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);
const byText = (a: string, b: string) => (a < b ? -1 : 1);

/**
 * Every right that a template gives: of roles, by policies of resources, and of services that
 * invoke functions.
 */
export function rightsIn(template: Template, stage = 'acceptance'): readonly Right[] {
  const words = wordsOf(template, stage);
  const rights = Object.entries(template.Resources).flatMap(([id, resource]) => {
    const { Type, Properties } = resource;
    if (Type === 'AWS::IAM::Role') return ofRole(template, id, resource, words);
    if (Type === 'AWS::KMS::Key') return ofPolicy(Properties.KeyPolicy, words, () => 'the key');
    if (Type === 'AWS::SNS::TopicPolicy') return ofPolicy(Properties.PolicyDocument, words);
    if (Type === 'AWS::SQS::QueuePolicy') return ofPolicy(Properties.PolicyDocument, words);
    if (Type === 'AWS::S3::BucketPolicy') return ofPolicy(Properties.PolicyDocument, words);
    if (Type === 'AWS::Lambda::Permission') return [ofPermission(Properties, words)];
    return unknownPolicy(id, resource);
  });
  return rights.sort((a, b) => byText(a.who + a.on + a.may + a.if, b.who + b.on + b.may + b.if));
}

/** The table of a Markdown text whose first columns are those of a right; the last says why. */
export function rightsInTable(markdown: string): readonly (Right & { readonly why: string })[] {
  const rows = markdown.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| who '));
  return rows.map((row) => {
    const [who = '', may = '', on = '', condition = '', why = ''] = row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '').replaceAll('<br>', ', '));
    return { who, may, on, if: condition, why };
  });
}

type Words = (value: unknown) => string;

function ofRole(template: Template, id: string, { Properties }: Resource, words: Words): Right[] {
  const users = Object.values(template.Resources).filter(
    ({ Type, Properties: { Role } }) =>
      Type === 'AWS::Lambda::Function' && JSON.stringify(Role) === JSON.stringify({ 'Fn::GetAtt': [id, 'Arn'] }),
  );
  // One that no function has is of rules of other regions.
  const who =
    users.map((user) => words(user.Properties.FunctionName).replace('certstandby-<stage>-', '')).join(' and ') ||
    (id === 'ForwardEventsRole' ? 'rules of other regions' : '');
  if (who === '') throw new Error(`no function has the role ${id}`);
  const assuming = statementsOf(Properties.AssumeRolePolicyDocument);
  const assumed = assuming.map((statement) => ({
    ...rightOf(`${principalOf(statement, words)}`, { ...statement, Resource: `the role of ${who}` }, words),
  }));
  const managed = list(Properties.ManagedPolicyArns ?? []).map((arn) => ({ who, may: words(arn), on: '*', if: '' }));
  const inline = list(Properties.Policies ?? []).flatMap((policy) =>
    statementsOf((policy as { PolicyDocument: unknown }).PolicyDocument).map((statement) =>
      rightOf(who, statement, words),
    ),
  );
  return [...assumed, ...managed, ...inline];
}

function ofPolicy(policy: unknown, words: Words, on: Words = words): Right[] {
  return statementsOf(policy)
    .filter(({ Effect }) => Effect !== 'Deny')
    .map((statement) => rightOf(principalOf(statement, words), statement, words, on));
}

function ofPermission(properties: Resource['Properties'], words: Words): Right {
  const { Principal, Action, FunctionName, SourceArn } = properties;
  return {
    who: words(Principal),
    may: words(Action),
    on: words(FunctionName),
    if: SourceArn === undefined ? '' : `SourceArn = ${words(SourceArn)}`,
  };
}

/** A kind of policy that nobody has looked at yet must not slip in. */
function unknownPolicy(id: string, { Type, Properties }: Resource): Right[] {
  if (!/Policy$/.test(Type) && !JSON.stringify(Properties).includes('"Statement"')) return [];
  throw new Error(`${id} is a ${Type}, whose policy no test reads yet`);
}

const statementsOf = (policy: unknown): Statement[] =>
  list((policy as { Statement: unknown }).Statement) as Statement[];

function principalOf({ Principal }: Statement, words: Words): string {
  if (typeof Principal === 'string') return Principal;
  return Object.values(Principal ?? { none: 'nobody' })
    .flatMap(list)
    .map(words)
    .join(', ');
}

function rightOf(who: string, statement: Statement, words: Words, on: Words = words): Right {
  for (const key of ['NotAction', 'NotResource', 'NotPrincipal'])
    if (key in statement) throw new Error(`a statement of ${who} says ${key}: who could tell what that gives?`);
  const conditions = Object.entries(statement.Condition ?? {}).flatMap(([operator, tests]) =>
    Object.entries(tests).map(
      ([key, value]) => `${operator} ${key} = ${list(value).map(words).sort(byText).join(' or ')}`,
    ),
  );
  return {
    who,
    may: list(statement.Action).map(words).sort(byText).join(', '),
    on: list(statement.Resource).map(on).sort(byText).join(', '),
    if: conditions.sort(byText).join(', '),
  };
}

/**
 * Values of a template in words: what CloudFormation fills in is named, and an ARN of this region
 * and account loses them, so that one of another stands out.
 */
function wordsOf(template: Template, stage: string): Words {
  const pseudo: Readonly<Record<string, string>> = {
    'AWS::Partition': '<partition>',
    'AWS::Region': '<region>',
    'AWS::AccountId': '<account>',
    'AWS::URLSuffix': 'amazonaws.com',
  };
  const named = (id: string, attribute: string): string => {
    const { Type, Properties } = template.Resources[id] ?? {};
    if (pseudo[id] !== undefined) return pseudo[id];
    if (Type === 'AWS::KMS::Key') return 'the key';
    if (Type === 'AWS::DynamoDB::Table') return `dynamodb table/${text(Properties?.TableName)}`;
    if (Type === 'AWS::SQS::Queue') return `sqs ${text(Properties?.QueueName)}`;
    if (Type === 'AWS::SNS::Topic') return `sns ${text(Properties?.TopicName)}`;
    if (Type === 'AWS::Lambda::Function') return `lambda function:${text(Properties?.FunctionName)}`;
    return `${id}${attribute === 'Arn' ? '' : `.${attribute}`}`;
  };
  function text(value: unknown): string {
    if (typeof value !== 'object' || value === null) return String(value);
    const [[key, operand] = ['', undefined]] = Object.entries(value);
    if (key === 'Ref') return named(String(operand), 'Arn');
    if (key === 'Fn::GetAtt') return named(...(operand as [string, string]));
    if (key === 'Fn::Join')
      return list((operand as [string, unknown[]])[1])
        .map(text)
        .join((operand as [string])[0]);
    if (key === 'Fn::Sub')
      return String(operand).replace(/\$\{([\w:]+)(?:\.(\w+))?\}/g, (_, id, attribute = 'Arn') => named(id, attribute));
    throw new Error(`no words for ${JSON.stringify(value)}`);
  }
  return (value) =>
    text(value)
      .replaceAll(`certstandby-${stage}`, 'certstandby-<stage>')
      .replaceAll(/^arn:<partition>:([a-z0-9-]+):<region>:<account>:/g, '$1 ');
}
