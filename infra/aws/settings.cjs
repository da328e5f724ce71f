// What serverless.yml takes from the configuration: dist/aws/certstandby.json, which
// infra/deploy.mjs writes once certstandby.yaml has been checked. Secrets stand in it by reference;
// here each reference becomes the right to read exactly that secret.
const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const { dashboard } = require('./dashboard.cjs');
const { events } = require('./events.cjs');

/** @typedef {{ from: string, name: string }} Reference */

/**
 * An ARN, or what CloudFormation makes one of: `parts` lie in the region and account of the
 * deployment.
 * @param {string} service
 * @param {string} resource
 */
const arnHere = (service, resource) => ({
  'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`,
});

/**
 * What each kind of reference asks for, by which action, and what its service says when it opens
 * the secret with a key.
 */
const kinds = {
  ssm: {
    sid: 'ReadParameters',
    action: 'ssm:GetParameter',
    service: 'ssm',
    context: 'PARAMETER_ARN',
    arn: (/** @type {string} */ name) =>
      name.startsWith('arn:') ? name : arnHere('ssm', `parameter/${name.replace(/^\//, '').replace(/:.*$/, '')}`),
  },
  secretsmanager: {
    sid: 'ReadSecrets',
    action: 'secretsmanager:GetSecretValue',
    service: 'secretsmanager',
    context: 'SecretARN',
    arn(/** @type {string} */ reference) {
      const [name = ''] = reference.split('#');
      // AWS puts six characters of its own behind the name of a secret.
      return name.startsWith('arn:') ? name : arnHere('secretsmanager', `secret:${name}-??????`);
    },
  },
};

/**
 * The statements that let a function read these secrets and no others.
 * @param {readonly Reference[]} references
 * @param {string} key ARN of the key that seals them; empty: the one of AWS, which wants no right of its own.
 */
function statements(references, key) {
  return Object.entries(kinds).flatMap(([from, { sid, action, service, context, arn }]) => {
    const names = new Set(references.filter((reference) => reference.from === from).map(({ name }) => name));
    const arns = new Map([...names].map(arn).map((each) => [JSON.stringify(each), each]));
    if (arns.size === 0) return [];
    const Resource = [...arns.values()];
    const read = { Sid: sid, Effect: 'Allow', Action: action, Resource };
    const Condition = {
      StringEquals: { 'kms:ViaService': { 'Fn::Sub': `${service}.\${AWS::Region}.amazonaws.com` } },
      StringLike: { [`kms:EncryptionContext:${context}`]: Resource },
    };
    const open = { Sid: `${sid}WithKey`, Effect: 'Allow', Action: 'kms:Decrypt', Resource: key, Condition };
    return key === '' ? [read] : [read, open];
  });
}

/**
 * What a function that looks at stores keeps of them on the table, where their services write down
 * which rights they take: what only content tells, and uses of quotas.
 * @param {readonly string[]} partitions
 * @param {string} action
 */
const kept = (partitions, action) => ({
  Sid: action === 'dynamodb:GetItem' ? 'ReadOfStores' : 'WriteOfStores',
  Effect: 'Allow',
  Action: action,
  Resource: { 'Fn::GetAtt': ['Table', 'Arn'] },
  Condition: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': partitions } },
});

/**
 * The policy of a function that looks at stores: which secrets it reads, and what it may do there.
 * @param {readonly object[]} secrets
 * @param {readonly object[] | undefined} stores
 * @param {readonly object[]} onTable
 */
const storesPolicy = (secrets, stores, onTable) => ({
  PolicyName: 'secrets',
  PolicyDocument: {
    Version: '2012-10-17',
    Statement: stores === undefined ? secrets : [...secrets, ...stores, ...onTable],
  },
});

/**
 * A rate as schedules want it, of whole minutes.
 * @param {number} ms
 */
function rate(ms) {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  return minutes === 1 ? 'rate(1 minute)' : `rate(${minutes} minutes)`;
}

/**
 * Parameters that are whole numbers, and the least that each may be: also where they were given to
 * osls, past `npm run deploy`.
 */
const numbers = { callbackRate: 1, callbackBurst: 1, lookers: 2, replicateSeconds: 70, visibilitySeconds: 1 };

/**
 * @param {string} name
 * @param {string | number} given
 * @param {number} least
 */
function wholeNumber(name, given, least) {
  const value = Number(given);
  if (Number.isInteger(value) && value >= least) return value;
  throw new Error(`The parameter ${name} must be a whole number of at least ${least}, not ${given}.`);
}

const file = join(__dirname, '../../dist/aws/certstandby.json');
const nothing = { worker: { sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 }, secrets: [], links: [] };

/** The checked configuration. What is removed is in AWS, and needs none. */
function configuration() {
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')).config;
  if (process.argv.includes('remove')) return nothing;
  throw new Error(`There is no ${file}. It is made by: npm run deploy -- --stage dev`);
}

/** @param {{ resolveVariable: (variable: string) => Promise<string> }} framework */
module.exports = async ({ resolveVariable }) => {
  const { worker, secrets, links, table, policies, senders = [] } = configuration();
  const name = await resolveVariable('self:custom.name');
  const ofAws = events(senders, name, await resolveVariable('self:provider.region'));
  const key = await resolveVariable('param:secretsKey');
  const email = await resolveVariable('param:alarmEmail');
  const reserved = await resolveVariable('param:callbackReserved');
  const given = await Promise.all(
    Object.entries(numbers).map(async ([name, least]) => [
      name,
      wholeNumber(name, await resolveVariable(`param:${name}`), least),
    ]),
  );
  const periodSeconds = Math.max(60, worker.reconcileEveryMs / 1_000);
  return {
    ...Object.fromEntries(given),
    tableName: table?.name,
    region: table?.region,
    sweepRate: rate(worker.sweepEveryMs),
    reconcileRate: rate(worker.reconcileEveryMs),
    /**
     * After which there has been no successful reconcile for two periods, and how long a finding of
     * the last one stands.
     */
    twoPeriodsSeconds: 2 * periodSeconds,
    findingStandsFor: Math.min(287, Math.ceil(periodSeconds / 300) + 1),
    alarmSubscriptions: email === '' ? [] : [{ Protocol: 'email', Endpoint: email }],
    callbackReserved: reserved === '' ? { Ref: 'AWS::NoValue' } : wholeNumber('callbackReserved', reserved, 1),
    eventFunctions: ofAws.functions,
    eventResources: ofAws.resources,
    replicatePolicy: storesPolicy(statements(secrets, key), policies?.replicate, [
      kept(['facts.1/*', 'quota.1/*'], 'dynamodb:GetItem'),
      kept(['facts.1/*', 'quota.1/*'], 'dynamodb:UpdateItem'),
    ]),
    reconcilePolicy: storesPolicy(statements(secrets, key), policies?.reconcile, [
      kept(['facts.1/*'], 'dynamodb:GetItem'),
    ]),
    dashboard: dashboard(
      await resolveVariable('sls:stage'),
      links.map((/** @type {{ name: string }} */ { name }) => name),
    ),
  };
};
